"""Whether the copies of a symmetric assembly are made together, or one chain is made and its copies are docked."""

from collections.abc import Sequence
from dataclasses import replace

from protgen.conditions.base import Condition
from protgen.conditions.roles import Assembly, Ring, StartingStructure
from protgen.errors import UsageError
from protgen.generation.planner import Assignment

TOGETHER, DOCKED = "assembly", "construction"  # the mechanisms


def with_docking(
    assignments: Sequence[Assignment], lengths: Sequence[int], trained: tuple[int, int] | None, enforced: bool
) -> tuple[tuple[Assignment, ...], tuple[str, ...]]:
    """Assignments in which copies that cannot be made together are docked, and a line that says so.

    Args:
        assignments: of all conditions.
        lengths: of one chain, ascending.
        trained: shortest and longest chain the model has seen; None where it does not say.
        enforced: whether the copies are to be made together whatever else.

    Raises:
        UsageError: if that was enforced, and cannot be.
    """
    made = next((entry for entry in assignments if isinstance(entry.condition, Assembly)), None)
    if made is None or (made.mechanism != TOGETHER and TOGETHER in made.options):
        return tuple(assignments), ()
    reason = why_docked(assignments, lengths, trained) if made.mechanism == TOGETHER else "with this model"
    if not reason:
        return tuple(assignments), ()
    name = made.condition.name
    if enforced:
        raise UsageError(f"enforce {name}={TOGETHER}: {reason}")
    docked = tuple(replace(entry, mechanism=DOCKED) if entry is made else entry for entry in assignments)
    return docked, (f"{name} {made.condition.describe()}: {reason}: one chain is made, and its copies are docked",)


def copies_together(assignments: Sequence[Assignment]) -> int:
    """How many chains the network makes at once: all copies of an assembly, or one."""
    made = [e.condition for e in assignments if e.mechanism == TOGETHER and isinstance(e.condition, Assembly)]
    return len(made[0].operations()) if made else 1


def why_docked(assignments: Sequence[Assignment], lengths: Sequence[int], trained: tuple[int, int] | None) -> str:
    """Why the copies of a request cannot be made together; "" if they can. Arguments as of `with_docking`."""
    acting = [entry.condition.name for entry in assignments if acts_on_one_chain(entry)]
    if acting:
        return f"{acting[0]} acts on a single chain"
    copies = max(len(e.condition.operations()) for e in assignments if isinstance(e.condition, Assembly))
    most = copies * lengths[-1] if trained is None else trained[1]
    if copies * lengths[-1] > most:
        return (
            f"{copies} chains of {lengths[-1]} residues are more than the {most} that the model was trained on; "
            f"up to {most // copies} a chain are designed together"
        )
    return ""


def acts_on_one_chain(entry: Assignment) -> bool:
    """Whether a condition acts on the sampler in a way that knows of one chain alone."""
    condition: Condition = entry.condition
    return entry.mechanism in ("projection", "energy") or isinstance(condition, StartingStructure | Ring)
