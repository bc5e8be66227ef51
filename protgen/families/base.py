"""The interface of generative families. Knows nothing of proteins."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from protgen.encoders.base import Encoder
from protgen.samplers.base import Denoiser
from protgen.spaces.base import Space
from protgen.types import Conditioning, Losses, State

LikelihoodKind = Literal["exact", "lower_bound", "estimate"]


class Family(nn.Module, ABC):
    """A way to learn p(x | y): an encoder over a space, and a loss.

    Args:
        space: where x lives.
        encoder: the network; its symmetry must fit the space.
    """

    space: Space
    encoder: Encoder
    autocast_dtype: torch.dtype | None = None  # a matter of the machine, not of the model: set by its user

    @abstractmethod
    def loss(self, x_data: State, cond: Conditioning, rng: Generator) -> Losses:
        """Training loss of a batch of points.

        Args:
            x_data: points of the space.
            cond: their y, already dropped where it is to be unknown.
            rng: generator on the CPU; all randomness of the loss comes from it.
        """

    @abstractmethod
    def denoiser(self) -> Denoiser:
        """The family as what a sampler may ask for: E[x_data | x_t, y]."""


@dataclass(frozen=True)
class Likelihood:
    """Log-probability of each example in nats, and what kind of number it is."""

    nats: Float[Tensor, " b"]
    kind: LikelihoodKind


class LikelihoodFamily(Protocol):
    """A family that can also judge: tested with isinstance on concrete families that declare it."""

    def log_prob(self, x_data: State, cond: Conditioning, rng: Generator) -> Likelihood:
        """Log-probability of points of the space."""
        ...
