"""Diversity of a set of structures: clusters by TM-score, and the mean of TM over pairs.

TM of a pair is normalised by the longer length, the lesser of its two values: both structures must agree. By the
shorter, one helix of 16 residues scores 1 with whatever holds a helix, and joins it all into one cluster.

The cluster rule is greedy set cover: the structure with the most unassigned neighbours (TM at or above the threshold)
takes them all as its cluster, until none is left; ties go to the lower index. It is deterministic, and every member is
at or above the threshold to its representative. Single and complete linkage are there to compare with papers that used
them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from protgen.errors import UsageError
from protgen.metrics.linkage import Linkage, cluster
from protgen.metrics.tm import TMScores, tm_scores
from protgen.metrics.tm_plan import PREFILTERING, Prefilter

By = Literal["longer", "shorter"]
THRESHOLD = 0.5  # the same fold: Xu & Zhang, Bioinformatics 26, 889 (2010)
# of TM: a prefilter's score further below the threshold than this is trusted. Among 1,000 native chains of 80-120
# residues no pair of 499,500 is lost (the furthest of those above the threshold is 0.132 below it by the prefilter),
# and 17 % of them get the full search; at 150-250 residues none of 8,385 is lost, at 40-70 residues one of 31,125.
MARGIN = 0.15


@dataclass(frozen=True)
class Clustering:
    """What makes two structures one cluster.

    Attributes:
        by: the length of a pair that normalises TM; "longer" asks both structures to agree, as Foldseek with
            coverage of both does.
        linkage: "cover" (greedy set cover), "single" or "complete".
        threshold: TM at which two structures are one fold; 0.5, or 0.6 for motif scaffolds.

    Raises:
        UsageError: if one of them is not among these.
    """

    by: By = "longer"
    linkage: Linkage = "cover"
    threshold: float = THRESHOLD

    def __post_init__(self) -> None:
        if not 0.0 < self.threshold <= 1.0:
            raise UsageError(f"TM threshold is {self.threshold}; give a number above 0 and at most 1")
        for name, options in (("by", By), ("linkage", Linkage)):
            if getattr(self, name) not in get_args(options):
                raise UsageError(f"{name} is {getattr(self, name)}; give one of {', '.join(get_args(options))}")

    def __str__(self) -> str:
        return f"TM by the {self.by} length of {self.threshold:g} or more, {RULES[self.linkage]}"


RULES: dict[Linkage, str] = {
    "cover": "greedy set cover",
    "single": "single linkage",
    "complete": "complete linkage",
}


@dataclass(frozen=True)
class PairwiseTM:
    """TM-scores of all pairs of a set.

    Attributes:
        longer: (n, n) by the longer length of each pair.
        shorter: (n, n) by the shorter.
        lengths: (n,) residues.
    """

    longer: np.ndarray
    shorter: np.ndarray
    lengths: np.ndarray

    def by(self, by: By) -> np.ndarray:
        """(n, n) by one of the lengths."""
        return self.longer if by == "longer" else self.shorter

    def take(self, rows: np.ndarray) -> "PairwiseTM":
        """Those of some of the structures."""
        return PairwiseTM(self.longer[np.ix_(rows, rows)], self.shorter[np.ix_(rows, rows)], self.lengths[rows])


@dataclass(frozen=True)
class Diversity:
    """How different the members of a set are.

    Attributes:
        labels: (n,) cluster of each structure, numbered by falling size.
        representatives: (k,) index of the structure that each cluster formed around.
        clustering: what makes a cluster, and by which length TM is normalised in all figures here.
        mean_pairwise_tm: mean of TM over all pairs; NaN with fewer than two structures.
        mean_pairwise_tm_same_length: the same over the pairs of equal length; NaN if there is none.
        n_pairs_same_length: how many these are.
        rule: how clusters were made, for people.
    """

    labels: np.ndarray
    representatives: np.ndarray
    clustering: Clustering
    mean_pairwise_tm: float
    mean_pairwise_tm_same_length: float
    n_pairs_same_length: int
    rule: str

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.representatives)

    @property
    def clusters_per_sample(self) -> float:
        """Diversity as the field reports it: clusters / samples; NaN for an empty set."""
        return self.n_clusters / len(self.labels) if len(self.labels) else np.nan


def pairwise_tm(
    traces: Sequence[np.ndarray],
    *,
    prefilter: float | None = None,
    margin: float = MARGIN,
    jobs: int = 1,
) -> PairwiseTM:
    """All against all.

    With a prefilter the full search decides every pair that the quicker one does not put `margin` below the threshold
    by the shorter length, and so by the longer too. Other entries are the prefilter's: 0.014 low in the mean.

    Args:
        traces: (l, 3) Å each.
        prefilter: TM at which two structures are one fold; None for the full search of every pair.
        margin: pairs within this distance below it are searched again; 1 for every pair.
        jobs: number of processes.
    """
    first, second = np.triu_indices(len(traces), k=1)
    lesser = None if prefilter is None else Prefilter(PREFILTERING, prefilter - margin)
    found: TMScores = tm_scores(traces, np.stack([first, second], axis=1), prefilter=lesser, jobs=jobs)
    longer, shorter = np.eye(len(traces)), np.eye(len(traces))
    for matrix, values in ((longer, found.by_longer), (shorter, found.by_shorter)):
        matrix[first, second] = matrix[second, first] = values
    return PairwiseTM(longer, shorter, np.array([len(trace) for trace in traces], dtype=int))


def diversity(
    traces: Sequence[np.ndarray],
    *,
    clustering: Clustering | None = None,
    prefilter: bool = False,
    jobs: int = 1,
) -> Diversity:
    """Compare all with all and cluster.

    Args:
        traces: (l, 3) Å, CA atoms.
        clustering: what makes a cluster; by default TM by the longer length of 0.5 or more, and greedy set cover.
        prefilter: a quicker search first, several times quicker; see `pairwise_tm`.
        jobs: number of processes.
    """
    clustering = clustering or Clustering()
    tm = pairwise_tm(traces, prefilter=clustering.threshold if prefilter else None, jobs=jobs)
    return diversity_of(tm, clustering)


def diversity_of(tm: PairwiseTM, clustering: Clustering) -> Diversity:
    """Diversity of a set whose TM-scores are known.

    Args:
        tm: of all pairs.
        clustering: what makes a cluster.
    """
    matrix = tm.by(clustering.by)
    labels, representatives = cluster(matrix, clustering.threshold, clustering.linkage)
    first, second = np.triu_indices(len(matrix), k=1)
    values = matrix[first, second]
    same = tm.lengths[first] == tm.lengths[second] if len(first) else np.zeros(0, dtype=bool)
    return Diversity(
        labels,
        representatives,
        clustering,
        mean_pairwise_tm=float(values.mean()) if len(values) else np.nan,
        mean_pairwise_tm_same_length=float(values[same].mean()) if same.any() else np.nan,
        n_pairs_same_length=int(same.sum()),
        rule=RULES[clustering.linkage],
    )
