"""What is wrong with a set of conditions, said before any computing."""

from collections.abc import Sequence
from typing import TypeVar

from protgen.conditions.base import Condition
from protgen.conditions.fractions import Fractions
from protgen.conditions.length import Length
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.errors import ConflictError, UsageError

T = TypeVar("T", bound=Condition)


def check_conditions(conditions: Sequence[Condition], trained_lengths: tuple[int, int] | None) -> list[str]:
    """Check that conditions can hold together.

    Args:
        conditions: the requests; exactly one of Length or SecondaryStructure must fix or bound the length.
        trained_lengths: shortest and longest chain the model has seen.

    Returns:
        Warnings, one line each, about requests that can be tried but are out of the model's reach.

    Raises:
        ConflictError: if two conditions cannot hold together; the message names both.
        UsageError: if no condition gives a length, or one is given twice.
    """
    for condition in conditions:
        if sum(other.name == condition.name for other in conditions) > 1:
            raise UsageError(f"{condition.name} is given twice; give it once")
    length = find(conditions, Length)
    structure = find(conditions, SecondaryStructure)
    fractions = find(conditions, Fractions)
    if length is None and structure is None:
        raise UsageError("no length is given; add --length 80 (or a range 60-100), or --ss, whose string has one")
    if structure is not None:
        for condition in conditions:
            condition.check_length(structure.length)
        if fractions is not None:
            check_fractions(structure, fractions)
    low = structure.length if structure is not None else length.low if length is not None else 0
    high = structure.length if structure is not None else (length.high or length.low) if length is not None else 0
    if low < 3:
        raise UsageError(f"length {low}: a backbone needs at least 3 residues; ask for more")
    if trained_lengths is None or (trained_lengths[0] <= low and high <= trained_lengths[1]):
        return []
    shortest, longest = trained_lengths
    asked = str(low) if low == high else f"{low}-{high}"
    return [f"length {asked} is outside the {shortest}-{longest} residues the model was trained on; expect worse"]


def find(conditions: Sequence[Condition], kind: type[T]) -> T | None:
    """The condition of a kind, None if there is none."""
    return next((c for c in conditions if isinstance(c, kind)), None)


def check_fractions(structure: SecondaryStructure, fractions: Fractions) -> None:
    """Raise ConflictError if no way of filling the free residues can give the fractions within tolerance."""
    n = structure.length
    for label, code, share in (("helix", "H", fractions.helix), ("strand", "E", fractions.strand)):
        if share is None:
            continue
        fixed = structure.codes.count(code) / n
        most = fixed + structure.codes.count("X") / n
        if not fixed - fractions.tolerance <= share <= most + fractions.tolerance:
            raise ConflictError(
                f"secondary structure allows a {label} fraction of {fixed:.2f} to {most:.2f}, "
                f"but the fractions ask for {share:.2f}; change one of them"
            )
