"""Alignments from which the numpy search starts: gapless threading, and superposed pieces.

What TM-align calls initial alignments 1, 4 and 5 (Zhang & Skolnick, Nucleic Acids Res. 33, 2302, 2005; the numbers are
its program's). `native/tm_search.c` does the same.
"""

from dataclasses import dataclass

import numpy as np

from protgen.geometry.superposition import superpose
from protgen.metrics.tm_pairs import CELLS, Pairs, align_pairs, near_bound
from protgen.metrics.tm_refine import Scoring, gather, quick_scores

LEAST_OVERLAP = 5  # residues
PIECE_SLACK = 1.5  # Å added to the search's d0 when all else is aligned after a piece
UNBROKEN = 4.25  # Å from CA to CA
LEAST_FRAGMENT = 4  # residues
JUMPS = ((250, 45), (200, 35), (150, 25), (-1, 15))  # length above which, residues between pieces: TM-align's


@dataclass(frozen=True)
class Stretch:
    """Residues first <= i < first + count of each trace, (p,)."""

    first: np.ndarray
    count: np.ndarray

    def mask(self, n: int) -> np.ndarray:
        """(n, p) True inside."""
        rows = np.arange(n)[:, None]
        return (rows >= self.first) & (rows < self.first + self.count)


def whole_stretches(pairs: Pairs) -> tuple[Stretch, Stretch]:
    """All of x and all of y."""
    nothing = np.zeros(len(pairs), int)
    return Stretch(nothing, pairs.length_x), Stretch(nothing, pairs.length_y)


def thread(pairs: Pairs, of_x: Stretch, of_y: Stretch, least: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The best gapless alignments of stretches: estimates (p,), and partners (la, p).

    Args:
        pairs: the traces.
        of_x: residues of x that may be aligned.
        of_y: residues of y.
        least: (p,) residues that overlap at least.
        step: residues between offsets.
    """
    la, n_pairs = pairs.x.shape[1], len(pairs)
    shift = of_x.first - of_y.first
    low, high = least - of_y.count + shift, of_x.count - least + shift  # offsets of i from j
    best, best_offset = np.full(n_pairs, -1.0), low.copy()
    mask_x, mask_y = of_x.mask(la), of_y.mask(pairs.y.shape[1])
    rows = np.arange(la)[:, None]
    n_offsets = int((high - low).max(initial=0)) // step + 1
    size = max(1, CELLS // 2 // (la * n_offsets))
    for start in range(0, n_pairs, size):
        chunk = np.arange(start, min(start + size, n_pairs))
        offset = low[chunk] + step * np.arange(n_offsets)[:, None]
        which = np.broadcast_to(chunk, offset.shape)[offset <= high[chunk]]
        offset = offset[offset <= high[chunk]]
        column = rows - offset
        inside = (column >= 0) & (column < pairs.y.shape[1])
        column = np.clip(column, 0, pairs.y.shape[1] - 1)
        present = inside & mask_x[:, which] & mask_y[column, which]
        score = quick_scores(pairs.x[..., which], pairs.y[:, column, which], present, _scoring(pairs).take(which))
        order = np.lexsort((offset, score, which))  # of equals the last
        top = order[np.append(which[order][1:] != which[order][:-1], True)]
        best[which[top]], best_offset[which[top]] = score[top], offset[top]
    partner = rows - best_offset
    inside = (partner >= 0) & (partner < pairs.y.shape[1]) & mask_x
    allowed = np.take_along_axis(mask_y, np.clip(partner, 0, pairs.y.shape[1] - 1), axis=0)
    return best, np.where(inside & allowed, partner, -1)


def thread_fragments(pairs: Pairs, step: int) -> np.ndarray:
    """(la, p) partners: the longest unbroken stretch of one chain or its middle four fifths, over the other chain."""
    whole_x, whole_y = whole_stretches(pairs)
    part_x, part_y = longest_stretch(pairs.x, pairs.length_x), longest_stretch(pairs.y, pairs.length_y)
    shorter, longer = (part_x.count < part_y.count), (part_x.count > part_y.count)
    use_x = shorter | (~longer & (pairs.length_x <= pairs.length_y))
    use_y = longer | (~shorter & (pairs.length_x >= pairs.length_y))
    middle_x, middle_y = _middle(part_x, pairs.shorter), _middle(part_y, pairs.shorter)
    tried = []
    for used, of_x, of_y, part, other in (
        (use_x, middle_x, whole_y, middle_x, pairs.length_y),
        (use_y, whole_x, middle_y, middle_y, pairs.length_x),
    ):
        least = np.maximum((np.minimum(part.count, other) / 2.5).astype(int), LEAST_FRAGMENT - 1)
        score, partner = np.full(len(pairs), -2.0), np.full((pairs.x.shape[1], len(pairs)), -1)
        at = np.flatnonzero(used)
        if len(at):
            in_x, in_y = (Stretch(of.first[at], of.count[at]) for of in (of_x, of_y))
            score[at], partner[:, at] = thread(pairs.take(at), in_x, in_y, least[at], step)
        tried.append((score, partner))
    return np.where(tried[1][0] >= tried[0][0], tried[1][1], tried[0][1])


def longest_stretch(trace: np.ndarray, length: np.ndarray) -> Stretch:
    """The longest stretches without a break of traces (3, l, p); a wider bound where there is none worth it."""
    gaps = np.sqrt(np.square(np.diff(trace, axis=1)).sum(axis=0))
    first, count = np.zeros(len(length), int), np.zeros(len(length), int)
    for k, n in enumerate(length.tolist()):
        bound = UNBROKEN
        while count[k] < min(n // 3, LEAST_FRAGMENT) or count[k] == 0:
            ends = np.append(np.flatnonzero(gaps[: n - 1, k] >= bound) + 1, n)
            sizes = np.diff(ends, prepend=0)
            first[k], count[k] = (ends - sizes)[sizes.argmax()], sizes.max()
            bound *= 1.1
    return Stretch(first, count)


def superpose_pieces(pairs: Pairs, jump: int) -> np.ndarray:
    """(la, p) partners: pieces superposed, the rest aligned after them; the best by estimate."""
    which, at_x, at_y, size = _piece_places(pairs, jump)
    rows = np.arange(int(size.max()))[:, None]
    weights = (rows < size).astype(np.float32)
    take_x, take_y = (np.minimum(at + rows, n - 1) for at, n in ((at_x, pairs.x.shape[1]), (at_y, pairs.y.shape[1])))
    motion = superpose(pairs.x[:, take_x, which], pairs.y[:, take_y, which], weights)
    trials = pairs.take(which)
    partner = align_pairs(trials, 0.0, motion=motion, d0=trials.d0 + PIECE_SLACK)
    score = np.empty(len(which))
    chunk = max(1, CELLS // 2 // pairs.x.shape[1])
    for start in range(0, len(which), chunk):
        part = slice(start, start + chunk)
        aligned = gather(trials.take(np.arange(len(which))[part]), partner[:, part])
        score[part] = quick_scores(aligned.x, aligned.y, aligned.real, _scoring(pairs).take(which[part]))
    order = np.lexsort((-np.arange(len(which)), score, which))  # of equals the first
    top = order[np.append(which[order][1:] != which[order][:-1], True)]
    return partner[:, top]


def _piece_places(pairs: Pairs, jump: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pair, first residues in x and y, and size of every trial, those of a pair together."""
    places = []
    for pair, (la, lb) in enumerate(zip(pairs.length_x.tolist(), pairs.length_y.tolist(), strict=True)):
        shorter = min(la, lb)
        for size in (min(20, shorter // 3), min(100, shorter // 2)):
            x, y = (np.arange(0, n - size + 1, _jump(n) * jump) for n in (la, lb))
            grid = np.stack([axis.ravel() for axis in np.meshgrid(x, y, indexing="ij")])
            places.append(np.concatenate([np.full((1, grid.shape[1]), pair), grid, np.full((1, grid.shape[1]), size)]))
    which, at_x, at_y, size = np.concatenate(places, axis=1)
    return which, at_x, at_y, size


def _jump(length: int) -> int:
    """Residues between pieces; beyond 1,000 residues as many pieces as there, as the time grows with their square."""
    jump = 45 * length // 1000 if length > 1000 else next(step for above, step in JUMPS if length > above)
    return min(jump, length // 3)


def _middle(stretch: Stretch, shorter: np.ndarray) -> Stretch:
    """The middle four fifths of stretches that are the whole of the shorter chain: else threading would be repeated."""
    low, high = (shorter * 0.1).astype(int), (shorter * 0.89).astype(int)
    whole = stretch.count == shorter
    return Stretch(stretch.first + np.where(whole, low, 0), np.where(whole, high - low + 1, stretch.count))


def _scoring(pairs: Pairs) -> Scoring:
    return Scoring(near_bound(pairs.d0), pairs.d0)
