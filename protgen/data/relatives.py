"""Which chains are one thing: copies, moved or not, and near copies that must not come on both sides of a split.

Without clusters of an index, chains belong together if they have one sequence, or one length and backbones within 1 Å
(CA atoms, superposed; single linkage). Chains within 0.01 Å, the rounding of files, are copies; others within 1 Å that
have one sequence are conformers, which are kept and named.

No pair is missed: superposed within an RMSD r, distances of disjoint pairs of atoms differ by at most sqrt(2 l) r
together, and only pairs of chains that differ by more are left out unseen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from protgen.data.groups import Groups
from protgen.geometry.superposition import superpose

NEAR = 1.0  # Å, RMSD of CA atoms: as near as two crystals of one protein
COPY = 0.01  # Å; coordinates of files have three decimals
LEAST_TYPES = 8  # of amino acids in a sequence that says something: designs are all glycine
_ROWS = 512  # chains compared with all others at a time
_PAIRS = 256  # superposed at a time


@dataclass(frozen=True)
class Chain:
    """A chain that others are compared with, or the chains of a complex.

    Attributes:
        id: of its source.
        ca: (l, 3) float32, Å.
        sequence: a byte a residue.
        ends: where the chains of a complex end, but for the last.
    """

    id: str
    ca: np.ndarray
    sequence: bytes
    ends: tuple[int, ...] = ()

    @property
    def sequences(self) -> list[bytes]:
        """That of each chain."""
        return [self.sequence[a:b] for a, b in zip((0, *self.ends), (*self.ends, len(self.sequence)), strict=True)]


@dataclass(frozen=True)
class Relatives:
    """What belongs together.

    Attributes:
        groups: the chains by their numbers, in clusters.
        copy_of: id of the chain that a chain is a copy of, by id; earlier ones are no copies.
        conformer_of: id of the first chain that a chain is a conformer of, and the RMSD in Å, by id.
    """

    groups: Groups
    copy_of: dict[str, str]
    conformer_of: dict[str, tuple[str, float]]


@dataclass(frozen=True)
class _Near:
    """What is found on the way, by the numbers of chains.

    Attributes:
        sequences: of all chains.
        groups: of them.
        copies: each copy and its original.
        conformers: each conformer, the first chain that it is one of, and their RMSD.
    """

    sequences: Sequence[bytes]
    groups: Groups
    copies: dict[int, int] = field(default_factory=dict)
    conformers: dict[int, tuple[int, float]] = field(default_factory=dict)


def relatives_of(chains: Sequence[Chain]) -> Relatives:
    """Clusters, copies and conformers of chains."""
    groups = Groups(len(chains))
    groups.join_alike([chain.sequence if len(set(chain.sequence)) >= LEAST_TYPES else b"" for chain in chains])
    found = _Near([chain.sequence for chain in chains], groups)
    by_length: dict[int, list[int]] = {}
    for k, chain in enumerate(chains):
        by_length.setdefault(len(chain.ca), []).append(k)
    for _, members in sorted(by_length.items()):
        if len(members) > 1:
            ca = np.stack([chains[k].ca for k in members]).astype(np.float64)
            _join_near(ca, np.array(members), found)
    copies = {chains[k].id: chains[first].id for k, first in found.copies.items()}
    near = {k: pair for k, pair in sorted(found.conformers.items()) if k not in found.copies}
    return Relatives(groups, copies, {chains[k].id: (chains[first].id, off) for k, (first, off) in near.items()})


def join_by_parts(groups: Groups, parts: Groups, owners: Sequence[int]) -> None:
    """Join what has chains that belong together.

    Args:
        groups: of chains and complexes; changed in place.
        parts: of their chains.
        owners: number of the chain or complex that each is of.
    """
    for part, first in enumerate(parts.labels().tolist()):
        groups.join(owners[first], owners[part])


def _join_near(ca: np.ndarray, members: np.ndarray, found: _Near) -> None:
    """Join the chains of one length that are near, and note copies and conformers, in place.

    Args:
        ca: (n, l, 3) Å.
        members: (n,) numbers of the chains.
        found: of all chains.
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
            _join_row(ca, members, found, k, near)


def _join_row(ca: np.ndarray, members: np.ndarray, found: _Near, k: int, near: np.ndarray) -> None:
    """Join one chain with those before it that may be near."""
    originals = np.array([other for other in near.tolist() if int(members[other]) not in found.copies], dtype=int)
    own = int(members[k])
    for begin in range(0, len(originals), _PAIRS):
        others = originals[begin : begin + _PAIRS]
        off = rmsds(ca[k], ca[others])
        for other, value in zip(others.tolist(), off.tolist(), strict=True):
            first = int(members[other])
            if value <= NEAR:
                found.groups.join(own, first)
                if found.sequences[own] == found.sequences[first]:
                    found.conformers.setdefault(own, (first, value))
            if value <= COPY:
                found.copies[own] = first
                return


def rmsds(ca: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(p,) RMSD of points (l, 3) from each of others (p, l, 3), superposed, Å."""
    target = others.transpose(2, 1, 0)
    mobile = np.broadcast_to(ca.T[:, :, None], target.shape).copy()
    motions = superpose(mobile, target, np.ones(target.shape[1:]))
    return np.sqrt(np.square(motions.apply(mobile) - target).sum(0).mean(0))
