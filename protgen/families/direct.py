"""What families share that make a sample in one go: no sampler, no guides, and guidance by extrapolation."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from protgen.errors import UsageError
from protgen.samplers.base import Sampler, SamplingTask
from protgen.samplers.guidance import pushed
from protgen.spaces.base import Space
from protgen.types import Conditioning, State


def require_direct(name: str, task: SamplingTask, sampler: Sampler | None) -> None:
    """Refuse what only makes sense on the way from noise to data.

    Raises:
        UsageError: for a sampler or for guides.
    """
    if sampler is not None:
        raise UsageError(
            f"{name} makes a sample in one go and takes no sampler; leave it out, or choose a family that iterates, "
            "such as flow_matching or diffusion"
        )
    if task.guides:
        raise UsageError(
            f"{name} makes a sample in one go, so energies and projections have no steps to act on; sample more and "
            "keep those that meet the condition, or choose a family that iterates"
        )


def guided(space: Space, make: Callable[[Conditioning], State], task: SamplingTask) -> State:
    """One sample for each row, pushed away from what the same noise gives without y.

    The point at weight w on the geodesic of each field from make(free) through make(y): classifier-free guidance
    (Ho and Salimans 2022, eq. 6) of a mean instead of a score. It shifts samples the way y shifts them; unlike guidance
    on a path it cannot sharpen a distribution, and far extrapolation leaves the data.
    """
    asked = make(task.cond)
    if task.guidance is None or not task.guidance.parts:
        return asked
    # A whole that turned or shifted between the two says nothing of y.
    without = [space.align(make(free), asked) for free, _ in task.guidance.parts]
    return pushed(space, asked, without, [weight for _, weight in task.guidance.parts])


def one_position(task: SamplingTask) -> SamplingTask:
    """The task with a single position, for what is drawn once for each sample."""
    return replace(task, mask=task.mask[:, :1])


def repeat(cond: Conditioning, count: int) -> Conditioning:
    """Each row `count` times, rows of one example together."""
    return cond.rows(lambda x: x.repeat_interleave(count, 0))


def repeat_state(state: State, count: int) -> State:
    """Each example `count` times, those of one together."""
    fields = {name: x.repeat_interleave(count, 0) for name, x in state.fields.items()}
    return State(fields, state.mask.repeat_interleave(count, 0))


def join(cond: Conditioning, latents: Tensor) -> Conditioning:
    """What a decoder reads: y, and latents beside the features of each position."""
    length = cond.residue.shape[1]
    return replace(cond, residue=torch.cat([cond.residue, latents.expand(-1, length, -1)], dim=-1))
