"""What of an outcome each condition speaks of: the whole assembly, or one protomer of a symmetric one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from protgen.conditions.base import Adherence, Condition
from protgen.conditions.symmetry import Symmetry


def judges(conditions: Sequence[Condition]) -> list["Judgement"]:
    """The measuring faces of conditions that hold together: beside a symmetry, most speak of the first chain."""
    symmetric = any(isinstance(condition, Symmetry) for condition in conditions)
    return [Judgement(condition, symmetric and not condition.whole_assembly) for condition in conditions]


class Judgement:
    """A condition, held against the part of the outcome that it speaks of.

    Args:
        condition: the request.
        first_chain: whether it is measured on the first chain alone.
    """

    def __init__(self, condition: Condition, first_chain: bool) -> None:
        self.condition = condition
        self.first_chain = first_chain

    @property
    def name(self) -> str:
        """The registry name."""
        return self.condition.name

    def adherence(self, outcome: Any) -> Adherence:
        """Measure y on an outcome and compare it with the request."""
        if self.first_chain and len(outcome.chains) > 1:
            first = outcome.select(outcome.chain_ids == outcome.chains[0])
            outcome = replace(first, name=outcome.name)
        return self.condition.adherence(outcome)
