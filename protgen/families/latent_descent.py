"""Latent optimisation: latents go down an energy of what they are decoded to, and so what comes out is still decoded.

A family that makes a sample in one go has no estimate on the way for an energy to act on; its latents are what can be
moved. A step is E / |g|^2 g with g the gradient through the decoder: the one after which the energy would be gone, were
it linear in the latents (Polyak 1969). Energies here are no less than 0, and 0 where what was asked for is met. What is
best on the way is kept.

References:
    Gómez-Bombarelli et al. 2018, Automatic Chemical Design Using a Data-Driven Continuous Representation of Molecules
    (gradient steps in the latents of a VAE). Bora et al. 2017, Compressed Sensing using Generative Models, section 3
    (through the decoder, held to likely latents).
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from protgen.spaces.base import Space
from protgen.types import State

STEPS, LONGEST = 40, 0.2


def descend(
    z: Float[Tensor, "b m z"],
    mask: Bool[Tensor, "b m"],
    decode: Callable[[Tensor], State],
    space: Space,
    energy: Callable[[Tensor, Bool[Tensor, "b l"]], Float[Tensor, " b"]],
    steps: int = STEPS,
    longest: float = LONGEST,
) -> Float[Tensor, "b m z"]:
    """Latents whose decoded points have less energy.

    Args:
        z: latents as they were drawn, of unit width or so.
        mask: which of them are real.
        decode: latents to points of the space.
        space: where these live; it shows coordinates (`observe`).
        energy: (observed, mask) -> (b,), not below 0, of each example alone.
        steps: most steps; examples without energy stay where they are.
        longest: most that a position's latent moves in a step, as root mean square of its dimensions.

    Returns:
        (b, m, z), of each example the least energy met with on the way.
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
        slope = torch.where(mask[..., None] & slope.isfinite(), slope, torch.zeros_like(slope))
        pace = energies.detach().nan_to_num() / slope.square().sum((1, 2)).clamp(min=1e-12)
        move = shortened(-pace[:, None, None] * slope, longest * width)
        at = at + move
    return best


def shortened(move: Float[Tensor, "b m z"], longest: float) -> Float[Tensor, "b m z"]:
    """All moves of an example times one factor, so that none is longer."""
    size = move.norm(dim=-1).amax(1)[:, None, None]
    return move * (longest / size.clamp(min=longest))
