"""What a sampler asks for and what it returns. Knows nothing of proteins."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.spaces.base import Space
from protgen.types import Conditioning, State


class Denoiser(ABC):
    """All a sampler may ask of a family; guides wrap one and are one."""

    @abstractmethod
    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, estimate: State | None = None) -> State:
        """E[x_data | x_t, y], given an earlier estimate for self-conditioning."""


@dataclass(frozen=True)
class Guidance:
    """How hard to push towards y, for families that can be asked with and without it.

    Attributes:
        free: the conditioning with y unknown.
        weight: w of x_free + w (x_asked - x_free); 1 is plain conditioning.
        until: time below which guidance rests, for families that iterate.
    """

    free: Conditioning
    weight: float
    until: float = 0.0


@dataclass(frozen=True)
class SamplingTask:
    """What to sample: shapes, conditions, and one random generator for each sample.

    Sample i draws from its own generator alone, so it does not depend on its neighbours, on batch size or on order.

    Attributes:
        mask: (b, l) which positions are real.
        cond: the conditions.
        generators: b generators on the CPU.
        temperature: scale of all noise, 1 for the learned distribution.
        on_step: called with (step, x_t, estimate) after every step, for trajectories and progress.
        guidance: classifier-free guidance; None samples p(x | y) as learned.
        guides: each wraps a denoiser in another (energy gradients, projections); for families that iterate.
        start: points of the space to vary; sampling starts from them, mixed with noise, and not from pure noise.
        start_time: time of that mixture, 1 where there is nothing to start from.
        energy: what samplers with many particles weigh them by, (observed, mask) -> (b,).
    """

    mask: Bool[Tensor, "b l"]
    cond: Conditioning
    generators: Sequence[Generator]
    temperature: float = 1.0
    on_step: Callable[[int, State, State], None] | None = field(default=None, compare=False)
    guidance: Guidance | None = None
    guides: Sequence[Callable[[Denoiser], Denoiser]] = ()
    start: State | None = None
    start_time: float = 1.0
    energy: Callable[[Tensor, Bool[Tensor, "b l"]], Float[Tensor, " b"]] | None = None


class Sampler(ABC):
    """Turns noise into a sample with the help of a denoiser."""

    @abstractmethod
    def sample(self, denoiser: Denoiser, space: Space, task: SamplingTask) -> State:
        """Samples of the space, one for each generator of the task."""


def draw_normals(task: SamplingTask, width: int) -> Float[Tensor, "b l k"]:
    """Standard normals (b, l, width), each sample's from its own generator and for its real positions only.

    Padding takes none, so a sample is the same whatever the longest of its batch is.
    """
    normals = torch.zeros(*task.mask.shape, width)
    for i, (row, generator) in enumerate(zip(task.mask.cpu(), task.generators, strict=True)):
        normals[i, row] = torch.randn(int(row.sum()), width, generator=generator)
    return normals.to(task.mask.device)


def begin(space: Space, task: SamplingTask) -> State:
    """Where sampling starts: noise of the task's temperature, or what it starts from mixed with it at `start_time`."""
    x = space.temper(space.noise(task.mask, draw_normals(task, space.normals_per_position)), task.temperature)
    if task.start is None:
        return x
    noise = space.align(x, task.start)  # as in training, where paths lead to noise laid near the data
    share = torch.tensor(task.start_time, device=task.mask.device)
    fields = {
        name: manifold.geodesic(task.start[name], noise[name], share) for name, manifold in space.manifolds.items()
    }
    return space.project(State(fields, task.mask))
