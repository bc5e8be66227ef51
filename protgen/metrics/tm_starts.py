"""Where a TM-score search starts: gapless threading, secondary structure, and short pieces that fit.

Each function returns motions of a batch of k trials a pair, trial-major: trial r of pair q is at r p + q.
"""

import numpy as np

from protgen.metrics.superposition import Motion, best_overlap, best_rotation, superpose
from protgen.metrics.tm_pairs import Found, Pairs, align_by_structure, squared_distance, superpose_aligned
from protgen.metrics.tm_plan import SearchPlan

MIN_OVERLAP = 5  # residues


def threading_starts(pairs: Pairs, plan: SearchPlan) -> Motion:
    """Superpositions of the best gapless alignments, of all offsets at which half of the shorter chain overlaps."""
    la, lb, n = pairs.x.shape[1], pairs.y.shape[1], len(pairs)
    x = pairs.x[:, :: plan.thinning]
    at = np.arange(0, la, plan.thinning)
    offsets = np.arange(MIN_OVERLAP - la, lb - MIN_OVERLAP + 1)
    least = np.maximum(pairs.shorter // 2, MIN_OVERLAP)
    overlap = np.minimum(pairs.length_x, pairs.length_y - offsets[:, None]) - np.maximum(0, -offsets)[:, None]
    column = np.clip(at[:, None] + offsets, 0, lb - 1)  # (m, offsets)
    inside = (at[:, None] + offsets >= 0) & (at[:, None] + offsets < lb)
    real_x, real_y = pairs.real_x[:: plan.thinning], pairs.real_y
    weights = (real_x[:, None] & real_y[column] & inside[..., None]).astype(np.float32)
    target = pairs.y[:, column]
    shape = (3, len(at), -1)
    mobile = np.broadcast_to(x[:, :, None], target.shape).reshape(shape)
    target, weights = target.reshape(shape), weights.reshape(len(at), -1)
    scale = np.tile(1.0 / np.square(pairs.d0), len(offsets))
    motion = superpose(mobile, target, weights)
    score = np.empty(0)
    for _ in range(2):
        values = weights / (1.0 + squared_distance(motion.apply(mobile), target) * scale)
        motion = superpose(mobile, target, values * values)
    score = (weights / (1.0 + squared_distance(motion.apply(mobile), target) * scale)).sum(axis=0)
    score = np.where(overlap >= least, score.reshape(len(offsets), n), -1.0)
    # One of each hill: neighbours of a good offset are good as well, and lead to the same alignment.
    hill = score.copy()
    hill[1:] = np.maximum(hill[1:], score[:-1])
    hill[:-1] = np.maximum(hill[:-1], score[1:])
    order = np.argsort(-np.where(score >= hill, score, score - 1e3), axis=0, kind="stable")[: plan.threads]
    return motion.take((order * n + np.arange(n)).reshape(-1))


def structure_start(pairs: Pairs, gap: float) -> Found:
    """The alignment of the secondary structures alone."""
    return superpose_aligned(pairs, align_by_structure(pairs, gap), steps=4)


def piece_starts(pairs: Pairs, plan: SearchPlan, size: int) -> Motion:
    """Superpositions of pieces of `size` residues that bring most of the rest of x near to y.

    Pieces at the strides are superposed; those that fit best are kept, and for each the whole of x is moved:
    those are returned that bring the most residues near any residue of y.
    """
    keep = plan.kept[plan.pieces.index(size)]
    size = min(size, int(pairs.shorter.min()))
    at_x = np.arange(0, pairs.x.shape[1] - size + 1, plan.stride_x)
    at_y = np.arange(0, pairs.y.shape[1] - size + 1, plan.stride_y)
    x, centre_x = _pieces(pairs.x, at_x, size)
    y, centre_y = _pieces(pairs.y, at_y, size)
    n, nx, ny = len(pairs), len(at_x), len(at_y)
    covariance = np.empty((3, 3, nx, ny, n), np.float32)
    for i in range(3):
        for j in range(3):
            covariance[i, j] = np.einsum("kxp,kyp->xyp", x[i], y[j])
    covariance = covariance.reshape(3, 3, -1)
    misfit = np.square(x).sum(axis=(0, 1))[:, None] + np.square(y).sum(axis=(0, 1))[None]
    misfit = misfit - 2.0 * best_overlap(covariance).reshape(nx, ny, n)
    whole_x, whole_y = (at[:, None] + size <= length for at, length in ((at_x, pairs.length_x), (at_y, pairs.length_y)))
    misfit = np.where(whole_x[:, None] & whole_y[None], misfit, np.inf).reshape(nx * ny, n)
    tried = min(plan.tried, nx * ny)
    chosen = np.argpartition(misfit, tried - 1, axis=0)[:tried]  # (tried, n)
    pair = np.arange(n)
    rotation = best_rotation(covariance[:, :, (chosen * n + pair).reshape(-1)]).astype(np.float32)
    from_x, to_y = centre_x[:, chosen // ny, pair].reshape(3, -1), centre_y[:, chosen % ny, pair].reshape(3, -1)
    motion = Motion(rotation, to_y - (rotation * from_x[None]).sum(axis=1))
    near = _nearness(pairs, motion, tried, plan.thinning)
    order = np.argsort(-near, axis=0, kind="stable")[:keep]
    return motion.take((order * n + pair).reshape(-1))


def _pieces(trace: np.ndarray, starts: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pieces (3, size, k, p) about their centres, and the centres (3, k, p)."""
    pieces = trace[:, np.arange(size)[:, None] + starts]
    centre = pieces.mean(axis=1)
    return pieces - centre[:, None], centre


def _nearness(pairs: Pairs, motion: Motion, k: int, thinning: int) -> np.ndarray:
    """(k, p) sum of 1 / (1 + (d/d0)^2) over a part of x, d to the nearest residue of y in any order."""
    n = len(pairs)
    moved = motion.apply(np.tile(pairs.x[:, ::thinning], k))  # (3, m, k p)
    m = moved.shape[1]
    points = moved.reshape(3, m * k, n).transpose(2, 1, 0)  # (p, m k, 3)
    y = pairs.y.transpose(2, 0, 1)
    square = np.square(points).sum(axis=-1)  # (p, m k)
    # |y|^2 - 2 x.y as one product of four-vectors, pair by pair: a megabyte at a time stays in the cache
    points = np.concatenate([points, np.ones((n, m * k, 1), np.float32)], axis=-1)
    y = np.concatenate([-2.0 * y, np.square(y).sum(axis=1, keepdims=True)], axis=1)
    for one, fixed, result in zip(points, y, square, strict=True):
        result += (fixed.T @ one.T).min(axis=0)
    terms = 1.0 / (1.0 + np.maximum(square, 0.0) / np.square(pairs.d0)[:, None])
    return (terms.T.reshape(m, k, n) * pairs.real_x[::thinning, None]).sum(axis=0)
