"""Segments of a motif: consecutive residues of one chain of its file, as a contig names them, and where they are.

A163-181   from 163 to 181 of chain A, with residues of insertion codes between them
A38        one residue
A52A-54    insertion codes: from 52A to 54
A-3-2      negative numbers: from -3 to 2
A1.3-6     chain A1: a point ends a chain name that is no single letter
"""

import re
from dataclasses import dataclass, field

import numpy as np

from protgen.errors import UsageError
from protgen.structure.protein import Protein
from protgen.structure.residue_id import ResidueId, residue_id, runs_in_words

_PLACE = r"(-?[0-9]{1,5})([A-Za-z]?)"
_SEGMENT = re.compile(rf"([A-Za-z]+){_PLACE}(?:-([A-Za-z]*){_PLACE})?", re.ASCII)
_POINTED = re.compile(rf"([A-Za-z0-9_-]+)\.{_PLACE}(?:-(?:\1\.)?(){_PLACE})?", re.ASCII)
LONG_NAMES = "residues of a chain with a longer name stand behind a point: A1.3-6"


@dataclass(frozen=True)
class Segment:
    """Consecutive residues of one chain of the motif file, by author numbering.

    Attributes:
        chain: its chain there.
        first, last: residue numbers, both included.
        first_code, last_code: their insertion codes; "" where there is none.
        count: how many residues the file has there; None if no file was read, and the numbers say it.

    Raises:
        UsageError: if the last comes before the first.
    """

    chain: str
    first: int
    last: int
    first_code: str = ""
    last_code: str = ""
    count: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise UsageError(f"contig segment {self}: give the smaller number first; {LONG_NAMES}")

    @classmethod
    def parse(cls, text: str) -> "Segment | None":
        """A segment of the text, None if it is none.

        Raises:
            UsageError: if it goes from one chain to another, or backwards.
        """
        found = _POINTED.fullmatch(text) or _SEGMENT.fullmatch(text)
        if found is None:
            return None
        chain, first, code, again, last, last_code = found.groups()
        if again and again != chain:
            raise UsageError(f"contig segment {text!r}: goes from chain {chain} to {again}; write one for each chain")
        if last is None:
            return cls(chain, int(first), int(first), code, code)
        return cls(chain, int(first), int(last), code, last_code)

    @property
    def length(self) -> int:
        """Number of residues: of the file, where one was read."""
        return self.last - self.first + 1 if self.count is None else self.count

    @property
    def coded(self) -> bool:
        """Whether residues with insertion codes are in it, as far as is known."""
        return bool(self.first_code or self.last_code) or self.count not in (None, self.last - self.first + 1)

    @property
    def plain(self) -> bool:
        """Whether other tools can say it: a chain of one letter, no negative numbers, no insertion codes."""
        return not self.coded and self.first >= 0 and len(self.chain) == 1

    @property
    def ends(self) -> tuple[ResidueId, ResidueId]:
        """Its first and its last residue."""
        return (
            ResidueId(self.chain, self.first, self.first_code),
            ResidueId(self.chain, self.last, self.last_code),
        )

    def __str__(self) -> str:
        first, last = self.ends
        return f"{first}-{last.place}"

    def meets(self, other: "Segment") -> bool:
        """Whether the two share a residue for certain; where they meet at insertion codes, only the file can say."""
        if self.chain != other.chain:
            return False
        if self == other or not (self.coded or other.coded):
            return self.first <= other.last and other.first <= self.last
        return self.first < other.last and other.first < self.last


def places_of(segment: Segment, protein: Protein) -> list[int]:
    """Rows of a segment's residues in the protein of its file: all between its ends, in the order of the file.

    Raises:
        UsageError: if the protein lacks a residue of it, has one twice, or has others between them; without the name
            of the file.
    """
    own = np.flatnonzero(protein.chain_ids == segment.chain)
    if not len(own):
        hint = f"; {LONG_NAMES}" if any(len(chain) > 1 or chain.isdigit() for chain in protein.chains) else ""
        raise UsageError(
            f"has no chain {segment.chain} of the contig segment {segment}; it has {runs_in_words(protein)}{hint}"
        )
    first, last = (_row_of(end, segment, protein, own) for end in segment.ends)
    if last < first:
        raise UsageError(f"residue {segment.ends[1]} comes before {segment.ends[0]}; write {segment} the other way")
    rows = list(range(first, last + 1))
    numbers = protein.residue_numbers[first : last + 1]
    missing = sorted(set(range(segment.first, segment.last + 1)) - set(numbers.tolist()))
    if missing:
        raise _lacks(ResidueId(segment.chain, missing[0]), segment, protein)
    strange = [
        row for row in rows if row not in own or not segment.first <= protein.residue_numbers[row] <= segment.last
    ]
    if strange:
        raise UsageError(
            f"the contig segment {segment} has residue {residue_id(protein, strange[0])} in its midst; "
            "write a segment for each part"
        )
    return rows


def _row_of(wanted: ResidueId, segment: Segment, protein: Protein, own: np.ndarray) -> int:
    """The row of one residue among those of its chain."""
    here = own[(protein.residue_numbers[own] == wanted.number) & (protein.insertion_codes[own] == wanted.insertion)]
    if not len(here):
        raise _lacks(wanted, segment, protein)
    if len(here) > 1:
        raise UsageError(f"has {len(here)} residues called {wanted}; give each a number of its own")
    return int(here[0])


def _lacks(wanted: ResidueId, segment: Segment, protein: Protein) -> UsageError:
    same = (protein.chain_ids == wanted.chain) & (protein.residue_numbers == wanted.number)
    close = [str(residue_id(protein, row)) for row in np.flatnonzero(same).tolist()]
    there = f"it has {' and '.join(close)}" if close else f"it has {runs_in_words(protein, wanted.chain)}"
    return UsageError(f"has no residue {wanted} of the contig segment {segment}; {there}")
