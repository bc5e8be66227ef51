"""Output layers that give the density of one position's coordinates.

A coordinate is on a line (R) or on a circle (angles in [-pi, pi)). Draws are functions of given uniform numbers: the
caller owns the randomness. They are computed on the CPU in float64, so that they are the same on every machine.
"""

from abc import ABC, abstractmethod

from jaxtyping import Bool, Float
from torch import Tensor, nn


class Density(nn.Module, ABC):
    """p(x | features) over a fixed set of coordinates.

    Attributes:
        uniforms: number of uniform numbers for a draw.
    """

    uniforms: int

    @abstractmethod
    def log_prob(
        self, features: Float[Tensor, "*n d"], x: Float[Tensor, "*n c"], observed: Bool[Tensor, "*n c"]
    ) -> Float[Tensor, "*n"]:
        """Log-density of the observed coordinates, nats; the others are marginalised.

        Args:
            features: of the position.
            x: coordinates.
            observed: which of them exist.
        """

    @abstractmethod
    def draw(
        self, features: Float[Tensor, "*n d"], uniforms: Float[Tensor, "*n u"], temperature: float
    ) -> Float[Tensor, "*n c"]:
        """A draw from the density to the power 1 / T^2 of a temperature T: standard deviations are T times theirs.

        Args:
            features: of the position.
            uniforms: uniform numbers.
            temperature: T.
        """
