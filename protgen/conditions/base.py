"""The interface of conditions y: one class with three roles, to learn, to enforce, and to measure.

Knows nothing of proteins: what is measured is opaque here.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, Self, overload

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.conditions.flags import Flag
from protgen.conditions.mechanisms import Capabilities
from protgen.conditions.plain import thawed
from protgen.errors import UsageError
from protgen.types import JSON, Batch


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


HEAVIEST = 100  # weight of a condition; beyond it guided steps give no coordinates
HIDDEN = ("tolerance", "checksum")  # fields that `Condition.describe` leaves out


class Condition(ABC):
    """A request y. Subclasses are frozen dataclasses whose fields are the request.

    Conditions compose: `a & b` holds both, `2.0 * a` gives one more weight.

    Attributes:
        name: the registry name.
        whole_assembly: whether it refers to all chains of an assembly together; the others refer to one protomer.
        measurable: whether a structure shows how well it is met.
        repeatable: whether a request may hold it more than once.
        flags: its options on the command line, as a literal tuple (`protgen.conditions.flags`).
        plain: whether its fields are plain values, which a file can hold.
        small_steps: whether designs meet it better in more and smaller steps, where it is learned too.
        large_steps: whether designs that it acts on are as good in larger steps than others that are acted on need.
    """

    name: ClassVar[str]
    whole_assembly: ClassVar[bool] = False
    measurable: ClassVar[bool] = True
    repeatable: ClassVar[bool] = False
    flags: ClassVar[tuple[Flag, ...]] = ()
    plain: ClassVar[bool] = True
    small_steps: ClassVar[bool] = False
    large_steps: ClassVar[bool] = False

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """Fields of a request for chains of 24 residues that a crumpled helix does not meet, for tests.

        Args:
            file: a structure file of such a chain, A 1-24.
        """
        return {}

    @property
    def learned_name(self) -> str:
        """The name under which a model that has learned the condition knows it."""
        return self.name

    @classmethod
    def parse(cls, text: str) -> Self:
        """The condition of a short text, as a flag or a scalar of a YAML file gives it.

        Raises:
            UsageError: if the text cannot be read, or the condition has no short form.
        """
        raise UsageError(f"{cls.name} has no short form, got {text!r}; give its fields as a mapping")

    @abstractmethod
    def adherence(self, structure: Any) -> Adherence:
        """Measure y on a structure and compare it with the request."""

    def mechanisms(self, model: Capabilities) -> frozenset[str]:
        """The mechanisms (`protgen.conditions.mechanisms`) by which a model can meet it; none if it cannot.

        Features, where the model was trained on it; ranking, where a structure shows how well it is met.
        """
        learned = {"learned"} if self.learned_name in model.learned else set()
        return frozenset(learned | ({"rank"} if self.measurable else set()))

    def lengths(self) -> tuple[int, int] | None:
        """Fewest and most residues of a design that meets it, where it says so; None otherwise."""
        return None

    def check_length(self, length: int) -> None:  # noqa: B027 - most conditions fit any length
        """Raise ConflictError if the request cannot hold for that many residues."""

    def conflicts_with(self, other: "Condition") -> str | None:
        """Why no design can meet both, in a line that names both; None if one can. It is enough that one side knows."""
        return None

    def check_generation(self) -> None:  # noqa: B027 - most conditions can be made
        """Raise UsageError if structures can be measured against it but none can be made for it."""

    def cautions(self, lengths: Sequence[int]) -> list[str]:
        """Lines of warning: what can be tried but is unusual, or may not be as it was meant; none by default.

        Args:
            lengths: at which the request can hold, ascending.
        """
        return []

    @property
    def guided(self) -> float:
        """What the weight of the request is multiplied by in classifier-free guidance."""
        return 1.0

    def coarser(self) -> "Sequence[tuple[Condition, float]]":
        """Requests for less of the same, each with what guidance away from it has in addition; none by default."""
        return ()

    def describe(self) -> str:
        """The request in words, one line, for `protgen check`; its fields unless a class says it better."""
        if not is_dataclass(self):
            return repr(self)
        values = {entry.name: thawed(getattr(self, entry.name)) for entry in fields(self) if entry.name not in HIDDEN}
        return ", ".join(f"{key} {value}" for key, value in values.items() if value not in (None, []))

    def details(self) -> list[str]:
        """Further lines for `protgen check`, such as a drawing; none by default."""
        return []

    def __and__(self, other: "Condition | Conditions") -> "Conditions":
        """Both requests."""
        return Conditions.of(self) & other

    def __mul__(self, weight: float) -> "Conditions":
        """The request with a weight."""
        return Conditions.of(self) * weight

    __rmul__ = __mul__


class EnergyCondition(Condition):
    """A condition with a gradient: a differentiable energy of coordinates, for any iterative family.

    Energies are scaled so that one gradient step of weight 1 (Å per unit of gradient) goes most of the way to where
    the request is met: weights of different conditions then mean the same.

    Attributes:
        local: whether it is about a few residues, which must not be moved alone: its gradient goes through the network
            then (`samplers/energy.py`).
        in_frame: whether its coordinates are those of the file that a motif or a structure to start from comes from,
            where one is asked for: the energy is then evaluated in that frame.
        invariant: whether rigid motions leave its energy as it is.
        descends: whether gradient steps of weight 1 on free atoms meet the request from anywhere.
    """

    local: ClassVar[bool] = False
    in_frame: ClassVar[bool] = False
    invariant: ClassVar[bool] = True
    descends: ClassVar[bool] = True

    def mechanisms(self, model: Capabilities) -> frozenset[str]:
        """In addition to the mechanisms of other conditions: the gradient of its energy."""
        return super().mechanisms(model) | ({"energy"} if model.energies else set())

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
        global_dim: width of its features of the whole structure.
        pair_dim: width of its features of pairs of residues.
        requires: fields of a batch that the features are computed from.
        dropout: fraction of training examples in which it is unknown; None where it cannot be set.
        several_chains: whether the features are right for examples of several chains, with positions between them that
            are no residues.
    """

    residue_dim: ClassVar[int] = 0
    global_dim: ClassVar[int] = 0
    pair_dim: ClassVar[int] = 0
    requires: ClassVar[tuple[str, ...]] = ()
    dropout: ClassVar[float | None] = None
    several_chains: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def from_data(cls, batch: Batch, rng: Generator, dropout: float | None = None) -> Tensor:
        """Features of real examples, unknown in a random fraction of them.

        Args:
            batch: the examples; it has the fields of `requires`.
            rng: the random stream of this step.
            dropout: the fraction, in place of the condition's own.

        Returns:
            (b, l, residue_dim), (b, global_dim) or (b, l, l, pair_dim).
        """

    @classmethod
    @abstractmethod
    def unknown(cls, mask: Bool[Tensor, "b l"]) -> Tensor:
        """Features that say nothing: the null token."""

    @abstractmethod
    def features(self, mask: Bool[Tensor, " l"]) -> Float[Tensor, "..."]:
        """Features of the request for one design: (l, residue_dim), (global_dim,) or (l, l, pair_dim)."""

    @classmethod
    def rate(cls, dropout: float | None) -> float:
        """A dropout that is given, else the condition's own."""
        return (cls.dropout or 0.0) if dropout is None else dropout


class ConditionFeatures(ABC):
    """The features of one learned condition of a model.

    Attributes:
        name: under which the model knows the condition: `length`, `label:ec_class`.
        requires: fields that a batch must have.
        residue_dim, global_dim, pair_dim: widths of the features; all but one are 0.
        dropout: fraction of training examples in which the condition is unknown; None where it cannot be set.
    """

    name: str
    requires: tuple[str, ...]
    residue_dim: int = 0
    global_dim: int = 0
    pair_dim: int = 0
    dropout: float | None = None

    @abstractmethod
    def from_data(self, batch: Batch, rng: Generator, dropout: float | None = None) -> Tensor:
        """Features of real examples, unknown in a random fraction of them.

        Args:
            batch: the examples.
            rng: the random stream of this step.
            dropout: the fraction, in place of the condition's own.

        Returns:
            (b, l, residue_dim), (b, global_dim) or (b, l, l, pair_dim).
        """

    @abstractmethod
    def unknown(self, mask: Bool[Tensor, "b l"]) -> Tensor:
        """Features of a condition that is not given: the null token."""

    @abstractmethod
    def of(self, condition: Condition, mask: Bool[Tensor, " l"]) -> Float[Tensor, "..."]:
        """Features of a request for one design, without the axis of the batch.

        Raises:
            UsageError: if the model cannot have learned what is asked.
        """


class FieldCondition(Condition):
    """A condition on a field of the data, which is named in the request and in the model's config.

    Its features depend on the vocabulary or the scale of the field, which the config holds.

    Attributes:
        default_field: the field where none is named; empty where one must be.
        build_option: of `protgen data build`, which makes such a field; COLUMN stands for a column of the index.
    """

    default_field: ClassVar[str] = ""
    build_option: ClassVar[str] = "--label COLUMN={field}"

    @classmethod
    @abstractmethod
    def settings_of(cls, field: Any) -> JSON:
        """The settings that a model's config holds of a `protgen.data.fields.Field`, as `features_of` takes them.

        Raises:
            ConfigError: if the condition cannot be learned from such a field.
        """

    @classmethod
    @abstractmethod
    def features_of(cls, settings: JSON) -> ConditionFeatures:
        """The features for the settings of a model's config.

        Raises:
            ConfigError: if the settings are incomplete.
        """


def random_rows(count: int, probability: float, rng: Generator) -> Bool[Tensor, " b"]:
    """A random choice of rows: True with the given probability.

    Args:
        count: number of rows.
        probability: of True.
        rng: the random stream.
    """
    return torch.rand(count, generator=rng) < probability


@dataclass(frozen=True)
class Conditions(Sequence[Condition]):
    """Requests that hold together, each with a weight.

    Attributes:
        items: the requests.
        weights: as many; 1 by default.

    Raises:
        UsageError: if a weight is negative, or no number up to `HEAVIEST`.

    Examples:
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
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= HEAVIEST:
                raise UsageError(
                    f"{condition.name} has the weight {str(weight)[:40]}; give a number from 0 to {HEAVIEST:,}"
                )
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
