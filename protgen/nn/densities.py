"""Densities of one position's coordinates given features: what a network's last layer can be besides a point estimate.

A coordinate is on a line (R) or on a circle (angles in [-pi, pi)). Draws are a function of given uniform numbers, so
that randomness is the caller's, and are made on the CPU in float64, so that they are the same on every machine.
"""

from abc import ABC, abstractmethod

from jaxtyping import Bool, Float
from torch import Tensor, nn


class Density(nn.Module, ABC):
    """p(x | features) over a fixed set of coordinates.

    Attributes:
        uniforms: how many uniform numbers a draw takes.
    """

    uniforms: int

    @abstractmethod
    def log_prob(
        self, features: Float[Tensor, "*n d"], x: Float[Tensor, "*n c"], observed: Bool[Tensor, "*n c"]
    ) -> Float[Tensor, "*n"]:
        """Log-density of the observed coordinates, nats; those not observed are left out."""

    @abstractmethod
    def draw(
        self, features: Float[Tensor, "*n d"], uniforms: Float[Tensor, "*n u"], temperature: float
    ) -> Float[Tensor, "*n c"]:
        """A draw from the density sharpened (below 1) or flattened (above 1) by a temperature."""
