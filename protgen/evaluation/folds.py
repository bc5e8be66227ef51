"""The folds of a set: fold scores with intervals, their differences, and distances between the folds of two sets."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from protgen.evaluation.features import Features
from protgen.metrics.base import Value
from protgen.metrics.distribution import FEWEST_A_COLUMN, corrected_distance, frechet_distance, length_matched
from protgen.metrics.fold import (
    LEVEL_NAMES,
    LEVELS,
    FoldReading,
    at_level,
    class_names,
    fold_divergence,
    fold_network_card,
    fold_score,
)
from protgen.metrics.intervals import Corrected, corrected_interval

FEWEST_SCORED = 20  # structures of a set
FEWEST_EMBEDDED = 50  # of either side, for a Fréchet distance in 32 dimensions
MOST = 500  # structures of a set that are read; a few ms each
RESAMPLES = 500
Distance = Callable[[np.ndarray, np.ndarray], float]
DEFINITIONS = {
    f"fold_score_{level}": f"exp of the mean KL divergence of each structure's {LEVEL_NAMES[level]} probabilities from "
    f"the set's mean, by {fold_network_card()['name']}: 1 if all are alike, {len(class_names(level))} at most; lower "
    "for few samples"
    for level in LEVELS
}
DEFINITIONS |= {
    f"fold_score_{level}_corrected": f"fold_score_{level} less the bias of few samples that a bootstrap finds, with a "
    f"95 % interval; for {FEWEST_A_COLUMN * len(class_names(level))} structures or more, {FEWEST_A_COLUMN} a class"
    for level in LEVELS
}


def chosen_rows(features: Features) -> np.ndarray:
    """Rows that are read: all, or 500 evenly chosen."""
    return np.unique(np.linspace(0, max(len(features) - 1, 0), min(MOST, len(features))).astype(int))


def describe_folds(features: Features, seed: int = 0) -> dict[str, Any]:
    """Fold scores at the three levels, less their bias with intervals where there are enough, and fractions of
    architectures; counts alone if few.

    Args:
        features: of the set.
        seed: of the resampling.
    """
    result: dict[str, Any] = {"n": 0, "n_given": len(features)}
    if len(features) < FEWEST_SCORED:
        return result
    found = known(features.folds(chosen_rows(features)))
    if len(found.embedding) < FEWEST_SCORED:
        return result
    result["n"] = len(found.embedding)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, result["n"], size=(RESAMPLES, result["n"]))
    for level in LEVELS:
        fractions = at_level(found.probabilities, level)
        name = f"fold_score_{level}"
        result |= {name: fold_score(fractions)}
        result |= _figures(f"{name}_corrected", _corrected_score(fractions, drawn))
    mean = at_level(found.probabilities, "a").mean(axis=0)
    return {**result, "architectures": dict(zip(class_names("a"), mean.tolist(), strict=True))}


def fold_distances(ours: FoldReading, natives: FoldReading, seed: int = 0) -> dict[str, float]:
    """Fold divergences at the three levels, and the Fréchet distance of the embeddings where there are enough.

    Args:
        ours: fold readings of the set.
        natives: those of the natives.
        seed: of the resampling.
    """
    first, second = known(ours), known(natives)
    result: dict[str, float] = {}
    for level in LEVELS:
        parts = at_level(first.probabilities, level), at_level(second.probabilities, level)
        result |= with_interval(f"js_fold_{level}", fold_divergence, *parts, seed)
    if min(len(first.embedding), len(second.embedding)) >= FEWEST_EMBEDDED:
        result |= with_interval("frechet_fold", frechet_distance, first.embedding, second.embedding, seed)
    return result


def compare_folds(sets: dict[str, Features], stratum: int, seed: int = 0) -> list[dict[str, Value]]:
    """Rows of `comparison.csv` for the fold scores: second set less first, all and matched by length.

    An interval is given where there are enough structures for it to cover what it says, 5 a class on either side. The
    p-value is of a permutation test: how often sets drawn from both together differ by as much.

    Args:
        sets: by name.
        stratum: residues within which lengths are matched.
        seed: of the draws.
    """
    read = {name: features for name, features in sets.items() if len(features) >= FEWEST_SCORED}
    table: list[dict[str, Value]] = []
    for level in LEVELS:
        for first, second in combinations(read, 2):
            parts = [_fractions(read[name], level) for name in (first, second)]
            if min(len(fractions) for _, fractions in parts) < FEWEST_SCORED:
                continue
            row: dict[str, Value] = {"metric": f"fold_score_{level}", "first": first, "second": second}
            row |= {"n_first": len(parts[0][1]), "n_second": len(parts[1][1])}
            row |= _difference(parts[0][1], parts[1][1], "", seed)
            row["p_value"] = permutation_test(parts[0][1], parts[1][1], seed)
            left, right = length_matched(parts[0][0], parts[1][0], stratum, seed)
            if len(left) >= FEWEST_SCORED:
                row |= _difference(parts[0][1][left], parts[1][1][right], "matched_", seed)
                row["n_strata"] = len(np.unique(parts[0][0][left] // stratum))
            table.append(row)
    return table


def permutation_test(first: np.ndarray, second: np.ndarray, seed: int = 0) -> float:
    """Fraction of random divisions of both sets' probabilities whose fold scores differ by as much as theirs.

    Args:
        first: (n, classes) probabilities of the first set.
        second: (m, classes) those of the second.
        seed: of the permutations.
    """
    rng = np.random.default_rng(seed)
    both, n = np.concatenate([first, second]), len(first)
    found = abs(fold_score(second) - fold_score(first))
    count = 0
    for _ in range(RESAMPLES):
        order = rng.permutation(len(both))
        count += abs(fold_score(both[order[n:]]) - fold_score(both[order[:n]])) >= found
    return (count + 1) / (RESAMPLES + 1)


def known(reading: FoldReading) -> FoldReading:
    """Without the structures that were too short to be read."""
    return reading.take(np.flatnonzero(np.isfinite(reading.embedding).all(axis=1)))


def _fractions(features: Features, level: str) -> tuple[np.ndarray, np.ndarray]:
    """Lengths and class probabilities of those that could be read."""
    rows = chosen_rows(features)
    reading = features.folds(rows)
    whole = np.isfinite(reading.embedding).all(axis=1)
    return features.lengths[rows[whole]], at_level(reading.probabilities[whole], level)


def _difference(first: np.ndarray, second: np.ndarray, stem: str, seed: int) -> dict[str, Value]:
    """The difference of two fold scores as they are; its interval is about the difference less its bias."""
    value = fold_score(second) - fold_score(first)
    row: dict[str, Value] = {f"{stem}difference": value}
    if min(len(first), len(second)) < FEWEST_A_COLUMN * first.shape[1]:
        return row
    rng = np.random.default_rng(seed)
    drawn = np.array(
        [
            fold_score(second[rng.integers(0, len(second), len(second))])
            - fold_score(first[rng.integers(0, len(first), len(first))])
            for _ in range(RESAMPLES)
        ]
    )
    corrected = corrected_interval(value, drawn)
    return {**row, f"{stem}ci_low": corrected.low, f"{stem}ci_high": corrected.high}


def with_interval(name: str, distance: Distance, first: np.ndarray, second: np.ndarray, seed: int) -> dict[str, float]:
    """A distance as `name`, and less its bias as `name_corrected` with `_ci_low` and `_ci_high`, if there are enough.

    Args:
        name: of the distance.
        distance: a function of two samples.
        first: (n, d) sample.
        second: (m, d) sample.
        seed: of the resampling.
    """
    corrected = corrected_distance(distance, first, second, seed=seed)
    return {name: distance(first, second)} | _figures(f"{name}_corrected", corrected)


def _figures(name: str, corrected: Corrected | None) -> dict[str, float]:
    if corrected is None:
        return {}
    return {name: corrected.value, f"{name}_ci_low": corrected.low, f"{name}_ci_high": corrected.high}


def _corrected_score(fractions: np.ndarray, drawn: np.ndarray) -> Corrected | None:
    """A fold score less its bias, if there are enough structures for the interval to cover what it says."""
    if len(fractions) < FEWEST_A_COLUMN * fractions.shape[1]:
        return None
    scores = np.array([fold_score(fractions[rows]) for rows in drawn])
    return corrected_interval(fold_score(fractions), scores, least=1.0)
