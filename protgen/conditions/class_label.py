"""A class, by number: a digit, a fold class, whatever the data call `class_label`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.conditions.base import Adherence, LearnedCondition, random_rows
from protgen.conditions.quantities import is_whole
from protgen.errors import UsageError
from protgen.types import Batch

CLASSES = 10  # the most classes: ten for digits and CIFAR-10; folds have three or four


@dataclass(frozen=True)
class Labelled:
    """A sample with labels from a classifier, an annotation or an experiment.

    Attributes:
        class_label: number of its class, -1 for none.
        fields: further labels by the name of their field.
    """

    class_label: int = -1
    fields: Mapping[str, str | float] = field(default_factory=dict)


@dataclass(frozen=True)
class ClassLabel(LearnedCondition):
    """One of at most ten classes.

    Args:
        index: number of the class, from 0.

    Raises:
        UsageError: if there is no such class.
    """

    index: int

    name: ClassVar[str] = "class_label"
    global_dim: ClassVar[int] = CLASSES + 1
    requires: ClassVar[tuple[str, ...]] = ("class_label",)
    dropout: ClassVar[float | None] = 0.2  # for guidance
    measurable: ClassVar[bool] = False

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """The fourth class."""
        return {"index": 3}

    def __post_init__(self) -> None:
        if not is_whole(self.index) or not 0 <= self.index < CLASSES:
            raise UsageError(f"class_label {self.index!r}: classes are numbered from 0 to {CLASSES - 1}")

    def adherence(self, structure: Any) -> Adherence:
        """Whether the class of a `Labelled` sample is the requested one.

        Raises:
            UsageError: for a sample without a class; a classifier must give it one first.
        """
        if not isinstance(structure, Labelled):
            kind = type(structure).__name__
            raise UsageError(f"class_label cannot be measured on a {kind}; classify it first and give a Labelled")
        off = float(structure.class_label != self.index)
        return Adherence(self.name, self.index, structure.class_label, off, off == 0, 0.0)

    @classmethod
    def from_data(cls, batch: Batch, rng: Generator, dropout: float | None = None) -> Tensor:
        """One-hot `class_label` (b,) and the flag, unknown in a fifth of examples and where the class is -1."""
        labels = batch["class_label"].long()
        if bool((labels >= CLASSES).any()):
            raise UsageError(f"class_label {int(labels.max())} in the data; classes are 0 to {CLASSES - 1}")
        given = ~random_rows(len(labels), cls.rate(dropout), rng).to(labels.device) & (labels >= 0)
        return one_hot(labels.clamp(min=0)) * given[:, None]

    @classmethod
    def unknown(cls, mask: Bool[Tensor, "b l"]) -> Tensor:
        """No class."""
        return torch.zeros(len(mask), cls.global_dim, device=mask.device)

    def features(self, mask: Bool[Tensor, " l"]) -> Float[Tensor, " g"]:
        """One-hot and the flag."""
        return one_hot(torch.tensor([self.index]))[0]


def one_hot(labels: Tensor) -> Float[Tensor, "b g"]:
    """Columns of the classes and one that says that a class is given."""
    columns = torch.nn.functional.one_hot(labels, CLASSES).float()
    return torch.cat([columns, torch.ones_like(columns[:, :1])], dim=-1)
