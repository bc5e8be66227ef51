"""Latent optimisation: gradient descent of latents on an energy of the decoded points.

A family that samples directly has no intermediate prediction for an energy to act on, so its latents are moved, and the
result is a decoded point again. A step is -E / |g|^2 g with g the gradient through the decoder: the energy would be 0
after it if it were linear in the latents (Polyak 1969). Energies are at least 0, and 0 where the condition is met. The
latents with the least energy of all steps are kept.

References:
    Gómez-Bombarelli et al. 2018, Automatic Chemical Design Using a Data-Driven Continuous Representation of Molecules
    (gradient steps in the latents of a VAE). Bora et al. 2017, Compressed Sensing using Generative Models, section 3
    (through the decoder, held to likely latents).
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from protgen.spaces.capabilities import Observable
from protgen.types import State

STEPS, LONGEST = 40, 0.2


def descend(
    z: Float[Tensor, "b m z"],
    mask: Bool[Tensor, "b m"],
    decode: Callable[[Tensor], State],
    space: Observable,
    energy: Callable[[Tensor, Bool[Tensor, "b l"]], Float[Tensor, " b"]],
    steps: int = STEPS,
    longest: float = LONGEST,
) -> Float[Tensor, "b m z"]:
    """Latents whose decoded points have lower energy.

    Args:
        z: latents as drawn, of about unit standard deviation.
        mask: which of them are real.
        decode: latents to points of the space.
        space: of these points.
        energy: (observed, mask) -> (b,), at least 0, of each example alone.
        steps: largest number of steps; examples with energy 0 stay unchanged.
        longest: largest move of a position's latent in a step, as root mean square of its dimensions.

    Returns:
        (b, m, z): for each example, the latents with the least energy of all steps.
    """
    at = best = z.detach()
    least = torch.full((len(z),), torch.inf, device=z.device)
    width = z.shape[-1] ** 0.5
    for number in range(steps + 1):
        with torch.enable_grad():
            here = at.detach().requires_grad_()
            points = decode(here)
            energies = energy(space.observe(points), points.mask)
            better = energies.detach() < least
            best = torch.where(better[:, None, None], here.detach(), best)
            least = torch.where(better, energies.detach(), least)
            if number == steps or not bool((energies > 0).any()):
                break
            (slope,) = torch.autograd.grad(energies.sum(), here)
        at = at + polyak_step(slope, energies.detach(), mask, longest * width)
    return best


def polyak_step(
    slope: Float[Tensor, "b m z"], energies: Float[Tensor, " b"], mask: Bool[Tensor, "b m"], longest: float
) -> Float[Tensor, "b m z"]:
    """-E / |g|^2 g, with no position moved by more than `longest`.

    Args:
        slope: g.
        energies: E of each example.
        mask: which latents are real.
        longest: norm of the longest move of a position.
    """
    slope = torch.where(mask[..., None] & slope.isfinite(), slope, torch.zeros_like(slope))
    pace = energies.nan_to_num() / slope.square().sum((1, 2)).clamp(min=1e-12)
    return shortened(-pace[:, None, None] * slope, longest)


def shortened(move: Float[Tensor, "b m z"], longest: float) -> Float[Tensor, "b m z"]:
    """All moves of an example times one factor, so that none is longer than `longest`."""
    size = move.norm(dim=-1).amax(1)[:, None, None]
    return move * (longest / size.clamp(min=longest))
