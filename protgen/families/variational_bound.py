"""The parts of a variational bound on -log p(x), and the reconstruction of discrete values.

Reference: Kingma et al. 2021, Variational Diffusion Models, eq. 11-13.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from protgen.nn.binned import Support
from protgen.spaces.base import masked

NEAR = 6.5  # standard deviations; beyond them a weight is less than 1e-9 of that of the nearest value


@dataclass(frozen=True)
class Bound:
    """The three parts of -log p(x), each (b,) in nats, the degrees of freedom, and the standard error of the sum."""

    prior: Float[Tensor, " b"]
    reconstruction: Float[Tensor, " b"]
    diffusion: Float[Tensor, " b"]
    dof: Float[Tensor, " b"]
    error: Float[Tensor, " b"] | None = None

    @property
    def nats(self) -> Float[Tensor, " b"]:
        """Lower bound of log p(x)."""
        return -(self.prior + self.reconstruction + self.diffusion)

    @property
    def bits_per_dim(self) -> Float[Tensor, " b"]:
        """Upper bound of -log2 p(x) for each degree of freedom."""
        return -self.nats / self.dof / math.log(2)


def surprise(
    x_data: Float[Tensor, "b l c"], log_std: Float[Tensor, " b"], support: Support, mask: Tensor, rng: Generator
) -> Float[Tensor, " b"]:
    """-log p(x | x_first) of discrete coordinates, at one draw of x_first / alpha, which is normal about x.

    Values whose weight is below the rounding of the others are left out: a byte has 256 of them, and few are near.

    Args:
        x_data: coordinates.
        log_std: log standard deviation of x_first / alpha.
        support: the values that coordinates take.
        mask: which positions are real.
        rng: of the draw.
    """
    std = log_std.exp()[:, None, None]
    seen = x_data + std * torch.randn(x_data.shape, generator=rng).to(x_data)
    reach = min(1 + math.ceil(NEAR * float(std.detach().max()) / support.step), support.count)
    near = support.index(seen)[..., None] + torch.arange(-reach, reach + 1, device=seen.device)

    def logits(number: Tensor) -> Tensor:
        return -0.5 * ((seen[..., None] - support.least - support.step * number) / std[..., None]).square()

    outside = (near < 0) | (near >= support.count)
    total = logits(near).masked_fill(outside, -torch.inf).logsumexp(-1)
    found = logits(support.index(x_data)[..., None])[..., 0] - total
    return -masked(found, mask).flatten(1).sum(-1)
