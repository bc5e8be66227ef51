"""Sequential Monte Carlo: several particles for each sample, resampled by their energies.

The target at each step is p(x_t) exp(-strength E(x_hat)) with x_hat the prediction of x_data. The weight of a particle
is the factor by which this grew since the last resampling (Wu et al. 2023, Twisted Diffusion Sampler, algorithm 1, with
the sampler's own steps as proposals; Del Moral, Doucet and Jasra 2006). The energy needs no gradient. Fresh noise in
each step separates copies of a particle.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from protgen.errors import UsageError
from protgen.samplers.base import Denoiser, Sampler, SamplingTask, Step, begin, time_grid
from protgen.samplers.euler import Euler
from protgen.samplers.resampling import effective_size, systematic
from protgen.spaces.base import Space
from protgen.spaces.capabilities import Observable, require
from protgen.types import State


class SequentialMonteCarlo(Sampler):
    """Euler steps of many particles, with systematic resampling when their weights become uneven.

    Args:
        steps: number of steps, one network evaluation each for every particle.
        particles: for each sample.
        strength: factor of the energy in the exponent.
        churn: rate at which noise is exchanged, as in `Euler`; it separates copies of a particle.
        threshold: effective number of particles, as a fraction, below which they are resampled.
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
        rotation_rate: float = 10.0,
        spacing: float = 1.0,
    ) -> None:
        if particles < 1 or strength < 0 or not 0 <= threshold <= 1 or churn <= 0:
            raise UsageError(
                f"particles {particles}, strength {strength}, threshold {threshold}, churn {churn}: particles must be "
                "at least 1, strength not negative, threshold from 0 to 1, and churn positive, as it separates copies"
            )
        self.euler = Euler(steps, rotation_rate=rotation_rate, churn=churn, spacing=spacing)
        self.steps = steps
        self.particles = particles
        self.strength = strength
        self.threshold = threshold

    @torch.no_grad()
    def sample(self, denoiser: Denoiser, space: Space, task: SamplingTask) -> State:
        """The particle with the lowest energy for each generator of the task.

        Raises:
            ConfigError: if the task has an energy and the space is not observable.
        """
        # One state for each particle, each a whole batch: guides and conditions belong to the batch. All draws of a
        # sample come from its own stream, so it does not depend on its neighbours.
        xs = [begin(denoiser.path, space, task) for _ in range(self.particles)]
        estimates: list[State | None] = [None] * self.particles
        b = len(task.mask)
        logs = torch.zeros(b, self.particles, device=task.mask.device)
        before = torch.zeros_like(logs)
        for number, (t, s) in enumerate(time_grid(self.steps, self.euler.spacing, task.start_time)):
            times = torch.full((b,), t, device=task.mask.device)
            found = [denoiser.denoise(x, times, task.cond, own) for x, own in zip(xs, estimates, strict=True)]
            energies = self.energies(space, task, found)
            logs = logs - self.strength * (energies - before)
            before = energies
            picks = self.resample(logs, task.generators)
            moved = (picks != torch.arange(self.particles, device=picks.device)).any(-1)
            logs = torch.where(moved[:, None], torch.zeros_like(logs), logs)
            xs, found = gather(xs, picks), gather(found, picks)
            before = before.gather(1, picks)
            step = Step(t, s, denoiser.path, space, task)
            xs = [self.euler.advance(x, own, step) for x, own in zip(xs, found, strict=True)]
            estimates = list(found)
            if task.on_step is not None:
                task.on_step(number, xs[0], found[0])
        best = self.energies(space, task, xs).argmin(1, keepdim=True)
        return gather(xs, best)[0]

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

    def resample(self, logs: Float[Tensor, "b p"], generators: Sequence[Generator]) -> Tensor:
        """The particle that each place takes, (b, p): by systematic resampling where weights are uneven."""
        weights = logs.softmax(-1)
        picks = torch.arange(self.particles, device=logs.device).repeat(len(logs), 1)
        for row, generator in enumerate(generators):
            if effective_size(weights[row]) <= self.threshold * self.particles:
                picks[row] = systematic(weights[row], float(torch.rand((), generator=generator)))
        return picks


def gather(states: list[State], picks: Tensor) -> list[State]:
    """The particles picked in each row: one state for each column of `picks` (b, k)."""
    rows = torch.arange(len(picks), device=picks.device)
    stacked = {name: torch.stack([state[name] for state in states]) for name in states[0].fields}
    mask = states[0].mask
    return [State({name: value[column, rows] for name, value in stacked.items()}, mask) for column in picks.unbind(1)]
