"""Finds a motif in a structure whose gaps are not known: where along the chain its segments fit best."""

from itertools import permutations

import numpy as np

from protgen.conditions.contigs import Contig, Gap
from protgen.conditions.segments import Segment
from protgen.errors import ConflictError, UsageError
from protgen.geometry.superposition import Motion, superpose

MOST_ORDERS = 120  # orders of free segments that are tried
REFINEMENTS = 3  # rounds of superposing on the placement found and placing again
ANCHORS = 40  # starts of the longest segment that are followed up


def motif_rmsd(backbone: np.ndarray, motif: np.ndarray, indices: list[int]) -> float:
    """RMSD of the motif's atoms (k, 3, 3) from those at the places given in a backbone (l, 3, 3), superposed, Å."""
    moved, target = motif_on(backbone, motif, indices)
    return float(np.sqrt(np.square(moved - target).sum(-1).mean()))


def motif_on(backbone: np.ndarray, motif: np.ndarray, indices: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The motif's atoms moved onto those at the places given, and those, (3 k, 3) each, Å."""
    target, mobile = backbone[indices].reshape(1, -1, 3), motif.reshape(1, -1, 3)
    return apply(best_motions(mobile, target), mobile)[0], target[0]


def best_motions(mobile: np.ndarray, target: np.ndarray) -> Motion:
    """The motions that lay p sets of n points, (p, n, 3), onto others best."""
    return superpose(mobile.T, target.T, np.ones(target.shape[1::-1]))


def apply(motions: Motion, points: np.ndarray) -> np.ndarray:
    """p sets of n points, (p, n, 3), each moved by its motion."""
    return motions.apply(points.T).T


def find_placement(backbone: np.ndarray, motif: np.ndarray, contig: Contig, *, free: bool = False) -> tuple[str, float]:
    """Gaps with which a motif fits a backbone best, and its RMSD there, Å.

    The longest segment is tried at each place; the others follow by dynamic programming over their places under the
    ranges of the gaps, with the motif lying where the first superposition put it, and then where all of it lies best.

    Args:
        backbone: (l, 3, 3) N, CA, C, Å.
        motif: (k, 3, 3) likewise, segments in the order of the contig.
        contig: segments and ranges of the gaps; a total length that the backbone must have.
        free: whether segments may come in another order.

    Raises:
        ConflictError: if the contig cannot have the backbone's length.
        UsageError: if there are too many orders to try.
    """
    contig.check_length(len(backbone))
    count = len(contig.segments)
    orders = [tuple(range(count))]
    if free:
        orders = list(permutations(range(count))) if count <= 5 else []
        if not orders or len(orders) > MOST_ORDERS:
            raise UsageError(f"motif of {count} segments in free order: at most 5 can be searched; fix the order")
    lengths = [segment.length for segment in contig.segments]
    pieces = np.split(motif, np.cumsum(lengths)[:-1])
    best, least = "", np.inf
    for order in orders:
        arranged = contig.reordered(order)
        found = _search(backbone, np.concatenate([pieces[i] for i in order]), arranged)
        if found is not None and found[1] < least:
            best, least = str(arranged.fixed(found[0])), found[1]
    if not best:
        raise ConflictError(f"motif: no placement of {contig} fits {len(backbone)} residues")
    return best, float(least)


def _search(backbone: np.ndarray, motif: np.ndarray, contig: Contig) -> tuple[list[int], float] | None:
    lengths = [segment.length for segment in contig.segments]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    anchor = int(np.argmax(lengths))
    piece = motif[offsets[anchor] : offsets[anchor + 1]]
    windows = np.lib.stride_tricks.sliding_window_view(backbone, lengths[anchor], axis=0)
    windows = np.moveaxis(windows, -1, 1).reshape(len(windows), -1, 3)
    mobile = np.broadcast_to(piece.reshape(1, -1, 3), windows.shape)
    motions = best_motions(mobile, windows)
    errors = np.square(apply(motions, mobile) - windows).sum(-1).mean(-1)
    best: tuple[list[int], float] | None = None
    for start in np.argsort(errors, kind="stable")[:ANCHORS]:
        motion = motions.take(np.array([start]))
        moved = apply(motion, motif.reshape(1, -1, 3))[0].reshape(motif.shape)
        for _ in range(REFINEMENTS):
            sizes = _place(backbone, moved, contig, lengths)
            if sizes is None:
                break
            fixed = contig.fixed(sizes)
            places = zip(fixed.starts(), lengths, strict=True)
            indices = [place + k for place, length in places for k in range(length)]
            flat, target = motif_on(backbone, motif, indices)
            off = float(np.sqrt(np.square(flat - target).sum(-1).mean()))
            if best is not None and off >= best[1] - 1e-9:
                break
            best, moved = (sizes, off), flat.reshape(motif.shape)
    return best


def _place(backbone: np.ndarray, moved: np.ndarray, contig: Contig, lengths: list[int]) -> list[int] | None:
    """Sizes of the gaps with the least squared distance of the moved motif, by dynamic programming along the chain."""
    total = len(backbone)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    squared = np.square(backbone[:, None] - moved[None]).sum((-1, -2))  # (l, k)
    least = np.full(total + 1, np.inf)  # least[n]: best cost of the parts so far, which take n residues
    least[0] = 0.0
    trace: list[np.ndarray] = []
    number = 0
    for part in contig.parts:
        after = np.full(total + 1, np.inf)
        came = np.zeros(total + 1, dtype=int)
        if isinstance(part, Segment):
            columns = squared[:, offsets[number] : offsets[number + 1]]
            starts = np.arange(total - part.length + 1)
            cost = sum(columns[starts + k, k] for k in range(part.length))
            after[starts + part.length] = least[starts] + cost
            number += 1
        else:
            for size in range(part.low, min(part.high, total) + 1):
                shifted = least[: total + 1 - size]
                better = shifted < after[size:]
                after[size:][better] = shifted[better]
                came[size:][better] = size
        trace.append(came)
        least = after
    if not np.isfinite(least[total]):
        return None
    sizes: list[int] = []
    n = total
    for part, came in zip(reversed(contig.parts), reversed(trace), strict=True):
        if isinstance(part, Gap):
            sizes.append(int(came[n]))
            n -= int(came[n])
        else:
            n -= part.length
    return sizes[::-1]
