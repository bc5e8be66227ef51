"""TM-score between structures of different sequences: our own search, over many pairs at once.

    TM(a, b) = max over superpositions and alignments of 1/L sum 1 / (1 + (d_i / d0)^2)
    d0 = 1.24 (L - 15)^(1/3) - 1.8 Å, at least 0.5 Å

L is the length of one of the two, which has to be named: `TMScores` holds both. The maximum is searched as
TM-align does (Zhang & Skolnick, Nucleic Acids Res. 33, 2302, 2005): several starting superpositions, each
improved by turns of dynamic programming and superposition; residues further apart than TM-align's limit
1.5 L^0.3 + 3.5 Å do not count. A search finds a lower bound of the maximum.
What differs from TM-align: superposition maximises the sum itself by reweighted least squares, and the starts
from pieces are other ones. The search runs compiled where a C compiler is at hand (`tm_native`), and in numpy on
batches of pairs elsewhere, by the same plan.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from protgen.errors import ProtgenError, UsageError
from protgen.metrics.ca_states import ca_states
from protgen.metrics.tm_native import native_search
from protgen.metrics.tm_pairs import (
    FAR,
    Found,
    Pairs,
    best_trials,
    copy_found,
    join_motions,
    realign,
    squared_distance,
    superpose_aligned,
)
from protgen.metrics.tm_plan import FULL, QUICK, SearchPlan
from protgen.metrics.tm_starts import piece_starts, structure_start, threading_starts
from protgen.parallel import run
from protgen.structure.protein import CA, Protein

MIN_LENGTH = 5  # residues; shorter chains have no fold to compare
MIN_D0 = 0.5  # Å
SEARCH_SLACK = 0.8  # Å added to d0 while searching, as TM-align does: a smoother landscape
GROUP = 1_500_000  # residue pairs in one batch: a few MB for each intermediate

Effort = Literal["full", "quick"]
PLANS: dict[Effort, SearchPlan] = {"full": FULL, "quick": QUICK}
Prepared = tuple[np.ndarray, np.ndarray]  # a centred float32 trace (l, 3) and its states (l,)
Group = tuple[list[tuple[Prepared, Prepared]], SearchPlan]


@dataclass(frozen=True)
class TMScores:
    """Scores of many pairs, each field of shape (p,).

    Attributes:
        by_first: TM normalised by the length of the first structure.
        by_second: TM normalised by the length of the second.
        n_aligned: residues aligned in the best superposition.
    """

    by_first: np.ndarray
    by_second: np.ndarray
    n_aligned: np.ndarray

    @property
    def by_shorter(self) -> np.ndarray:
        """TM normalised by the shorter length: the larger of the two."""
        return np.maximum(self.by_first, self.by_second)

    @property
    def by_longer(self) -> np.ndarray:
        """TM normalised by the longer length: the smaller of the two."""
        return np.minimum(self.by_first, self.by_second)


def tm_d0(length: np.ndarray | int) -> np.ndarray:
    """The distance scale d0 in Å for a normalising length."""
    return np.maximum(1.24 * np.cbrt(np.maximum(np.asarray(length, float) - 15.0, 0.0)) - 1.8, MIN_D0)


def ca_trace(protein: Protein) -> np.ndarray:
    """(l, 3) Å: the CA atoms that are present, over all chains."""
    return protein.atoms[protein.mask[:, CA], CA]


def tm_score(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """TM-score of two CA traces, normalised by the first length and by the second.

    Args:
        first: (la, 3) Å.
        second: (lb, 3) Å.

    Example:
        >>> from protgen.structure.ideal import ideal_helix
        >>> ca = ideal_helix(40)[:, 1]
        >>> [round(value, 3) for value in tm_score(ca, ca + 7.0)]
        [1.0, 1.0]
    """
    scores = tm_scores([first, second], np.array([[0, 1]]))
    return float(scores.by_first[0]), float(scores.by_second[0])


def tm_scores(traces: Sequence[np.ndarray], pairs: np.ndarray, *, effort: Effort = "full", jobs: int = 1) -> TMScores:
    """TM-scores of pairs of CA traces.

    Args:
        traces: (l, 3) Å each, without missing atoms.
        pairs: (p, 2) indices into `traces`.
        effort: "full"; or "quick", a lower bound from few starts and few rounds, some six times faster: good for
            ranking.
        jobs: number of processes; the scores do not depend on it.

    Raises:
        UsageError: if a trace has fewer than 5 residues, or a coordinate that is not finite.
    """
    pairs = np.asarray(pairs, dtype=int).reshape(-1, 2)
    prepared = {int(k): _prepare(traces[k], int(k)) for k in np.unique(pairs)}
    lengths = np.array([len(trace) for trace in traces])
    groups = list(_groups(lengths, pairs))
    results = np.zeros((3, len(pairs)))
    work: list[Group] = [
        ([(prepared[i], prepared[j]) for i, j in pairs[group].tolist()], PLANS[effort]) for group in groups
    ]
    for outcome in run(_score_group, work, jobs=jobs):
        if outcome.result is None:
            raise ProtgenError("a process that computed TM-scores was killed; try fewer jobs")
        results[:, groups[outcome.index]] = outcome.result
    return TMScores(results[0], results[1], results[2].astype(int))


def tm_matrix(
    traces: Sequence[np.ndarray], *, by: Literal["shorter", "longer"] = "shorter", jobs: int = 1
) -> np.ndarray:
    """All against all: (n, n), symmetric, ones on the diagonal.

    Args:
        traces: (l, 3) Å each.
        by: the normalising length of each pair.
        jobs: number of processes.
    """
    n = len(traces)
    first, second = np.triu_indices(n, k=1)
    scores = tm_scores(traces, np.stack([first, second], axis=1), jobs=jobs)
    matrix = np.eye(n)
    matrix[first, second] = matrix[second, first] = scores.by_shorter if by == "shorter" else scores.by_longer
    return matrix


def _prepare(trace: np.ndarray, index: int) -> Prepared:
    """A centred float32 trace and its states."""
    trace = np.asarray(trace, dtype=float)
    if trace.ndim != 2 or trace.shape[1] != 3 or len(trace) < MIN_LENGTH or not np.isfinite(trace).all():
        raise UsageError(f"trace {index} has shape {trace.shape}; TM-score needs {MIN_LENGTH} residues or more with CA")
    centred = (trace - trace.mean(axis=0)).astype(np.float32)
    return centred, ca_states(centred)


def _groups(lengths: np.ndarray, pairs: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of pairs of like lengths, about `GROUP` residue pairs a group."""
    size = np.sort(lengths[pairs], axis=1)
    order = np.lexsort((size[:, 1], size[:, 0] // 12))
    start = 0
    while start < len(order):
        ahead = size[order[start : start + 4096]]
        cells = np.maximum.accumulate(ahead[:, 0]) * np.maximum.accumulate(ahead[:, 1])
        count = max(1, int(np.searchsorted(cells * np.arange(1, len(cells) + 1), GROUP)))
        yield order[start : start + count]
        start += count


def _score_group(work: Group) -> np.ndarray:
    """(3, p) final scores by both lengths, each with its own d0, and the number of aligned residues."""
    members, plan = work
    swapped = np.array([len(first[0]) > len(second[0]) for first, second in members])
    ordered = [(b, a) if turn else (a, b) for (a, b), turn in zip(members, swapped, strict=True)]
    native = native_search()
    by_x, by_y, n_aligned = _numpy_group(ordered, plan) if native is None else _native_group(ordered, plan)
    return np.stack([np.where(swapped, by_y, by_x), np.where(swapped, by_x, by_y), n_aligned])


def _native_group(members: Sequence[tuple[Prepared, Prepared]], plan: SearchPlan) -> np.ndarray:
    """(3, p) as `_score_group`, the shorter trace first."""
    native = native_search()
    assert native is not None
    rows = []
    for (x, states_x), (y, states_y) in members:
        scales = _search_d0(len(x)), _reach(len(x)), tm_d0(len(x)), tm_d0(len(y))
        own = plan.for_lengths(len(x), len(y))
        points = np.ascontiguousarray(x.T), np.ascontiguousarray(y.T)
        rows.append(native(*points, (states_x, states_y), tuple(float(v) for v in scales), own))  # type: ignore[arg-type]
    return np.array(rows).T


def _numpy_group(members: Sequence[tuple[Prepared, Prepared]], plan: SearchPlan) -> np.ndarray:
    """(3, p) as `_score_group`, the shorter trace first."""
    pairs = _pad(members)
    plan = plan.for_lengths(pairs.x.shape[1], pairs.y.shape[1])
    found = _search(pairs, plan)
    partner = _within_reach(pairs, found)
    rows = []
    for length in (pairs.length_x, pairs.length_y):
        d0 = tm_d0(length).astype(np.float32)
        final = superpose_aligned(pairs, partner, motion=found.motion, steps=plan.final_steps, d0=d0, whole=True)
        rows.append(final.score * pairs.shorter / length)
    return np.stack([*rows, (partner >= 0).sum(axis=0)])


def _search_d0(shorter: np.ndarray | int) -> np.ndarray:
    """Å: the distance scale while searching."""
    return tm_d0(shorter) + SEARCH_SLACK


def _reach(shorter: np.ndarray | int) -> np.ndarray:
    """Å: aligned residues further apart do not count (TM-align's score_d8)."""
    return 1.5 * np.asarray(shorter, float) ** 0.3 + 3.5


def _within_reach(pairs: Pairs, found: Found) -> np.ndarray:
    """(la, p) the alignment without the residues that the motion leaves too far apart, as TM-align drops them."""
    target = np.take_along_axis(pairs.y, np.maximum(found.partner, 0)[None], axis=1)
    square = squared_distance(found.motion.apply(pairs.x), target)
    return np.where(square <= np.square(pairs.reach), found.partner, -1)


def _pad(members: Sequence[tuple[Prepared, Prepared]]) -> Pairs:
    lengths = np.array([[len(first[0]), len(second[0])] for first, second in members])
    la, lb = lengths.max(axis=0)
    n = len(members)
    x, y = np.full((3, la, n), -FAR, np.float32), np.full((3, lb, n), FAR, np.float32)
    states_x, states_y = np.full((la, n), -1, np.int8), np.full((lb, n), -2, np.int8)
    for k, ((trace_x, state_x), (trace_y, state_y)) in enumerate(members):
        x[:, : len(trace_x), k], y[:, : len(trace_y), k] = trace_x.T, trace_y.T
        states_x[: len(trace_x), k], states_y[: len(trace_y), k] = state_x, state_y
    shorter = lengths.min(axis=1)
    d0, reach = _search_d0(shorter).astype(np.float32), _reach(shorter).astype(np.float32)
    return Pairs(x, y, lengths[:, 0], lengths[:, 1], states_x, states_y, d0, reach)


def _search(pairs: Pairs, plan: SearchPlan) -> Found:
    """Every start gets one round; the best of each pair go on, fewer and fewer, the last to the end."""
    n = len(pairs)
    structure = structure_start(pairs, plan.state_gap)
    mixed = realign(pairs, structure.motion, plan.state_gap, alike=0.5)
    starts = [structure.motion, mixed.motion, threading_starts(pairs, plan)]
    starts += [piece_starts(pairs, plan, size) for size, kept in zip(plan.pieces, plan.kept, strict=True) if kept]
    motions = join_motions(starts)
    every_trial = np.tile(np.arange(n), motions.shift.shape[1] // n)
    tried = realign(pairs.take(every_trial), motions, plan.gaps[0])
    tried = _improve(pairs, best_trials(tried, n, plan.heat), plan.gaps[:1], 1)
    return best_trials(_improve(pairs, best_trials(tried, n, plan.finalists), plan.gaps, plan.rounds), n, 1)


def _improve(pairs: Pairs, start: Found, gaps: Sequence[float], rounds: int) -> Found:
    """Turns of alignment and superposition until nothing gets better; trials as in `start`."""
    best = copy_found(start)
    which = np.tile(np.arange(len(pairs)), len(start) // len(pairs))
    for gap in gaps:
        active = np.arange(len(start))
        for _ in range(rounds):
            tried = realign(pairs.take(which[active]), best.motion.take(active), gap)
            active = active[best.update(active, tried)]
            if len(active) == 0:
                break
    return best
