"""Diversity of a set of structures: clusters by TM-score, and the mean of TM over pairs.

The cluster rule is greedy set cover: the structure with the most unassigned neighbours (TM at or above the
threshold) takes them all as its cluster, until none is left; ties go to the lower index. It is
deterministic, and every member is at or above the threshold to its representative.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protgen.errors import UsageError
from protgen.metrics.tm import tm_matrix, tm_scores
from protgen.metrics.tm_plan import PREFILTERING, Prefilter

RULE = "greedy set cover"
THRESHOLD = 0.5  # the same fold: Xu & Zhang, Bioinformatics 26, 889 (2010)
# of TM: a prefilter's score further below the threshold than this is trusted. Among 1,000 native chains of 80-120
# residues no pair of 499,500 is lost (the furthest of those above the threshold is 0.132 below it by the prefilter),
# and 17 % of them get the full search; at 150-250 residues none of 8,385 is lost, at 40-70 residues one of 31,125.
MARGIN = 0.15


@dataclass(frozen=True)
class Diversity:
    """How different the members of a set are.

    Attributes:
        labels: (n,) cluster of each structure, numbered by falling size.
        representatives: (k,) index of the structure that each cluster formed around.
        tm: (n, n) the TM-scores, normalised by the shorter length of each pair.
        threshold: TM at which two structures are one fold.
        mean_pairwise_tm: mean of TM over all pairs; NaN with fewer than two structures.
        mean_pairwise_tm_same_length: the same over the pairs of equal length; NaN if there is none.
        n_pairs_same_length: how many these are.
    """

    labels: np.ndarray
    representatives: np.ndarray
    tm: np.ndarray
    threshold: float
    mean_pairwise_tm: float
    mean_pairwise_tm_same_length: float
    n_pairs_same_length: int
    rule: str = RULE

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.representatives)

    @property
    def clusters_per_sample(self) -> float:
        """Diversity as the field reports it: clusters / samples; NaN for an empty set."""
        return self.n_clusters / len(self.labels) if len(self.labels) else np.nan


def set_cover(neighbours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Clusters by greedy set cover.

    Args:
        neighbours: (n, n) bool, symmetric; the diagonal counts as True.

    Returns:
        (n,) labels and (k,) representatives.

    Example:
        >>> chain = np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]], dtype=bool)
        >>> set_cover(chain)[0].tolist()
        [0, 0, 0]
    """
    free = np.ones(len(neighbours), dtype=bool)
    covers = neighbours | np.eye(len(neighbours), dtype=bool)
    labels, representatives = np.full(len(neighbours), -1), []
    while free.any():
        sizes = np.where(free, (covers & free).sum(axis=1), -1)  # only a free structure may found a cluster
        founder = int(sizes.argmax())
        members = covers[founder] & free
        labels[members] = len(representatives)
        representatives.append(founder)
        free &= ~members
    return labels, np.array(representatives, dtype=int)


def prefiltered_tm_matrix(
    traces: Sequence[np.ndarray], threshold: float = THRESHOLD, *, margin: float = MARGIN, jobs: int = 1
) -> np.ndarray:
    """All against all by the prefilter, and by the full search where that could change the side of a threshold.

    The full search decides every pair that the prefilter does not put `margin` below the threshold. Other entries are
    the prefilter's: 0.014 low in the mean.

    Args:
        traces: (l, 3) Å each.
        threshold: TM at which two structures are one fold.
        margin: pairs within this distance below it are searched again; 1 for every pair.
        jobs: number of processes.
    """
    first, second = np.triu_indices(len(traces), k=1)
    pairs = np.stack([first, second], axis=1)
    values = tm_scores(traces, pairs, prefilter=Prefilter(PREFILTERING, threshold - margin), jobs=jobs).by_shorter
    matrix = np.eye(len(traces))
    matrix[first, second] = matrix[second, first] = values
    return matrix


def diversity(
    traces: Sequence[np.ndarray], *, threshold: float = THRESHOLD, prefilter: bool = False, jobs: int = 1
) -> Diversity:
    """Compare all with all and cluster.

    TM is normalised by the shorter length of each pair, the larger of its two values: the choice that finds
    fewer clusters.

    Args:
        traces: (l, 3) Å, CA atoms.
        threshold: TM at which two structures are one fold; 0.5, or 0.6 for motif scaffolds.
        prefilter: use `prefiltered_tm_matrix`, several times quicker.
        jobs: number of processes.

    Raises:
        UsageError: if the threshold is not between 0 and 1.
    """
    if not 0.0 < threshold <= 1.0:
        raise UsageError(f"TM threshold is {threshold}; give a number above 0 and at most 1")
    tm = (
        prefiltered_tm_matrix(traces, threshold, jobs=jobs) if prefilter else tm_matrix(traces, by="shorter", jobs=jobs)
    )
    return diversity_of(tm, np.array([len(trace) for trace in traces], dtype=int), threshold)


def diversity_of(tm: np.ndarray, lengths: np.ndarray, threshold: float = THRESHOLD) -> Diversity:
    """Diversity of a set whose TM-scores (n, n) are known.

    Args:
        tm: (n, n) by the shorter length of each pair.
        lengths: (n,) residues.
        threshold: TM at which two structures are one fold.
    """
    labels, representatives = set_cover(tm >= threshold)
    first, second = np.triu_indices(len(tm), k=1)
    values = tm[first, second]
    same = lengths[first] == lengths[second] if len(first) else np.zeros(0, dtype=bool)
    return Diversity(
        labels,
        representatives,
        tm,
        threshold,
        mean_pairwise_tm=float(values.mean()) if len(values) else np.nan,
        mean_pairwise_tm_same_length=float(values[same].mean()) if same.any() else np.nan,
        n_pairs_same_length=int(same.sum()),
    )
