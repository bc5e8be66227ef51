"""Whether the conditions are met: asked, got, difference and verdict for every structure."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from protgen.errors import ProtgenError
from protgen.metrics.base import Quantity, Value
from protgen.registry import is_foreign
from protgen.structure.protein import Protein


class Evaluator(Protocol):
    """The evaluator role of a condition (`protgen.conditions.base.Condition`)."""

    @property
    def name(self) -> str:
        """The registry name."""
        ...

    def adherence(self, structure: Any, /) -> Any:
        """An `Adherence`: asked, got, difference, satisfied, tolerance."""
        ...


def adherence_row(protein: Protein, conditions: Sequence[Evaluator]) -> dict[str, Value]:
    """Columns NAME_asked, NAME_got, NAME_difference and NAME_satisfied (1 or 0) of every condition.

    A condition that cannot be measured on this protein, for instance because the lengths differ, is not
    satisfied; its difference is NaN and `got` holds the reason. So it is where the code of another package fails.
    """
    row: dict[str, Value] = {}
    for condition in conditions:
        name = condition.name
        try:
            met = condition.adherence(protein)
        except Exception as error:
            if not isinstance(error, ProtgenError) and not is_foreign(type(getattr(condition, "condition", condition))):
                raise
            row |= {f"{name}_asked": "", f"{name}_got": reason_of(error), f"{name}_difference": np.nan}
            row[f"{name}_satisfied"] = 0.0
            continue
        row |= {
            f"{name}_asked": str(met.asked),
            f"{name}_got": str(met.got),
            f"{name}_difference": float(met.difference),
            f"{name}_satisfied": float(met.satisfied),
        }
    return row


def reason_of(error: Exception) -> str:
    """Why a condition could not be measured, in one line; errors of other packages' code with their type."""
    text = str(error) if isinstance(error, ProtgenError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())


def adherence_columns(conditions: Sequence[Evaluator]) -> tuple[list[Quantity], list[str]]:
    """The quantities to summarise and the text columns."""
    quantities, labels = [], []
    for condition in conditions:
        name = condition.name
        quantities += [
            Quantity(f"{name}_difference", "", "lower", f"distance from the requested {name}; 0 where met exactly"),
            Quantity(f"{name}_satisfied", "fraction", "higher", f"1 if {name} is met within its tolerance"),
        ]
        labels += [f"{name}_asked", f"{name}_got"]
    return quantities, labels
