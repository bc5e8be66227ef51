"""Density and sampling of autoregressive models."""

from dataclasses import dataclass

from protgen.errors import UsageError


@dataclass(frozen=True)
class AutoregressiveSettings:
    """Density and sampling of an autoregressive model.

    Attributes:
        components: of the mixture.
        bins: number of bins of each coordinate's histogram, in place of the mixture; 0 for the mixture. Where the
            values of the space are discrete (pixels), the histogram is over these values instead.
        width: of the layers between encoder and density.
        window: how many preceding positions the density layer reads directly.
        plan_dim: width of the network that reads y ahead.
        exposure_noise: noise on the encoder's input in training, in units of each field's scale, so that a model is
            trained on contexts like its own samples (Bengio et al. 2015 on exposure bias).
        candidates: draws at each position when sampling, of which an admissible one is chosen.
        particles: samples grown side by side for each sample. Particles with few admissible draws, or none, may be
            replaced by copies of others.
        twist: power of the promise of beginnings (`Promising`) in the weights of particles; 0 for none. Samples then
            are of p(x | y) times that of the whole to this power, and what likelihoods are of stays p(x | y).

    Raises:
        UsageError: if a number is out of range.
    """

    components: int = 24
    bins: int = 0
    width: int = 256
    window: int = 6
    plan_dim: int = 64
    exposure_noise: float = 0.0
    candidates: int = 8
    particles: int = 1
    twist: float = 0.0

    def __post_init__(self) -> None:
        if self.candidates < 1 or self.particles < 1:
            raise UsageError(
                f"autoregressive: candidates {self.candidates} and particles {self.particles} are at least 1"
            )
        if self.twist < 0 or (self.twist > 0 and self.particles == 1):
            raise UsageError(
                f"autoregressive: twist {self.twist:g} weighs particles; give 0, or more with particles above 1"
            )
        if min(self.bins, self.window, self.plan_dim, self.exposure_noise) < 0 or min(self.components, self.width) < 1:
            raise UsageError(
                "autoregressive: components and width are at least 1; bins, window, plan_dim and exposure_noise cannot "
                "be negative"
            )
