"""Contacts: pairs of residues with bounds on the distance of their CA atoms."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from protgen.conditions.base import Adherence, EnergyCondition
from protgen.conditions.flags import Flag
from protgen.conditions.quantities import ca_of, check_number, is_number, pair_distances
from protgen.conditions.roles import BlueprintScore
from protgen.documents import MAX_SMALL, number_in, read_table, whole_number_in
from protgen.errors import ConflictError, DocumentError, UsageError
from protgen.geometry.constants import CA_CA

UPPER = 8.0  # Å, CA-CA: the usual definition of a contact
LOOSE = 2.0  # Å beyond a bound that still counts as near
RISE = {"H": 1.5, "E": 3.3}  # Å a residue along an alpha helix and a strand
REACH = 2  # residues to each side that follow a pair which is far apart
# Å: energies aim this far inside the bounds, so that what follows does not undo it. With 0.5, native contacts asked for
# alone came within 8 Å in 72 % instead of 93 %. With strings and radii besides, 1.0 left 14 % of forty natives' strings
# unmet in single candidates, and 0.2 left 12 %.
MARGIN = 1.0

Bound = tuple[int, int, float, float]  # residues from 1, lower and upper bound in Å


@dataclass(frozen=True)
class Contacts(EnergyCondition, BlueprintScore):
    """Pairs of residues within bounds.

    Args:
        pairs: (i, j), (i, j, upper) or (i, j, lower, upper) each; residues count from 1 along the design, bounds are
            in Å, 0 to 8 where not given.
        tolerance: fraction of the pairs that may lie beyond their bounds by more than 2 Å.

    Raises:
        UsageError: if there is no pair, one is given twice, or bounds are empty.

    Examples:
        >>> Contacts.parse("5-40, 12-60:10").pairs
        ((5, 40, 0.0, 8.0), (12, 60, 0.0, 10.0))
    """

    pairs: tuple[Bound, ...]
    tolerance: float = 0.2

    name: ClassVar[str] = "contacts"
    local: ClassVar[bool] = True
    flags: ClassVar[tuple[Flag, ...]] = (
        Flag("--contacts", "CSV file (i,j,lower,upper) or pairs such as 5-40,12-60:10.", metavar="FILE|TEXT"),
    )

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """Two pairs, one with bounds of its own."""
        return {"pairs": ((1, 20), (3, 15, 4.0, 6.0))}

    def __post_init__(self) -> None:
        if isinstance(self.pairs, str) or not isinstance(self.pairs, Sequence) or not self.pairs:
            raise UsageError("contacts: no pair is given; give at least one, such as 5-40")
        object.__setattr__(self, "pairs", tuple(complete(pair) for pair in self.pairs))
        check_number(self.tolerance, "tolerance of the contacts", 0.0, 1.0)
        seen: set[tuple[int, int]] = set()
        for i, j, *_ in self.pairs:
            if (i, j) in seen:
                raise UsageError(f"contacts: the pair {i}-{j} is given twice; give it once")
            seen.add((i, j))

    @classmethod
    def parse(cls, text: str) -> "Contacts":
        """Pairs `i-j`, `i-j:UPPER` or `i-j:LOWER:UPPER` (Å) between commas or blanks, or the name of a CSV file.

        Raises:
            UsageError: naming the first entry that is neither.
        """
        if text.strip().lower().endswith(".csv"):
            return cls.read(Path(text.strip()))
        pairs = []
        for entry in re.split(r"[\s,;]+", text.strip()):
            match = re.fullmatch(r"([0-9]{1,6})-([0-9]{1,6})((?::[0-9.]{1,8}){0,2})", entry, flags=re.ASCII)
            bounds = match.group(3).split(":")[1:] if match else []
            if match is None or any(bound.count(".") > 1 or bound == "." for bound in bounds):
                raise UsageError(f"contacts: cannot read {entry!r}; write pairs such as 5-40 or 5-40:8, or a CSV file")
            pairs.append((int(match.group(1)), int(match.group(2)), *(float(bound) for bound in bounds)))
        return cls(tuple(pairs))

    @classmethod
    def read(cls, path: Path) -> "Contacts":
        """A CSV file with the columns i and j, and upper and lower (Å) if wanted.

        Raises:
            UsageError: naming the file and the line that cannot be read.
        """
        try:
            rows = [{key.strip(): cell for key, cell in row.items()} for row in read_table(path, MAX_SMALL)]
        except DocumentError as error:
            raise UsageError(f"{error}; give a CSV file of contacts") from error
        if not rows:
            raise UsageError(f"{path}: holds no pair; give a line for each, under i,j")
        columns = list(rows[0])
        if not {"i", "j"} <= set(columns) or set(columns) - {"i", "j", "upper", "lower"}:
            raise UsageError(f"{path}: has the columns {', '.join(columns)}; expected i,j and optionally lower,upper")
        pairs = []
        for number, row in enumerate(rows, start=2):
            try:
                bounds = [number_in(row.get(key) or str(value)) for key, value in (("lower", 0), ("upper", UPPER))]
                pairs.append((whole_number_in(row["i"]), whole_number_in(row["j"]), *bounds))
            except ValueError:
                raise UsageError(f"{path}: line {number}: expected numbers; see the other lines") from None
        try:
            return cls(tuple(pairs))
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None

    def blueprint_score(self, codes: str) -> float:
        """Fraction of the pairs that a blueprint lets come together: the ends of one helix or strand cannot."""
        good = 0
        for i, j, _, upper in self.pairs:
            between = set(codes[i - 1 : j])
            rise = RISE.get(between.pop(), 0.0) if len(between) == 1 else 0.0
            good += rise * (j - i) <= upper + 1.0
        return good / len(self.pairs)

    def check_length(self, length: int) -> None:
        """Raise ConflictError if a residue lies beyond the end."""
        last = max(j for _, j, *_ in self.pairs)
        if last > length:
            raise ConflictError(f"contacts name residue {last}, but the length is {length}; change one of them")

    def describe(self) -> str:
        """The pairs as `parse` reads them."""
        bounds = [(f"{i}-{j}", *([f"{lower:g}"] if lower else []), f"{upper:g}") for i, j, lower, upper in self.pairs]
        return ", ".join(":".join(parts) for parts in bounds)

    def adherence(self, structure: Any) -> Adherence:
        """Mean violation in Å; satisfied if at least 80 % of the pairs are within 2 Å of their bounds."""
        ca = ca_of(structure, self.name)
        self.check_length(len(ca))
        i, j, lower, upper = np.array(self.pairs).T
        distance = np.linalg.norm(ca[i.astype(int) - 1] - ca[j.astype(int) - 1], axis=-1)
        beyond = np.maximum(np.maximum(lower - distance, distance - upper), 0)
        good = float((beyond > LOOSE).mean()) <= self.tolerance
        asked = [f"{a}-{b}: {low:g}-{high:g} Å" for a, b, low, high in self.pairs]
        return Adherence(self.name, asked, distance.round(2).tolist(), float(beyond.mean()), good, self.tolerance)

    def energy(self, xyz: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """Squared violations over 4, Å^2: a step of weight 1 takes each end half the way.

        So far as a pair is beyond its upper bound by more than 2 Å, the five residues about each end come along: one
        residue pulled out of its chain is put back by the next step of the network.
        """
        table = torch.tensor(self.pairs, dtype=xyz.dtype, device=xyz.device)
        i, j = (table[:, column].long() - 1 for column in (0, 1))
        distance = pair_distances(xyz[:, i, 1], xyz[:, j, 1])
        middle = table[:, 2:].mean(-1)
        lower = torch.minimum(table[:, 2] + MARGIN, middle) * (table[:, 2] > 0)
        upper = torch.maximum(table[:, 3] - MARGIN, middle)
        beyond = (lower - distance).clamp(min=0) + (distance - upper).clamp(min=0)
        last = (mask.sum(-1) - 1)[:, None, None]
        around = torch.arange(-REACH, REACH + 1, device=xyz.device)
        rows = torch.arange(len(xyz), device=xyz.device)[:, None, None]
        ends = [xyz[rows, (end[:, None] + around).clamp(min=0).minimum(last), 1].mean(2) for end in (i, j)]
        apart = (pair_distances(*ends) - table[:, 3] - LOOSE).clamp(min=0)
        return 0.25 * (beyond.square() + len(around) * apart.square()).sum(-1)


def complete(pair: Any) -> Bound:
    """A pair with both bounds, the lower residue first.

    Raises:
        UsageError: if it is no pair with bounds that can hold.
    """
    if isinstance(pair, str) or not isinstance(pair, Sequence) or not 2 <= len(pair) <= 4:
        raise UsageError(f"contacts: {pair!r} is no pair; give (i, j), (i, j, upper) or (i, j, lower, upper)")
    i, j, *bounds = pair
    whole = all(is_number(n) and math.isfinite(n) and n == int(n) for n in (i, j))
    if not whole or int(i) == int(j) or min(i, j) < 1:
        raise UsageError(f"contacts: {i}-{j} is no pair of two residues; they count from 1")
    for bound in bounds:
        check_number(bound, f"distance bound of the contact {i}-{j}", 0.0)
    lower, upper = (bounds if len(bounds) == 2 else (0.0, *bounds)) if bounds else (0.0, UPPER)
    first, last = sorted((int(i), int(j)))
    if lower > upper or upper <= 0:
        raise UsageError(f"contacts: the bounds {lower:g} to {upper:g} Å of {i}-{j} are empty; smaller one first")
    if lower > CA_CA * (last - first):
        raise UsageError(
            f"contacts: {i} and {j} cannot be {lower:g} Å apart with {last - first} steps of {CA_CA} Å between"
        )
    return first, last, float(lower), float(upper)
