"""TM-score between structures of different sequences: our own search, in numpy, over many pairs at once.

    TM(a, b) = max over superpositions and alignments of 1/L sum 1 / (1 + (d_i / d0)^2)
    d0 = 1.24 (L - 15)^(1/3) - 1.8 Å, at least 0.5 Å

L is the length of one of the two, which has to be named: `TMScores` holds both. The maximum is searched as
TM-align does (Zhang & Skolnick, Nucleic Acids Res. 33, 2302, 2005): several starting superpositions, each
improved by turns of dynamic programming and superposition. A search finds a lower bound of the maximum.
What differs from TM-align: superposition maximises the sum itself by reweighted least squares, the starts
from pieces are other ones, and all steps run on batches of pairs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from protgen.errors import ProtgenError, UsageError
from protgen.metrics.alignment import align
from protgen.metrics.ca_states import ca_states
from protgen.metrics.tm_pairs import Found, Pairs, best_of, closeness, superpose_aligned
from protgen.metrics.tm_starts import all_starts, structure_start
from protgen.parallel import run
from protgen.structure.protein import CA, Protein

MIN_LENGTH = 5  # residues; shorter chains have no fold to compare
MIN_D0 = 0.5  # Å
SEARCH_SLACK = 0.8  # Å added to d0 while searching, as TM-align does: a smoother landscape
GAPS = (-0.6, 0.0)  # TM-align's costs of opening a gap, one after the other
ROUNDS = 6  # of alignment and superposition for one gap cost, at most
FINALISTS = 2  # starts that are improved to the end; the others get one round
CELLS = 1_500_000  # residue pairs in one batch: a few MB for each intermediate

Effort = Literal["full", "quick"]
Prepared = tuple[np.ndarray, np.ndarray]  # a centred float32 trace (l, 3) and its states (l,)
Group = tuple[list[tuple[Prepared, Prepared]], Effort]


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
        effort: "full"; or "quick", a lower bound from the alignment of secondary structures and one round of
            improvement, some thirty times faster: good for ranking.
        jobs: number of processes; the scores do not depend on it.

    Raises:
        UsageError: if a trace has fewer than 5 residues, or a coordinate that is not finite.
    """
    pairs = np.asarray(pairs, dtype=int).reshape(-1, 2)
    prepared = {int(k): _prepare(traces[k], int(k)) for k in np.unique(pairs)}
    lengths = np.array([len(trace) for trace in traces])
    groups = list(_groups(lengths, pairs))
    results = np.zeros((3, len(pairs)))
    work: list[Group] = [([(prepared[i], prepared[j]) for i, j in pairs[group].tolist()], effort) for group in groups]
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
    """Indices of pairs of like lengths, about `CELLS` residue pairs a group."""
    size = lengths[pairs]
    order = np.lexsort((size[:, 1], size[:, 0] // 8))
    start = 0
    while start < len(order):
        ahead = size[order[start : start + 4096]]
        cells = np.maximum.accumulate(ahead[:, 0]) * np.maximum.accumulate(ahead[:, 1])
        count = max(1, int(np.searchsorted(cells * np.arange(1, len(cells) + 1), CELLS)))
        yield order[start : start + count]
        start += count


def _score_group(work: Group) -> np.ndarray:
    """(3, p) final scores by both lengths, each with its own d0, and the number of aligned residues."""
    members, effort = work
    pairs = _pad(members)
    found = _full_search(pairs) if effort == "full" else _quick_search(pairs)
    steps = 12 if effort == "full" else 4
    rows = []
    for length in (pairs.length_x, pairs.length_y):
        d0 = tm_d0(length).astype(np.float32)
        final = superpose_aligned(pairs, found.partner, motion=found.motion, steps=steps, d0=d0)
        rows.append(final.score * pairs.shorter / length)
    return np.stack([*rows, (found.partner >= 0).sum(axis=1)])


def _pad(members: Sequence[tuple[Prepared, Prepared]]) -> Pairs:
    lengths = np.array([[len(first[0]), len(second[0])] for first, second in members])
    la, lb = lengths.max(axis=0)
    x, y = (np.zeros((len(members), n, 3), np.float32) for n in (la, lb))
    states_x, states_y = (np.full((len(members), n), -1, np.int8) for n in (la, lb))
    for k, ((trace_x, state_x), (trace_y, state_y)) in enumerate(members):
        x[k, : len(trace_x)], y[k, : len(trace_y)] = trace_x, trace_y
        states_x[k, : len(trace_x)], states_y[k, : len(trace_y)] = state_x, state_y
    d0 = (tm_d0(lengths.min(axis=1)) + SEARCH_SLACK).astype(np.float32)
    return Pairs(x, y, lengths[:, 0], lengths[:, 1], states_x, states_y, d0)


def _full_search(pairs: Pairs) -> Found:
    """Every start is improved by one round, the best two to the end."""
    tried = [_improve(pairs, start, gaps=GAPS[:1], rounds=1) for start in all_starts(pairs)]
    finalists = [best_of(tried, rank) for rank in range(FINALISTS)]
    return best_of([_improve(pairs, start, gaps=GAPS, rounds=ROUNDS) for start in finalists])


def _quick_search(pairs: Pairs) -> Found:
    return _improve(pairs, structure_start(pairs), gaps=GAPS[:1], rounds=1)


def _improve(pairs: Pairs, start: Found, *, gaps: Sequence[float], rounds: int) -> Found:
    """Turns of alignment and superposition until nothing gets better."""
    best = start.copy()
    for gap in gaps:
        active = np.arange(len(pairs))
        for _ in range(rounds):
            part, motion = pairs.take(active), best.motion.take(active)
            partner = align(part.pad(closeness(part, motion)), gap)
            tried = superpose_aligned(part, partner, motion=motion, steps=3)
            better = tried.score > best.score[active] + 1e-4
            best.update(active, tried)
            active = active[better]
            if len(active) == 0:
                break
    return best
