"""What a sampler asks for and what it returns. Knows nothing of proteins.

Schedule <- denoiser <- guide <- sampler: a denoiser says on which path it was trained, so that one sampler serves flow
matching and diffusion alike.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.errors import UsageError
from protgen.samplers.curved import follow_geodesic, reverse_brownian
from protgen.samplers.schedules import Path
from protgen.spaces.base import HeatKernel, Space, masked
from protgen.types import Conditioning, State


class Denoiser(ABC):
    """All a sampler may ask of a family; guides wrap one and are one."""

    @property
    @abstractmethod
    def path(self) -> Path:
        """How its x_t go from data to noise."""

    @abstractmethod
    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None) -> State:
        """E[x_data | x_t, y], given an earlier estimate for self-conditioning.

        On a curved field with Brownian motion: the point whose heat kernel has the score of p(x_t | y), which is the
        mean where curvature does not matter.
        """


class Guide(Denoiser):
    """A denoiser that owns another one and changes what it says; its path is that of the one it owns."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser = denoiser

    @property
    def path(self) -> Path:
        """The path of what it guides."""
        return self.denoiser.path


@dataclass(frozen=True)
class Guidance:
    """How hard to push towards y, for families that can be asked with and without it.

    Attributes:
        free: the conditioning with y unknown, or with the part of it unknown that the weight is of.
        weight: w of x_free + w (x_asked - x_free); 1 is plain conditioning.
        until: time below which guidance rests, for families that iterate.
        further: other parts of y, each as the conditioning without it and its weight. With parts y_i of weights w_i the
            push is x_asked + sum_i (w_i - 1) (x_asked - x_without_i): p(x | y) prod_i p(y_i | x, the others)^(w_i - 1).
    """

    free: Conditioning
    weight: float
    until: float = 0.0
    further: Sequence[tuple[Conditioning, float]] = ()

    @property
    def parts(self) -> list[tuple[Conditioning, float]]:
        """The conditioning without each part of y, and its weight; parts of weight 1 are left out."""
        return [part for part in ((self.free, self.weight), *self.further) if part[1] != 1]

    def changed(self, change: Callable[[Conditioning], Conditioning]) -> "Guidance":
        """The same with each conditioning as `change` makes it."""
        further = [(change(free), weight) for free, weight in self.further]
        return replace(self, free=change(self.free), further=further)


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


@dataclass(frozen=True)
class Step:
    """One step of a sampler, from time t to s < t, with the factors of the path at both.

    At s = 0 nothing of the noise is left: every sampler ends on the estimate itself.
    """

    t: float
    s: float
    path: Path
    space: Space
    task: SamplingTask

    def flat(self) -> tuple[float, float, float, float]:
        """alpha and sigma of flat fields at t, then at s."""
        return *self.path.flat.at(self.t), *(self.path.flat.at(self.s) if self.s > 0 else (1.0, 0.0))

    def geodesic(self, name: str) -> bool:
        """Whether a field goes straight to the estimate, at a pace that a sampler may choose."""
        curved = self.space.manifolds[name].curved
        return self.path.brownian is None if curved else self.path.straight and name in self.space.early

    def stds(self) -> tuple[float, float]:
        """Spread of the Brownian motion of curved fields at t and s, radians."""
        assert self.path.brownian is not None
        return self.path.brownian.at(self.t), self.path.brownian.at(self.s) if self.s > 0 else 0.0

    def fresh(self, name: str, scale: float = 1.0) -> Tensor:
        """New noise for a field: normal with the spread the space gives to noise, times temperature and scale.

        Tangent vectors in radians for curved fields.
        """
        manifold, mask = self.space.manifolds[name], self.task.mask
        std = self.task.temperature * scale
        if not manifold.curved:
            std = self.space.noise_std(mask)[name][:, None, None] * std
        return masked(draw_normals(self.task, manifold.dim) * std, mask)


class SteppingSampler(Sampler):
    """Samplers that go down a fixed grid of times, from the task's start to 0, with one estimate a step.

    Args:
        steps: number of steps, one network evaluation each.
        rotation_rate: rate of the exponential schedule on curved fields that follow geodesics; 0 for the straight one.
        spacing: exponent of the time grid, t_k = start (1 - k / steps)^spacing; above 1 steps are finer near data.
        self_condition: whether each step sees the estimate of the one before.

    Raises:
        UsageError: if steps or spacing is not positive, or the rate negative.
    """

    def __init__(self, steps: int, rotation_rate: float, spacing: float, self_condition: bool) -> None:
        check_grid(steps, spacing)
        check_rate(rotation_rate)
        self.steps = steps
        self.rotation_rate = rotation_rate
        self.spacing = spacing
        self.self_condition = self_condition

    @torch.no_grad()
    def sample(self, denoiser: Denoiser, space: Space, task: SamplingTask) -> State:
        """Samples of the space, one for each generator of the task."""
        x = begin(denoiser.path, space, task)
        x_pred = None
        for number, (t, s) in enumerate(time_grid(self.steps, self.spacing, task.start_time)):
            times = torch.full((len(task.mask),), t, device=task.mask.device)
            x_pred = denoiser.denoise(x, times, task.cond, x_pred if self.self_condition else None)
            x = self.advance(x, x_pred, Step(t, s, denoiser.path, space, task))
            if task.on_step is not None:
                task.on_step(number, x, x_pred)
        return x

    def advance(self, x: State, x_pred: State, step: Step) -> State:
        """The point at step.s from the one at step.t and the estimate of x_data there. The last step ends on it."""
        fields = {}
        for name, manifold in step.space.manifolds.items():
            if step.geodesic(name):
                fields[name] = follow_geodesic(manifold, x[name], x_pred[name], step, self.rotation_rate)
            elif manifold.curved:
                left, noise = self.brownian(step)
                fields[name] = reverse_brownian(name, x[name], x_pred[name], step, left, noise)
            else:
                fields[name] = self.flat_step(name, x[name], x_pred[name], step)
        return step.space.project(State(fields, x.mask))

    @abstractmethod
    def brownian(self, step: Step) -> tuple[float, float]:
        """Of a step along Brownian motion: the spread of the noise that stays, and that of fresh noise, radians."""

    @abstractmethod
    def flat_step(self, name: str, x: Tensor, x_pred: Tensor, step: Step) -> Tensor:
        """The step of a flat field."""


def check_rate(rotation_rate: float) -> None:
    """Raise UsageError if there is no such schedule of curved fields."""
    if rotation_rate < 0:
        raise UsageError(f"rotation_rate {rotation_rate}: cannot be negative; 0 is the straight schedule")


def check_grid(steps: int, spacing: float) -> None:
    """Raise UsageError if there is no such grid of times."""
    if steps < 1:
        raise UsageError(f"steps {steps}: a sampler takes at least 1 step")
    if spacing <= 0:
        raise UsageError(f"spacing {spacing}: must be positive; above 1 steps are finer near data")


def time_grid(steps: int, spacing: float, start_time: float = 1.0) -> list[tuple[float, float]]:
    """Pairs (t, s) of the steps from the start to 0."""
    grid = (start_time * (1 - torch.linspace(0, 1, steps + 1)).pow(spacing)).tolist()
    return list(pairwise(grid))


def begin(path: Path, space: Space, task: SamplingTask) -> State:
    """Where sampling starts: noise of the task's temperature, or the point on the path from `start` at `start_time`.

    At t = 1 flat fields are noise times sigma(1).
    """
    noise = space.temper(space.noise(task.mask, draw_normals(task, space.normals_per_position)), task.temperature)
    if task.start is None:
        if path.straight:
            return noise
        _, sigma = path.flat.at(1.0)
        return noise.with_fields(**{n: x * sigma for n, x in noise.fields.items() if not space.manifolds[n].curved})
    return on_the_way(path, space, task, task.start, noise)


def on_the_way(path: Path, space: Space, task: SamplingTask, data: State, noise: State) -> State:
    """The point at the task's start_time between data and noise, as in training.

    Raises:
        UsageError: if a curved field is to diffuse on a manifold without a heat kernel.
    """
    if path.brownian is None:
        noise = space.align(noise, data)  # paths of flow matching lead to noise laid near the data
    time = task.start_time
    fields = {}
    for name, manifold in space.manifolds.items():
        if not manifold.curved:
            alpha, sigma = path.flat.at(time)
            fields[name] = alpha * data[name] + sigma * noise[name]
        elif path.brownian is None:
            fields[name] = manifold.geodesic(data[name], noise[name], torch.tensor(time, device=task.mask.device))
        elif isinstance(manifold, HeatKernel):
            std = data[name].new_full((len(task.mask), 1, 1), path.brownian.at(time))
            fields[name] = manifold.diffuse(data[name], std, draw_normals(task, manifold.dim))
        else:
            raise UsageError(f"no Brownian motion is known on {type(manifold).__name__}; use flow_matching")
    return space.project(State(fields, task.mask))


def draw_normals(task: SamplingTask, width: int) -> Float[Tensor, "b l k"]:
    """Standard normals (b, l, width), each sample's from its own generator and for its real positions only.

    Padding takes none, so a sample is the same whatever the longest of its batch is.
    """
    normals = torch.zeros(*task.mask.shape, width)
    for i, (row, generator) in enumerate(zip(task.mask.cpu(), task.generators, strict=True)):
        normals[i, row] = torch.randn(int(row.sum()), width, generator=generator)
    return normals.to(task.mask.device)
