"""Strand pairing for secondary structure that somebody asked for without: that of a native with the same elements.

A string of secondary structure leaves open which strands pair, and whoever makes a structure has to choose. Here the
choice is a native's: among those with the same sequence of helices and strands, one of the likest in lengths gives its
ladders, laid onto the strands that are asked for. Of 83 validation natives with strands, 77 have such a native; it
joins the strands of half of their own pairs of strands, with the register of a fifth of their residues.
"""

import torch
from torch import Generator

from protgen.conditions.strand_pairing import Ladder, StrandPairing
from protgen.models.topologies import Element, TopologyPrior, elements_of, kinds_of

LIKEST = 3  # natives among which one is drawn
TURN = 6  # residues: up to here two strands are a hairpin, whose ends face each other


def draw_pairing(prior: TopologyPrior, codes: str, rng: Generator) -> StrandPairing | None:
    """The pairing of one of the natives likest to asked codes; None where no native has these elements in order."""
    asked = elements_of(codes)
    known = prior.by_kinds.get(kinds_of(asked), [])
    if not known or "E" not in kinds_of(asked):
        return None
    nearest = sorted(known, key=lambda item: difference(elements_of(item.codes), asked))[:LIKEST]
    native = nearest[int(torch.randint(0, len(nearest), (), generator=rng))]
    ladders = laid_onto(native.ladders, strands_of(native.codes), strands_of(codes))
    return StrandPairing(ladders, complete=True) if ladders else None


def strands_of(codes: str) -> list[tuple[int, int]]:
    """(first residue, one past the last) of each strand."""
    return [(start, stop) for kind, start, stop in elements_of(codes) if kind == "E"]


def difference(one: list[Element], other: list[Element]) -> int:
    """Residues by which the elements and the loops between them differ in length, summed."""
    total, before = 0, (0, 0)
    for (_, a, b), (_, c, d) in zip(one, other, strict=True):
        total += abs((b - a) - (d - c)) + abs((a - before[0]) - (c - before[1]))
        before = b, d
    return total


def laid_onto(
    ladders: tuple[Ladder, ...], own: list[tuple[int, int]], asked: list[tuple[int, int]]
) -> tuple[Ladder, ...]:
    """Ladders of a native between the strands that stand for its own; what reaches beyond a strand's ends is cut off.

    Strands of a hairpin keep their register at the turn; others keep that of their middles.
    """
    found = []
    for a, b, c, d in ladders:
        way = 1 if d > c else -1
        first, second = strand_at((a + b) / 2 - 1, own), strand_at((c + d) / 2 - 1, own)
        if first is None or second is None or first == second:
            continue
        turn = way < 0 and second == first + 1 and asked[second][0] - asked[first][1] <= TURN
        if turn:
            shifts = asked[first][1] - own[first][1], asked[second][0] - own[second][0]
        else:
            shifts = tuple((sum(asked[k]) - sum(own[k])) // 2 for k in (first, second))
        pairs = [(a + k + shifts[0], c + way * k + shifts[1]) for k in range(b - a + 1)]
        inside = [(i, j) for i, j in pairs if within(i - 1, asked[first]) and within(j - 1, asked[second])]
        if len(inside) > 1:
            found.append((inside[0][0], inside[-1][0], inside[0][1], inside[-1][1]))
    return tuple(found)


def strand_at(place: float, strands: list[tuple[int, int]]) -> int | None:
    """The number of the strand that a place is in, None outside all of them."""
    return next((n for n, strand in enumerate(strands) if strand[0] <= place < strand[1]), None)


def within(place: int, strand: tuple[int, int]) -> bool:
    """Whether a residue is in a strand."""
    return strand[0] <= place < strand[1]
