"""Diversity of a set of structures: clusters by TM-score, and the mean of TM over pairs.

The cluster rule is greedy set cover: the structure with the most unassigned neighbours (TM at or above the
threshold) takes them all as its cluster, until none is left; ties go to the lower index. It is
deterministic, and every member is at or above the threshold to its representative.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protgen.errors import UsageError
from protgen.metrics.tm import tm_matrix

RULE = "greedy set cover"
THRESHOLD = 0.5  # the same fold: Xu & Zhang, Bioinformatics 26, 889 (2010)


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


def diversity(traces: Sequence[np.ndarray], *, threshold: float = THRESHOLD, jobs: int = 1) -> Diversity:
    """Compare all with all and cluster.

    TM is normalised by the shorter length of each pair, the larger of its two values: the choice that finds
    fewer clusters.

    Args:
        traces: (l, 3) Å, CA atoms.
        threshold: TM at which two structures are one fold; 0.5, or 0.6 for motif scaffolds.
        jobs: number of processes.

    Raises:
        UsageError: if the threshold is not between 0 and 1.
    """
    if not 0.0 < threshold <= 1.0:
        raise UsageError(f"TM threshold is {threshold}; give a number above 0 and at most 1")
    tm = tm_matrix(traces, by="shorter", jobs=jobs)
    labels, representatives = set_cover(tm >= threshold)
    first, second = np.triu_indices(len(traces), k=1)
    lengths = np.array([len(trace) for trace in traces])
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
