"""The summary of one set in `summary.json`: counts, means with intervals, clusters, novelty, folds, distributions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np

from protgen.evaluation.distributions import FEWEST, INTERVALS, between_sets, describe_distribution
from protgen.evaluation.features import Features
from protgen.evaluation.folds import DEFINITIONS as FOLD_DEFINITIONS
from protgen.evaluation.folds import describe_folds
from protgen.evaluation.reference import Reference
from protgen.evaluation.sets import Compared, describe_diversity, describe_novelty
from protgen.metrics.base import Summary, Value, number_of, summarise
from protgen.metrics.fold import fold_network_card
from protgen.metrics.sheets import share_right_handed

OK, WARNING, ERROR = "ok", "warning", "error"
MOST_SETS = 6  # compared with one another, pair by pair

Row = dict[str, Value]


def describe_rows(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Any]:
    """Counts and summaries of some rows.

    Args:
        rows: of the table.
        names: columns to summarise.
    """
    read = [row for row in rows if row["status"] != ERROR]
    statuses = Counter(row["status"] for row in rows)
    summaries = {name: summarise([float(row.get(name, np.nan)) for row in read]) for name in names}
    return {
        "n": len(rows),
        "n_failed": statuses[ERROR],
        "n_warning": statuses[WARNING],
        "metrics": {name: asdict(summary) for name, summary in summaries.items()},
        "crossovers_right_handed": asdict(crossovers_of(read)),
        "fold_classes": dict(sorted(Counter(str(row["fold_class"]) for row in read).items())),
    }


def crossovers_of(rows: Sequence[Row]) -> Summary:
    """The share of right-handed ones among the crossovers of all structures: most structures have none, or one."""
    counts = np.array(
        [[number_of(row.get("crossovers")), number_of(row.get("right_handed_crossovers"))] for row in rows]
    )
    known = counts.reshape(-1, 2)[np.isfinite(counts.reshape(-1, 2)).all(axis=1)]
    return share_right_handed(round(float(known.prod(axis=1).sum())), round(float(known[:, 0].sum())))


def describe_set(
    rows: Sequence[Row],
    features: Features,
    name: str,
    *,
    compared: Compared | None,
    reference: Reference | None,
    natives: Features | None,
    folds: bool,
) -> dict[str, Any]:
    """The properties of a set as a whole.

    Args:
        rows: of the set.
        features: of its structures that could be read.
        name: of the set.
        compared: all pairs of structures compared, if that was done.
        reference: natives, if there are any.
        natives: their features.
        folds: classify its folds.
    """
    content: dict[str, Any] = {}
    if compared is not None and name in compared.by_set:
        content["diversity"] = describe_diversity(compared, name)
    if reference is not None and natives is not None:
        content["novelty"] = describe_novelty([row for row in rows if row["status"] != ERROR], reference)
        content["distribution"] = describe_distribution(features, natives, reference.splits, reference.name)
    if folds:
        content["folds"] = describe_folds(features)
    return content


def describe_folds_of_all(sets: Mapping[str, Features]) -> dict[str, Any]:
    """The fold network with its accuracy, definitions, and every pair of sets compared with each other.

    A set is compared with each that comes after it, which takes the place of the natives: name natives last.
    """
    card = fold_network_card()
    content: dict[str, Any] = {
        "fold_network": {key: card[key] for key in ("name", "fitted_to", "validation")},
        "fold_definitions": FOLD_DEFINITIONS,
    }
    large = [name for name, features in sets.items() if len(features) >= FEWEST]
    if 2 <= len(large) <= MOST_SETS:
        content["between"] = [
            {"first": first, "second": second, **between_sets(sets[first], sets[second])}
            for first, second in combinations(large, 2)
        ]
        content["between_definition"] = (
            "figures of the first set against the second, which takes the place of the natives; " + INTERVALS
        )
    return content
