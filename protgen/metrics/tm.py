"""TM-score between structures of different sequences: our own search, over many pairs at once.

    TM(a, b) = max over superpositions and alignments of 1/L sum 1 / (1 + (d_i / d0)^2)
    d0 = 1.24 (L - 15)^(1/3) - 1.8 Å, at least 0.5 Å

L is the length of one of the two, which has to be named: `TMScores` holds both. The maximum is searched as
TM-align does (Zhang & Skolnick, Nucleic Acids Res. 33, 2302, 2005): several starting alignments, each improved by turns
of superposition and dynamic programming, and residues further apart than its limit 1.5 L^0.3 + 3.5 Å do not count. A
search finds a lower bound of the maximum; starts, rounds and constants are those of TM-align's program, so that the
scores are the ones that others report. The search runs compiled where the package carries its library (`tm_native`),
and in numpy on batches of pairs elsewhere (`tm_numpy`): the same search and the same scores to rounding, fifty to
eighty times slower.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from protgen.errors import ProtgenError, UsageError
from protgen.metrics.ca_states import ca_states
from protgen.metrics.tm_native import native_search
from protgen.metrics.tm_numpy import search_pairs
from protgen.metrics.tm_pairs import Trace
from protgen.metrics.tm_pairs import tm_d0 as tm_d0
from protgen.metrics.tm_plan import FULL, QUICK, Prefilter, SearchPlan
from protgen.parallel import run
from protgen.structure.protein import CA, Protein

MIN_LENGTH = 5  # residues; shorter chains have no fold to compare
GROUP = 1_500_000  # residue pairs in one batch: a few MB for each intermediate

Effort = Literal["full", "quick"]
PLANS: dict[Effort, SearchPlan] = {"full": FULL, "quick": QUICK}
Group = tuple[list[tuple[Trace, Trace]], SearchPlan, Prefilter | None]


@dataclass(frozen=True)
class TMScores:
    """Scores of many pairs, each field of shape (p,).

    Attributes:
        by_first: TM normalised by the length of the first structure.
        by_second: TM normalised by the length of the second.
        n_aligned: residues aligned in the best superposition.
        searched: whether the pair got the whole search; False where a prefilter decided it.
    """

    by_first: np.ndarray
    by_second: np.ndarray
    n_aligned: np.ndarray
    searched: np.ndarray

    @property
    def by_shorter(self) -> np.ndarray:
        """TM normalised by the shorter length: the larger of the two."""
        return np.maximum(self.by_first, self.by_second)

    @property
    def by_longer(self) -> np.ndarray:
        """TM normalised by the longer length: the smaller of the two."""
        return np.minimum(self.by_first, self.by_second)


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


def tm_scores(
    traces: Sequence[np.ndarray],
    pairs: np.ndarray,
    *,
    effort: Effort = "full",
    prefilter: Prefilter | None = None,
    jobs: int = 1,
) -> TMScores:
    """TM-scores of pairs of CA traces.

    Args:
        traces: (l, 3) Å each, without missing atoms.
        pairs: (p, 2) indices into `traces`.
        effort: "full"; or "quick", a lower bound from fewer starts and rounds, some three times faster: good for
            ranking.
        prefilter: a lesser search that decides the pairs below its bound; the others score as they do without it.
        jobs: number of processes; the scores do not depend on it.

    Raises:
        UsageError: if a trace has fewer than 5 residues, or a coordinate that is not finite.
    """
    pairs = np.asarray(pairs, dtype=int).reshape(-1, 2)
    prepared = {int(k): _prepare(traces[k], int(k)) for k in np.unique(pairs)}
    lengths = np.array([len(trace) for trace in traces])
    groups = list(_groups(lengths, pairs))
    results = np.zeros((4, len(pairs)))
    work: list[Group] = [
        ([(prepared[i], prepared[j]) for i, j in pairs[group].tolist()], PLANS[effort], prefilter) for group in groups
    ]
    for outcome in run(_score_group, work, jobs=jobs):
        if outcome.result is None:
            raise ProtgenError("a process that computed TM-scores was killed; try fewer jobs")
        results[:, groups[outcome.index]] = outcome.result
    return TMScores(results[0], results[1], results[2].astype(int), results[3] > 0)


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


def _prepare(trace: np.ndarray, index: int) -> Trace:
    trace = np.asarray(trace, dtype=float)
    if trace.ndim != 2 or trace.shape[1] != 3 or len(trace) < MIN_LENGTH or not np.isfinite(trace).all():
        raise UsageError(f"trace {index} has shape {trace.shape}; TM-score needs {MIN_LENGTH} residues or more with CA")
    centred = (trace - trace.mean(axis=0)).astype(np.float32)
    std = float(np.square(centred, dtype=float).sum())
    return Trace(np.ascontiguousarray(centred.T), ca_states(centred), (len(trace), std))


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
    """(4, p) scores by the first and by the second length, residues aligned, and whether the whole plan was run."""
    members, plan, prefilter = work
    # The search is not symmetric in the last digits; an order of its own makes the score of a pair so.
    swapped = np.array([first.rank > second.rank for first, second in members])
    ordered = [(b, a) if turn else (a, b) for (a, b), turn in zip(members, swapped, strict=True)]
    native = native_search()
    if native is None:
        by_x, by_y, n_aligned, searched = _search_in_numpy(ordered, plan, prefilter)
    else:
        found = [native(x.points, y.points, (x.states, y.states), plan, prefilter) for x, y in ordered]
        by_x, by_y, n_aligned, searched = np.array(found).T
    return np.stack([np.where(swapped, by_y, by_x), np.where(swapped, by_x, by_y), n_aligned, searched])


def _search_in_numpy(members: list[tuple[Trace, Trace]], plan: SearchPlan, prefilter: Prefilter | None) -> np.ndarray:
    if prefilter is None:
        return np.concatenate([search_pairs(members, plan), np.ones((1, len(members)))])
    found = search_pairs(members, prefilter.plan)
    open_ = np.flatnonzero(found[:2].max(axis=0) >= prefilter.low)
    if len(open_):
        found[:, open_] = search_pairs([members[k] for k in open_.tolist()], plan)
    return np.concatenate([found, np.isin(np.arange(len(members)), open_)[None]])
