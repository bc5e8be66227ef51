"""The particle with the lowest energy: an optimiser over the particles of sequential Monte Carlo, and no draw.

Its samples follow no stated law: the more particles, the lower their energies and the less their diversity. Use `smc`
for draws of p(x) exp(-strength E(x)).
"""

from torch import Tensor

from protgen.samplers.base import Denoiser, Sampler, SamplingTask
from protgen.samplers.smc import SequentialMonteCarlo, gather
from protgen.spaces.base import Space
from protgen.types import State


class BestParticle(Sampler):
    """`smc`, of whose particles the one with the lowest energy is kept.

    Args:
        steps: number of steps, as in `SequentialMonteCarlo`, and so are the others.
        particles: for each sample.
        strength: factor of the energy in the exponent.
        churn: rate at which noise is exchanged.
        threshold: effective number of particles, as a fraction, below which they are resampled.
        pull: longest twist of a step, in standard deviations of its fresh noise.
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
        self.particles = SequentialMonteCarlo(
            steps, particles, strength, churn, threshold, pull, rotation_rate, spacing
        )

    def sample(self, denoiser: Denoiser, space: Space, task: SamplingTask) -> State:
        """The particle with the lowest energy for each generator of the task; the first where there is no energy.

        Raises:
            ConfigError: if the task has an energy and the space is not observable.
        """
        xs, _, energies = self.particles.population(denoiser, space, task)
        best: Tensor = energies.argmin(1, keepdim=True)
        return gather(xs, best)[0]
