"""Sequence-order alignment by dynamic programming, for many pairs at once.

The scheme is TM-align's (Zhang & Skolnick, Nucleic Acids Res. 33, 2302, 2005): a gap costs once when it
opens, nothing to extend, and nothing before the first aligned residue. With that rule the best score of a
cell is

    M[i, j] = s[i, j] + V[i-1, j-1]             i aligned with j
    G[i, j] = max of M over i' <= i, j' <= j    the best alignment that ended so far
    V[i, j] = max(M[i, j], G[i, j] + gap)

so that each row is a running maximum: no inner loop over columns, and every row is done for all pairs
together.
"""

import numpy as np


def align(scores: np.ndarray, gap: float) -> np.ndarray:
    """The alignments of highest score.

    Args:
        scores: (p, la, lb) score of aligning i with j; negative where one of them is padding, which is
            never aligned.
        gap: cost of opening a gap, not positive.

    Returns:
        (p, la) int: the j aligned with each i, -1 where none is.
    """
    n_pairs, la, lb = scores.shape
    matched = np.empty((la, n_pairs, lb), dtype=scores.dtype)
    best = np.empty_like(matched)
    value = np.zeros((n_pairs, lb + 1), dtype=scores.dtype)  # column 0 is the empty alignment
    for i in range(la):
        row = matched[i]
        np.add(scores[:, i], value[:, :-1], out=row)
        np.maximum.accumulate(row, axis=1, out=best[i])
        if i:
            np.maximum(best[i], best[i - 1], out=best[i])
        np.maximum(row, best[i] + scores.dtype.type(gap), out=value[:, 1:])
        np.maximum(value, 0.0, out=value)
    return _trace(matched, best, gap)


def _trace(matched: np.ndarray, best: np.ndarray, gap: float) -> np.ndarray:
    """Walk back row by row, all pairs in step.

    Each pair keeps a column limit. Below it, either the cell at the limit must be aligned (it continues a
    stretch), or the best stretch that ended in the rectangle up to the limit is looked for: it ends in this
    row if the row above has no equal.
    """
    la, n_pairs, _ = matched.shape
    partner = np.full((n_pairs, la), -1)
    pair = np.arange(n_pairs)
    limit = np.full(n_pairs, matched.shape[2] - 1)
    must, alive = np.zeros(n_pairs, dtype=bool), best[-1, :, -1] > 0
    for i in range(la - 1, -1, -1):
        top = best[i, pair, limit]
        hit = must | (top > best[i - 1, pair, limit]) if i else np.ones(n_pairs, dtype=bool)
        hit &= alive
        first = (best[i] >= top[:, None]).argmax(axis=1)
        column = np.where(must, limit, first)
        partner[hit, i] = column[hit]
        limit = np.where(hit, column - 1, limit)
        if i == 0:
            break
        alive &= limit >= 0
        limit = np.maximum(limit, 0)
        stretch, ended = matched[i - 1, pair, limit], best[i - 1, pair, limit] + gap
        alive &= ~hit | (np.maximum(stretch, ended) > 0)
        must = hit & (stretch >= ended)
    return partner
