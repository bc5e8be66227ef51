"""The interface of conditions y: one class with three faces, to learn, to enforce, and to measure.

Knows nothing of proteins: what is measured is opaque here.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.types import Batch


@dataclass(frozen=True)
class Adherence:
    """How well one design met one condition: what was asked, what came out, and whether that will do.

    Attributes:
        condition: name of the condition.
        asked, got: as they are shown and written to JSON.
        difference: distance from the request, 0 where met exactly; its unit is the condition's.
        satisfied: whether the difference is within `tolerance`.
        tolerance: the limit used.
    """

    condition: str
    asked: Any
    got: Any
    difference: float
    satisfied: bool
    tolerance: float


class Condition(ABC):
    """A request y. Subclasses are frozen dataclasses whose fields are the request.

    Attributes:
        name: the registry name.
    """

    name: ClassVar[str]

    @abstractmethod
    def adherence(self, outcome: Any) -> Adherence:
        """Measure y on an outcome and compare it with the request."""

    def check_length(self, length: int) -> None:  # noqa: B027 - most conditions fit any length
        """Raise ConflictError if the request cannot hold for that many residues."""


class LearnedCondition(Condition):
    """A condition a family can be trained on: features with a flag that says whether they are given.

    Attributes:
        residue_dim: width of its features of each residue.
        whole_dim: width of its features of the whole structure.
    """

    residue_dim: ClassVar[int] = 0
    whole_dim: ClassVar[int] = 0

    @classmethod
    @abstractmethod
    def from_data(cls, batch: Batch, rng: Generator) -> Tensor:
        """Features of real examples, dropped at random as training needs: (b, l, residue_dim) or (b, whole_dim)."""

    @classmethod
    @abstractmethod
    def unknown(cls, mask: Bool[Tensor, "b l"]) -> Tensor:
        """Features that say nothing: the null token."""

    @abstractmethod
    def features(self, mask: Bool[Tensor, " l"]) -> Float[Tensor, "..."]:
        """Features of the request for one design: (l, residue_dim) or (whole_dim,)."""


def random_rows(count: int, probability: float, rng: Generator) -> Bool[Tensor, " b"]:
    """A random choice of rows: True with the given probability."""
    return torch.rand(count, generator=rng) < probability
