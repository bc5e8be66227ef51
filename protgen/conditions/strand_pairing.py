"""Strand pairing: which residues of which strands are partners in a sheet, as in `3-8:20-15, 22-27:40-45`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.conditions.base import Adherence, Condition, LearnedCondition
from protgen.conditions.flags import Flag
from protgen.conditions.quantities import backbone_of, check_number
from protgen.conditions.roles import FixedBlueprint
from protgen.errors import ConflictError, UsageError
from protgen.geometry.hydrogen_bonds import Bridges, bridges, in_ladders
from protgen.types import Batch

Ladder = tuple[int, int, int, int]
PARTIAL = 1 / 3  # of the training examples whose pairs are known, those in which they are known of some strands alone


@dataclass(frozen=True)
class StrandPairing(LearnedCondition):
    """Partners of residues in sheets, a ladder for each pair of strands.

    A ladder (a, b, c, d) pairs residue a with c, and so on to b with d: an antiparallel one goes down the second
    strand, a parallel one up. Pairs are bridges as DSSP defines them: two hydrogen bonds around two residues.

    Args:
        ladders: (first, last, partner of the first, partner of the last), residues from 1.
        complete: whether no other residues pair; where not, those of strands that are not named are free.
        tolerance: fraction of the pairs that may be missing.

    Raises:
        UsageError: if a ladder has strands of two lengths, of one residue, or that overlap.

    Example:
        >>> StrandPairing.parse("3-8:20-15").pairs()[:2]
        [(3, 20, -1), (4, 19, -1)]
    """

    ladders: tuple[Ladder, ...]
    complete: bool = False
    tolerance: float = 0.4

    name: ClassVar[str] = "strand_pairing"
    pair_dim: ClassVar[int] = 3
    requires: ClassVar[tuple[str, ...]] = ("atoms", "labels")
    dropout: ClassVar[float | None] = 0.4
    flags: ClassVar[tuple[Flag, ...]] = (
        Flag("--strand-pairing", "Pairs of strands, residue by residue: '3-8:20-15, 22-27:40-45'.", metavar="TEXT"),
    )

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """A hairpin."""
        return {"ladders": ((2, 10, 23, 15),)}

    def __post_init__(self) -> None:
        check_number(self.tolerance, "tolerance of the strand pairing", 0.0, 1.0)
        if isinstance(self.ladders, str) or not isinstance(self.ladders, Sequence):
            raise UsageError("strand_pairing: ladders is no list; give ladders such as [3, 8, 20, 15]")
        if not self.ladders and not self.complete:
            raise UsageError("strand_pairing: no ladder is given; give one such as 3-8:20-15, or say complete")
        object.__setattr__(self, "ladders", tuple(checked_ladder(entry) for entry in self.ladders))

    @classmethod
    def parse(cls, text: str) -> "StrandPairing":
        """Ladders `FIRST-LAST:PARTNER-PARTNER` with commas or blanks between them; `only` says there are no others.

        Raises:
            UsageError: naming the ladder that cannot be read.
        """
        ladders, complete = [], False
        for entry in re.split(r"[\s,;]+", text.strip()):
            if entry == "only":
                complete = True
                continue
            match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5}):([0-9]{1,5})-([0-9]{1,5})", entry, flags=re.ASCII)
            if not match:
                raise UsageError(f"strand_pairing: cannot read {entry!r}; write ladders such as 3-8:20-15, or only")
            first, last, partner, end = (int(group) for group in match.groups())
            ladders.append((first, last, partner, end))
        return cls(tuple(ladders), complete)

    def pairs(self) -> list[tuple[int, int, int]]:
        """(residue, partner, 1 parallel or -1 antiparallel) of all ladders, from 1."""
        found = []
        for first, last, partner, end in self.ladders:
            way = 1 if end > partner else -1
            found += [(first + k, partner + way * k, way) for k in range(last - first + 1)]
        return found

    def residues(self) -> list[int]:
        """Residues that have a partner, from 1, ascending."""
        return sorted({n for first, second, _ in self.pairs() for n in (first, second)})

    def check_length(self, length: int) -> None:
        """Raise ConflictError if a ladder reaches past the end."""
        furthest = max((max(ladder) for ladder in self.ladders), default=0)
        if furthest > length:
            raise ConflictError(
                f"strand_pairing names residue {furthest}, but the length is {length}; change one of them"
            )

    def conflicts_with(self, other: Condition) -> str | None:
        """Secondary structure that has a helix where residues are to pair, or ends before them."""
        if not isinstance(other, FixedBlueprint):
            return None
        codes, label = other.fixed_codes(), other.blueprint_label
        for residue in self.residues():
            if residue > len(codes):
                return f"strand_pairing names residue {residue}, but {label} has {len(codes)}; change one of them"
            if codes[residue - 1] == "H":
                return f"strand_pairing pairs residue {residue}, where {label} has a helix; change one of them"
        return None

    def shown(self) -> list[str]:
        """The ladders as `parse` reads them."""
        return [f"{a}-{b}:{c}-{d}" for a, b, c, d in self.ladders]

    def describe(self) -> str:
        """The ladders as `parse` reads them."""
        return ", ".join(self.shown() + ["only"] * self.complete)

    def adherence(self, structure: Any) -> Adherence:
        """Fraction of the pairs that are no bridge of the asked kind, register included."""
        backbone = torch.from_numpy(np.asarray(backbone_of(structure, self.name), dtype=np.float64))[None]
        self.check_length(backbone.shape[1])
        found = bridges(backbone, torch.ones(backbone.shape[:2], dtype=torch.bool))
        made = [
            bool((found.parallel if way > 0 else found.antiparallel)[0, i - 1, j - 1]) for i, j, way in self.pairs()
        ]
        off = 1 - sum(made) / len(made) if made else 0.0
        asked = self.shown()
        got = f"{sum(made)} of {len(made)} pairs"
        return Adherence(self.name, asked, got, off, off <= self.tolerance, self.tolerance)

    @classmethod
    def from_data(cls, batch: Batch, rng: Generator, dropout: float | None = None) -> Tensor:
        """True pairs of ladders; unknown in 40 % of the examples unless another dropout is given.

        In a third of the other examples pairs are known among some of the strands alone.
        """
        mask = batch.mask
        with torch.no_grad():
            found = in_ladders(bridges(batch["atoms"], mask))
        labels = batch["labels"].long()
        change = torch.ones_like(labels)
        change[:, 1:] = (labels[:, 1:] != labels[:, :-1]).long()
        chosen = torch.rand(labels.shape, generator=rng).to(mask.device) < 0.5
        given = chosen.gather(1, change.cumsum(1) - 1) & (labels == 2)
        kind = torch.rand(len(labels), generator=rng).to(mask.device)[:, None]
        known = 1 - cls.rate(dropout)
        given = torch.where(kind < PARTIAL * known, given, True) & (kind < known) & mask
        return channels(found, given[:, :, None] & given[:, None])

    @classmethod
    def unknown(cls, mask: Bool[Tensor, "b l"]) -> Tensor:
        """Nothing known of any pair."""
        return torch.zeros(*mask.shape, mask.shape[1], cls.pair_dim, device=mask.device)

    def features(self, mask: Bool[Tensor, " l"]) -> Float[Tensor, "l l c"]:
        """Parallel, antiparallel, known; known are all pairs, or those among the strands that are named."""
        length = len(mask)
        maps = torch.zeros(2, 1, length, length, dtype=torch.bool)
        named = torch.full((1, length), self.complete)
        for i, j, way in self.pairs():
            maps[int(way < 0), 0, [i - 1, j - 1], [j - 1, i - 1]] = True
            named[0, [i - 1, j - 1]] = True
        return channels(Bridges(maps[0], maps[1]), named[:, :, None] & named[:, None])[0]


def channels(found: Bridges, known: Bool[Tensor, "b l l"]) -> Float[Tensor, "b l l 3"]:
    """Parallel, antiparallel and known as numbers; pairs that are not known are zero."""
    return torch.stack([found.parallel & known, found.antiparallel & known, known], dim=-1).float()


def checked_ladder(entry: Any) -> Ladder:
    """A ladder with its lower strand first and going up.

    Raises:
        UsageError: if it is none.
    """
    if isinstance(entry, str) or not isinstance(entry, Sequence) or len(entry) != 4:
        raise UsageError(f"strand_pairing: {entry!r} is no ladder; give (first, last, partner, partner of the last)")
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in entry):
        raise UsageError(f"strand_pairing: {entry!r} has something that is no residue number; they count from 1")
    first, last, partner, end = entry
    if first > last:
        first, last, partner, end = last, first, end, partner
    shown = f"{first}-{last}:{partner}-{end}"
    if abs(end - partner) != last - first or first == last:
        raise UsageError(f"strand_pairing: {shown} needs two strands of one length, of 2 residues or more")
    low, high = sorted((partner, end))
    if low <= last and first <= high:
        raise UsageError(f"strand_pairing: the strands of {shown} overlap; give two apart from each other")
    if partner < first:  # the lower strand first
        first, last, partner, end = (partner, end, first, last) if end > partner else (end, partner, last, first)
    return first, last, partner, end


def ladders_of(atoms: Float[np.ndarray, "l 4 3"]) -> tuple[Ladder, ...]:
    """The ladders of a backbone, residues from 1: runs of bridges with no bulge, of two pairs or more."""
    backbone = torch.from_numpy(np.asarray(atoms, dtype=np.float64))[None]
    found = in_ladders(bridges(backbone, torch.ones(backbone.shape[:2], dtype=torch.bool)))
    ladders = []
    for map_, way in ((found.parallel[0], 1), (found.antiparallel[0], -1)):
        open_pairs = {(int(i), int(j)) for i, j in map_.nonzero() if i < j}
        for i, j in sorted(open_pairs):
            if (i - 1, j - way) in open_pairs:
                continue
            count = 1
            while (i + count, j + way * count) in open_pairs:
                count += 1
            if count > 1:
                ladders.append((i + 1, i + count, j + 1, j + way * (count - 1) + 1))
    return tuple(sorted(ladders))
