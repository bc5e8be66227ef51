"""Shared by families that sample directly: they take no sampler and no guides, and extrapolate for guidance."""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from protgen.errors import UsageError
from protgen.families.latent_descent import LONGEST, descend
from protgen.samplers.base import Sampler, SamplingTask
from protgen.samplers.guidance import extrapolated
from protgen.spaces.base import Space
from protgen.spaces.capabilities import Observable, aligned, require
from protgen.types import Conditioning, State


def require_direct(name: str, task: SamplingTask, sampler: Sampler | None) -> None:
    """Refuse what only families that iterate from noise to data support.

    Args:
        name: of the family.
        task: its guides are refused.
        sampler: refused.

    Raises:
        UsageError: for a sampler or for guides.
    """
    if sampler is not None:
        raise UsageError(
            f"{name} samples directly and takes no sampler; leave it out, or choose a family that iterates, "
            "such as flow_matching or diffusion"
        )
    if task.guides:
        raise UsageError(
            f"{name} samples directly, so energies and projections have no steps to act on; sample more and "
            "keep those that meet the condition, or choose a family that iterates"
        )


def guided(space: Space, make: Callable[[Conditioning], State], task: SamplingTask) -> State:
    """Samples, extrapolated from the unconditional samples of the same noise.

    The point at weight w on the geodesic of each field from make(free) through make(y): classifier-free guidance
    (Ho and Salimans 2022, eq. 6) of a mean instead of a score. It amplifies the shift that y causes. Unlike guidance on
    a path it cannot sharpen a distribution, and weights above 1 soon leave the data: torsions that differ between the
    two by half a turn go anywhere. So it is off where nobody asks for it.

    Args:
        space: of the samples.
        make: samples from a conditioning, with fixed noise.
        task: its conditioning and guidance.
    """
    conditional = make(task.cond)
    if task.guidance is None or not task.guidance.parts:
        return conditional
    # A rigid motion between the two does not depend on y.
    without = [aligned(space, make(free), conditional) for free, _ in task.guidance.parts]
    return extrapolated(space, conditional, without, [weight for _, weight in task.guidance.parts])


def descended(
    space: Space,
    z: Float[Tensor, "b m k"],
    make: Callable[[Tensor], State],
    task: SamplingTask,
    mask: Bool[Tensor, "b m"] | None = None,
    longest: float = LONGEST,
) -> Float[Tensor, "b m k"]:
    """Noise or latents after gradient descent on the task's energy of what is made of them; unchanged without one.

    Args:
        space: of the samples.
        z: noise or latents, of about unit standard deviation.
        make: samples of them.
        task: its energy.
        mask: which of them are real; those of the task by default.
        longest: as of `latent_descent.descend`.

    Raises:
        ConfigError: if the space is not observable.
    """
    if task.energy is None:
        return z
    observable = require(space, Observable, "an energy")
    return descend(z, task.mask if mask is None else mask, make, observable, task.energy, longest=longest)


def one_position(task: SamplingTask) -> SamplingTask:
    """The task with a single position, for draws that each sample takes once."""
    return replace(task, mask=task.mask[:, :1])


def repeat(cond: Conditioning, count: int) -> Conditioning:
    """Each row `count` times, copies of one example next to each other."""
    return cond.rows(lambda x: x.repeat_interleave(count, 0))


def repeat_state(state: State, count: int) -> State:
    """Each example `count` times, copies of one next to each other."""
    fields = {name: x.repeat_interleave(count, 0) for name, x in state.fields.items()}
    return State(fields, state.mask.repeat_interleave(count, 0))


def join(cond: Conditioning, latents: Tensor) -> Conditioning:
    """The input of a decoder: y, with latents appended to the features of each position."""
    length = cond.residue.shape[1]
    return replace(cond, residue=torch.cat([cond.residue, latents.expand(-1, length, -1)], dim=-1))
