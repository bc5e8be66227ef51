"""Distances between two sets as distributions: Fréchet, maximum mean discrepancy, neighbours, a classifier, histograms.

All take features (n, d). The caller names the features: a distance has no meaning without them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from protgen.errors import UsageError
from protgen.metrics.divergences import js_discrete
from protgen.metrics.intervals import Corrected, corrected_interval

NEIGHBOURS = 5  # of the balls of precision and recall
FOLDS = 5  # of the classifier's cross-validation
RESAMPLES = 200  # of the interval of a distance
FEWEST_A_COLUMN = 5  # members of a set for each of its features, for an interval of a distance
SHRINKAGE = 1e-6  # of the covariances, relative: keeps the square root real


@dataclass(frozen=True)
class Neighbourhood:
    """How a set of samples and a reference lie in each other's k-nearest-neighbour balls; all better when higher.

    Attributes:
        precision: fraction of samples inside a ball of the reference (Kynkäänniemi et al., 2019).
        recall: fraction of references inside a ball of the samples.
        density: mean number of reference balls a sample is in, over k (Naeem et al., 2020); may exceed 1.
        coverage: fraction of reference balls that hold a sample.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def standardise(reference: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Features scaled to mean 0 and deviation 1 of the reference; columns that never vary there become 0."""
    reference = _checked(reference)
    mean, deviation = reference.mean(axis=0), reference.std(axis=0)
    scale = np.where(deviation > 1e-12, 1.0 / np.maximum(deviation, 1e-12), 0.0)
    return [(_checked(part) - mean) * scale for part in (reference, *others)]


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2) of two sets of features (Dowson & Landau, 1982).

    Biased upwards by a term that falls as 1 / n: compare sets of one size, and give each at least ten times as many
    samples as there are features.

    Examples:
        >>> x = np.random.default_rng(0).normal(size=(500, 3))
        >>> round(frechet_distance(x, x + 1.0), 6)
        3.0
    """
    first, second = _checked(first), _checked(second)
    c1, c2 = (np.atleast_2d(np.cov(part.T)) for part in (first, second))
    extra = SHRINKAGE * max(np.trace(c1), np.trace(c2), 1e-12) / len(c1) * np.eye(len(c1))
    # tr (C1 C2)^1/2 is that of (C1^1/2 C2 C1^1/2)^1/2, which is symmetric: its eigenvalues are quick, real and safe
    values, vectors = np.linalg.eigh(c1 + extra)
    half = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    root = np.sqrt(np.maximum(np.linalg.eigvalsh(half @ (c2 + extra) @ half), 0.0)).sum()
    square = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    return float(max(square + np.trace(c1 + c2 + 2 * extra) - 2 * root, 0.0))


def maximum_mean_discrepancy(first: np.ndarray, second: np.ndarray) -> float:
    """Unbiased squared MMD with a Gaussian kernel at the median distance (Gretton et al., 2012, eq. 3); 0 if alike.

    May be slightly negative, as an unbiased estimate of 0 is.
    """
    first, second = _checked(first), _checked(second)
    together = np.concatenate([first, second])
    square = cdist(together, together, "sqeuclidean")
    width = np.median(square[np.triu_indices(len(square), 1)])
    kernel = np.exp(-square / max(float(width), 1e-12))
    n, m = len(first), len(second)
    own = [(part.sum() - len(part)) / (len(part) * (len(part) - 1)) for part in (kernel[:n, :n], kernel[n:, n:])]
    return float(sum(own) - 2 * kernel[:n, n:].sum() / (n * m))


def neighbourhood(reference: np.ndarray, samples: np.ndarray, k: int = NEIGHBOURS) -> Neighbourhood:
    """Precision, recall, density and coverage of samples against a reference.

    Args:
        reference: (n, d) features.
        samples: (m, d) features.
        k: neighbours of each ball.

    Raises:
        UsageError: if either set has no more than k members.
    """
    reference, samples = _checked(reference), _checked(samples)
    if min(len(reference), len(samples)) <= k:
        raise UsageError(
            f"{len(samples)} samples and {len(reference)} references for {k} neighbours; give more than {k}"
        )
    across = cdist(reference, samples)
    ball_reference, ball_samples = (_radius(part, k)[:, None] for part in (reference, samples))
    inside = across <= ball_reference
    return Neighbourhood(
        precision=float(inside.any(axis=0).mean()),
        recall=float((ball_samples >= across.T).any(axis=0).mean()),
        density=float(inside.sum() / (k * len(samples))),
        coverage=float(inside.any(axis=1).mean()),
    )


def classifier_two_sample(first: np.ndarray, second: np.ndarray, seed: int = 0) -> float:
    """Balanced accuracy with which a classifier separates two sets (Lopez-Paz & Oquab, 2017): 0.5 if it cannot.

    Logistic regression on the features and their squares, five-fold cross-validated.

    Args:
        first: (n, d) features.
        second: (m, d) features.
        seed: of the folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    first, second = _checked(first), _checked(second)
    if min(len(first), len(second)) < FOLDS:
        raise UsageError(
            f"sets of {len(first)} and {len(second)} are too small to train a classifier on; give {FOLDS} or more each"
        )
    features = np.concatenate([first, second])
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=500, C=0.1))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    which = np.repeat([0, 1], [len(first), len(second)])
    both = np.concatenate([features, features**2], axis=1)
    return float(cross_val_score(model, both, which, cv=folds, scoring="balanced_accuracy").mean())


def jensen_shannon(first: np.ndarray, second: np.ndarray) -> float:
    """Jensen-Shannon divergence of two histograms (any shape, counts or fractions), in bits: 0 alike, 1 disjoint.

    Examples:
        >>> jensen_shannon(np.array([1, 0]), np.array([0, 3]))
        1.0
    """
    p, q = (np.asarray(part, dtype=float).reshape(-1) for part in (first, second))
    if p.sum() <= 0 or q.sum() <= 0:
        return float("nan")
    return float(js_discrete(p, q) / np.log(2.0))


def length_matched(
    first: np.ndarray, second: np.ndarray, stratum: int = 20, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of members of two sets such that both have as many of each stratum of lengths.

    Args:
        first: (n,) lengths.
        second: (m,) lengths.
        stratum: residues.
        seed: of the choice within a stratum.
    """
    rng = np.random.default_rng(seed)
    bins = [np.asarray(part) // stratum for part in (first, second)]
    kept: tuple[list[int], list[int]] = ([], [])
    for value in np.intersect1d(bins[0], bins[1]):
        members = [np.flatnonzero(part == value) for part in bins]
        count = min(map(len, members))
        for side, own in zip(kept, members, strict=True):
            side.extend(np.sort(rng.permutation(own)[:count]).tolist())
    return np.array(kept[0], dtype=int), np.array(kept[1], dtype=int)


def corrected_distance(
    distance: Callable[[np.ndarray, np.ndarray], float],
    first: np.ndarray,
    second: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Corrected | None:
    """A distance between two sets, never negative, less its bias, with a 95 % bootstrap interval.

    The distance of few samples is too large, as each side is fitted to its own. To first order resampling adds as much
    again, which is taken off. That holds with five structures a column on either side; with fewer (at two the interval
    covers 40 %) there is no answer.

    Args:
        distance: a function of two samples.
        first: (n, d) features, or probabilities of d classes.
        second: (m, d) likewise.
        resamples: number of bootstrap samples.
        seed: of the resampling.

    Returns:
        None if either side has fewer than `FEWEST_A_COLUMN` d members.
    """
    if min(len(first), len(second)) < FEWEST_A_COLUMN * first.shape[1]:
        return None
    rng = np.random.default_rng(seed)
    drawn = np.array(
        [distance(*(part[rng.integers(0, len(part), len(part))] for part in (first, second))) for _ in range(resamples)]
    )
    return corrected_interval(distance(first, second), drawn, least=0.0)


def _radius(points: np.ndarray, k: int) -> np.ndarray:
    """(n,) distance of each point to its k-th nearest other."""
    return np.partition(cdist(points, points), k, axis=1)[:, k]


def _checked(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, dtype=float)
    if features.ndim != 2 or len(features) < 2 or not np.isfinite(features).all():
        raise UsageError(
            f"features have shape {features.shape}; give (n, d) finite numbers with n of 2 or more, and leave out rows "
            "with NaN"
        )
    return features
