"""Batches of pairs of CA traces for the numpy search, and their scales.

The batch is the last axis of every array: numpy then works through long contiguous rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protgen.geometry.superposition import Motion
from protgen.metrics.alignment import align

FAR = 300.0  # Å: padding lies this far out, so that it scores nothing and is never within reach
CELLS = 2_000_000  # numbers in one intermediate array: some ten MB
MIN_D0 = 0.5  # Å
SEARCH_SLACK = 0.8  # Å added to d0 while searching, as TM-align does: a smoother landscape
SHORT, SHORT_D0 = 19, 0.168  # residues, Å: d0 of the search of chains up to this short, before the slack


@dataclass(frozen=True)
class Trace:
    """A CA trace made ready.

    Attributes:
        points: (3, l) float32 Å, contiguous, about the centre.
        states: (l,) int8, the secondary structure of `ca_states`.
        rank: what puts two traces in order, the shorter first; the same however they are turned, but for rounding.
    """

    points: np.ndarray
    states: np.ndarray
    rank: tuple[int, float]

    def __len__(self) -> int:
        return len(self.states)


@dataclass(frozen=True)
class Pairs:
    """Pairs of traces of like lengths, padded: x has up to la residues, y up to lb.

    Attributes:
        x: (3, la, p) float32, Å.
        y: (3, lb, p) float32, Å.
        length_x: (p,) residues of x.
        length_y: (p,) residues of y.
        states_x: (la, p) int8, -1 in the padding.
        states_y: (lb, p) int8, -2 in the padding.
    """

    x: np.ndarray
    y: np.ndarray
    length_x: np.ndarray
    length_y: np.ndarray
    states_x: np.ndarray
    states_y: np.ndarray

    def __len__(self) -> int:
        return self.x.shape[-1]

    def take(self, index: np.ndarray) -> "Pairs":
        """Some of the pairs, or all several times."""
        return Pairs(*(getattr(self, name)[..., index] for name in self.__dataclass_fields__))

    @property
    def shorter(self) -> np.ndarray:
        """(p,) the shorter length of each pair."""
        return np.minimum(self.length_x, self.length_y)

    @property
    def d0(self) -> np.ndarray:
        """(p,) float32 Å: the distance scale of the search."""
        d0 = np.where(self.shorter <= SHORT, SHORT_D0, _scale(self.shorter))
        return (d0 + SEARCH_SLACK).astype(np.float32)

    @property
    def reach(self) -> np.ndarray:
        """(p,) float32 Å: aligned residues further apart do not count (TM-align's score_d8)."""
        return (1.5 * self.shorter**0.3 + 3.5).astype(np.float32)


def tm_d0(length: np.ndarray | int) -> np.ndarray:
    """The distance scale d0 in Å for a normalising length."""
    return np.maximum(_scale(np.asarray(length, float)), MIN_D0)


def near_bound(d0: np.ndarray) -> np.ndarray:
    """Å: residues about this near, give or take 1, are superposed; d0 within bounds (TM-align's d0_search)."""
    return np.clip(d0, 4.5, 8.0)


def pad(members: Sequence[tuple[Trace, Trace]]) -> Pairs:
    """A batch of pairs."""
    lengths = np.array([[len(first), len(second)] for first, second in members])
    la, lb = lengths.max(axis=0)
    n = len(members)
    x, y = np.full((3, la, n), -FAR, np.float32), np.full((3, lb, n), FAR, np.float32)
    states_x, states_y = np.full((la, n), -1, np.int8), np.full((lb, n), -2, np.int8)
    for k, (first, second) in enumerate(members):
        x[:, : len(first), k], y[:, : len(second), k] = first.points, second.points
        states_x[: len(first), k], states_y[: len(second), k] = first.states, second.states
    return Pairs(x, y, lengths[:, 0], lengths[:, 1], states_x, states_y)


def align_pairs(
    pairs: Pairs,
    gap: float,
    *,
    motion: Motion | None = None,
    d0: np.ndarray | None = None,
    alike: float = 0.0,
    ties_in_x: bool = True,
) -> np.ndarray:
    """(la, p) alignments by distance after a motion, by secondary structure, or by both; in chunks that fit the cache.

    Args:
        pairs: the traces.
        gap: cost of opening a gap.
        motion: what moves x onto y; None for the secondary structures alone.
        d0: (p,) Å, of 1 / (1 + (d/d0)^2).
        alike: worth of equal secondary structures.
        ties_in_x: of two gaps as good, take the one in x.
    """
    size = max(1, CELLS // (pairs.x.shape[1] * pairs.y.shape[1]))
    if len(pairs) > size:
        chunks = [np.arange(start, min(start + size, len(pairs))) for start in range(0, len(pairs), size)]
        parts = [
            align_pairs(
                pairs.take(chunk),
                gap,
                motion=None if motion is None else motion.take(chunk),
                d0=None if d0 is None else d0[chunk],
                alike=alike,
                ties_in_x=ties_in_x,
            )
            for chunk in chunks
        ]
        return np.concatenate(parts, axis=1)
    moved = None if motion is None else motion.apply(pairs.x)
    factor = None if d0 is None else (1.0 / np.square(d0)).astype(np.float32)
    y, states_y = np.ascontiguousarray(pairs.y[:, ::-1]), np.ascontiguousarray(pairs.states_y[::-1])
    lb = len(states_y)

    def score(k: int, low: int, high: int) -> np.ndarray:
        backwards = slice(lb - 1 - k + low, lb - 1 - k + high)
        if moved is None or factor is None:
            return (pairs.states_x[low:high] == states_y[backwards]) * np.float32(alike)
        worth = squared_distance(moved[:, low:high], y[:, backwards])
        worth *= factor
        worth += 1.0
        np.reciprocal(worth, out=worth)
        if alike:
            worth += (pairs.states_x[low:high] == states_y[backwards]) * np.float32(alike)
        return worth

    lengths = np.stack([pairs.length_x, pairs.length_y])
    return align(score, (pairs.x.shape[1], lb), lengths, gap, ties_in_x=ties_in_x)


def squared_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a - b|^2 over the first axis of arrays (3, ...)."""
    delta = a - b
    delta *= delta
    result = delta[0] + delta[1]
    result += delta[2]
    return result


def join_motions(motions: Sequence[Motion]) -> Motion:
    """Motions of several batches as one."""
    rotation = np.concatenate([motion.rotation for motion in motions], axis=-1)
    return Motion(rotation, np.concatenate([motion.shift for motion in motions], axis=-1))


def _scale(length: np.ndarray) -> np.ndarray:
    return 1.24 * np.cbrt(np.maximum(length - 15.0, 0.0)) - 1.8
