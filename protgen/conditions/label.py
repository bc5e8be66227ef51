"""A label of a laboratory: what a column of its data says of each chain, such as `ec_class=3` or `melting=62.5`.

`protgen data build --label COLUMN` makes a field of categories and `--quantity COLUMN` one of numbers; a model learns
it by `conditions.names=[length,label:FIELD]`.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.conditions.base import Adherence, Condition, ConditionFeatures, FieldCondition, random_rows
from protgen.conditions.class_label import Labelled
from protgen.conditions.flags import Flag
from protgen.data.fields import Field
from protgen.documents import number_in
from protgen.errors import ConfigError, UsageError
from protgen.registry import nearest
from protgen.types import JSON, Batch

DROPOUT = 0.2  # fraction of examples whose label is kept from the network, for guidance


@dataclass(frozen=True)
class Label(FieldCondition):
    """The value of a field of chains.

    Args:
        field: name of the field.
        value: a category, or a number in the unit of the data.
        tolerance: largest difference of a number that counts as met.

    Raises:
        UsageError: if the field or the value is empty, or a number is not finite.

    Examples:
        >>> Label.parse("ec_class=3")
        Label(field='ec_class', value='3', tolerance=0.0)
    """

    field: str
    value: str | int | float
    tolerance: float = 0.0

    name: ClassVar[str] = "label"
    measurable: ClassVar[bool] = False
    flags: ClassVar[tuple[Flag, ...]] = (
        Flag(
            "--label",
            "A label of the data that the model has learned, as in ec_class=3.",
            metavar="FIELD=VALUE",
            many=True,
        ),
    )

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """One value of a field."""
        return {"field": "ec_class", "value": "3"}

    def __post_init__(self) -> None:
        if not self.field or self.value == "":
            raise UsageError(f"label {self.field}={self.value}: give a field and a value, as in ec_class=3")
        if isinstance(self.value, float) and not math.isfinite(self.value):
            raise UsageError(f"label {self.field}={self.value}: give a finite number")

    @classmethod
    def parse(cls, text: str) -> "Label":
        """A label from `FIELD=VALUE`.

        Raises:
            UsageError: if there is no =, or nothing on one side of it.
        """
        field, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise UsageError(f"label {text!r}: write FIELD=VALUE, as in ec_class=3")
        return cls(field, value)

    @property
    def learned_name(self) -> str:
        """`label:` and the field."""
        return learned_name(self.field)

    def adherence(self, structure: Any) -> Adherence:
        """Compare with the label of a `Labelled` sample.

        Raises:
            UsageError: for a sample without that label; a classifier or an experiment must give it first.
        """
        if not isinstance(structure, Labelled) or self.field not in structure.fields:
            kind = type(structure).__name__
            raise UsageError(f"label {self.field} cannot be measured on a {kind}; give a Labelled that has it")
        got = structure.fields[self.field]
        same = isinstance(got, str)
        off = float(got != str(self.value)) if same else abs(number_of(self.field, self.value) - float(got))
        return Adherence(self.name, f"{self.field}={self.value}", got, off, off <= self.tolerance, self.tolerance)

    @classmethod
    def settings_of(cls, field: Field) -> JSON:
        """The vocabulary of a field of categories, or mean and standard deviation of a field of numbers.

        Raises:
            ConfigError: for a field that has neither, or is no single value for each chain.
        """
        plain: JSON = {"name": cls.name, "field": field.name}
        if field.per == "chain" and not field.shape and field.values is not None:
            return plain | {"values": list(field.values)}
        if field.per == "chain" and not field.shape and field.mean is not None and field.std is not None:
            return plain | {"mean": field.mean, "std": field.std}
        raise ConfigError(
            f"condition {learned_name(field.name)}: the field is no label of chains; "
            f"`protgen data build --label COLUMN={field.name}` (or --quantity) makes one"
        )

    @classmethod
    def features_of(cls, settings: JSON) -> ConditionFeatures:
        """Categories where the settings have `values`, a number where they have `mean` and `std`.

        Raises:
            ConfigError: if they have neither.
        """
        field = settings.get("field")
        if not isinstance(field, str):
            raise ConfigError("condition label names no field; write label:FIELD, or {name: label, field: FIELD}")
        if settings.keys() == {"name", "field", "values"}:
            return Category(field, tuple(str(value) for value in settings["values"]))
        if settings.keys() == {"name", "field", "mean", "std"}:
            return Quantity(field, float(settings["mean"]), float(settings["std"]))
        raise ConfigError(
            f"condition {learned_name(field)} has neither values nor mean and std; training takes them from the store"
        )


def learned_name(field: str) -> str:
    """The name under which a model knows the label of a field."""
    return f"{Label.name}:{field}"


def number_of(field: str, value: str | int | float) -> float:
    """The number of a value.

    Raises:
        UsageError: if it is none.
    """
    try:
        number = number_in(value) if isinstance(value, str) else float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"label {field}={value}: {field} is a quantity; give a number")
    return number


class Category(ConditionFeatures):
    """A field of categories: a column for each category, and one that says that the category is given.

    Args:
        field: name of the field.
        values: the categories in the order of their codes.
    """

    dropout = DROPOUT

    def __init__(self, field: str, values: tuple[str, ...]) -> None:
        self.field, self.values = field, values
        self.name, self.requires, self.global_dim = learned_name(field), (field,), len(values) + 1

    def from_data(self, batch: Batch, rng: Generator, dropout: float | None = None) -> Tensor:
        """One-hot codes; a code of -1 is unknown."""
        codes = batch[self.field].long()
        if bool((codes >= len(self.values)).any()):
            raise ConfigError(f"{self.name}: the data have code {int(codes.max())} of {len(self.values)} categories")
        given = ~random_rows(len(codes), DROPOUT if dropout is None else dropout, rng).to(codes.device)
        return self.one_hot(codes.clamp(min=0)) * (given & (codes >= 0))[:, None]

    def unknown(self, mask: Bool[Tensor, "b l"]) -> Tensor:
        """Zeros."""
        return torch.zeros(len(mask), self.global_dim, device=mask.device)

    def of(self, condition: Condition, mask: Bool[Tensor, " l"]) -> Float[Tensor, " g"]:
        """One-hot code of the category asked for.

        Raises:
            UsageError: if the model has not seen that category.
        """
        assert isinstance(condition, Label)
        text = str(condition.value)
        if text not in self.values:
            raise UsageError(f"label {self.field}={text}: {nearest(text, list(self.values))}")
        return self.one_hot(torch.tensor([self.values.index(text)]))[0]

    def one_hot(self, codes: Tensor) -> Float[Tensor, "b g"]:
        """Columns of the categories, and ones for the flag."""
        columns = torch.nn.functional.one_hot(codes, len(self.values)).float()
        return torch.cat([columns, torch.ones_like(columns[:, :1])], dim=-1)


class Quantity(ConditionFeatures):
    """A field of numbers: (value - mean) / std, and a flag that says that it is given.

    Args:
        field: name of the field.
        mean: over the training split.
        std: standard deviation over the training split.
    """

    dropout = DROPOUT

    def __init__(self, field: str, mean: float, std: float) -> None:
        self.field, self.mean, self.std = field, mean, std
        self.name, self.requires, self.global_dim = learned_name(field), (field,), 2

    def from_data(self, batch: Batch, rng: Generator, dropout: float | None = None) -> Tensor:
        """Standardised numbers; NaN is unknown."""
        numbers = batch[self.field].float()
        given = ~random_rows(len(numbers), DROPOUT if dropout is None else dropout, rng).to(numbers.device)
        given = given & numbers.isfinite()
        return (
            torch.stack([((numbers - self.mean) / self.std).nan_to_num(), torch.ones_like(numbers)], -1)
            * given[:, None]
        )

    def unknown(self, mask: Bool[Tensor, "b l"]) -> Tensor:
        """Zeros."""
        return torch.zeros(len(mask), self.global_dim, device=mask.device)

    def of(self, condition: Condition, mask: Bool[Tensor, " l"]) -> Float[Tensor, " g"]:
        """The standardised number asked for, and the flag.

        Raises:
            UsageError: if the value is no number.
        """
        assert isinstance(condition, Label)
        return torch.tensor([(number_of(self.field, condition.value) - self.mean) / self.std, 1.0])
