"""What is wrong with a set of conditions, said before any computing."""

from collections.abc import Sequence
from itertools import combinations
from typing import TypeVar

from protgen.conditions.base import Condition
from protgen.errors import ConflictError, UsageError
from protgen.models.bounds import MOST

T = TypeVar("T")

MOST_LENGTHS = 10_000  # lengths of a range that are tried one by one
LONGEST = MOST  # residues of a design, as a configuration may say at the most
SHORTEST = 3  # residues of a backbone that can be superposed


def check_conditions(conditions: Sequence[Condition]) -> Sequence[int]:
    """Check that conditions can hold together.

    Args:
        conditions: the requests; together they must fix or bound the length.

    Returns:
        All lengths at which they can, ascending.

    Raises:
        ConflictError: if two conditions cannot hold together; the message names both.
        UsageError: if no condition gives a length, or one is given twice.
    """
    for condition in conditions:
        if not condition.repeatable and sum(other.learned_name == condition.learned_name for other in conditions) > 1:
            raise UsageError(f"{condition.learned_name} is given twice; give it once")
    for first, second in combinations(conditions, 2):
        reason = first.conflicts_with(second) or second.conflicts_with(first)
        if reason:
            raise ConflictError(reason)
    lengths = feasible_lengths(conditions)
    for condition in conditions:
        condition.check_generation()
    return lengths


def length_warnings(lengths: Sequence[int], trained: tuple[int, int] | None) -> tuple[str, ...]:
    """A line where lengths are beyond those a model has seen: they can be tried.

    Args:
        lengths: at which a request can hold, ascending.
        trained: shortest and longest chain the model has seen, None where it does not say.
    """
    low, high = lengths[0], lengths[-1]
    if trained is None or (trained[0] <= low and high <= trained[1]):
        return ()
    shortest, longest = trained
    asked = str(low) if low == high else f"{low}-{high}"
    return (f"length {asked} is outside the {shortest}-{longest} residues the model was trained on; expect worse",)


def cautions(conditions: Sequence[Condition], lengths: Sequence[int]) -> tuple[str, ...]:
    """A line for each thing of a request that can be tried but is unusual, or may not be as it was meant.

    Args:
        conditions: the requests.
        lengths: at which they can hold, ascending.
    """
    return tuple(dict.fromkeys(line for condition in conditions for line in condition.cautions(lengths)))


def feasible_lengths(conditions: Sequence[Condition]) -> Sequence[int]:
    """All lengths at which each condition can hold, ascending.

    Raises:
        ConflictError: if there is none; the message names the two that clash.
        UsageError: if no condition bounds the length.
    """
    bounds = [(condition, *own) for condition in conditions if (own := condition.lengths()) is not None]
    if not bounds:
        raise UsageError("no length is given; add --length 80 (or a range 60-100), or --ss, whose string has one")
    low, high = max(bound[1] for bound in bounds), min(bound[2] for bound in bounds)
    if low > high:
        first = max(bounds, key=lambda bound: bound[1])
        second = min(bounds, key=lambda bound: bound[2])
        raise ConflictError(
            f"{first[0].name} asks for at least {low} residues and {second[0].name} for at most {high}; "
            "change one of them"
        )
    if high > LONGEST:
        raise UsageError(f"length {high}: at most {LONGEST:,} residues are possible; ask for fewer")
    if low < SHORTEST:
        raise UsageError(f"length {low}: a backbone needs at least {SHORTEST} residues; ask for more")
    lengths = range(low, high + 1)
    if len(lengths) > MOST_LENGTHS:
        for length in (low, high):
            for condition in conditions:
                condition.check_length(length)
        return lengths
    return allowed(lengths, conditions)


def allowed(lengths: Sequence[int], conditions: Sequence[Condition]) -> Sequence[int]:
    """Those of the lengths that no condition refuses.

    Raises:
        ConflictError: the last refusal, if none is left.
    """
    problem: ConflictError | None = None
    good = []
    for length in lengths:
        try:
            for condition in conditions:
                condition.check_length(length)
            good.append(length)
        except ConflictError as error:
            problem = error
    if not good:
        assert problem is not None
        raise problem
    return good


def find(conditions: Sequence[Condition], kind: type[T]) -> T | None:
    """The first condition of a kind, None if there is none."""
    return next((condition for condition in conditions if isinstance(condition, kind)), None)
