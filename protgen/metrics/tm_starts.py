"""Where a TM-score search starts: gapless threading, secondary structure, and short pieces that fit."""

import numpy as np

from protgen.metrics.alignment import align
from protgen.metrics.superposition import Motion
from protgen.metrics.tm_pairs import Found, Pairs, best_of, closeness, nothing_found, superpose_aligned

MIN_OVERLAP = 5  # residues
STATE_GAP = -1.0  # TM-align's cost of a gap between secondary structures, a match being 1
PIECE = 16  # residues: longer than a turn of anything, shorter than most pairs of elements
STRIDE_X, STRIDE_Y = 8, 3  # residues between pieces of the two chains
TRIED = 64  # pieces, the best by their own fit, of which the rest of the chain is looked at
KEPT = 10  # of these, the best by the rest of the chain
THINNING = 3  # every third residue is enough for that look


def threading_start(pairs: Pairs) -> Found:
    """The best gapless alignment among all offsets at which at least half of the shorter chain overlaps."""
    la, lb = pairs.x.shape[1], pairs.y.shape[1]
    residues = np.arange(la)
    least = np.maximum(pairs.shorter // 2, MIN_OVERLAP)
    best = nothing_found(pairs)
    for offset in range(MIN_OVERLAP - la, lb - MIN_OVERLAP + 1):
        partner = residues + offset
        inside = (partner >= 0) & (partner < pairs.length_y[:, None]) & pairs.real_x
        use = np.flatnonzero(inside.sum(axis=1) >= least)
        if len(use):
            tried = superpose_aligned(pairs.take(use), np.where(inside[use], partner, -1), steps=2)
            best.update(use, tried)
    return best


def structure_start(pairs: Pairs) -> Found:
    """The alignment of the secondary structures alone."""
    alike = pairs.states_x[:, :, None] == pairs.states_y[:, None, :]
    return superpose_aligned(pairs, align(pairs.pad(alike), STATE_GAP))


def mixed_start(pairs: Pairs, sofar: Found) -> Found:
    """The alignment of secondary structures and of distances after a first superposition, half and half."""
    alike = pairs.states_x[:, :, None] == pairs.states_y[:, None, :]
    scores = pairs.pad(0.5 * closeness(pairs, sofar.motion) + 0.5 * alike)
    return superpose_aligned(pairs, align(scores, STATE_GAP))


def all_starts(pairs: Pairs) -> list[Found]:
    """Every start; those from pieces have a motion only, no score and no alignment yet."""
    threaded, structure = threading_start(pairs), structure_start(pairs)
    return [threaded, structure, mixed_start(pairs, best_of([threaded, structure])), *piece_starts(pairs)]


def piece_starts(pairs: Pairs) -> list[Found]:
    """Superpositions of pieces of 16 residues that bring most of the rest of x near to y.

    All pieces at the strides are superposed, the 64 that fit best are kept, and for each the whole of x is
    moved: the 10 are returned with the most residues near any residue of y.
    """
    size = min(PIECE, int(pairs.shorter.min()))
    at_x = np.arange(0, pairs.x.shape[1] - size + 1, STRIDE_X)
    at_y = np.arange(0, pairs.y.shape[1] - size + 1, STRIDE_Y)
    x, centre_x = _pieces(pairs.x, at_x, size)
    y, centre_y = _pieces(pairs.y, at_y, size)
    n, nx, ny = len(pairs), len(at_x), len(at_y)
    flat_x = x.transpose(0, 1, 3, 2).reshape(n, nx * 3, size)
    flat_y = y.transpose(0, 2, 1, 3).reshape(n, size, ny * 3)
    covariance = (flat_x @ flat_y).reshape(n, nx, 3, ny, 3).transpose(0, 1, 3, 2, 4)
    u, singular, vt = np.linalg.svd(covariance)
    hand = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    overlap = singular[..., 0] + singular[..., 1] + hand * singular[..., 2]
    misfit = np.square(x).sum(axis=(2, 3))[:, :, None] + np.square(y).sum(axis=(2, 3))[:, None, :] - 2.0 * overlap
    misfit[~(at_x + size <= pairs.length_x[:, None])] = np.inf
    misfit.transpose(0, 2, 1)[~(at_y + size <= pairs.length_y[:, None])] = np.inf
    chosen = np.argsort(misfit.reshape(n, -1), axis=1, kind="stable")[:, :TRIED]
    pair = np.arange(n)[:, None]
    in_x, in_y = chosen // ny, chosen % ny
    vt[..., 2, :] *= hand[..., None]
    rotation = (u[pair, in_x, in_y] @ vt[pair, in_x, in_y]).swapaxes(-1, -2)
    shift = centre_y[pair, in_y] - np.einsum("pkij,pkj->pki", rotation, centre_x[pair, in_x])
    order = np.argsort(-_nearness(pairs, rotation, shift), axis=1, kind="stable")[:, :KEPT]
    starts = []
    for rank in range(order.shape[1]):
        pick = order[:, rank : rank + 1]
        empty = nothing_found(pairs)
        motion = Motion(rotation[pair, pick][:, 0], shift[pair, pick][:, 0])
        starts.append(Found(empty.score, motion, empty.partner))
    return starts


def _pieces(trace: np.ndarray, starts: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pieces (p, k, size, 3) about their centres, and the centres (p, k, 3)."""
    pieces = trace[:, starts[:, None] + np.arange(size)]
    centre = pieces.mean(axis=2)
    return pieces - centre[:, :, None], centre


def _nearness(pairs: Pairs, rotation: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """(p, k) sum of 1 / (1 + (d/d0)^2) over a third of x, d to the nearest residue of y in any order."""
    n, k = rotation.shape[:2]
    thinned = pairs.x[:, None, ::THINNING]
    moved = (thinned @ rotation.swapaxes(-1, -2) + shift[:, :, None]).reshape(n, -1, 3)
    square = moved @ pairs.y.transpose(0, 2, 1)
    square *= -2.0
    far = np.where(pairs.real_y, 0.0, 1e6).astype(np.float32)
    square += (np.square(pairs.y).sum(axis=-1) + far)[:, None, :]
    nearest = np.maximum(square.min(axis=2) + np.square(moved).sum(axis=-1), 0.0)
    terms = 1.0 / (1.0 + nearest / np.square(pairs.d0)[:, None])
    return (terms.reshape(n, k, -1) * pairs.real_x[:, None, ::THINNING]).sum(axis=-1)
