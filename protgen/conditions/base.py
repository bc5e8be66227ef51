"""The interface of conditions y: one class with three faces, to learn, to enforce, and to measure.

Knows nothing of proteins: what is measured is opaque here.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, overload

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.errors import UsageError
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

    Conditions compose: `a & b` holds both, `2.0 * a` gives one more weight.

    Attributes:
        name: the registry name.
        whole_assembly: whether it speaks of all chains of an assembly together; the others speak of one protomer.
    """

    name: ClassVar[str]
    whole_assembly: ClassVar[bool] = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """The condition of a short text, as a flag or a scalar of a YAML file gives it.

        Raises:
            UsageError: if the text cannot be read, or the condition has no short form.
        """
        raise UsageError(f"{cls.name} has no short form, got {text!r}; give its fields as a mapping")

    @abstractmethod
    def adherence(self, outcome: Any) -> Adherence:
        """Measure y on an outcome and compare it with the request."""

    def check_length(self, length: int) -> None:  # noqa: B027 - most conditions fit any length
        """Raise ConflictError if the request cannot hold for that many residues."""

    def __and__(self, other: "Condition | Conditions") -> "Conditions":
        """Both requests."""
        return Conditions.of(self) & other

    def __mul__(self, weight: float) -> "Conditions":
        """The request with a weight."""
        return Conditions.of(self) * weight

    __rmul__ = __mul__


class EnergyCondition(Condition):
    """A condition that says which way to go: a differentiable energy of coordinates, for any iterative family.

    Energies are scaled so that one gradient step of weight 1 (Å per unit of gradient) goes most of the way to where
    the request is met: weights of different conditions then mean the same.

    Attributes:
        local: whether it is about a few residues, which must not be moved alone: its gradient goes through the network
            then (`samplers/energy.py`).
    """

    local: ClassVar[bool] = False

    @abstractmethod
    def energy(self, xyz: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """How far structures are from the request; 0 where met, each row's from that row alone.

        Args:
            xyz: backbone atoms N, CA, C, O, Å.
            mask: True where a residue is real, a run from the first on; rows may have other lengths.
        """


class LearnedCondition(Condition):
    """A condition a family can be trained on: features with a flag that says whether they are given.

    Attributes:
        residue_dim: width of its features of each residue.
        whole_dim: width of its features of the whole structure.
        pair_dim: width of its features of pairs of residues.
    """

    residue_dim: ClassVar[int] = 0
    whole_dim: ClassVar[int] = 0
    pair_dim: ClassVar[int] = 0

    @classmethod
    @abstractmethod
    def from_data(cls, batch: Batch, rng: Generator) -> Tensor:
        """Features of real examples, dropped at random as training needs.

        Returns:
            (b, l, residue_dim), (b, whole_dim) or (b, l, l, pair_dim).
        """

    @classmethod
    @abstractmethod
    def unknown(cls, mask: Bool[Tensor, "b l"]) -> Tensor:
        """Features that say nothing: the null token."""

    @abstractmethod
    def features(self, mask: Bool[Tensor, " l"]) -> Float[Tensor, "..."]:
        """Features of the request for one design: (l, residue_dim), (whole_dim,) or (l, l, pair_dim)."""


def random_rows(count: int, probability: float, rng: Generator) -> Bool[Tensor, " b"]:
    """A random choice of rows: True with the given probability."""
    return torch.rand(count, generator=rng) < probability


@dataclass(frozen=True)
class Conditions(Sequence[Condition]):
    """Requests that hold together, each with a weight.

    Attributes:
        items: the requests.
        weights: as many; 1 by default.

    Raises:
        UsageError: if a weight is negative or not finite.

    Example:
        >>> from protgen.conditions.length import Length
        >>> from protgen.conditions.fractions import Fractions
        >>> both = Length(80) & 2.0 * Fractions(helix=0.5)
        >>> [condition.name for condition in both], both.weights
        (['length', 'fractions'], (1.0, 2.0))
    """

    items: tuple[Condition, ...] = ()
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.weights:
            object.__setattr__(self, "weights", (1.0,) * len(self.items))
        assert len(self.weights) == len(self.items)
        for condition, weight in zip(self.items, self.weights, strict=True):
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
                raise UsageError(f"{condition.name} has the weight {weight!r}; give a number that is not negative")
        object.__setattr__(self, "weights", tuple(float(weight) for weight in self.weights))

    @classmethod
    def of(cls, given: "Condition | Sequence[Condition]") -> "Conditions":
        """One request, or several, as a collection; a collection stays as it is."""
        if isinstance(given, Conditions):
            return given
        return cls((given,)) if isinstance(given, Condition) else cls(tuple(given))

    def __and__(self, other: "Condition | Conditions") -> "Conditions":
        if not isinstance(other, Condition | Conditions):
            return NotImplemented
        more = Conditions.of(other)
        return Conditions(self.items + more.items, self.weights + more.weights)

    def __mul__(self, weight: float) -> "Conditions":
        if not isinstance(weight, int | float):
            return NotImplemented
        return Conditions(self.items, tuple(weight * own for own in self.weights))

    __rmul__ = __mul__

    @overload
    def __getitem__(self, index: int) -> Condition: ...
    @overload
    def __getitem__(self, index: slice) -> "Conditions": ...
    def __getitem__(self, index: int | slice) -> "Condition | Conditions":
        if isinstance(index, slice):
            return Conditions(self.items[index], self.weights[index])
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Condition]:
        return iter(self.items)

    def weight(self, condition: Condition) -> float:
        """The weight of one of the requests; 1 for a request that is not among them."""
        return next((w for own, w in zip(self.items, self.weights, strict=True) if own is condition), 1.0)

    def replaced(self, old: Condition, new: Condition) -> "Conditions":
        """The collection with one request in the place of another, at the same weight."""
        return Conditions(tuple(new if own is old else own for own in self.items), self.weights)
