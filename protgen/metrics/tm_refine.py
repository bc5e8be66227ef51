"""Scores of given alignments, in numpy: TM-align's search over superpositions, and its quick estimate.

The search is that of Zhang & Skolnick, Proteins 57, 702 (2004): superpose a piece of the alignment, then by turns the
pairs that come within a distance, until they stay the same; the best score on the way counts. Steps and bounds are
TM-align's. `native/tm_score.h` does the same.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from protgen.geometry.superposition import Motion, superpose
from protgen.metrics.tm_pairs import CELLS, Pairs, squared_distance

LENGTHS = 6  # of pieces: all of the alignment, half of it, a quarter, ..., and the shortest
SHORTEST = 4  # residues of a piece
TURNS = 20  # of superposition from one piece, at most
FEWEST = 3  # pairs to superpose: with less the bound is relaxed


@dataclass(frozen=True)
class Aligned:
    """The aligned residues of each pair, one after the other.

    Attributes:
        x: (3, n, p) Å.
        y: (3, n, p) Å.
        count: (p,) of the n that are real.
    """

    x: np.ndarray
    y: np.ndarray
    count: np.ndarray

    def take(self, index: np.ndarray) -> "Aligned":
        """Some of the pairs."""
        return Aligned(self.x[..., index], self.y[..., index], self.count[index])

    @property
    def real(self) -> np.ndarray:
        """(n, p) True where there is a residue."""
        return np.arange(self.x.shape[1])[:, None] < self.count


@dataclass(frozen=True)
class Scoring:
    """What counts and what is superposed, each (p,).

    Attributes:
        near: pairs within it, give or take 1, are superposed; Å.
        d0: Å, of the score.
        reach: Å; pairs further apart do not count. None: all do.
    """

    near: np.ndarray
    d0: np.ndarray
    reach: np.ndarray | None = None

    def take(self, index: np.ndarray) -> "Scoring":
        """For some of the pairs."""
        return Scoring(self.near[index], self.d0[index], None if self.reach is None else self.reach[index])


def gather(pairs: Pairs, partner: np.ndarray) -> Aligned:
    """The residues that partners (la, p) name."""
    aligned = partner >= 0
    count = aligned.sum(axis=0)
    order = np.argsort(~aligned, axis=0, kind="stable")[: max(1, count.max(initial=0))]
    other = np.maximum(np.take_along_axis(partner, order, axis=0), 0)
    return Aligned(
        np.take_along_axis(pairs.x, order[None], axis=1), np.take_along_axis(pairs.y, other[None], axis=1), count
    )


def search_scores(aligned: Aligned, how: Scoring, stride: int) -> tuple[np.ndarray, Motion]:
    """Best scores (p,) over superpositions, as sums, and their motions.

    Args:
        aligned: the residues.
        how: what counts.
        stride: residues between pieces.
    """
    n_pairs = len(aligned.count)
    each = sum(len(part) for part in _pieces(int(aligned.count.max(initial=0)), stride)[:1])
    size = max(1, CELLS // (each * aligned.x.shape[1]))
    chunks = [np.arange(start, min(start + size, n_pairs)) for start in range(0, n_pairs, size)]
    score = np.full(n_pairs, -1.0)
    motion = Motion(np.zeros((3, 3, n_pairs), np.float32), np.zeros((3, n_pairs), np.float32))
    for chunk in chunks:
        score[chunk], part = _search_chunk(aligned.take(chunk), how.take(chunk), stride)
        motion.rotation[..., chunk], motion.shift[:, chunk] = part.rotation, part.shift
    return score, motion


def quick_scores(x: np.ndarray, y: np.ndarray, present: np.ndarray, how: Scoring) -> np.ndarray:
    """Estimates (t,) of alignments: superposed whole, then twice by the pairs that are near.

    Args:
        x: (3, n, t) Å.
        y: (3, n, t) Å.
        present: (n, t) which of them are aligned.
        how: what is near, and d0.
    """
    inside, best = present, np.full(x.shape[2], -1.0)
    scale = 1.0 / np.square(how.d0)
    for turn in range(3):
        motion = superpose(x, y, inside.astype(np.float32))
        square = squared_distance(motion.apply(x), y)
        best = np.maximum(best, np.where(present, 1.0 / (1.0 + square * scale), 0.0).sum(axis=0))
        bound = np.square(how.near) + turn
        inside = present & (square < bound)
        few = np.flatnonzero((inside.sum(axis=0) < FEWEST) & (present.sum(axis=0) > FEWEST))
        if len(few):
            third = _third_nearest(square[:, few], present[:, few])
            bound = bound[few] + 0.5 * np.ceil(2.0 * (third - bound[few]) + 1e-3)
            inside[:, few] = present[:, few] & (square[:, few] < bound)
    return best


def _search_chunk(aligned: Aligned, how: Scoring, stride: int) -> tuple[np.ndarray, Motion]:
    """As `search_scores`, all pieces of all pairs at once; sets of residues met before are not followed again."""
    n, n_pairs = aligned.x.shape[1:]
    pieces = [_pieces(int(count), stride) for count in aligned.count]
    which = np.repeat(np.arange(n_pairs), [len(first) for first, _ in pieces])
    first, length = (np.concatenate([part[k] for part in pieces]) for k in range(2))
    rows, real = np.arange(n)[:, None], aligned.real
    inside = (rows >= first) & (rows < first + length)
    scale = (1.0 / np.square(how.d0)).astype(np.float32)
    best = np.full(n_pairs, -1.0)
    rotation, shift = np.zeros((3, 3, n_pairs), np.float32), np.zeros((3, n_pairs), np.float32)
    codes = np.random.default_rng(0).integers(1, 2**40, n).astype(float)  # sums of 2^12 of them are exact
    seen = np.empty(0, np.uint64)
    for turn in range(TURNS + 1):
        x, y, present = aligned.x[..., which], aligned.y[..., which], real[:, which]
        motion = superpose(x, y, inside.astype(np.float32))
        square = squared_distance(motion.apply(x), y)
        counted = present if how.reach is None else present & (square <= np.square(how.reach[which]))
        score = np.where(counted, 1.0 / (1.0 + square * scale[which]), 0.0).sum(axis=0)
        order = np.lexsort((score, which))
        top = order[np.append(which[order][1:] != which[order][:-1], True)]  # the best of each pair
        top = top[score[top] > best[which[top]]]
        best[which[top]] = score[top]
        rotation[..., which[top]], shift[:, which[top]] = motion.rotation[..., top], motion.shift[:, top]
        inside = _inside(square, present, how.near[which] + (1.0 if turn else -1.0))
        keys = (codes @ inside).astype(np.uint64) ^ (which.astype(np.uint64) << np.uint64(53))
        _, new = np.unique(keys, return_index=True)
        new = new[~np.isin(keys[new], seen)]
        if len(new) == 0:
            break
        seen = np.append(seen, keys[new])
        which, inside = which[new], inside[:, new]
    return best, Motion(rotation, shift)


def _inside(square: np.ndarray, present: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """(n, t) which pairs are nearer than bounds (t,), relaxed by steps of 0.5 Å where these are too few."""
    inside = present & (square < np.square(bound))
    few = np.flatnonzero((inside.sum(axis=0) < FEWEST) & (present.sum(axis=0) > FEWEST))
    if len(few):
        third = np.sqrt(_third_nearest(square[:, few], present[:, few]))
        bound = bound[few] + 0.5 * (np.floor(2.0 * (third - bound[few])) + 1.0)
        inside[:, few] = present[:, few] & (square[:, few] < np.square(bound))
    return inside


def _third_nearest(square: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(t,) the third smallest of (n, t) where present."""
    return np.partition(np.where(present, square, np.inf), FEWEST - 1, axis=0)[FEWEST - 1]


@cache
def _pieces(n: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """First residues and lengths of the pieces of an alignment of n."""
    firsts, lengths = [np.empty(0, int)], [np.empty(0, int)]
    least = min(SHORTEST, n)
    for halvings in range(LENGTHS if n else 0):
        length = max(n >> halvings if halvings < LENGTHS - 1 else 0, least)
        first = np.append(np.arange(0, n - length, stride), n - length)
        firsts.append(first)
        lengths.append(np.full(len(first), length))
        if length == least:
            break
    return np.concatenate(firsts), np.concatenate(lengths)
