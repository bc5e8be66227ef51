"""How hard a TM-score search tries: one place for the numbers that the compiled and the numpy search share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchPlan:
    """Starts, rounds and strides. Starts are tried in this order.

    Attributes:
        threading: start from the best gapless alignment.
        structure: from this many alignments of the secondary structures: 1, or 2 which break ties either way.
        pieces: from superposed pieces of both chains, all else aligned after them.
        mixed: from the best so far, aligned again by distance and secondary structure.
        fragment: from the best gapless alignment of the middle, or of the longest stretch without a break.
        step: residues between the offsets of gapless alignments.
        jump: residues between pieces, in multiples of TM-align's.
        long_run: rounds of alignment and superposition for each gap cost, at most, from a good start.
        short_run: from pieces and fragments.
        final_stride: residues between the pieces of the final superposition.
    """

    threading: bool
    structure: int
    pieces: bool
    mixed: bool
    fragment: bool
    step: int
    jump: int
    long_run: int
    short_run: int
    final_stride: int


@dataclass(frozen=True)
class Prefilter:
    """A lesser search before the whole one: a pair that scores below `low` by it keeps its score.

    Attributes:
        plan: the lesser search.
        low: TM by the shorter length.
    """

    plan: SearchPlan
    low: float


# TM-align's own numbers: Zhang & Skolnick, Nucleic Acids Res. 33, 2302 (2005), and its program; but for the second
# alignment of structures, without which one pair in a thousand scores otherwise by 0.01 when its chains swap places.
FULL = SearchPlan(
    threading=True,
    structure=2,
    pieces=True,
    mixed=True,
    fragment=True,
    step=1,
    jump=1,
    long_run=30,
    short_run=2,
    final_stride=1,
)
# Chosen among sixteen subsets for the least error against the full search at a third of its time.
QUICK = SearchPlan(
    threading=True,
    structure=1,
    pieces=True,
    mixed=True,
    fragment=False,
    step=2,
    jump=2,
    long_run=1,
    short_run=1,
    final_stride=40,
)
# Chosen for the highest score of the worst pair: of the 7,453 of 499,500 pairs of natives of 80 to 120 residues whose
# full score is 0.5 or more, none scores below 0.36 by this one (0.28 by QUICK), at 0.45 of the time of the full search.
# Pieces as dense as the full search's find them; threading and mixed starts, which cost as much, do not.
PREFILTERING = SearchPlan(
    threading=False,
    structure=1,
    pieces=True,
    mixed=False,
    fragment=True,
    step=2,
    jump=1,
    long_run=1,
    short_run=1,
    final_stride=40,
)
