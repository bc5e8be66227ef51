"""The interfaces of sampling: denoiser, guide, task and sampler. Knows nothing of proteins.

A denoiser states the path on which it was trained, so that one sampler serves flow matching and diffusion alike.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.errors import UsageError
from protgen.samplers.curved import geodesic_fraction, reverse_brownian
from protgen.samplers.grid import check_grid, check_rate, time_grid
from protgen.samplers.redraw import Lead, Redraw, least_faults
from protgen.samplers.schedules import Path
from protgen.spaces.base import Space, masked
from protgen.spaces.capabilities import aligned
from protgen.spaces.manifolds import HeatKernel
from protgen.types import Conditioning, State


class Denoiser(ABC):
    """What a sampler asks of a family: a path, and predictions of x_data. A guide wraps a denoiser and is one."""

    @property
    @abstractmethod
    def path(self) -> Path:
        """The path from data to noise."""

    @abstractmethod
    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None) -> State:
        """E[x_data | x_t, y].

        On a curved field with Brownian motion: the point whose heat kernel has the score of p(x_t | y). It is the mean
        where curvature is negligible.

        Args:
            x_t: the noisy point.
            t: its time.
            cond: y.
            x_pred: an earlier prediction of x_data, for self-conditioning.
        """


class Guide(Denoiser):
    """A denoiser that wraps another one and changes its prediction; the path is that of the wrapped one."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser = denoiser

    @property
    def path(self) -> Path:
        """The path of the wrapped denoiser."""
        return self.denoiser.path


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance: the weight of y, for families that predict with and without y.

    Attributes:
        free: the conditioning without y, or without the part of y that the weight refers to (unconditional).
        weight: w of x_free + w (x_cond - x_free); 1 is plain conditioning.
        interval: times between which guidance acts, both included, for families that iterate. Outside them y is plain
            conditioning, at the price of one evaluation.
        further: other parts of y, each as the conditioning without it and its weight. Parts y_i with weights w_i give
            x_cond + sum_i (w_i - 1) (x_cond - x_without_i), for p(x | y) prod_i p(y_i | x, the others)^(w_i - 1).
    """

    free: Conditioning
    weight: float
    interval: tuple[float, float] = (0.0, 1.0)
    further: Sequence[tuple[Conditioning, float]] = ()

    @property
    def parts(self) -> list[tuple[Conditioning, float]]:
        """The conditioning without each part of y, and its weight; parts with weight 1 are left out."""
        return [part for part in ((self.free, self.weight), *self.further) if part[1] != 1]

    def changed(self, change: Callable[[Conditioning], Conditioning]) -> "Guidance":
        """The same guidance with `change` applied to each conditioning."""
        further = [(change(free), weight) for free, weight in self.further]
        return replace(self, free=change(self.free), further=further)


@dataclass(frozen=True)
class SamplingTask:
    """What to sample: shapes, conditions, and a random generator for each sample.

    Sample i uses its own generator only, so it does not depend on its neighbours, on batch size or on order.

    Attributes:
        mask: (b, l) which positions are real.
        cond: the conditions.
        generators: b generators on the CPU.
        temperature: T times the standard deviation of all noise, and of densities that are drawn from (those of
            discrete values to the power 1 / T^2); 1 for the learned distribution. Uniform noise on curved fields stays.
        on_step: called with (step, x_t, x_pred) after every step, for trajectories and progress.
        guidance: classifier-free guidance; None samples p(x | y) as learned.
        guides: each wraps a denoiser (energy gradients, projections); for families that iterate.
        start: points of the space to vary (partial diffusion); sampling starts from them with added noise.
        start_time: time of that noise; 1 without a start.
        energy: (observed, mask) -> (b,), by which particle samplers weight their particles.
        redraw: when samples begin anew after their first steps; for samplers on a fixed grid of times.
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
    redraw: Redraw | None = None


class Sampler(ABC):
    """Turns noise into a sample, using a denoiser."""

    @abstractmethod
    def sample(self, denoiser: Denoiser, space: Space, task: SamplingTask) -> State:
        """Samples of the space, one for each generator of the task.

        Args:
            denoiser: a family behind the interface of samplers, or a guide.
            space: of the samples.
            task: what to sample.
        """


@dataclass(frozen=True)
class Step:
    """One step of a sampler, from time t to s < t, with the factors of the path at both.

    At s = 0 no noise is left: every sampler ends on the prediction itself.
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
        """Whether a field follows the geodesic to the prediction, at a rate that the sampler chooses."""
        curved = self.space.manifolds[name].curved
        return self.path.brownian is None if curved else self.path.straight and name in self.space.early

    def stds(self) -> tuple[float, float]:
        """Standard deviations of the Brownian motion of curved fields at t and s, radians."""
        assert self.path.brownian is not None
        return self.path.brownian.at(self.t), self.path.brownian.at(self.s) if self.s > 0 else 0.0

    def fresh(self, name: str, scale: float = 1.0) -> Tensor:
        """Fresh noise for a field: normal with the std of the space's noise, times temperature and scale.

        Args:
            name: of the field.
            scale: a factor; for curved fields the standard deviation itself, radians.
        """
        manifold, mask = self.space.manifolds[name], self.task.mask
        std = self.task.temperature * scale
        if not manifold.curved:
            std = self.space.noise_std(mask)[name][:, None, None] * std
        return masked(draw_normals(self.task, manifold.dim) * std, mask)


class SteppingSampler(Sampler):
    """Samplers on a fixed grid of times, from the task's start to 0, with one prediction for each step.

    Args:
        steps: number of steps, one network evaluation each.
        rotation_rate: rate of the exponential schedule on curved fields that follow geodesics; 0 for the straight one.
        spacing: exponent of the time grid, t_k = start (1 - k / steps)^spacing; above 1 steps are finer near data.
        self_condition: whether each step reads the prediction of the step before.

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
        grid = time_grid(self.steps, self.spacing, task.start_time)

        def drawn(ends: Sequence[int]) -> Lead:
            """The steps up to the last of these ends, drawn until neither it nor one before it shows a fault."""
            assert task.redraw is not None
            *before, end = ends
            first = least_faults(lambda: drawn(before), task.redraw, task.generators) if before else []
            here = first[-1] if first else (begin(denoiser.path, space, task), None)
            return [*first, *self.walk(denoiser, space, task, here, grid[len(first) : end])]

        if task.redraw is None or task.start is not None:
            path = self.walk(denoiser, space, task, (begin(denoiser.path, space, task), None), grid)
        else:
            ends = task.redraw.steps(grid)
            first = least_faults(lambda: drawn(ends), task.redraw, task.generators)
            path = chain(first, self.walk(denoiser, space, task, first[-1], grid[len(first) :]))
        x = task.start
        for number, (x, x_pred) in enumerate(path):
            if task.on_step is not None:
                task.on_step(number, x, x_pred)
        assert x is not None
        return x

    def walk(
        self,
        denoiser: Denoiser,
        space: Space,
        task: SamplingTask,
        here: tuple[State, State | None],
        grid: Sequence[tuple[float, float]],
    ) -> Iterator[tuple[State, State]]:
        """The points after each of the steps, and the predictions that these were made with.

        Args:
            denoiser: a family behind the interface of samplers, or a guide.
            space: of the samples.
            task: what to sample.
            here: the point before the first step, and the prediction before it if there is one.
            grid: times of the steps.
        """
        x, x_pred = here
        for t, s in grid:
            times = torch.full((len(task.mask),), t, device=task.mask.device)
            x_pred = denoiser.denoise(x, times, task.cond, x_pred if self.self_condition else None)
            x = self.advance(x, x_pred, Step(t, s, denoiser.path, space, task))
            yield x, x_pred

    def advance(self, x: State, x_pred: State, step: Step) -> State:
        """The point at step.s from that at step.t and the prediction there. The last step ends on the prediction.

        Args:
            x: the point at step.t.
            x_pred: the prediction of x_data there.
            step: the times, the path and the task.
        """
        fields = {}
        for name, manifold in step.space.manifolds.items():
            if step.geodesic(name):
                fraction = torch.tensor(geodesic_fraction(step.t, step.s, self.rotation_rate))
                fields[name] = manifold.geodesic(x[name], x_pred[name], fraction)
            elif manifold.curved:
                fields[name] = self.brownian_step(name, x[name], x_pred[name], step)
            else:
                fields[name] = self.flat_step(name, x[name], x_pred[name], step)
        return step.space.project(State(fields, x.mask))

    def brownian_step(self, name: str, x: Tensor, x_pred: Tensor, step: Step) -> Tensor:
        """The step of a field along reversed Brownian motion.

        Args:
            name: of the field.
            x: its value at step.t.
            x_pred: the prediction of x_data there.
            step: the times, the path and the task.
        """
        manifold = step.space.manifolds[name]
        if step.s == 0:
            return manifold.geodesic(x, x_pred, torch.tensor(1.0))
        left, scale = self.brownian(step)
        noise = step.fresh(name, scale) if scale else None
        return reverse_brownian(manifold, x, x_pred, step.stds()[0], left, noise)

    @abstractmethod
    def brownian(self, step: Step) -> tuple[float, float]:
        """Standard deviations, in radians, of the noise that a step along Brownian motion keeps and of fresh noise."""

    @abstractmethod
    def flat_step(self, name: str, x: Tensor, x_pred: Tensor, step: Step) -> Tensor:
        """The step of a flat field.

        Args:
            name: of the field.
            x: its value at step.t.
            x_pred: the prediction of x_data there.
            step: the times, the path and the task.
        """


def begin(path: Path, space: Space, task: SamplingTask) -> State:
    """The initial point: noise at the task's temperature, or `start` with noise of time `start_time`.

    At t = 1 flat fields are noise times sigma(1).

    Args:
        path: of the denoiser.
        space: of the samples.
        task: what to sample.
    """
    noise = space.temper(space.noise(task.mask, draw_normals(task, space.normals_per_position)), task.temperature)
    if task.start is None:
        if path.straight:
            return noise
        _, sigma = path.flat.at(1.0)
        return noise.with_fields(**{n: x * sigma for n, x in noise.fields.items() if not space.manifolds[n].curved})
    return noised(path, space, task, task.start, noise)


def noised(path: Path, space: Space, task: SamplingTask, data: State, noise: State) -> State:
    """The point at the task's start_time between data and noise, as in training.

    Args:
        path: of the denoiser.
        space: of the points.
        task: its generators and start_time.
        data: x_data.
        noise: x_noise.

    Raises:
        UsageError: if a curved field is to diffuse on a manifold without a heat kernel.
    """
    if path.brownian is None:
        noise = aligned(space, noise, data)  # flow matching is trained on paths to noise aligned with the data
    return between(path, space, data, noise, task.start_time, lambda width: draw_normals(task, width))


def between(
    path: Path, space: Space, data: State, noise: State, time: float, normals: Callable[[int], Tensor]
) -> State:
    """The point of a path at one time between data and noise.

    Args:
        path: of a denoiser.
        space: of the points.
        data: x_data.
        noise: x_noise.
        time: 0 at the data, 1 at the noise.
        normals: (b, l, width) standard normals of a given width, for fields that diffuse.

    Raises:
        UsageError: if a curved field is to diffuse on a manifold without a heat kernel.
    """
    fields = {}
    for name, manifold in space.manifolds.items():
        if not manifold.curved:
            alpha, sigma = path.flat.at(time)
            fields[name] = alpha * data[name] + sigma * noise[name]
        elif path.brownian is None:
            fields[name] = manifold.geodesic(data[name], noise[name], torch.tensor(time, device=data.mask.device))
        elif isinstance(manifold, HeatKernel):
            std = data[name].new_full((len(data.mask), 1, 1), path.brownian.at(time))
            fields[name] = manifold.diffuse(data[name], std, normals(manifold.dim))
        else:
            raise UsageError(f"no Brownian motion is known on {type(manifold).__name__}; use flow_matching")
    return space.project(State(fields, data.mask))


def draw_normals(task: SamplingTask, width: int) -> Float[Tensor, "b l k"]:
    """Standard normals (b, l, width), each sample's from its own generator.

    Padding takes none, so a sample does not depend on the longest of its batch.
    """
    mask = task.mask.cpu()
    rows = zip(mask.sum(1).tolist(), task.generators, strict=True)
    # One assignment for all rows: row by row it takes most of the time where samples are many and small.
    drawn = [torch.randn(count, width, generator=generator) for count, generator in rows]
    normals = torch.zeros(*mask.shape, width)
    if drawn:
        normals[mask] = torch.cat(drawn)
    return normals.to(task.mask.device)
