"""Noise of curved fields by Brownian motion from the data: its standard deviation by the time.

References:
    De Bortoli et al. 2022, Riemannian Score-Based Generative Modelling.
    Yim et al. 2023, SE(3) Diffusion Model with Application to Protein Backbone Generation (FrameDiff), section 3.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from protgen.errors import ConfigError


@dataclass(frozen=True)
class Brownian(ABC):
    """Standard deviation s(t) of Brownian motion on curved fields, radians; rises from `low` to `high`.

    The slowest mode of the heat kernel decays as exp(-s^2) on rotations and exp(-s^2 / 2) on circles. So what is left
    of the data at t = 1 is 9/2 exp(-2 s^2) nats a rotation and exp(-s^2) nats a circle, s = `high`.

    Attributes:
        low: standard deviation at t = 0; 0.02 rad is 1.1 degrees.
        high: standard deviation at t = 1, where the field is uniform to good accuracy.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            raise ConfigError(f"standard deviations {self.low} and {self.high} of Brownian motion: give 0 < low < high")

    @abstractmethod
    def std(self, t: Tensor) -> Tensor:
        """s(t)."""

    @abstractmethod
    def slope(self, t: Tensor) -> Tensor:
        """Time derivative of s(t)."""

    def variance_slope(self, t: Tensor) -> Tensor:
        """Time derivative of s(t)^2, the g(t)^2 of the process: 2 s s'."""
        return 2 * self.slope(t) * self.std(t)

    @abstractmethod
    def at(self, t: float) -> float:
        """s(t) as a number."""


@dataclass(frozen=True)
class GeometricBrownian(Brownian):
    """s(t) = low^(1 - t) high^t: each step has the same ratio of standard deviations.

    Half of the times have less than 14 degrees of noise a coordinate, where a network need not turn anything: trained
    for a few thousand steps from nothing it learns no rotations (`benchmarks/ablation.md`). A network that begins from
    a trained flow knows them. At the default end 7e-8 nats a rotation are left, and 1.2e-4 nats a circle.
    """

    low: float = 0.02
    high: float = 3.0

    def std(self, t: Tensor) -> Tensor:
        """low^(1 - t) high^t."""
        return self.low * (t * math.log(self.high / self.low)).exp()

    def slope(self, t: Tensor) -> Tensor:
        """log(high / low) s."""
        return math.log(self.high / self.low) * self.std(t)

    def at(self, t: float) -> float:
        """s(t) as a number."""
        return self.low * (self.high / self.low) ** t


@dataclass(frozen=True)
class LinearBrownian(Brownian):
    """s(t) = low + t (high - low): the noise of a curved field rises as that of a flat field does.

    At half of the time a rotation is 94 degrees from its place on average, and 63 on the geodesics of flow matching.
    At the default end 3e-4 nats a rotation are left, and 8e-3 nats a circle.
    """

    low: float = 0.02
    high: float = 2.2

    def std(self, t: Tensor) -> Tensor:
        """low + t (high - low)."""
        return self.low + t * (self.high - self.low)

    def slope(self, t: Tensor) -> Tensor:
        """high - low."""
        return torch.full_like(t, self.high - self.low)

    def at(self, t: float) -> float:
        """s(t) as a number."""
        return self.low + t * (self.high - self.low)


BROWNIAN: Mapping[str, Callable[..., Brownian]] = {"geometric": GeometricBrownian, "linear": LinearBrownian}
