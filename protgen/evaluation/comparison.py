"""Differences between two sets: means with intervals and a rank test, over all members and matched by length."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from protgen.metrics.base import Value, number_of
from protgen.metrics.intervals import Stratum, difference_interval

COLUMNS = (
    "metric",
    "first",
    "second",
    "n_first",
    "n_second",
    "difference",
    "ci_low",
    "ci_high",
    "p_value",
    "matched_difference",
    "matched_ci_low",
    "matched_ci_high",
    "n_strata",
)
INTERVAL = (
    "95 %: of a difference of means Welch's, of shares (every value 0 or 1) Newcombe's; matched by length, within "
    "strata of 20 residues with the variance pooled; of fold scores a bootstrap about the difference less its bias"
)
STRATUM = 20  # residues; structures are compared with those of like length
_FEWEST = 3  # values of either set below which nothing is tested


@dataclass(frozen=True)
class Difference:
    """Mean of the second set less that of the first, with its 95 % interval; NaN where it is unknown."""

    value: float
    low: float
    high: float


def compare_sets(
    rows: Sequence[dict[str, Value]], names: Sequence[str], metrics: Sequence[str]
) -> list[dict[str, Value]]:
    """One row for each metric and pair of sets.

    Intervals are Welch's, of verdicts (0 or 1) Newcombe's; see `difference_interval`. `p_value` is of the two-sided
    Mann-Whitney test, for one metric and pair by itself. The matched difference is taken within strata of 20 residues
    in which both sets have members, weighted by the smaller count.

    Args:
        rows: of the table, with "length".
        names: the set of each row.
        metrics: columns to compare.
    """
    from scipy.stats import mannwhitneyu  # takes a second to load, which an evaluation of one set does not need

    sets = list(dict.fromkeys(names))
    of_set = np.array(names)
    lengths = np.array([float(row.get("length", np.nan)) for row in rows])
    strata = np.floor(lengths / STRATUM)
    table = []
    for metric in metrics:
        values = np.array([number_of(row.get(metric)) for row in rows])
        for first, second in combinations(sets, 2):
            parts = [np.flatnonzero((of_set == name) & np.isfinite(values)) for name in (first, second)]
            if min(map(len, parts)) < _FEWEST:
                continue
            a, b = (values[part] for part in parts)
            plain = difference(a, b)
            matched, n_strata = matched_difference(a, b, strata[parts[0]], strata[parts[1]])
            p = 1.0 if np.ptp(np.concatenate([a, b])) == 0 else float(mannwhitneyu(a, b).pvalue)
            numbers = (plain.value, plain.low, plain.high, p, matched.value, matched.low, matched.high)
            row = [metric, first, second, len(a), len(b), *numbers, n_strata]
            table.append(dict(zip(COLUMNS, row, strict=True)))
    return table


def difference(first: np.ndarray, second: np.ndarray) -> Difference:
    """Difference of means, second less first.

    Args:
        first: (n,) values of the first set.
        second: (m,) values of the second.

    Examples:
        >>> difference(np.zeros(5), np.ones(5)).value
        1.0
    """
    whole = Stratum(first, second)
    return Difference(whole.difference, *difference_interval([whole]))


def matched_difference(
    first: np.ndarray, second: np.ndarray, strata_first: np.ndarray, strata_second: np.ndarray
) -> tuple[Difference, int]:
    """Difference of means between members of like length, and the number of strata both sets have.

    Args:
        first: (n,) values of the first set.
        second: (m,) values of the second.
        strata_first: (n,) stratum of length of each.
        strata_second: (m,) likewise.
    """
    shared = np.intersect1d(strata_first, strata_second)
    if not len(shared):
        return Difference(np.nan, np.nan, np.nan), 0
    pairs = [(first[strata_first == stratum], second[strata_second == stratum]) for stratum in shared]
    weights = np.array([min(map(len, pair)) for pair in pairs], dtype=float)
    strata = [Stratum(*pair, weight) for pair, weight in zip(pairs, (weights / weights.sum()).tolist(), strict=True)]
    value = sum(stratum.weight * stratum.difference for stratum in strata)
    return Difference(value, *difference_interval(strata)), len(shared)
