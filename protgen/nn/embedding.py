"""Embeddings of scalars: time, distances, positions along the chain."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

CHAINS_APART = 100  # residues between two chains, of the offsets that a network sees: farther than it tells apart


def fourier_features(x: Float[Tensor, "*n"], dim: int, max_period: float = 1000.0) -> Float[Tensor, "*n dim"]:
    """Sines and cosines of x at log-spaced frequencies (Vaswani et al. 2017; Ho et al. 2020 for time).

    Args:
        x: numbers.
        dim: number of features.
        max_period: the lowest angular frequency is about 1 / max_period.
    """
    half = dim // 2
    frequencies = torch.exp(-math.log(max_period) * torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angles = x[..., None].float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def chain_places(mask: Bool[Tensor, "b l"], chains: Int[Tensor, "b l"] | None = None) -> Float[Tensor, "b l 16"]:
    """Fourier features of places along the chain, counted from both ends so that padding does not matter.

    Args:
        mask: which residues are real.
        chains: number of the chain of each position; None for one chain.
    """
    index = torch.arange(mask.shape[1], device=mask.device, dtype=torch.float32)
    if chains is None:
        before, after = index.expand(mask.shape), mask.sum(-1, keepdim=True) - 1 - index
    else:
        own = (chains[:, :, None] == chains[:, None]) & mask[:, None]
        before = (own & (index < index[:, None])).sum(-1).float()
        after = own.sum(-1) - 1 - before
    return fourier_features(torch.stack([before, after], dim=-1), 8, max_period=100.0).flatten(-2)


def chain_offsets(
    length: int, device: torch.device, chains: Int[Tensor, "b l"] | None = None
) -> Int[Tensor, "l l"] | Int[Tensor, "b l l"]:
    """Offsets j - i along the chain; chains lie `CHAINS_APART` residues from each other.

    Args:
        length: positions.
        device: of the result.
        chains: number of the chain of each position; None for one chain, the same in all examples.
    """
    spots = chain_spots(length, device, chains)
    return spots[..., None, :] - spots[..., :, None]


def chain_spots(
    length: int, device: torch.device, chains: Int[Tensor, "b l"] | None = None
) -> Int[Tensor, "l"] | Int[Tensor, "b l"]:
    """Places along a chain from which offsets are counted; arguments as of `chain_offsets`."""
    index = torch.arange(length, device=device)
    return index if chains is None else index + CHAINS_APART * chains


class RadialBasis(nn.Module):
    """Gaussians of a distance at even spacing: (*n) -> (*n, count).

    Args:
        low, high: first and last centre, in the unit of the distance.
        count: number of Gaussians; their width is the spacing.
    """

    def __init__(self, low: float, high: float, count: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(low, high, count), persistent=False)
        self.centres: Tensor
        self.inverse_width = (count - 1) / (high - low)

    def forward(self, distance: Float[Tensor, "*n"]) -> Float[Tensor, "*n count"]:
        """Values in [e^-30, 1]."""
        scaled = (distance[..., None] - self.centres) * self.inverse_width
        # Below e^-30 nothing is left, and from e^-87 on results are denormal, which take a CPU 30 times as long.
        return torch.exp(scaled.square().neg().clamp(min=-30.0))


class RelativePosition(nn.Module):
    """Learned embedding of the clipped offset j - i along the chain: (*n) -> (*n, dim).

    Reference: Jumper et al. 2021, supplement algorithm 4.
    """

    def __init__(self, dim: int, reach: int = 32) -> None:
        super().__init__()
        self.reach = reach
        self.table = nn.Embedding(2 * reach + 1, dim)

    def forward(self, offset: Int[Tensor, "*n"]) -> Float[Tensor, "*n dim"]:
        """Embeddings of offsets."""
        return self.table(offset.clamp(-self.reach, self.reach) + self.reach)
