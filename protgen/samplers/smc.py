"""Sequential Monte Carlo: several particles for each sample, weighed by their energies; the sample is a draw by weight.

The law of the sample is p(x) exp(-strength E(x)) up to terms that vanish with the number of particles, where p is what
the sampler's own steps give without an energy. The target at time t is p(x_t) exp(-strength E(x_hat)), with x_hat the
prediction of x_data, and the weight of a particle is the factor by which the target grew since the last resampling,
over that by which its step was made more or less probable (Wu et al. 2023, Twisted Diffusion Sampler, algorithm 1; Del
Moral, Doucet and Jasra 2006). At the end one particle is drawn in proportion to its weight.

A step of the sampler is normal in the flat fields, x_s = m + d z, where noise is exchanged. It is twisted: m moves by d
w, and the weight is multiplied by exp(-w.z - |w|^2 / 2), the ratio of the two densities, so that the law does not
change and few particles are enough: w = -strength d dx_hat/dx grad E(x_hat), with alpha / (alpha^2 + sigma^2) for the
slope dx_hat/dx, that of data as wide as the noise, so no gradient of the network. Guides that move predictions by an
energy give w another direction, at most as long. It is cut to a length of `pull`. Curved fields and the last step have
no fresh noise, and are not twisted. Projections belong to the sampler's steps, and so do all guides where a task has no
energy.

Measured with data N(0, 1), E = 2 (x - 1)^2 and 100 steps on 1,500 samples (exact: mean 0.800, standard deviation 0.447;
their standard errors 0.012 and 0.008): 1 particle 0.761 and 0.486, 4 particles 0.814 and 0.440, guided 0.793 and 0.450;
4 without a twist 0.735 and 0.506.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.errors import UsageError
from protgen.samplers.base import Denoiser, Sampler, SamplingTask, Step, begin
from protgen.samplers.energy import untwisted
from protgen.samplers.euler import Euler
from protgen.samplers.grid import time_grid
from protgen.samplers.resampling import effective_size, one, systematic
from protgen.spaces.base import Space
from protgen.spaces.capabilities import Observable, require
from protgen.types import State


class SequentialMonteCarlo(Sampler):
    """Twisted Euler steps of many particles, with systematic resampling when their weights become uneven.

    Args:
        steps: number of steps, one network evaluation each for every particle; two with guides.
        particles: for each sample.
        strength: factor of the energy in the exponent.
        churn: rate at which noise is exchanged, as in `Euler`; it separates copies of a particle.
        threshold: effective number of particles, as a fraction, below which they are resampled.
        pull: longest twist of a step, in standard deviations of its fresh noise; 0 proposes the sampler's own steps.
        rotation_rate, spacing: as in `Euler`.

    Raises:
        UsageError: if a number is out of range.
    """

    def __init__(
        self,
        steps: int = 100,
        particles: int = 4,
        strength: float = 1.0,
        churn: float = 1.0,
        threshold: float = 0.5,
        pull: float = 1.0,
        rotation_rate: float = 10.0,
        spacing: float = 1.0,
    ) -> None:
        if particles < 1 or strength < 0 or not 0 <= threshold <= 1 or churn <= 0 or pull < 0:
            raise UsageError(
                f"particles {particles}, strength {strength}, threshold {threshold}, churn {churn}, pull {pull}: "
                "particles must be at least 1, strength and pull not negative, threshold from 0 to 1, and churn "
                "positive, as it separates copies"
            )
        self.euler = Euler(steps, rotation_rate=rotation_rate, churn=churn, spacing=spacing)
        self.steps = steps
        self.particles = particles
        self.strength = strength
        self.threshold = threshold
        self.pull = pull

    def sample(self, denoiser: Denoiser, space: Space, task: SamplingTask) -> State:
        """One particle for each generator of the task, drawn in proportion to its weight.

        Raises:
            ConfigError: if the task has an energy and the space is not observable.
        """
        xs, logs, _ = self.population(denoiser, space, task)
        drawn = [
            one(row.softmax(-1), float(torch.rand((), generator=generator)))
            for row, generator in zip(logs, task.generators, strict=True)
        ]
        return gather(xs, torch.tensor(drawn, device=task.mask.device)[:, None])[0]

    @torch.no_grad()
    def population(
        self, denoiser: Denoiser, space: Space, task: SamplingTask
    ) -> tuple[list[State], Float[Tensor, "b p"], Float[Tensor, "b p"]]:
        """All particles at the end: one state for each, each a whole batch; their log-weights and energies.

        Args:
            denoiser: of a family, with guides or without.
            space: of the samples.
            task: what to sample.
        """
        # Guides and conditions belong to the batch. All draws of a sample come from its own stream, so it does not
        # depend on its neighbours.
        plain = denoiser if task.energy is None else untwisted(denoiser)
        xs = [begin(plain.path, space, task) for _ in range(self.particles)]
        x_preds: list[State | None] = [None] * self.particles
        b = len(task.mask)
        logs = torch.zeros(b, self.particles, device=task.mask.device)
        before = torch.zeros_like(logs)
        for number, (t, s) in enumerate(time_grid(self.steps, self.euler.spacing, task.start_time)):
            times = torch.full((b,), t, device=task.mask.device)
            found = [plain.denoise(x, times, task.cond, own) for x, own in zip(xs, x_preds, strict=True)]
            energies = self.energies(space, task, found)
            logs = logs - self.strength * (energies - before)
            picks, again = self.resample(logs, task.generators)
            logs = torch.where(again[:, None], torch.zeros_like(logs), logs)
            xs, found, x_preds = gather(xs, picks), gather(found, picks), regathered(x_preds, picks)
            before = energies.gather(1, picks)
            step = Step(t, s, plain.path, space, task)
            twists = self.twists(denoiser, plain, xs, x_preds, found, step)
            made = [self.propose(*row, step) for row in zip(xs, found, twists, strict=True)]
            xs, logs = [x for x, _ in made], logs + torch.stack([ratio for _, ratio in made], 1)
            x_preds = list(found)
            if task.on_step is not None:
                task.on_step(number, xs[0], found[0])
        energies = self.energies(space, task, xs)
        return xs, logs - self.strength * (energies - before), energies

    def twists(
        self,
        denoiser: Denoiser,
        plain: Denoiser,
        xs: list[State],
        x_preds: Sequence[State | None],
        found: list[State],
        step: Step,
    ) -> list[dict[str, Tensor]]:
        """By how much the mean of each particle's step is to move, in units of its fresh noise, field by field.

        Args:
            denoiser: with guides.
            plain: without those that move predictions by an energy.
            xs: the particles.
            x_preds: the predictions that `found` were made from.
            found: the predictions.
            step: the times.
        """
        names = [name for name in step.space.manifolds if self.euler.fresh_fraction(name, step) > 0]
        still = step.task.energy is None or step.task.temperature == 0
        if not names or still or not self.pull or not self.strength:
            return [{} for _ in xs]
        down = [self.downhill(own, names, step) for own in found]
        if plain is denoiser:
            return down
        times = torch.full((len(step.task.mask),), step.t, device=step.task.mask.device)
        turned = []
        for x, own, seen, slopes in zip(xs, found, x_preds, down, strict=True):
            aim = denoiser.denoise(x, times, step.task.cond, seen)
            shares = {n: self.euler.share_of_prediction(n, step) / self.width(n, step) for n in names}
            turned.append(as_long_as({n: shares[n] * (aim[n] - own[n]) for n in names}, slopes))
        return turned

    def downhill(self, found: State, names: list[str], step: Step) -> dict[str, Tensor]:
        """-strength d dx_hat/dx grad E(x_hat), the first-order optimal twist, for data as wide as the noise.

        Args:
            found: the prediction.
            names: of the fields with fresh noise.
            step: the times.
        """
        alpha, sigma = step.flat()[:2]
        slope = self.strength * alpha / (alpha**2 + sigma**2)
        return {n: -slope * self.width(n, step) * g for n, g in self.gradients(found, names, step).items()}

    def width(self, name: str, step: Step) -> Float[Tensor, "b 1 1"]:
        """Standard deviation d of the fresh noise of a step on a field."""
        std = step.space.noise_std(step.task.mask)[name][:, None, None]
        return self.euler.fresh_std(name, step) * step.task.temperature * std

    def gradients(self, found: State, names: list[str], step: Step) -> dict[str, Tensor]:
        """Gradient of the energy at a prediction, where it has one.

        Args:
            found: the prediction.
            names: of the fields.
            step: the space and the task.
        """
        energy = step.task.energy
        assert energy is not None
        observe = require(step.space, Observable, "smc with an energy").observe
        with torch.enable_grad():
            at = {name: found[name].detach().requires_grad_() for name in names}
            total = energy(observe(found.with_fields(**at)), found.mask).sum()
            if not total.requires_grad:
                return {}
            slopes = torch.autograd.grad(total, list(at.values()), allow_unused=True)
        return {n: torch.where(g.isfinite(), g, 0.0) for n, g in zip(at, slopes, strict=True) if g is not None}

    def propose(
        self, x: State, found: State, twist: dict[str, Tensor], step: Step
    ) -> tuple[State, Float[Tensor, " b"]]:
        """A twisted step, and the log of how much more probable it is without the twist.

        Args:
            x: the particle at step.t.
            found: its prediction.
            twist: of the mean, in units of the fresh noise.
            step: the times.
        """
        after = self.euler.advance(x, found, step)
        ratio = torch.zeros(len(x.mask), device=x.mask.device)
        if not twist:
            return after, ratio
        still = {n: found[n].new_zeros(*x.mask.shape, m.dim) for n, m in step.space.manifolds.items()}
        drawn = {n: (after[n] - self.euler.mean(n, x[n], found[n], step)) / self.width(n, step) for n in twist}
        # Both within the conventions of the space: a centre that projections take away is no move.
        kept = step.space.project_tangent(State(still | twist, x.mask))
        noise = step.space.project_tangent(State(still | drawn, x.mask))
        cut = self.pull / length_of({n: kept[n] for n in twist}, ratio).clamp(min=self.pull)
        fields = {}
        for name in twist:
            w = kept[name] * cut[:, None, None]
            fields[name] = after[name] + self.width(name, step) * w
            ratio = ratio - (w * noise[name]).sum((1, 2)) - w.square().sum((1, 2)) / 2
        return step.space.project(after.with_fields(**fields)), ratio

    def energies(self, space: Space, task: SamplingTask, states: list[State]) -> Float[Tensor, "b p"]:
        """The energy of each particle; 0 where the task has none.

        Args:
            space: of the particles.
            task: its energy.
            states: one state for each particle, each a whole batch.
        """
        if task.energy is None:
            return torch.zeros(len(task.mask), len(states), device=task.mask.device)
        observe = require(space, Observable, "smc with an energy").observe
        values = torch.stack([task.energy(observe(state), task.mask) for state in states], dim=1)
        return torch.nan_to_num(values, nan=1e6, posinf=1e6)

    def resample(
        self, logs: Float[Tensor, "b p"], generators: Sequence[Generator]
    ) -> tuple[Tensor, Bool[Tensor, " b"]]:
        """The particle that each place takes, (b, p), and where weights were uneven and so particles resampled."""
        weights = logs.softmax(-1)
        picks = torch.arange(self.particles, device=logs.device).repeat(len(logs), 1)
        again = torch.zeros(len(logs), dtype=torch.bool, device=logs.device)
        for row, generator in enumerate(generators):
            if effective_size(weights[row]) <= self.threshold * self.particles:
                picks[row] = systematic(weights[row], float(torch.rand((), generator=generator)))
                again[row] = True
        return picks, again


def gather(states: list[State], picks: Tensor) -> list[State]:
    """The particles picked in each row: one state for each column of `picks` (b, k)."""
    rows = torch.arange(len(picks), device=picks.device)
    stacked = {name: torch.stack([state[name] for state in states]) for name in states[0].fields}
    mask = states[0].mask
    return [State({name: value[column, rows] for name, value in stacked.items()}, mask) for column in picks.unbind(1)]


def regathered(states: Sequence[State | None], picks: Tensor) -> list[State | None]:
    """The particles' earlier predictions as picked; none before the first step."""
    known = [state for state in states if state is not None]
    return list(gather(known, picks)) if known else list(states)


def length_of(vectors: dict[str, Tensor], like: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Length over all fields and positions; zeros like `like` where there are none."""
    return sum((v.square().sum((1, 2)) for v in vectors.values()), torch.zeros_like(like)).sqrt()


def as_long_as(vectors: dict[str, Tensor], others: dict[str, Tensor]) -> dict[str, Tensor]:
    """Vectors made no longer, as a whole, than some others; unchanged where there are no others."""
    if not others:
        return vectors
    like = next(iter(vectors.values()))[:, 0, 0]
    scale = (length_of(others, like) / length_of(vectors, like).clamp(min=1e-12)).clamp(max=1)
    return {name: v * scale[:, None, None] for name, v in vectors.items()}
