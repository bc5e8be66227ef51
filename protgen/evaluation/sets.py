"""Properties of whole sets: clusters, pairwise TM-scores, the nearest reference of each member."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from protgen.evaluation.reference import TRAIN, Reference
from protgen.metrics.base import Quantity, Value, summarise
from protgen.metrics.diversity import RULE, THRESHOLD, Diversity, diversity_of, prefiltered_tm_matrix
from protgen.metrics.foldseek import foldseek_clusters, foldseek_version
from protgen.metrics.novelty import KEEP, NOVEL, WINDOW, Novelty, novelty
from protgen.metrics.tm import MIN_LENGTH, ca_trace, tm_matrix
from protgen.metrics.tm_native import native_search
from protgen.structure.protein import Protein

COPY = 0.9  # TM to a training chain at which a structure counts as a copy of it
FOLDSEEK = "foldseek"
MOST_COMPARED = 4000  # structures compared all with all; eight million pairs

QUANTITIES = (
    Quantity(
        "max_tm",
        "",
        None,
        f"highest TM-score to a reference of {WINDOW[0]:g} to {WINDOW[1]:g} times the length, by the sample's length; "
        f"the {KEEP} best by a quick search get the full one",
    ),
    Quantity("novel", "fraction", "higher", f"1 if max_tm is below {NOVEL:g}"),
    Quantity("max_tm_training", "", "lower", "the same over the training chains of the reference"),
    Quantity("memorised", "fraction", "lower", f"1 if max_tm_training is {COPY:g} or more"),
)
LABELS = ("nearest", "nearest_training")
CLUSTER = Quantity("cluster", "", None, f"cluster of its set at TM {THRESHOLD:g}, numbered by falling size; {RULE}")


@dataclass(frozen=True)
class Compared:
    """All pairs of structures, of all sets, compared.

    Attributes:
        members: (m,) rows of the table that were compared.
        tm: (m, m) TM-scores by the shorter length; NaN where foldseek made the clusters.
        lengths: (m,) residues with CA.
        by_set: the diversity of each set.
        effort: "quick" (with a prefilter) or "full"; or "foldseek" with its version.
    """

    members: np.ndarray
    tm: np.ndarray
    lengths: np.ndarray
    by_set: dict[str, Diversity]
    effort: str


def compare_all(
    proteins: Sequence[Protein | None],
    names: Sequence[str],
    *,
    effort: str = "quick",
    jobs: int = 1,
    most: int = MOST_COMPARED,
) -> Compared | None:
    """TM-scores of all pairs, within sets and between them, and the clusters of each set.

    Args:
        proteins: (n,) one a row, None where the file could not be read.
        names: (n,) the set of each row.
        effort: "quick" for a search with a prefilter, "full" for the whole search of every pair, "foldseek" for
            clusters by that program, which leaves the scores unknown.
        jobs: number of processes.
        most: structures that are compared at most; time and memory grow with their square.

    Returns:
        None if there are fewer than two structures, or more than `most`; `why_not_compared` says which.

    Raises:
        UsageError: if foldseek is asked for and not there.
        ToolError: if it fails.
    """
    traces = _traces(proteins)
    if not 2 <= len(traces) <= most:
        return None
    members, chosen = np.array(list(traces)), list(traces.values())
    if effort == FOLDSEEK:
        return _compare_by_foldseek(proteins, names, members, jobs)
    tm = tm_matrix(chosen, jobs=jobs) if effort == "full" else prefiltered_tm_matrix(chosen, jobs=jobs)
    lengths = np.array([len(trace) for trace in chosen])
    of_set = np.array([names[k] for k in members])
    by_set = {}
    for name in dict.fromkeys(names):
        mine = np.flatnonzero(of_set == name)
        if len(mine):
            by_set[name] = diversity_of(tm[np.ix_(mine, mine)], lengths[mine])
    return Compared(members, tm, lengths, by_set, effort)


def _compare_by_foldseek(
    proteins: Sequence[Protein | None], names: Sequence[str], members: np.ndarray, jobs: int
) -> Compared:
    version = foldseek_version()
    of_set = np.array([names[k] for k in members])
    lengths = np.array([len(ca_trace(p)) for k in members.tolist() if (p := proteins[k]) is not None])
    by_set, left_out = {}, 0
    for name in dict.fromkeys(of_set.tolist()):
        mine = [p for k in members[of_set == name].tolist() if (p := proteins[k]) is not None]
        found = foldseek_clusters(mine, THRESHOLD, jobs=jobs)
        left_out += found.n_left_out
        unknown = np.full((len(mine), len(mine)), np.nan)
        numbers = {"mean_pairwise_tm": np.nan, "mean_pairwise_tm_same_length": np.nan, "n_pairs_same_length": 0}
        by_set[name] = Diversity(
            found.labels, found.representatives, unknown, THRESHOLD, **numbers, rule="foldseek easy-cluster"
        )
    effort = f"{FOLDSEEK} {version}" + (f", {left_out} structures left out by it are alone" if left_out else "")
    return Compared(members, np.full((len(members), len(members)), np.nan), lengths, by_set, effort)


def cluster_definition(compared: Compared) -> str:
    """What the column of clusters is, for `summary.json`."""
    if compared.effort.startswith(FOLDSEEK):
        return f"cluster of its set at TM {THRESHOLD:g} by {compared.effort}, numbered by falling size"
    return CLUSTER.definition


def why_not_compared(proteins: Sequence[Protein | None], most: int = MOST_COMPARED) -> str:
    """One line for people on why `compare_all` returned None, and what to do."""
    n = len(_traces(proteins))
    if n < 2:
        return f"not clustered: {n} structures have {MIN_LENGTH} residues or more, and it takes two"
    return (
        f"not clustered: {n:,} structures are more than {most:,}, and all pairs of them would be compared; "
        f"--most-compared {n} clusters them all the same ({n * (n - 1) // 2:,} pairs)"
    )


def _traces(proteins: Sequence[Protein | None]) -> dict[int, np.ndarray]:
    """The CA traces that a TM-score can be asked of, by place."""
    traces = {k: ca_trace(protein) for k, protein in enumerate(proteins) if protein is not None}
    return {k: trace for k, trace in traces.items() if len(trace) >= MIN_LENGTH}


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


def describe_diversity(diversity: Diversity, effort: str) -> dict[str, Any]:
    """The diversity of one set for `summary.json`."""
    sizes = np.bincount(diversity.labels, minlength=diversity.n_clusters)
    return {
        "n": len(diversity.labels),
        "clusters": diversity.n_clusters,
        "clusters_per_sample": diversity.clusters_per_sample,
        "largest_cluster": int(sizes.max(initial=0)),
        "mean_pairwise_tm": diversity.mean_pairwise_tm,
        "mean_pairwise_tm_same_length": diversity.mean_pairwise_tm_same_length,
        "n_pairs_same_length": diversity.n_pairs_same_length,
        "threshold": diversity.threshold,
        "rule": diversity.rule,
        "search": effort,
        "search_code": effort.split(",")[0] if effort.startswith(FOLDSEEK) else _search_code(),
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
    known = values[np.isfinite(values)]
    return {
        "reference": reference.name,
        "n_reference": len(reference),
        "n_reference_given": reference.n_given,
        "n": len(known),
        "n_given": len(rows),
        "mean_max_tm": summarise(values).mean,
        "novel_fraction": float((known < NOVEL).mean()) if len(known) else np.nan,
    }
