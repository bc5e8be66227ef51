"""The TM-score search in numpy, on batches of pairs: what `native/tm_search.c` does, where that cannot be compiled."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protgen.geometry.superposition import Motion, superpose
from protgen.metrics.tm_pairs import Pairs, Trace, align_pairs, near_bound, pad, squared_distance, tm_d0
from protgen.metrics.tm_plan import SearchPlan
from protgen.metrics.tm_refine import Scoring, gather, search_scores
from protgen.metrics.tm_starts import (
    LEAST_OVERLAP,
    PIECE_SLACK,
    superpose_pieces,
    thread,
    thread_fragments,
    whole_stretches,
)

GAPS = (-0.6, 0.0)  # costs of opening a gap, one after the other
STATE_GAP = -1.0  # between secondary structures, a match being 1
ALIKE = 0.5  # worth of equal secondary structure beside distance
COARSE = 40  # residues between pieces while searching
STRUCTURE_GATE = 0.2  # fraction of the best score below which a start is not followed
GATE, SHORT_GATE, SHORT = 0.4, 0.1, 40  # the other starts; of chains up to 40 residues
SAME = 1e-5  # of TM: rounds that change less are the last


@dataclass
class Best:
    """The best alignment of each pair so far.

    Attributes:
        pairs: the traces.
        score: (p,) TM sum over the shorter length, with the search's d0.
        partner: (la, p).
    """

    pairs: Pairs
    score: np.ndarray
    partner: np.ndarray

    def visit(self, index: np.ndarray, partner: np.ndarray) -> tuple[np.ndarray, Motion]:
        """Score alignments (la, k) of the pairs at an index, and keep what is better."""
        pairs = self.pairs.take(index)
        how = Scoring(near_bound(pairs.d0), pairs.d0, pairs.reach)
        score, motion = search_scores(gather(pairs, partner), how, COARSE)
        score = score / pairs.shorter
        wins = score > self.score[index]
        self.score[index[wins]] = score[wins]
        self.partner[:, index[wins]] = partner[:, wins]
        return score, motion

    def start(self, partner: np.ndarray, gate: np.ndarray | float, gaps: Sequence[float], rounds: int) -> None:
        """Score alignments (la, p), and improve those that are not hopeless by turns of alignment and superposition."""
        score, motion = self.visit(np.arange(len(self.pairs)), partner)
        followed = np.flatnonzero(score > gate * self.score)
        old = np.zeros(len(self.pairs))
        for gap in gaps:
            active = followed
            for turn in range(rounds):
                if len(active) == 0:
                    break
                pairs = self.pairs.take(active)
                score, part = self.visit(active, align_pairs(pairs, gap, motion=motion.take(active), d0=pairs.d0))
                motion.rotation[..., active], motion.shift[:, active] = part.rotation, part.shift
                moves = np.abs(score - old[active]) > SAME
                old[active] = score
                active = active[moves] if turn else active


def search_pairs(members: Sequence[tuple[Trace, Trace]], plan: SearchPlan) -> np.ndarray:
    """(3, p): TM by the length of the first, by that of the second, and the residues aligned.

    Args:
        members: pairs of like lengths, the shorter first.
        plan: how hard to try.
    """
    pairs = pad(members)
    best = _search(pairs, plan)
    aligned = gather(pairs, best.partner)
    how = Scoring(near_bound(pairs.d0), pairs.d0, pairs.reach)
    _, motion = search_scores(aligned, how, plan.final_stride)
    target = np.take_along_axis(pairs.y, np.maximum(best.partner, 0)[None], axis=1)
    within = squared_distance(motion.apply(pairs.x), target) <= np.square(pairs.reach)
    partner = np.where(within, best.partner, -1)
    aligned, rows = gather(pairs, partner), []
    for length in (pairs.length_x, pairs.length_y):
        d0 = tm_d0(length)
        score, _ = search_scores(aligned, Scoring(near_bound(d0), d0), plan.final_stride)
        rows.append(score / length)
    return np.stack([*rows, (partner >= 0).sum(axis=0)])


def _search(pairs: Pairs, plan: SearchPlan) -> Best:
    best = Best(pairs, np.full(len(pairs), -1.0), np.full(pairs.states_x.shape, -1))
    gate = np.where(pairs.shorter <= SHORT, SHORT_GATE, GATE)
    if plan.threading:
        least = np.maximum(pairs.shorter // 2, LEAST_OVERLAP)
        _, partner = thread(pairs, *whole_stretches(pairs), least, plan.step)
        best.start(partner, 0.0, GAPS, plan.long_run)
    # Whole scores tie often. TM-align takes one way, which depends on the order of the chains; both ways do not.
    for ties in range(plan.structure):
        partner = align_pairs(pairs, STATE_GAP, alike=1.0, ties_in_x=ties == 0)
        best.start(partner, STRUCTURE_GATE, GAPS, plan.long_run)
    if plan.pieces:
        best.start(superpose_pieces(pairs, plan.jump), gate, GAPS, plan.short_run)
    if plan.mixed:
        aligned = gather(pairs, best.partner)
        motion = superpose(aligned.x, aligned.y, aligned.real.astype(np.float32))
        partner = align_pairs(pairs, STATE_GAP, motion=motion, d0=pairs.d0 + PIECE_SLACK, alike=ALIKE)
        best.start(partner, gate, GAPS, plan.long_run)
    if plan.fragment:
        best.start(thread_fragments(pairs, plan.step), gate, GAPS[1:], plan.short_run)
    return best
