"""What of a structure each condition refers to: the whole assembly, or one protomer of a symmetric one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from protgen.conditions.base import Adherence, Condition
from protgen.conditions.roles import Assembly


def evaluators(conditions: Sequence[Condition]) -> list["ConditionEvaluator"]:
    """Evaluators of conditions that hold together: in an assembly, most refer to the first chain.

    Conditions that no structure shows are left out.
    """
    symmetric = any(isinstance(condition, Assembly) for condition in conditions)
    return [
        ConditionEvaluator(condition, symmetric and not condition.whole_assembly)
        for condition in conditions
        if condition.measurable
    ]


class ConditionEvaluator:
    """A condition, compared with the part of a structure that it refers to.

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

    def adherence(self, structure: Any) -> Adherence:
        """Measure y on a structure and compare it with the request."""
        if self.first_chain and len(structure.chains) > 1:
            first = structure.select(structure.chain_ids == structure.chains[0])
            structure = replace(first, name=structure.name)
        return self.condition.adherence(structure)
