"""Invertible steps of normalizing flows: the coordinates that a step transforms, its mixing, and its functions.

A state is (b, n) with n = positions x coordinates. Each step scales and mixes groups of coordinates on lines (actnorm
and an invertible 1x1 convolution, optional), and then transforms one half given the other.

References:
    Dinh et al. 2017, Real NVP, eq. 7-9 (affine coupling), section 3.6 (multi-scale).
    Kingma and Dhariwal 2018, Glow, table 1 and eq. 10-11 (actnorm, invertible 1x1 convolution by LU).
    Durkan et al. 2019, Neural Spline Flows. Rezende et al. 2020, Normalizing Flows on Tori and Spheres.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from zuko.transforms import MonotonicRQSTransform

from protgen.spaces.manifolds import wrap
from protgen.types import Conditioning

LINE_BOUND = 6.0  # splines on lines are the identity outside: six standard deviations of the base


@dataclass(frozen=True)
class Plan:
    """The coordinates of one step of a flow over a grid.

    Attributes:
        groups: (g, m) indices into the flattened coordinates; each group is scaled and mixed.
        moved: (n,) which coordinates the step transforms.
    """

    groups: Int[Tensor, "g m"]
    moved: Bool[Tensor, " n"]


def grid_plans(height: int, width: int, channels: int, steps: int, levels: int) -> list[Plan]:
    """Steps over an image: each level squeezes 2 x 2 pixels into channels, and half of the channels leave after it.

    Args:
        height, width, channels: of the image.
        steps: steps of each level.
        levels: how often to squeeze; fewer if a side is odd. 0 squeezes nothing and alternates in a checkerboard.
    """
    index = torch.arange(height * width * channels).view(height, width, channels)
    plans = []
    if levels == 0 or height % 2 or width % 2:
        parity = (torch.arange(height)[:, None, None] + torch.arange(width)[:, None] + torch.arange(channels)) % 2
        groups = index.view(-1, channels)
        return [Plan(groups, parity.view(-1) == step % 2) for step in range(steps * max(levels, 1))]
    for _ in range(levels):
        if index.shape[0] % 2 or index.shape[1] % 2:
            break
        blocks = index.unflatten(0, (-1, 2)).unflatten(2, (-1, 2))
        index = blocks.permute(0, 2, 1, 3, 4).flatten(2)
        m = index.shape[-1]
        for step in range(steps):
            moved = torch.zeros(height * width * channels, dtype=torch.bool)
            half = index[..., m // 2 :] if step % 2 else index[..., : m // 2]
            moved[half.reshape(-1)] = True
            plans.append(Plan(index.reshape(-1, m), moved))
        index = index[..., m // 2 :]
    return plans


class Mix(nn.Module):
    """Actnorm, then an invertible linear map of a group of coordinates; the same for every group.

    Args:
        dim: coordinates of a group.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(dim))
        self.log_scale = nn.Parameter(torch.zeros(dim))
        p, lower, upper = torch.linalg.lu(torch.linalg.qr(torch.randn(dim, dim)).Q)
        self.register_buffer("order", p.argmax(0).float())
        diagonal = upper.diagonal()
        self.register_buffer("sign", diagonal.sign())
        self.log_diagonal = nn.Parameter(diagonal.abs().log())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        # A float, so that averages and files of weights treat it as any other; 0 before the first batch.
        self.register_buffer("seen", torch.zeros(()))
        self.order: Tensor
        self.sign: Tensor
        self.seen: Tensor

    @torch.no_grad()
    def start(self, x: Float[Tensor, "*n g m"], real: Bool[Tensor, "*n g"]) -> None:
        """Scale so that the first batch has mean 0 and standard deviation 1 in each coordinate (Glow, section 3.1)."""
        values = x[real]
        self.shift.copy_(-values.mean(0))
        self.log_scale.copy_(-values.std(0).clamp(min=1e-3).log() if len(values) > 1 else self.log_scale)
        self.seen.fill_(1.0)

    def matrices(self) -> tuple[Tensor, Tensor]:
        """Lower and upper triangular factors."""
        one = torch.eye(len(self.shift), device=self.shift.device)
        return self.lower.tril(-1) + one, self.upper.triu(1) + torch.diag(self.sign * self.log_diagonal.exp())

    def forward(self, x: Float[Tensor, "*n g m"]) -> Float[Tensor, "*n g m"]:
        """P L U ((x + shift) * scale)."""
        lower, upper = self.matrices()
        mixed = (x + self.shift) * self.log_scale.exp() @ (lower @ upper).T
        return mixed[..., self.order.long().argsort()]

    def inverse(self, y: Float[Tensor, "*n g m"]) -> Float[Tensor, "*n g m"]:
        """The exact inverse, by two triangular solves."""
        lower, upper = self.matrices()
        permuted = y[..., self.order.long()].transpose(-1, -2)
        x = torch.linalg.solve_triangular(lower, permuted, upper=False, unitriangular=True)
        x = torch.linalg.solve_triangular(upper, x, upper=True).transpose(-1, -2)
        return x * (-self.log_scale).exp() - self.shift

    def log_det(self) -> Float[Tensor, ""]:
        """Log-determinant of one group; that of a permutation is 0."""
        return self.log_scale.sum() + self.log_diagonal.sum()


class ByCondition(nn.Module):
    """Parameters of a function of each coordinate, as y alone gives them; zeros before training.

    On a grid every pixel has weights of its own, as what y says of a picture differs from pixel to pixel. On a chain
    all positions share them, and y of a position enters.

    Args:
        residue_dim, global_dim: widths of y.
        coordinates: of a position.
        per: parameters of a coordinate.
        pixels: of a grid; None on a chain.
    """

    def __init__(self, residue_dim: int, global_dim: int, coordinates: int, per: int, pixels: int | None) -> None:
        super().__init__()
        self.pixels, self.shape = pixels, (coordinates, per)
        width = global_dim if pixels is not None else residue_dim + global_dim
        self.linear = nn.Linear(width, (pixels or 1) * coordinates * per)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, cond: Conditioning, values: Float[Tensor, "b l c"]) -> Float[Tensor, "b l c p"]:
        """The parameters, in the precision of the values that they are for."""
        if self.pixels is not None:
            found = self.linear(cond.globals.to(values.dtype))
            return found.unflatten(-1, (self.pixels, *self.shape))
        everywhere = cond.globals[:, None].expand(-1, values.shape[1], -1)
        return self.linear(torch.cat([cond.residue, everywhere], -1).to(values.dtype)).unflatten(-1, self.shape)


def affine(x: Tensor, parameters: Float[Tensor, "*n p"], inverse: bool) -> tuple[Tensor, Tensor]:
    """x exp(s) + t or its inverse, and the log-slope of the map; s is between -2 and 2.

    Args:
        x: coordinates.
        parameters: of s and t.
        inverse: whether to invert.
    """
    log_scale, shift = 2 * torch.tanh(parameters[..., 0] / 2), parameters[..., 1]
    if inverse:
        return (x - shift) * (-log_scale).exp(), -log_scale
    return x * log_scale.exp() + shift, log_scale


def spline(
    x: Tensor, parameters: Float[Tensor, "*n p"], inverse: bool, bins: int, circle: bool
) -> tuple[Tensor, Tensor]:
    """A monotonic rational-quadratic spline or its inverse, and the log-slope; on circles half a turn follows.

    The spline fixes the ends of its interval with slope 1, which is smooth on a circle. The half turn changes the fixed
    point from step to step.

    Args:
        x: coordinates.
        parameters: widths, heights and slopes.
        inverse: whether to invert.
        bins: of the spline.
        circle: whether x are angles.
    """
    widths, heights, derivatives = parameters.split([bins, bins, bins - 1], -1)
    function = MonotonicRQSTransform(widths, heights, derivatives, bound=math.pi if circle else LINE_BOUND)
    if inverse:
        # At the end of the interval a rounded value may lie in no bin.
        y = wrap(x - math.pi).clamp(-math.pi + 1e-6, math.pi - 1e-6) if circle else x
        back = cast(Tensor, function.inv(y))
        return back, -function.call_and_ladj(back)[1]
    moved, log_slope = function.call_and_ladj(x)
    return (wrap(moved + math.pi) if circle else moved), log_slope
