"""What is wrong with a set of conditions, said before any computing."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, TypeVar

from torch import Generator

from protgen.conditions.base import Condition
from protgen.conditions.contact_map import ContactMap
from protgen.conditions.cyclic import Cyclic
from protgen.conditions.fold_class import FoldClass
from protgen.conditions.fractions import Fractions
from protgen.conditions.keep_out import KeepOut
from protgen.conditions.length import Length
from protgen.conditions.motif import LEAST_AGREEMENT, Motif, share_agreeing
from protgen.conditions.partial import Partial
from protgen.conditions.radius_of_gyration import RadiusOfGyration
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.shape import Shape
from protgen.conditions.strand_pairing import StrandPairing
from protgen.conditions.symmetry import Symmetry
from protgen.conditions.termini_distance import TerminiDistance
from protgen.errors import ConflictError, UsageError

T = TypeVar("T", bound=Condition)

MANY = ("custom", "keep_out")  # conditions that may come more than once
MOST_LENGTHS = 10_000  # lengths of a range that are tried one by one
SHORTEST = 3  # residues of a backbone that can be superposed
BOND = 4.0  # Å: the ends of a closed ring are no farther apart than this


def check_conditions(conditions: Sequence[Condition], trained_lengths: tuple[int, int] | None) -> list[str]:
    """Check that conditions can hold together.

    Args:
        conditions: the requests; together they must fix or bound the length.
        trained_lengths: shortest and longest chain the model has seen.

    Returns:
        Warnings, one line each, about requests that can be tried but are out of the model's reach.

    Raises:
        ConflictError: if two conditions cannot hold together; the message names both.
        UsageError: if no condition gives a length, or one is given twice.
    """
    for condition in conditions:
        if condition.name not in MANY and sum(other.name == condition.name for other in conditions) > 1:
            raise UsageError(f"{condition.name} is given twice; give it once")
    for first, second in combinations(conditions, 2):
        for one, other in ((first, second), (second, first)):
            check = PAIRS.get((type(one), type(other)))
            if check is not None:
                check(one, other)
    lengths = feasible_lengths(conditions)
    motif = find(conditions, Motif)
    if motif is not None and len(motif.parsed.chains) > 1:
        raise UsageError(f"contig {motif.contig} has a chain break, and one chain is made at a time; ask for one chain")
    low, high = lengths[0], lengths[-1]
    if trained_lengths is None or (trained_lengths[0] <= low and high <= trained_lengths[1]):
        return []
    shortest, longest = trained_lengths
    asked = str(low) if low == high else f"{low}-{high}"
    return [f"length {asked} is outside the {shortest}-{longest} residues the model was trained on; expect worse"]


def feasible_lengths(conditions: Sequence[Condition]) -> Sequence[int]:
    """All lengths at which each condition can hold, ascending.

    Raises:
        ConflictError: if there is none; the message names the two that clash.
        UsageError: if no condition bounds the length.
    """
    bounds = [(condition, *own) for condition in conditions if (own := length_bounds(condition)) is not None]
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
    if low < SHORTEST:
        raise UsageError(f"length {low}: a backbone needs at least {SHORTEST} residues; ask for more")
    lengths: Sequence[int] = range(low, high + 1)
    if len(lengths) > MOST_LENGTHS:
        for length in (low, high):
            for condition in conditions:
                condition.check_length(length)
        return lengths
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


def length_bounds(condition: Condition) -> tuple[int, int] | None:
    """Fewest and most residues of the conditions that say so by themselves."""
    if isinstance(condition, Length):
        return condition.low, condition.high or condition.low
    if isinstance(condition, SecondaryStructure | Partial):
        return condition.length, condition.length
    if isinstance(condition, ContactMap):
        return len(condition.layout), len(condition.layout)
    return condition.parsed.lengths if isinstance(condition, Motif) else None


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


def check_class_of_codes(codes: str, wanted: FoldClass, what: str) -> None:
    """Raise ConflictError if no way of filling the free residues gives the class."""
    n, free = len(codes), codes.count("X")
    helix, strand = codes.count("H"), codes.count("E")
    step = max(1, free // 100)  # a hundredth is fine enough for limits of 10 and 15 %
    fillings = ((helix + a, strand + b) for a in range(0, free + 1, step) for b in range(0, free + 1 - a, step))
    if not any(wanted.room(h / n, e / n) >= 0 for h, e in fillings):
        raise ConflictError(
            f"fold_class {wanted.fold} conflicts with the {what}, which has {100 * helix / n:.0f} % helix and "
            f"{100 * strand / n:.0f} % strand; change one of them"
        )


def check_class_of_fractions(wanted: FoldClass, fractions: Fractions) -> None:
    """Raise ConflictError if shares within tolerance of those asked for are of another class."""
    kept = {"alpha": (1.0, 0.0), "beta": (0.0, 1.0), "mixed": (0.5, 0.5)}[wanted.fold]  # where a share is left open
    shares = [
        own if own is not None else usual for own, usual in zip((fractions.helix, fractions.strand), kept, strict=True)
    ]
    if -wanted.room(*shares) > fractions.tolerance:
        raise ConflictError(
            f"fold_class {wanted.fold} conflicts with the fractions (helix {fractions.helix}, strand "
            f"{fractions.strand}); change one of them"
        )


def check_layout(layout: ContactMap, structure: SecondaryStructure) -> None:
    """Raise ConflictError where the layout of a contact map and the codes asked for name different structures."""
    structure.check_length(len(layout.layout))
    for place, (one, other) in enumerate(zip(layout.layout, structure.codes, strict=True), start=1):
        if "X" not in (one, other) and one.replace("C", "L") != other.replace("C", "L"):
            raise ConflictError(
                f"contact_map has {one} at residue {place} and secondary structure {other}; make them equal"
            )


def check_pairing(pairing: StrandPairing, structure: SecondaryStructure) -> None:
    """Raise ConflictError where a residue that is to pair in a sheet is to be helix."""
    structure.check_length(max(structure.length, *pairing.residues(), 0))
    for residue in pairing.residues():
        if structure.codes[residue - 1] == "H":
            raise ConflictError(
                f"strand_pairing pairs residue {residue}, where secondary structure has a helix; change one of them"
            )


def check_motif(motif: Motif, codes: str, what: str) -> None:
    """Raise ConflictError if the motif's own secondary structure contradicts codes wherever it may be placed."""
    motif.check_length(len(codes))
    best = motif.place(len(codes), Generator().manual_seed(0), codes)
    agreement = share_agreeing(best.codes(), codes, best.indices())
    if agreement < LEAST_AGREEMENT:
        raise ConflictError(
            f"{what} contradicts the motif: at best {100 * agreement:.0f} % of the motif's helix and strand residues "
            f"({motif.codes().replace('C', 'L')}) agree with it; free those residues with X, or change one of them"
        )


def check_ellipsoid(radius: RadiusOfGyration, shape: Shape) -> None:
    """Raise ConflictError if the ellipsoid has another radius of gyration."""
    if shape.ellipsoid is None:
        return
    own = (sum(axis**2 for axis in shape.ellipsoid) / 5) ** 0.5
    assert shape.tolerance is not None
    if abs(own / radius.radius - 1) > radius.tolerance + shape.tolerance:
        raise ConflictError(
            f"radius_of_gyration {radius.radius:g} Å conflicts with the ellipsoid of shape, which has {own:.1f} Å; "
            "change one of them"
        )


def check_ring(_ring: Cyclic, ends: TerminiDistance) -> None:
    """Raise ConflictError if ends that are to be bonded are to be far apart."""
    if ends.distance - ends.tolerance > BOND:
        raise ConflictError(f"cyclic conflicts with termini_distance {ends.distance:g} Å; leave one of them out")


def check_frame(_volumes: KeepOut, symmetry: Symmetry) -> None:
    """Raise ConflictError: an assembly is laid about its axis, and volumes would be left behind."""
    raise ConflictError(f"keep_out and symmetry {symmetry.group} cannot be asked for together; leave one of them out")


PAIRS: dict[tuple[type, type], Callable[[Any, Any], None]] = {
    (SecondaryStructure, Fractions): check_fractions,
    (SecondaryStructure, FoldClass): lambda s, c: check_class_of_codes(s.codes, c, "secondary structure"),
    (ContactMap, FoldClass): lambda m, c: check_class_of_codes(m.layout, c, "layout of contact_map"),
    (FoldClass, Fractions): check_class_of_fractions,
    (ContactMap, SecondaryStructure): check_layout,
    (StrandPairing, SecondaryStructure): check_pairing,
    (Motif, SecondaryStructure): lambda m, s: check_motif(m, s.codes, "secondary structure"),
    (Motif, ContactMap): lambda m, c: check_motif(m, c.layout, "the layout of contact_map"),
    (RadiusOfGyration, Shape): check_ellipsoid,
    (Cyclic, TerminiDistance): check_ring,
    (KeepOut, Symmetry): check_frame,
}
