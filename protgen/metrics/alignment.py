"""Sequence-order alignment by dynamic programming, for many pairs at once.

The scheme is TM-align's (Zhang & Skolnick, Nucleic Acids Res. 33, 2302, 2005): a gap costs once when it
opens, nothing to extend, and nothing before the first aligned residue. With that rule the best score of a
cell is

    M[i, j] = s[i, j] + V[i-1, j-1]             i aligned with j
    G[i, j] = max of M over i' <= i, j' <= j    the best alignment that ended so far
    V[i, j] = max(M[i, j], G[i, j] + gap)

so that each row is a running maximum: no inner loop over columns, and every row is done for all pairs
together. Scores come row by row, while they are still in the cache; neither they nor M, G and V are kept. What
is kept is where to walk back to.
"""

from collections.abc import Callable

import numpy as np

ScoreRow = Callable[[int, np.ndarray], None]
BLOCK = 64  # pairs whose rows fit the innermost caches together


def align(score_rows: Callable[[slice], ScoreRow], shape: tuple[int, int, int], gap: float) -> np.ndarray:
    """The alignments of highest score.

    Args:
        score_rows: gives, for a slice of the pairs, a function that writes the scores of aligning i with
            every j into its second argument, (lb, block) float32. Scores are not negative.
        shape: la, lb, p.
        gap: cost of opening a gap, not positive.

    Returns:
        (la, p) int: the j aligned with each i, -1 where none is.
    """
    la, lb, n_pairs = shape
    ends = np.empty((la, lb, n_pairs), dtype=np.int16)
    goes_on = np.empty((la if gap else 0, lb, n_pairs), dtype=bool)
    for start in range(0, n_pairs, BLOCK):
        block = slice(start, min(start + BLOCK, n_pairs))
        _forward(score_rows(block), np.float32(gap), ends[:, :, block], goes_on[:, :, block])
    return _trace(ends, goes_on)


def _forward(score_row: ScoreRow, gap: np.float32, ends: np.ndarray, goes_on: np.ndarray) -> None:
    """Fill the tables for walking back.

    Args:
        score_row: as given to `align`.
        gap: likewise.
        ends: (la, lb, b) written: one more than the column at which the best alignment of the rectangle up to
            the cell ends in its last row; 0 where it ends in a row above.
        goes_on: (la, lb, b) written: the cell is aligned with what follows it, rather than followed by a
            gap; empty without a cost of gaps, where that makes no difference.
    """
    _, lb, size = ends.shape
    value = np.zeros((lb + 1, size), dtype=np.float32)  # row 0 is the empty alignment
    matched, running, best = np.zeros((3, lb, size), dtype=np.float32)
    column = np.repeat(np.arange(1, lb + 1, dtype=np.int16)[:, None], size, axis=1)
    reached, last = np.empty((lb, size), dtype=bool), np.empty((lb, size), dtype=np.int16)
    for i in range(len(ends)):
        score_row(i, matched)
        np.add(matched, value[:-1], out=matched)
        np.maximum.accumulate(matched, axis=0, out=running)
        np.equal(matched, running, out=reached)
        np.multiply(reached, column, out=last)
        np.maximum.accumulate(last, axis=0, out=last)
        np.greater(running, best, out=reached)
        np.multiply(last, reached, out=ends[i])
        np.maximum(best, running, out=best)
        if not gap:
            value[1:] = best
            continue
        np.add(best, gap, out=running)
        np.greater_equal(matched, running, out=goes_on[i])
        np.maximum(matched, running, out=running)
        np.maximum(running, 0.0, out=value[1:])


def _trace(ends: np.ndarray, goes_on: np.ndarray) -> np.ndarray:
    """Walk back row by row, all pairs in step.

    Each pair keeps a column limit. Either the cell at the limit must be aligned, because it continues a
    stretch, or the best alignment of the rectangle up to the limit is asked for: it ends in this row or in
    one above.
    """
    la, lb, n_pairs = ends.shape
    partner = np.full((la, n_pairs), -1)
    pair = np.arange(n_pairs)
    limit = np.full(n_pairs, lb - 1)
    must = np.zeros(n_pairs, dtype=bool)
    alive = np.ones(n_pairs, dtype=bool)
    for i in range(la - 1, -1, -1):
        column = np.where(must, limit, ends[i, limit, pair] - 1)
        hit = (column >= 0) & alive
        np.copyto(partner[i], column, where=hit)
        limit = np.where(hit, column - 1, limit)
        if i == 0:
            break
        alive &= limit >= 0
        limit = np.maximum(limit, 0)
        if len(goes_on):
            must = hit & alive & goes_on[i - 1, limit, pair]
    return partner
