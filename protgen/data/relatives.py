"""Which chains are one thing: copies, moved or not, and near copies that must not come on both sides of a split.

Without clusters of an index, chains belong together if they have one sequence, or one length and backbones within 1 Å
(CA atoms, superposed; single linkage). Chains within 0.01 Å, the rounding of files, are copies.

No pair is missed: superposed within an RMSD r, distances of disjoint pairs of atoms differ by at most sqrt(2 l) r
together, and only pairs of chains that differ by more are left out unseen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protgen.geometry.superposition import superpose

NEAR = 1.0  # Å, RMSD of CA atoms: as near as two crystals of one protein
COPY = 0.01  # Å; coordinates of files have three decimals
LEAST_TYPES = 8  # of amino acids in a sequence that says something: designs are all glycine
_ROWS = 512  # chains compared with all others at a time
_PAIRS = 256  # superposed at a time


@dataclass(frozen=True)
class Chain:
    """A chain that others are compared with.

    Attributes:
        id: of its source.
        ca: (l, 3) float32, Å.
        sequence: a byte a residue.
    """

    id: str
    ca: np.ndarray
    sequence: bytes


@dataclass(frozen=True)
class Relatives:
    """What belongs together.

    Attributes:
        cluster: id of the first chain of the cluster of each chain, by id.
        copy_of: id of the chain that a chain is a copy of, by id; earlier ones are no copies.
    """

    cluster: dict[str, str]
    copy_of: dict[str, str]


def relatives_of(chains: Sequence[Chain]) -> Relatives:
    """Clusters and copies of chains."""
    labels = np.arange(len(chains))
    first_with: dict[bytes, int] = {}
    for k, chain in enumerate(chains):
        if len(set(chain.sequence)) >= LEAST_TYPES:
            _join(labels, k, first_with.setdefault(chain.sequence, k))
    copies: dict[int, int] = {}
    for length in sorted({len(chain.ca) for chain in chains}):
        members = np.array([k for k, chain in enumerate(chains) if len(chain.ca) == length])
        if len(members) > 1:
            _join_near(np.stack([chains[k].ca for k in members]).astype(np.float64), members, labels, copies)
    return Relatives(
        {chain.id: chains[int(labels[k])].id for k, chain in enumerate(chains)},
        {chains[k].id: chains[first].id for k, first in copies.items()},
    )


def _join(labels: np.ndarray, first: int, second: int) -> None:
    """Make one cluster of those of two chains, in place; a label is the first chain of its cluster."""
    low, high = sorted((int(labels[first]), int(labels[second])))
    labels[labels == high] = low


def _join_near(ca: np.ndarray, members: np.ndarray, labels: np.ndarray, copies: dict[int, int]) -> None:
    """Join the chains of one length that are near, and note the copies, in place.

    Args:
        ca: (n, l, 3) Å.
        members: (n,) numbers of the chains.
        labels: of all chains.
        copies: copy and its original, by number.
    """
    half = ca.shape[1] // 2
    spans = np.linalg.norm(ca[:, half : 2 * half] - ca[:, :half], axis=-1)
    squares = np.square(spans).sum(-1)
    bound = 2 * ca.shape[1] * NEAR**2
    for begin in range(0, len(ca), _ROWS):
        block = spans[begin : begin + _ROWS]
        apart = squares[begin : begin + _ROWS, None] + squares[None] - 2 * block @ spans.T
        for row in range(len(block)):
            k = begin + row
            near = np.flatnonzero(apart[row, :k] <= bound + 1e-6 * squares[k])
            _join_row(ca, members, labels, copies, k, near)


def _join_row(
    ca: np.ndarray, members: np.ndarray, labels: np.ndarray, copies: dict[int, int], k: int, near: np.ndarray
) -> None:
    """Join one chain with those before it that may be near."""
    originals = np.array([other for other in near.tolist() if int(members[other]) not in copies], dtype=int)
    for begin in range(0, len(originals), _PAIRS):
        others = originals[begin : begin + _PAIRS]
        off = rmsds(ca[k], ca[others])
        for other, value in zip(others.tolist(), off.tolist(), strict=True):
            if value <= NEAR:
                _join(labels, int(members[k]), int(members[other]))
            if value <= COPY:
                copies[int(members[k])] = int(members[other])
                return


def rmsds(ca: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(p,) RMSD of points (l, 3) from each of others (p, l, 3), superposed, Å."""
    target = others.transpose(2, 1, 0)
    mobile = np.broadcast_to(ca.T[:, :, None], target.shape).copy()
    motions = superpose(mobile, target, np.ones(target.shape[1:]))
    return np.sqrt(np.square(motions.apply(mobile) - target).sum(0).mean(0))
