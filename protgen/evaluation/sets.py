"""Properties of whole sets: clusters, pairwise TM-scores, the nearest reference of each member."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from protgen.evaluation.reference import TRAIN, Reference
from protgen.metrics.base import Quantity, Value, summarise
from protgen.metrics.diversity import Clustering, Diversity, PairwiseTM, diversity_of, pairwise_tm
from protgen.metrics.foldseek import foldseek_clusters, foldseek_version
from protgen.metrics.novelty import KEEP, NOVEL, SCREENED, SHORTEST, Novelty, novelty
from protgen.metrics.tm import MIN_LENGTH, ca_trace
from protgen.metrics.tm_native import native_search
from protgen.structure.protein import Protein

COPY = 0.9  # TM to a training chain at which a structure counts as a copy of it
FOLDSEEK = "foldseek"
FOLDSEEK_RULE = "foldseek easy-cluster"
LONGEST = 5000  # residues of a structure that TM-scores are made of; time and memory grow with the square
MOST_COMPARED = 4000  # structures compared all with all; eight million pairs

QUANTITIES = (
    Quantity(
        "max_tm",
        "",
        None,
        f"highest TM-score to a reference of {SHORTEST:g} times the length or more, by the sample's length, so that a "
        f"piece of a longer chain is found; by their fragments 1 / {SCREENED[1]} of the references, {SCREENED[0]} at "
        f"least, get a quick search, and the {KEEP} best by that the full one",
    ),
    Quantity("novel", "fraction", "higher", f"1 if max_tm is below {NOVEL:g}"),
    Quantity("max_tm_training", "", "lower", "the same over the training chains of the reference"),
    Quantity("memorised", "fraction", "lower", f"1 if max_tm_training is {COPY:g} or more"),
)
LABELS = ("nearest", "nearest_training")
CLUSTER = Quantity("cluster", "", None, f"cluster of its set: {Clustering()}; numbered by falling size")


@dataclass(frozen=True)
class Compared:
    """All pairs of structures, of all sets, compared.

    Attributes:
        members: (m,) rows of the table that were compared.
        pairs: TM-scores of all pairs by either length; NaN where foldseek made the clusters.
        clustering: what makes a cluster.
        by_set: the diversity of each set.
        by_other: the same with TM by the other length; empty where foldseek made the clusters.
        effort: "quick" (with a prefilter) or "full"; or "foldseek" with its version.
    """

    members: np.ndarray
    pairs: PairwiseTM
    clustering: Clustering
    by_set: dict[str, Diversity]
    by_other: dict[str, Diversity]
    effort: str

    @property
    def tm(self) -> np.ndarray:
        """(m, m) TM-scores by the length that the clusters were made by."""
        return self.pairs.by(self.clustering.by)


def compare_all(
    proteins: Sequence[Protein | None],
    names: Sequence[str],
    *,
    effort: str = "quick",
    clustering: Clustering | None = None,
    jobs: int = 1,
    most: int = MOST_COMPARED,
) -> Compared | None:
    """TM-scores of all pairs, within sets and between them, and the clusters of each set.

    Args:
        proteins: (n,) one a row, None where the file could not be read.
        names: (n,) the set of each row.
        effort: "quick" for a search with a prefilter, "full" for the whole search of every pair, "foldseek" for
            clusters by that program, which leaves the scores unknown.
        clustering: what makes a cluster.
        jobs: number of processes.
        most: structures that are compared at most; time and memory grow with their square.

    Returns:
        None if there are fewer than two structures, or more than `most`; `why_not_compared` says which.

    Raises:
        UsageError: if foldseek is asked for and not there.
        ToolError: if it fails.
    """
    traces, clustering = _traces(proteins), clustering or Clustering()
    if not 2 <= len(traces) <= most:
        return None
    members, chosen = np.array(list(traces)), list(traces.values())
    of_set = np.array([names[k] for k in members])
    places = {name: np.flatnonzero(of_set == name) for name in dict.fromkeys(of_set.tolist())}
    if effort == FOLDSEEK:
        return _compare_by_foldseek(proteins, members, places, clustering, jobs)
    pairs = pairwise_tm(chosen, prefilter=None if effort == "full" else clustering.threshold, jobs=jobs)
    other = replace(clustering, by="shorter" if clustering.by == "longer" else "longer")
    by_set, by_other = (
        {name: diversity_of(pairs.take(mine), rule) for name, mine in places.items()} for rule in (clustering, other)
    )
    return Compared(members, pairs, clustering, by_set, by_other, effort)


def _compare_by_foldseek(
    proteins: Sequence[Protein | None],
    members: np.ndarray,
    places: dict[str, np.ndarray],
    clustering: Clustering,
    jobs: int,
) -> Compared:
    version = foldseek_version()
    by_set, left_out = {}, 0
    for name, own in places.items():
        mine = [p for k in members[own].tolist() if (p := proteins[k]) is not None]
        found = foldseek_clusters(mine, clustering.threshold, jobs=jobs)
        left_out += found.n_left_out
        numbers = {"mean_pairwise_tm": np.nan, "mean_pairwise_tm_same_length": np.nan, "n_pairs_same_length": 0}
        by_set[name] = Diversity(found.labels, found.representatives, clustering, **numbers, rule=FOLDSEEK_RULE)
    effort = f"{FOLDSEEK} {version}" + (f", {left_out} structures left out by it are alone" if left_out else "")
    unknown = np.full((len(members), len(members)), np.nan)
    lengths = np.array([len(ca_trace(p)) for k in members.tolist() if (p := proteins[k]) is not None])
    return Compared(members, PairwiseTM(unknown, unknown, lengths), clustering, by_set, {}, effort)


def cluster_definition(compared: Compared) -> str:
    """What the column of clusters is, for `summary.json`."""
    if compared.effort.startswith(FOLDSEEK):
        return (
            f"cluster of its set at TM {compared.clustering.threshold:g} by {compared.effort}, which asks for coverage "
            "of both structures; numbered by falling size"
        )
    return f"cluster of its set: {compared.clustering}; numbered by falling size"


def why_not_compared(proteins: Sequence[Protein | None], most: int = MOST_COMPARED) -> str:
    """One line for people on why `compare_all` returned None, and what to do."""
    n = len(_traces(proteins))
    if n < 2:
        return f"not clustered: {n} structures have {MIN_LENGTH} to {LONGEST:,} residues, and it takes two"
    return (
        f"not clustered: {n:,} structures are more than {most:,}, and all pairs of them would be compared; "
        f"--most-compared {n} clusters them all the same ({n * (n - 1) // 2:,} pairs)"
    )


def _traces(proteins: Sequence[Protein | None]) -> dict[int, np.ndarray]:
    """The CA traces that TM-scores are made of, by place."""
    traces = {k: ca_trace(protein) for k, protein in enumerate(proteins) if protein is not None}
    return {k: trace for k, trace in traces.items() if MIN_LENGTH <= len(trace) <= LONGEST}


def name_too_long(proteins: Sequence[Protein | None], rows: Sequence[dict[str, Value]]) -> None:
    """Say in the rows of structures that are too long for TM-scores that they are left out; rows change.

    Args:
        proteins: (n,) one a row, None where the file could not be read.
        rows: of the table.
    """
    for protein, row in zip(proteins, rows, strict=True):
        if protein is not None and protein.length > LONGEST and len(ca_trace(protein)) > LONGEST:
            line = f"no TM-scores: {protein.length:,} residues, more than {LONGEST:,}; --chain judges one chain"
            row["message"] = "; ".join(text for text in (str(row["message"]), line) if text)


def cluster_columns(compared: Compared, names: Sequence[str], rows: Sequence[dict[str, Value]]) -> None:
    """Write the cluster of each row, and whether it represents it, into the rows.

    Args:
        compared: all pairs of structures compared.
        names: the set of each row.
        rows: of the table; changed.
    """
    of_set = np.array([names[k] for k in compared.members])
    for name, diversity in compared.by_set.items():
        mine = compared.members[of_set == name]
        for place, (row, label) in enumerate(zip(mine.tolist(), diversity.labels.tolist(), strict=True)):
            rows[row]["cluster"] = int(label)
            rows[row]["representative"] = int(place in diversity.representatives)


def describe_diversity(compared: Compared, name: str) -> dict[str, Any]:
    """The diversity of one set for `summary.json`, and under `by_shorter` (or `by_longer`) what the other length gives.

    Args:
        compared: all pairs of structures compared.
        name: of the set.
    """
    diversity, effort = compared.by_set[name], compared.effort
    by_foldseek = effort.startswith(FOLDSEEK)
    content = {
        "n": len(diversity.labels),
        **_figures_of(diversity),
        "threshold": diversity.clustering.threshold,
        "tm_by": "foldseek" if by_foldseek else diversity.clustering.by,
        "rule": diversity.rule,
        "search": effort,
        "search_code": effort.split(",")[0] if by_foldseek else _search_code(),
    }
    other = compared.by_other.get(name)
    return content if other is None else content | {f"by_{other.clustering.by}": _figures_of(other)}


def _figures_of(diversity: Diversity) -> dict[str, Any]:
    sizes = np.bincount(diversity.labels, minlength=diversity.n_clusters)
    return {
        "clusters": diversity.n_clusters,
        "clusters_per_sample": diversity.clusters_per_sample,
        "largest_cluster": int(sizes.max(initial=0)),
        "mean_pairwise_tm": diversity.mean_pairwise_tm,
        "mean_pairwise_tm_same_length": diversity.mean_pairwise_tm_same_length,
        "n_pairs_same_length": diversity.n_pairs_same_length,
    }


def _search_code() -> str:
    return "numpy" if native_search() is None else "compiled"


def nearest_columns(
    proteins: Sequence[Protein | None], reference: Reference, rows: Sequence[dict[str, Value]], *, jobs: int = 1
) -> None:
    """Write max TM, the nearest reference and the nearest training chain of each structure into the rows.

    Args:
        proteins: (n,) one a row, None where the file could not be read.
        reference: structures to search.
        rows: of the table; changed.
        jobs: number of processes.
    """
    traces = _traces(proteins)
    if not traces:
        return
    references, splits = reference.traces(), np.array(reference.splits)
    parts = {split: np.flatnonzero((splits == TRAIN) == (split == TRAIN)) for split in (TRAIN, "rest")}
    found: dict[str, Novelty] = {
        split: novelty(list(traces.values()), [references[i] for i in part.tolist()], jobs=jobs)
        for split, part in parts.items()
        if len(part)
    }
    for place, k in enumerate(traces):
        best = {
            split: (float(result.max_tm[place]), reference.ids[int(parts[split][result.nearest[place]])])
            for split, result in found.items()
            if np.isfinite(result.max_tm[place])
        }
        if best:
            score, who = max(best.values(), key=lambda pair: pair[0])
            rows[k].update({"max_tm": score, "nearest": who, "novel": float(score < NOVEL)})
        if TRAIN in best:
            score, who = best[TRAIN]
            rows[k].update({"max_tm_training": score, "nearest_training": who, "memorised": float(score >= COPY)})


def describe_novelty(rows: Sequence[dict[str, Value]], reference: Reference) -> dict[str, Any]:
    """The novelty of one set for `summary.json`."""
    values = np.array([float(row.get("max_tm", np.nan)) for row in rows])
    novel = summarise([float(row.get("novel", np.nan)) for row in rows])
    return {
        "reference": reference.name,
        "n_reference": len(reference),
        "n_reference_given": reference.n_given,
        "n_crops": reference.n_crops,
        "n": novel.n,
        "n_given": len(rows),
        "mean_max_tm": summarise(values).mean,
        "novel_fraction": novel.mean,
        "novel_fraction_ci_low": novel.ci_low,
        "novel_fraction_ci_high": novel.ci_high,
        "definition": QUANTITIES[0].definition,
    }
