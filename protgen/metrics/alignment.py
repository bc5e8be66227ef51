"""Sequence-order alignment by dynamic programming, for many pairs at once.

The recursion is TM-align's (Zhang & Skolnick, Nucleic Acids Res. 33, 2302, 2005; NWDP_TM of its program): with s[i, j]
the worth of a match,

    A[i, j] = V[i-1, j-1] + s[i, j]             i aligned with j
    G[i, j] = max(V'[i-1, j], V'[i, j-1])       not
    V[i, j] = max(A, G), and V' = V + gap where A >= G, V elsewhere

so that a gap costs once, where it follows an aligned cell, and nothing at the ends. Each cell keeps one of its two
states, so this is not always the best alignment; scores that are to agree with TM-align's need the same one. Cells
i + j = k do not depend on each other: an anti-diagonal of all pairs is done at a time.
"""

from collections.abc import Callable

import numpy as np

ScoreDiagonal = Callable[[int, int, int], np.ndarray]
_GAP_IN_X, _ALIGNED = 1, 2


def align(
    score: ScoreDiagonal, size: tuple[int, int], lengths: np.ndarray, gap: float, *, ties_in_x: bool = True
) -> np.ndarray:
    """The alignments.

    Args:
        score: gives, for k, i0 and i1, the worth (i1 - i0, p) of aligning i0 <= i < i1 with j = k - i. Not negative.
        size: la, lb: the longest.
        lengths: (2, p) of each pair.
        gap: cost of opening a gap, not positive.
        ties_in_x: of two gaps as good, take the one in x.

    Returns:
        (la, p) int: the j aligned with each i, -1 where none is.
    """
    (la, lb), n_pairs = size, lengths.shape[1]
    came_from = np.zeros((la + lb - 1, la, n_pairs), dtype=np.uint8)
    # row 0 is the cell before the first residue of x, whose value is 0
    value, value1, value2, after, after1 = np.zeros((5, la + 2, n_pairs), dtype=np.float32)
    for k in range(la + lb - 1):
        low, high = max(0, k - lb + 1), min(k, la - 1) + 1
        aligned = value2[low:high] + score(k, low, high)
        gap_x, gap_y = after1[low + 1 : high + 1], after1[low:high]
        best = np.maximum(gap_x, gap_y)
        is_aligned = aligned >= best
        came_from[k, low:high] = is_aligned * _ALIGNED + (gap_x >= gap_y if ties_in_x else gap_x > gap_y) * _GAP_IN_X
        np.maximum(aligned, best, out=value[low + 1 : high + 1])
        np.add(value[low + 1 : high + 1], is_aligned * np.float32(gap), out=after[low + 1 : high + 1])
        value[high + 1] = after[high + 1] = 0.0  # before the first residue of y, which the next diagonals look at
        value, value1, value2 = value2, value, value1
        after, after1 = after1, after
    return _walk_back(came_from, lengths)


def _walk_back(came_from: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(la, p) partners, from the ends of each pair."""
    diagonals, la, n_pairs = came_from.shape
    partner = np.full((la, n_pairs), -1)
    i, j = lengths[0] - 1, lengths[1] - 1
    pair = np.arange(n_pairs)
    for _ in range(diagonals):
        code = came_from[i + j, i, pair]
        aligned = code >= _ALIGNED
        partner[i[aligned], pair[aligned]] = j[aligned]
        in_x = ~aligned & (code == _GAP_IN_X)
        i, j = i - ~in_x, j - (aligned | in_x)
        alive = (i >= 0) & (j >= 0)
        if not alive.all():
            i, j, pair = i[alive], j[alive], pair[alive]
            if len(pair) == 0:
                break
    return partner
