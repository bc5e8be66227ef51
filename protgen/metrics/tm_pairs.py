"""Batches of pairs of CA traces, and what a TM-score search does to all of them at a time.

The batch is the last axis of every array: numpy then works through long contiguous rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protgen.metrics.alignment import ScoreRow, align
from protgen.metrics.superposition import Motion, superpose

FAR = 300.0  # Å: padding lies this far out, so that it scores nothing and is never within reach
CELLS = 2_000_000  # residue pairs aligned at once: some ten MB


@dataclass(frozen=True)
class Pairs:
    """Pairs of traces of like lengths, padded: x has up to la residues, y up to lb.

    Attributes:
        x: (3, la, p) float32, Å.
        y: (3, lb, p) float32, Å.
        length_x: (p,) residues of x.
        length_y: (p,) residues of y.
        states_x: (la, p) int8, secondary structure of `ca_states`; -1 in the padding.
        states_y: (lb, p) likewise, -2 in the padding.
        d0: (p,) float32, Å: the distance scale of the search.
        reach: (p,) float32, Å: aligned residues further apart do not count.
    """

    x: np.ndarray
    y: np.ndarray
    length_x: np.ndarray
    length_y: np.ndarray
    states_x: np.ndarray
    states_y: np.ndarray
    d0: np.ndarray
    reach: np.ndarray

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
    def real_x(self) -> np.ndarray:
        """(la, p) True where x is no padding."""
        return np.arange(self.x.shape[1])[:, None] < self.length_x

    @property
    def real_y(self) -> np.ndarray:
        """(lb, p) True where y is no padding."""
        return np.arange(self.y.shape[1])[:, None] < self.length_y


@dataclass(frozen=True)
class Found:
    """A superposition of each pair with its alignment.

    Attributes:
        score: (p,) TM sum over the shorter length, with the search's d0, of what is within reach.
        motion: what moves x onto y.
        partner: (la, p) the residue of y aligned with each of x, -1 for none.
    """

    score: np.ndarray
    motion: Motion
    partner: np.ndarray

    def __len__(self) -> int:
        return len(self.score)

    def take(self, index: np.ndarray) -> "Found":
        """The results of some pairs."""
        return Found(self.score[index], self.motion.take(index), self.partner[:, index])

    def update(self, index: np.ndarray, other: "Found") -> np.ndarray:
        """Take over, in place, what is better among new results of the pairs at `index`; (k,) where it is."""
        wins = other.score > self.score[index] + 1e-4
        where = index[wins]
        self.score[where] = other.score[wins]
        self.motion.rotation[..., where] = other.motion.rotation[..., wins]
        self.motion.shift[:, where] = other.motion.shift[:, wins]
        self.partner[:, where] = other.partner[:, wins]
        return wins


def copy_found(found: Found) -> Found:
    """A copy whose arrays may be written to."""
    motion = Motion(found.motion.rotation.copy(), found.motion.shift.copy())
    return Found(found.score.copy(), motion, found.partner.copy())


def best_trials(trials: Found, n: int, keep: int) -> Found:
    """The `keep` best trials of each of n pairs, trial-major; trials that ended alike count once.

    Args:
        trials: k n of them, trial r of pair q at r n + q.
        n: number of pairs.
        keep: trials kept a pair.
    """
    score = trials.score.reshape(-1, n).copy()
    order = np.argsort(-score, axis=0, kind="stable")
    ranked = np.take_along_axis(score, order, axis=0)
    ranked[1:][ranked[:-1] - ranked[1:] < 1e-4] -= 10.0
    again = np.argsort(-ranked, axis=0, kind="stable")[:keep]
    order = np.take_along_axis(order, again, axis=0)
    return trials.take((order * n + np.arange(n)).reshape(-1))


def join(results: Sequence[Found]) -> Found:
    """Results of several batches as one, one after the other."""
    if len(results) == 1:
        return results[0]
    motion = join_motions([result.motion for result in results])
    score = np.concatenate([result.score for result in results])
    return Found(score, motion, np.concatenate([result.partner for result in results], axis=1))


def join_motions(motions: Sequence[Motion]) -> Motion:
    """Motions of several batches as one."""
    rotation = np.concatenate([motion.rotation for motion in motions], axis=-1)
    return Motion(rotation, np.concatenate([motion.shift for motion in motions], axis=-1))


def squared_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a - b|^2 over the first axis of arrays (3, ...)."""
    delta = a - b
    delta *= delta
    result = delta[0] + delta[1]
    result += delta[2]
    return result


def squared_norm(a: np.ndarray) -> np.ndarray:
    """|a|^2 over the first axis of an array (3, ...)."""
    return a[0] * a[0] + a[1] * a[1] + a[2] * a[2]


def align_by_distance(pairs: Pairs, motion: Motion, gap: float, alike: float = 0.0) -> np.ndarray:
    """(la, p) best alignments after a motion, by 1 / (1 + (d/d0)^2).

    Args:
        pairs: the traces.
        motion: what moves x onto y.
        gap: cost of opening a gap.
        alike: share of the score that goes to equal secondary structure instead.
    """
    scale = 1.0 / pairs.d0
    moved, fixed = motion.apply(pairs.x) * scale, pairs.y * scale
    # |m - f|^2 + 1, over what a match is worth: three products and two sums a row
    weight = np.float32(1.0 / (1.0 - alike))
    own, other = (squared_norm(moved) + 1.0) * weight, squared_norm(fixed) * weight
    moved *= -2.0 * weight

    def score_rows(block: slice) -> ScoreRow:
        mine, theirs = (np.ascontiguousarray(points[..., block]) for points in (moved, fixed))
        norm_x, norm_y = own[:, block], np.ascontiguousarray(other[:, block])
        states_x, states_y = pairs.states_x[:, block], pairs.states_y[:, block]
        term = np.empty_like(norm_y)

        def score_row(i: int, out: np.ndarray) -> None:
            np.multiply(theirs[0], mine[0, i], out=out)
            for axis in (1, 2):
                np.multiply(theirs[axis], mine[axis, i], out=term)
                np.add(out, term, out=out)
            np.add(out, norm_y, out=out)
            np.add(out, norm_x[i], out=out)
            np.reciprocal(out, out=out)
            if alike:
                np.equal(states_y, states_x[i], out=term, casting="unsafe")
                np.multiply(term, np.float32(alike), out=term)
                np.add(out, term, out=out)

        return score_row

    return align(score_rows, (*moved.shape[1:2], *fixed.shape[1:]), gap)


def align_by_structure(pairs: Pairs, gap: float) -> np.ndarray:
    """(la, p) best alignments of the secondary structures, a match scoring 1."""

    def score_rows(block: slice) -> ScoreRow:
        def score_row(i: int, out: np.ndarray) -> None:
            np.equal(pairs.states_y[:, block], pairs.states_x[i, block], out=out, casting="unsafe")

        return score_row

    return align(score_rows, (len(pairs.states_x), *pairs.states_y.shape), gap)


def superpose_aligned(
    pairs: Pairs,
    partner: np.ndarray,
    *,
    motion: Motion | None = None,
    steps: int = 6,
    d0: np.ndarray | None = None,
    whole: bool = False,
) -> Found:
    """Superpose an alignment so as to maximise its TM sum.

    Least squares with weights 1 / (1 + (d/d0)^2)^2 of the step before: since the TM term is concave in d^2,
    each step maximises a lower bound that touches the sum, so that it never falls.

    Args:
        pairs: the traces.
        partner: (la, p) the alignment.
        motion: where to start; equal weights if None.
        steps: number of superpositions.
        d0: (p,) Å; the search's own by default.
        whole: count every aligned residue, whatever its distance.
    """
    aligned = (partner >= 0) & (partner < pairs.length_y) & pairs.real_x
    index = np.maximum(partner, 0)
    target = np.take_along_axis(pairs.y, index[None], axis=1)
    d0 = pairs.d0 if d0 is None else d0
    scale = (1.0 / (d0 * d0)).astype(np.float32)
    mobile = pairs.x
    present = aligned.astype(np.float32)
    values = present if motion is None else present / (1.0 + squared_distance(motion.apply(mobile), target) * scale)
    square = np.zeros_like(values)
    best = Motion(np.empty((3, 3, 0)), np.empty((3, 0)))
    for _ in range(steps):
        best = superpose(mobile, target, values * values)
        square = squared_distance(best.apply(mobile), target)
        values = present / (1.0 + square * scale)
    if not whole:
        values[square > np.square(pairs.reach)] = 0.0
    score = values.sum(axis=0, dtype=np.float64) / pairs.shorter
    return Found(score, best, np.where(aligned, partner, -1))


def realign(pairs: Pairs, motion: Motion, gap: float, *, steps: int = 3, alike: float = 0.0) -> Found:
    """One round of the search: align after a motion, and superpose the alignment; in chunks that fit the cache."""
    size = max(1, CELLS // (pairs.x.shape[1] * pairs.y.shape[1]))
    results = []
    for start in range(0, len(pairs), size):
        chunk = np.arange(start, min(start + size, len(pairs)))
        part, moves = pairs.take(chunk), motion.take(chunk)
        partner = align_by_distance(part, moves, gap, alike)
        results.append(superpose_aligned(part, partner, motion=None if alike else moves, steps=steps))
    return join(results)
