"""Contigs: where the residues of a motif lie in a design, in the grammar of RFdiffusion, as one line of text.

    contig  = chain { "/0 " chain } [ ":" total ]
    chain   = part { "/" part }                       "," and ";" do as well as "/"
    part    = segment | gap
    segment = residue [ "-" residue ]                 residues of the motif file: A163-181, A38
    gap     = number [ "-" number ]                   residues to build: 10-40, 12
    total   = number [ "-" number ]                   length of the whole design: 50-75

Residues have the author's chain, number and insertion code (`protgen.conditions.segments`): A52A-54, A-3-2 from residue
-3 to 2, and A1.3-6 of chain A1. How many residues a segment has is said by the motif file, which may have insertion
codes between its ends.

Brackets and quotes around the whole, as RFdiffusion's command line has them, are taken off: nothing here needs quoting
in a shell but the blank of a chain break.

References:
    Watson et al. 2023, RFdiffusion; its README, section "Motif Scaffolding".
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from torch import Generator

from protgen.conditions.segments import Segment
from protgen.errors import ConflictError, UsageError

HELP = (
    "write parts such as A163-181 (motif) and 10-40 (new residues) between slashes; A52A has an insertion code, "
    "A-3-2 begins at -3, A1.3-6 is of chain A1"
)
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)


@dataclass(frozen=True)
class Gap:
    """Residues to be built.

    Attributes:
        low, high: fewest and most.

    Raises:
        UsageError: if the range is empty.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        if self.high < self.low:
            raise UsageError(f"contig range {self.low}-{self.high}: is empty; give the smaller number first")

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


Part = Segment | Gap


@dataclass(frozen=True)
class Contig:
    """Segments of a motif and gaps between them, for one chain or more.

    Attributes:
        chains: the parts of each chain of the design.
        total: fewest and most residues of the whole design, None where the parts alone say.

    Raises:
        UsageError: if a chain is empty, a residue is used twice, or no length fits the total.

    Examples:
        >>> contig = Contig.parse("10-40/A163-181/10-40:50-75")
        >>> contig.lengths, contig.motif_length
        ((50, 75), 19)
    """

    chains: tuple[tuple[Part, ...], ...]
    total: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not self.chains or any(not chain for chain in self.chains):
            raise UsageError(f"contig has an empty chain; {HELP}")
        for first, second in combinations(self.segments, 2):
            if first.meets(second):
                raise UsageError(f"contig uses residues of both {first} and {second}; use each residue once")
        low, high = self.lengths
        if low > high and all(segment.count is not None or segment.plain for segment in self.segments):
            total = Gap(*self.total) if self.total else ""
            raise UsageError(
                f"contig {self.without_total()} has {self.span[0]} to {self.span[1]} residues, "
                f"which no total of {total} allows; change one of them"
            )

    @classmethod
    def parse(cls, text: str, total: str | None = None, count: Callable[[Segment], int] | None = None) -> "Contig":
        """A contig from text.

        Args:
            text: as in the grammar above.
            total: total length, where the dialect keeps it apart.
            count: how many residues the motif file has for a segment; by default its numbers say it.

        Raises:
            UsageError: naming the part that cannot be read.
        """
        bare = re.sub(r"[\[\]'\"]", "", text).strip()
        body, colon, own = bare.partition(":")
        if colon and total:
            raise UsageError(f"contig {bare!r} has a total length, and {total!r} is another; give one")
        wanted = own if colon else total
        # A part `0` before a blank is RFdiffusion's chain break, also with a separator on the blank's other side; any
        # other blank next to a separator means nothing.
        broken = re.sub(r"/0(?:\s+[,;/]?\s*|[,;]\s+)(?=\S)", "\n", body.strip())
        tight = re.sub(r"\s*([,;/])\s*", r"\1", broken)
        chains = [cls._parse_chain(chain, count) for chain in tight.strip("\n").split("\n")]
        return cls(tuple(chains), None if wanted is None else _parse_total(wanted))

    @staticmethod
    def _parse_chain(text: str, count: Callable[[Segment], int] | None) -> tuple[Part, ...]:
        if not text.strip():
            raise UsageError(f"contig is empty or has an empty chain; {HELP}")
        parts = [_parse_part(part) for part in re.split(r"[,;/]", text.strip())]
        return tuple(
            replace(part, count=count(part)) if count is not None and isinstance(part, Segment) else part
            for part in parts
        )

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts, chain after chain."""
        return tuple(part for chain in self.chains for part in chain)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The motif's segments in the order of the design."""
        return tuple(part for part in self.parts if isinstance(part, Segment))

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The ranges of residues to be built."""
        return tuple(part for part in self.parts if isinstance(part, Gap))

    @property
    def motif_length(self) -> int:
        """Residues of the motif."""
        return sum(segment.length for segment in self.segments)

    @property
    def span(self) -> tuple[int, int]:
        """Fewest and most residues the parts allow."""
        return (
            self.motif_length + sum(gap.low for gap in self.gaps),
            self.motif_length + sum(gap.high for gap in self.gaps),
        )

    @property
    def lengths(self) -> tuple[int, int]:
        """Fewest and most residues that the parts and the total allow."""
        low, high = self.span
        return (low, high) if self.total is None else (max(low, self.total[0]), min(high, self.total[1]))

    def without_total(self) -> str:
        """The parts as text, without the total length."""
        return "/0 ".join("/".join(str(part) for part in chain) for chain in self.chains)

    def __str__(self) -> str:
        return self.without_total() + ("" if self.total is None else f":{Gap(*self.total)}")

    def reordered(self, order: Sequence[int]) -> "Contig":
        """The contig with its segments in another order, the gaps where they were."""
        segments = iter([self.segments[i] for i in order])
        chains = tuple(
            tuple(next(segments) if isinstance(part, Segment) else part for part in chain) for chain in self.chains
        )
        return replace(self, chains=chains)

    def fixed(self, sizes: Sequence[int]) -> "Contig":
        """The contig with each gap at one size."""
        sized = iter(sizes)

        def fix(part: Part) -> Part:
            if isinstance(part, Segment):
                return part
            size = next(sized)
            return Gap(size, size)

        return Contig(tuple(tuple(fix(part) for part in chain) for chain in self.chains), self.total)

    def draw_length(self, rng: Generator, low: int = 0, high: int | None = None) -> int:
        """A length uniformly from those possible within bounds.

        Raises:
            ConflictError: if there is none.
        """
        fewest, most = max(self.lengths[0], low), min(self.lengths[1], self.lengths[1] if high is None else high)
        if fewest > most:
            self.check_length(low)
        return int(torch.randint(fewest, most + 1, (), generator=rng))

    def check_length(self, length: int) -> None:
        """Raise ConflictError unless the contig can have that many residues."""
        low, high = self.lengths
        if not low <= length <= high:
            raise ConflictError(
                f"contig {self} makes {Gap(low, high)} residues, but the length is {length}; change one of them"
            )

    def draw(self, length: int, rng: Generator) -> "Contig":
        """The contig with gaps of one size each that give the length, all such choices equally likely.

        Raises:
            ConflictError: if there is none.
        """
        self.check_length(length)
        gaps = self.gaps
        left = length - self.motif_length
        # counts[k][n]: number of choices of the gaps from k on that sum to n. They are large and only ratios matter:
        # floats are enough.
        counts = [[0.0] * (left + 1) for _ in range(len(gaps) + 1)]
        counts[-1][0] = 1.0
        for k in range(len(gaps) - 1, -1, -1):
            for n in range(left + 1):
                counts[k][n] = sum(counts[k + 1][n - size] for size in range(gaps[k].low, min(gaps[k].high, n) + 1))
        sizes = []
        for k, gap in enumerate(gaps):
            choices = list(range(gap.low, min(gap.high, left) + 1))
            weights = torch.tensor([counts[k + 1][left - size] for size in choices], dtype=torch.float64)
            sizes.append(choices[int(torch.multinomial(weights / weights.sum(), 1, generator=rng))])
            left -= sizes[-1]
        return self.fixed(sizes)

    def starts(self) -> tuple[int, ...]:
        """Where each segment starts in the design, from 0; every gap must have one size."""
        place, starts = 0, []
        for part in self.parts:
            if isinstance(part, Segment):
                starts.append(place)
                place += part.length
            else:
                assert part.low == part.high, "draw the gaps first"
                place += part.low
        return tuple(starts)

    def drawing(self) -> str:
        """The contig as a line of text: `N--(10-40)--[A163-181: 19]--(10-40)--C   50 to 75 residues, 19 of motif`."""
        chains = []
        for chain in self.chains:
            parts = [f"[{part}: {part.length}]" if isinstance(part, Segment) else f"({part})" for part in chain]
            chains.append("N--" + "--".join(parts) + "--C")
        low, high = self.lengths
        lengths = str(low) if low == high else f"{low} to {high}"
        return f"{'  '.join(chains)}   {lengths} residues, {self.motif_length} of motif"


def _parse_part(text: str) -> Part:
    segment = Segment.parse(text)
    if segment is not None:
        return segment
    gap = _RANGE.fullmatch(text)
    if gap:
        return Gap(int(gap.group(1)), int(gap.group(2) or gap.group(1)))
    raise UsageError(f"contig: cannot read {text!r}; {HELP}")


def _parse_total(text: str) -> tuple[int, int]:
    found = _RANGE.fullmatch(text.strip())
    if not found:
        raise UsageError(
            f"contig: cannot read the total length {text!r}; write 60 or 50-75, and A1.3-6 for residues of chain A1"
        )
    total = Gap(int(found.group(1)), int(found.group(2) or found.group(1)))
    return total.low, total.high
