"""Novelty of structures: the highest TM-score to any of a set of references, and which one it is.

Thousands of references are too many for a full search each. Two prefilters come first, and the result states
both: a window of lengths, and a quick TM-score (fewer starts, one round of improvement) by which the references
of each sample are ranked. The full search sees the best ones only. The loss can be measured: call with
`keep=None` and a window of (0, inf), and compare.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protgen.errors import UsageError
from protgen.metrics.tm import tm_scores

WINDOW = (0.7, 1.5)  # reference length over sample length
KEEP = 60  # references of each sample that the full search sees
NOVEL = 0.5  # below it the fold is another one


@dataclass(frozen=True)
class Novelty:
    """The nearest reference of each sample.

    Attributes:
        max_tm: (n,) highest TM found, normalised by the sample's length; NaN if no reference is within the
            window.
        nearest: (n,) index of that reference; -1 if there is none.
        n_compared: (n,) references within the window.
        n_searched: (n,) references that the full search saw.
        window: lengths compared, as fractions of the sample's.
        keep: how many references passed the quick prefilter at most; None for all.
    """

    max_tm: np.ndarray
    nearest: np.ndarray
    n_compared: np.ndarray
    n_searched: np.ndarray
    window: tuple[float, float]
    keep: int | None

    @property
    def novel_fraction(self) -> float:
        """Fraction of samples with max TM below 0.5, of those with a reference in the window; NaN without."""
        known = self.max_tm[np.isfinite(self.max_tm)]
        return float((known < NOVEL).mean()) if len(known) else np.nan


def novelty(
    samples: Sequence[np.ndarray],
    references: Sequence[np.ndarray],
    *,
    window: tuple[float, float] = WINDOW,
    keep: int | None = KEEP,
    jobs: int = 1,
) -> Novelty:
    """Find the nearest reference of every sample.

    Args:
        samples: (l, 3) Å, CA atoms.
        references: (l, 3) Å, CA atoms.
        window: least and largest reference length, as fractions of the sample's.
        keep: references of each sample that pass to the full search; None for all within the window.
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
    inside = [
        np.flatnonzero((lengths >= window[0] * len(sample)) & (lengths <= window[1] * len(sample)))
        for sample in samples
    ]
    n_compared = np.array([len(chosen) for chosen in inside], dtype=int)
    if keep is not None and (n_compared > keep).any():
        quick = tm_scores(traces, _pairs(inside, n), effort="quick", jobs=jobs).by_first
        ranked = np.split(quick, np.cumsum(n_compared)[:-1])
        inside = [
            np.sort(chosen[np.argsort(-score, kind="stable")[:keep]])
            for chosen, score in zip(inside, ranked, strict=True)
        ]
    n_searched = np.array([len(chosen) for chosen in inside], dtype=int)
    full = np.split(tm_scores(traces, _pairs(inside, n), jobs=jobs).by_first, np.cumsum(n_searched)[:-1])
    max_tm, nearest = np.full(n, np.nan), np.full(n, -1)
    for k, (chosen, score) in enumerate(zip(inside, full, strict=True)):
        if len(chosen):
            max_tm[k], nearest[k] = score.max(), chosen[score.argmax()]
    return Novelty(max_tm, nearest, n_compared, n_searched, window, keep)


def _pairs(inside: Sequence[np.ndarray], n_samples: int) -> np.ndarray:
    """(p, 2) sample and reference indices into the joint list of traces, sample after sample."""
    return np.concatenate(
        [np.stack([np.full(len(chosen), k), chosen + n_samples], axis=1) for k, chosen in enumerate(inside)]
        + [np.empty((0, 2), int)]
    )
