"""Novelty of structures: the highest TM-score to any of a set of references, and which one it is.

TM is normalised by the sample's length, so that a sample that is a piece of a longer chain has a TM of 1 to it, however
long that is. A reference of less than half the sample's length cannot reach 0.5, and is left out.

Thousands of references are too many for a full search each. Two prefilters come first, and the result counts what
passed each: the distances within fragments (`fragments.py`) leave a fifth of the references, 1,200 at least, and a
quick TM-score (fewer starts, one round of improvement) the 250 best of these. The loss can be measured: call with
`keep=None`, and compare (`benchmarks/evaluation.py --parts novelty`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protgen.errors import ProtgenError, UsageError
from protgen.metrics.fragments import fragment_table
from protgen.metrics.tm import tm_scores
from protgen.parallel import run

NOVEL = 0.5  # below it the fold is another one
SHORTEST = NOVEL  # of the sample's length: TM cannot exceed reference length over sample length
SCREENED = (1200, 5)  # references that the fragments leave: so many, or all divided by so many if that is more
KEEP = 250  # references of each sample that the full search sees
CHUNK = 1000  # references whose fragments are held at once: some 10 MB


@dataclass(frozen=True)
class Novelty:
    """The nearest reference of each sample.

    Attributes:
        max_tm: (n,) highest TM found, normalised by the sample's length; NaN if no reference is half as long.
        nearest: (n,) index of that reference; -1 if there is none.
        n_compared: (n,) references of half the sample's length or more.
        n_screened: (n,) references that the fragments left.
        n_searched: (n,) references that the full search saw.
        keep: how many references passed the quick search at most; None if all got the full one.
    """

    max_tm: np.ndarray
    nearest: np.ndarray
    n_compared: np.ndarray
    n_screened: np.ndarray
    n_searched: np.ndarray
    keep: int | None

    @property
    def novel_fraction(self) -> float:
        """Fraction of samples with max TM below 0.5, of those with a reference long enough; NaN without."""
        known = self.max_tm[np.isfinite(self.max_tm)]
        return float((known < NOVEL).mean()) if len(known) else np.nan


def novelty(
    samples: Sequence[np.ndarray], references: Sequence[np.ndarray], *, keep: int | None = KEEP, jobs: int = 1
) -> Novelty:
    """Find the nearest reference of every sample.

    Args:
        samples: (l, 3) Å, CA atoms.
        references: (l, 3) Å, CA atoms; whole chains.
        keep: references of each sample that pass to the full search; None for all, without a prefilter.
        jobs: number of processes.

    Raises:
        UsageError: if there are no references, or `keep` is less than 1.
    """
    if len(references) == 0:
        raise UsageError("no reference structures to compare with")
    if keep is not None and keep < 1:
        raise UsageError(f"keep is {keep}; give 1 or more, or None for all")
    traces = [*samples, *references]
    n = len(samples)
    lengths = np.array([len(trace) for trace in references])
    inside = [np.flatnonzero(lengths >= SHORTEST * len(sample)) for sample in samples]
    n_compared = _counts(inside)
    if keep is not None and (n_compared > SCREENED[0]).any():
        inside = [
            _alike(chosen, score[chosen])
            for chosen, score in zip(inside, _likeness(samples, references, jobs), strict=True)
        ]
    n_screened = _counts(inside)
    if keep is not None and (n_screened > keep).any():
        quick = tm_scores(traces, _pairs(inside, n), effort="quick", jobs=jobs).by_first
        ranked = np.split(quick, np.cumsum(n_screened)[:-1])
        inside = [_best(chosen, score, keep) for chosen, score in zip(inside, ranked, strict=True)]
    n_searched = _counts(inside)
    full = np.split(tm_scores(traces, _pairs(inside, n), jobs=jobs).by_first, np.cumsum(n_searched)[:-1])
    max_tm, nearest = np.full(n, np.nan), np.full(n, -1)
    for k, (chosen, score) in enumerate(zip(inside, full, strict=True)):
        if len(chosen):
            max_tm[k], nearest[k] = score.max(), chosen[score.argmax()]
    return Novelty(max_tm, nearest, n_compared, n_screened, n_searched, keep)


def _alike(chosen: np.ndarray, likeness: np.ndarray) -> np.ndarray:
    """The references that are most alike by their fragments, and those whose fragments do not say."""
    known = np.isfinite(likeness)
    best = _best(chosen[known], likeness[known], max(SCREENED[0], len(chosen) // SCREENED[1]))
    return np.sort(np.concatenate([best, chosen[~known]]))


def _best(chosen: np.ndarray, score: np.ndarray, count: int) -> np.ndarray:
    """The references of the highest scores, in their own order; of equals the first."""
    return np.sort(chosen[np.argsort(-score, kind="stable")[:count]])


def _counts(inside: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([len(chosen) for chosen in inside], dtype=int)


def _likeness(samples: Sequence[np.ndarray], references: Sequence[np.ndarray], jobs: int) -> np.ndarray:
    """(samples, references) likeness by fragments."""
    starts = range(0, len(references), CHUNK)
    work = [(samples, references[start : start + CHUNK]) for start in starts]
    found: list[np.ndarray] = [np.empty(0)] * len(work)
    for outcome in run(_likeness_of_chunk, work, jobs=jobs):
        if outcome.result is None:
            raise ProtgenError("a process that compared fragments was killed; try fewer jobs")
        found[outcome.index] = outcome.result
    return np.concatenate(found, axis=1)


def _likeness_of_chunk(work: tuple[Sequence[np.ndarray], Sequence[np.ndarray]]) -> np.ndarray:
    samples, references = work
    table = fragment_table(references)
    return np.stack([table.likeness(sample) for sample in samples])


def _pairs(inside: Sequence[np.ndarray], n_samples: int) -> np.ndarray:
    """(p, 2) sample and reference indices into the joint list of traces, sample after sample."""
    return np.concatenate(
        [np.stack([np.full(len(chosen), k), chosen + n_samples], axis=1) for k, chosen in enumerate(inside)]
        + [np.empty((0, 2), int)]
    )
