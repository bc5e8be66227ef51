"""Diagonal Gaussians over latents: densities, draws, divergences, and the networks that give them."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

LOG_STD = 7.0  # largest |log standard deviation|: beyond it exp() and its square exceed the precision of float32


@dataclass(frozen=True)
class DiagonalGaussian:
    """Independent normals.

    Attributes:
        mean: (b, m, z).
        log_std: (b, m, z).
    """

    mean: Float[Tensor, "b m z"]
    log_std: Float[Tensor, "b m z"]

    @classmethod
    def read(cls, features: Float[Tensor, "b m 2z"]) -> "DiagonalGaussian":
        """From a layer's output: means, then log standard deviations."""
        mean, log_std = features.chunk(2, dim=-1)
        return cls(mean, log_std.clamp(-LOG_STD, LOG_STD))

    @classmethod
    def standard_like(cls, z: Tensor) -> "DiagonalGaussian":
        """N(0, I) of that shape."""
        return cls(torch.zeros_like(z), torch.zeros_like(z))

    def draw(self, rng: Generator) -> Tensor:
        """A reparametrised sample, differentiable in mean and standard deviation."""
        return self.mean + self.log_std.exp() * torch.randn(self.mean.shape, generator=rng).to(self.mean)

    def log_prob(self, z: Tensor) -> Float[Tensor, "b m z"]:
        """log-density of each dimension, nats."""
        scaled = (z - self.mean) * (-self.log_std).exp()
        return -0.5 * scaled.square() - self.log_std - 0.5 * math.log(2 * math.pi)

    def kl_to_standard(self) -> Float[Tensor, "b m z"]:
        """KL(self || N(0, 1)) of each dimension: (m^2 + s^2 - 1) / 2 - log s."""
        return 0.5 * (self.mean.square() + (2 * self.log_std).exp() - 1) - self.log_std

    def kl(self, other: "DiagonalGaussian") -> Float[Tensor, "b m z"]:
        """KL(self || other) of each dimension: log(s'/s) + (s^2 + (m - m')^2) / (2 s'^2) - 1/2."""
        ratio = (2 * (self.log_std - other.log_std)).exp()
        gap = (self.mean - other.mean).square() * (-2 * other.log_std).exp()
        return other.log_std - self.log_std + 0.5 * (ratio + gap - 1)

    def repeat(self, count: int) -> "DiagonalGaussian":
        """Each example `count` times, copies of one next to each other."""
        return DiagonalGaussian(self.mean.repeat_interleave(count, 0), self.log_std.repeat_interleave(count, 0))


class GaussianStep(nn.Module):
    """A Gaussian over one level of latents given the next, position by position.

    At the start it has mean 0.7 z and standard deviation 0.7, which keeps N(0, I) invariant: a step of diffusion, the
    limit of a chain of many levels.
    """

    def __init__(self, dim: int, hidden: int = 128) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(dim, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 2 * dim)
        )
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, z: Float[Tensor, "b m z"]) -> DiagonalGaussian:
        """The conditional of the level above or below z."""
        mean, log_std = self.net(z).chunk(2, dim=-1)
        return DiagonalGaussian(0.5**0.5 * z + mean, (log_std + 0.5 * math.log(0.5)).clamp(-LOG_STD, LOG_STD))


class FramePosterior(nn.Module):
    """A Gaussian over equivariant vectors: about the vectors of the point, plus a mixture of the encoder's vectors.

    Each vector has one standard deviation for its three coordinates, a function of scalars, so that the density is
    equivariant. The standard deviation has a minimum: without it positions become more exact than the prior can model,
    and axes, which nearly follow from positions, become noise. Positions have mean zero.

    Args:
        vectors: how many at each position; the first is a position vector.
        scalar_dim, vector_dim: of the encoder.
        least: the minimum.
    """

    def __init__(self, vectors: int, scalar_dim: int, vector_dim: int, least: float) -> None:
        super().__init__()
        self.least = math.log(least)
        self.moved = nn.Parameter(torch.zeros(vectors, vector_dim))
        self.excess = nn.Linear(scalar_dim, vectors)
        nn.init.zeros_(self.excess.weight)
        nn.init.constant_(self.excess.bias, -3.0)  # softplus: 5 % above the minimum

    def forward(
        self,
        own: Float[Tensor, "b l v 3"],
        scalars: Float[Tensor, "b l d"],
        vectors: Float[Tensor, "b l u 3"],
        mask: Bool[Tensor, "b l"],
    ) -> DiagonalGaussian:
        """The density of the vectors, (b, l, 3 v).

        Args:
            own: vectors of the point.
            scalars: of the encoder.
            vectors: of the encoder.
            mask: which positions are real.
        """
        mean = own + torch.einsum("vu,bluc->blvc", self.moved, vectors)
        real = mask[:, :, None, None].to(mean.dtype)
        centre = (mean * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)
        mean = torch.cat([mean[:, :, :1] - centre[:, :, :1], mean[:, :, 1:]], dim=2) * real
        log_std = (self.least + nn.functional.softplus(self.excess(scalars))).clamp(max=LOG_STD)
        return DiagonalGaussian(mean.flatten(2), log_std.repeat_interleave(3, dim=-1))


class AttentionPool(nn.Module):
    """Attention pooling of positions with learned queries: (b, l, d) -> (b, 1, dim), whatever l is.

    Args:
        scalar_dim: d.
        queries: how many.
    """

    def __init__(self, scalar_dim: int, queries: int = 8) -> None:
        super().__init__()
        self.dim = scalar_dim * queries
        self.norm = nn.LayerNorm(scalar_dim)
        self.score = nn.Linear(scalar_dim, queries)

    def forward(self, scalars: Float[Tensor, "b l d"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b 1 k"]:
        """The results of all queries, concatenated."""
        scalars = self.norm(scalars)
        weights = self.score(scalars).masked_fill(~mask[..., None], -1e9).softmax(1)
        return (weights.transpose(1, 2) @ scalars).flatten(1)[:, None]


class GridPool(nn.Module):
    """The features of all cells of a grid, concatenated, for grids of one size: (b, l, d) -> (b, 1, l d).

    Args:
        scalar_dim: d.
        cells: l.
    """

    def __init__(self, scalar_dim: int, cells: int) -> None:
        super().__init__()
        self.dim = scalar_dim * cells

    def forward(self, scalars: Float[Tensor, "b l d"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b 1 k"]:
        """The features as one vector."""
        return scalars.flatten(1)[:, None]


def pool(scalar_dim: int, grid: tuple[int, int] | None) -> AttentionPool | GridPool:
    """A layer that pools the features of all positions to one vector; each cell of a grid has its own weights."""
    return AttentionPool(scalar_dim) if grid is None else GridPool(scalar_dim, grid[0] * grid[1])
