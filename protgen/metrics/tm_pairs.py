"""Batches of pairs of CA traces, and what a TM-score search does to one of them at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protgen.metrics.superposition import Motion, superpose

PADDING = -1.0  # score of residue pairs that do not exist: never aligned


@dataclass(frozen=True)
class Pairs:
    """Pairs of traces of like lengths, padded: x has up to la residues, y up to lb.

    Attributes:
        x: (p, la, 3) float32, Å.
        y: (p, lb, 3) float32, Å.
        length_x: (p,) residues of x.
        length_y: (p,) residues of y.
        states_x: (p, la) int8, secondary structure of `ca_states`; -1 in the padding.
        states_y: (p, lb) likewise.
        d0: (p,) float32, Å: the distance scale of the search.
    """

    x: np.ndarray
    y: np.ndarray
    length_x: np.ndarray
    length_y: np.ndarray
    states_x: np.ndarray
    states_y: np.ndarray
    d0: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: np.ndarray) -> "Pairs":
        """Some of the pairs."""
        return Pairs(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    @property
    def shorter(self) -> np.ndarray:
        """(p,) the shorter length of each pair."""
        return np.minimum(self.length_x, self.length_y)

    @property
    def real_x(self) -> np.ndarray:
        """(p, la) True where x is no padding."""
        return np.arange(self.x.shape[1]) < self.length_x[:, None]

    @property
    def real_y(self) -> np.ndarray:
        """(p, lb) True where y is no padding."""
        return np.arange(self.y.shape[1]) < self.length_y[:, None]

    def pad(self, scores: np.ndarray) -> np.ndarray:
        """Scores (p, la, lb) as float32 with `PADDING` where there is no residue pair."""
        real = self.real_x[:, :, None] & self.real_y[:, None, :]
        return np.where(real, scores, np.float32(PADDING)).astype(np.float32, copy=False)


@dataclass(frozen=True)
class Found:
    """A superposition of each pair with its alignment.

    Attributes:
        score: (p,) TM sum over the shorter length, with the search's d0.
        motion: what moves x onto y.
        partner: (p, la) the residue of y aligned with each of x, -1 for none.
    """

    score: np.ndarray
    motion: Motion
    partner: np.ndarray

    def take(self, index: np.ndarray) -> "Found":
        """The results of some pairs."""
        return Found(self.score[index], self.motion.take(index), self.partner[index])

    def copy(self) -> "Found":
        """A copy whose arrays may be written to."""
        motion = Motion(self.motion.rotation.copy(), self.motion.shift.copy())
        return Found(self.score.copy(), motion, self.partner.copy())

    def update(self, index: np.ndarray, other: "Found") -> None:
        """Take over, in place, what is better among new results of the pairs at `index`."""
        wins = other.score > self.score[index]
        where = index[wins]
        self.score[where] = other.score[wins]
        self.motion.rotation[where] = other.motion.rotation[wins]
        self.motion.shift[where] = other.motion.shift[wins]
        self.partner[where] = other.partner[wins]


def nothing_found(pairs: Pairs) -> Found:
    """Identity motions, no alignment, a score below every other."""
    n = len(pairs)
    motion = Motion(np.tile(np.eye(3, dtype=np.float32), (n, 1, 1)), np.zeros((n, 3), np.float32))
    return Found(np.full(n, -1.0), motion, np.full(pairs.x.shape[:2], -1))


def best_of(results: Sequence[Found], rank: int = 0) -> Found:
    """For each pair the best of several results, or the second best (rank 1), and so on."""
    scores = np.stack([result.score for result in results])
    which = np.argsort(-scores, axis=0, kind="stable")[rank]
    pair = np.arange(scores.shape[1])
    motion = Motion(
        np.stack([result.motion.rotation for result in results])[which, pair],
        np.stack([result.motion.shift for result in results])[which, pair],
    )
    return Found(scores[which, pair], motion, np.stack([result.partner for result in results])[which, pair])


def closeness(pairs: Pairs, motion: Motion) -> np.ndarray:
    """(p, la, lb) float32: 1 / (1 + (d/d0)^2) of all residue pairs after the motion."""
    moved = motion.apply(pairs.x) / pairs.d0[:, None, None]
    fixed = pairs.y / pairs.d0[:, None, None]
    square = moved @ fixed.transpose(0, 2, 1)
    square *= -2.0
    square += np.einsum("pni,pni->pn", moved, moved)[:, :, None]
    square += np.einsum("pni,pni->pn", fixed, fixed)[:, None, :]
    np.maximum(square, 0.0, out=square)
    square += 1.0
    return np.reciprocal(square, out=square)


def superpose_aligned(
    pairs: Pairs,
    partner: np.ndarray,
    *,
    motion: Motion | None = None,
    steps: int = 6,
    d0: np.ndarray | None = None,
) -> Found:
    """Superpose an alignment so as to maximise its TM sum.

    Least squares with weights 1 / (1 + (d/d0)^2)^2 of the step before: since the TM term is concave in d^2,
    each step maximises a lower bound that touches the sum, so that it never falls.

    Args:
        pairs: the traces.
        partner: (p, la) the alignment.
        motion: where to start; equal weights if None.
        steps: number of superpositions.
        d0: (p,) Å; the search's own by default.
    """
    aligned = partner >= 0
    target = np.take_along_axis(pairs.y, np.maximum(partner, 0)[:, :, None], axis=1)
    d0 = pairs.d0 if d0 is None else d0
    scale = (1.0 / (d0 * d0)).astype(np.float32)[:, None]

    def terms(moved: Motion) -> np.ndarray:
        delta = moved.apply(pairs.x) - target
        return aligned / (1.0 + np.einsum("pni,pni->pn", delta, delta) * scale)

    values = aligned.astype(np.float32) if motion is None else terms(motion)
    best = Motion(np.empty(0), np.empty(0))
    for _ in range(steps):
        best = superpose(pairs.x, target, values**2)
        values = terms(best)
    return Found(values.sum(axis=1, dtype=np.float64) / pairs.shorter, best, partner)
