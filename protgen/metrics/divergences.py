"""How far apart two distributions are, and how well one explains data: all in nats.

    KL(p || q) = E_p[log p - log q]            not symmetric; infinite where q has no mass and p has
    JS(p, q)   = KL(p || m) / 2 + KL(q || m) / 2 with m = (p + q) / 2;  symmetric, between 0 and log 2

References:
    Kullback and Leibler 1951, On Information and Sufficiency. Lin 1991, Divergence Measures Based on the Shannon
    Entropy, eq. 4.1. Cover and Thomas 2006, Elements of Information Theory, sections 2.3 and 8.5.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from protgen.errors import UsageError


def probabilities(weights: Float[np.ndarray, "*b k"]) -> Float[np.ndarray, "*b k"]:
    """Weights scaled to sum to 1 along the last axis.

    Raises:
        UsageError: if they are negative, not finite or all 0.
    """
    weights = np.asarray(weights, dtype=np.float64)
    total = weights.sum(-1, keepdims=True)
    if not np.isfinite(weights).all() or (weights < 0).any() or (total <= 0).any():
        raise UsageError("probabilities must be finite, not negative, and not all 0; give counts or probabilities")
    return weights / total


def kl_discrete(p: Float[np.ndarray, "*b k"], q: Float[np.ndarray, "*b k"]) -> Float[np.ndarray, "*b"]:
    """KL(p || q) of discrete distributions given as probabilities or counts; infinite where it is.

    Raises:
        UsageError: if they have different numbers of outcomes, or are no distributions.

    Example:
        >>> round(float(kl_discrete(np.array([0.5, 0.5]), np.array([0.25, 0.75]))), 4)
        0.1438
    """
    p, q = probabilities(p), probabilities(q)
    if p.shape[-1] != q.shape[-1]:
        raise UsageError(f"{p.shape[-1]} outcomes against {q.shape[-1]}: give both over the same outcomes")
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * (np.log(p) - np.log(q)), 0.0)
    # Rounding can leave a sum just below 0, which no divergence is.
    return np.maximum(terms.sum(-1), 0.0)


def js_discrete(p: Float[np.ndarray, "*b k"], q: Float[np.ndarray, "*b k"]) -> Float[np.ndarray, "*b"]:
    """Jensen-Shannon divergence of discrete distributions given as probabilities or counts, at most log 2."""
    p, q = probabilities(p), probabilities(q)
    middle = (p + q) / 2
    return (kl_discrete(p, middle) + kl_discrete(q, middle)) / 2


def kl_gaussian(
    mean_p: Float[np.ndarray, " d"],
    covariance_p: Float[np.ndarray, "d d"],
    mean_q: Float[np.ndarray, " d"],
    covariance_q: Float[np.ndarray, "d d"],
) -> float:
    """KL(p || q) of two normal distributions, in closed form.

    KL = (tr(Sq^-1 Sp) + (mq - mp)^T Sq^-1 (mq - mp) - d + log det Sq - log det Sp) / 2

    Args:
        mean_p: mean of p.
        covariance_p: covariance of p.
        mean_q: mean of q.
        covariance_q: covariance of q.

    Raises:
        UsageError: if a covariance is not positive definite.
    """
    factor_p, factor_q = cholesky(covariance_p), cholesky(covariance_q)
    scaled = np.linalg.solve(factor_q, factor_p)
    shift = np.linalg.solve(factor_q, np.asarray(mean_q, dtype=np.float64) - np.asarray(mean_p, dtype=np.float64))
    log_ratio = 2 * (np.log(np.diag(factor_q)).sum() - np.log(np.diag(factor_p)).sum())
    return float(0.5 * (np.square(scaled).sum() + shift @ shift - len(shift) + log_ratio))


def cholesky(covariance: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    """Lower triangular factor of a covariance.

    Raises:
        UsageError: if it is not positive definite.
    """
    try:
        return np.linalg.cholesky(np.asarray(covariance, dtype=np.float64))
    except np.linalg.LinAlgError as error:
        raise UsageError("a covariance is not positive definite; use more samples than dimensions") from error


@dataclass(frozen=True)
class Histograms:
    """Two samples counted over the same cells.

    Attributes:
        first, second: (cells,) counts.
        cells: number of cells.
    """

    first: np.ndarray
    second: np.ndarray
    cells: int


def shared_histograms(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"], bins: int, bounds: tuple[float, float] | None = None
) -> Histograms:
    """Counts of two samples over one grid of cells.

    Args:
        x, y: (n, d) or (n,) samples; d small, as the cells are bins^d.
        bins: cells an axis.
        bounds: of every axis; values outside are left out. The range of both samples together by default.

    Raises:
        UsageError: if a sample is empty or their dimensions differ.
    """
    x, y = (np.asarray(a, dtype=np.float64).reshape(len(a), -1) for a in (x, y))
    if not len(x) or not len(y) or x.shape[1] != y.shape[1]:
        raise UsageError(f"samples of shape {x.shape} and {y.shape}: give two that are not empty, of equal dimension")
    if bounds is not None:
        edges = [np.linspace(*bounds, bins + 1)] * x.shape[1]
    else:
        both = np.concatenate([x, y])
        edges = [np.linspace(low, high, bins + 1) for low, high in zip(both.min(0), both.max(0), strict=True)]
    first, second = (np.histogramdd(a, edges)[0].reshape(-1) for a in (x, y))
    return Histograms(first, second, len(first))


def kl_from_samples(
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, "m d"],
    bins: int = 30,
    bounds: tuple[float, float] | None = None,
    pseudocount: float = 0.5,
) -> float:
    """KL of histograms of two samples, of x against y.

    A pseudocount in every cell keeps it finite (0.5: Krichevsky and Trofimov 1981) and pulls it towards 0; cells wide
    against the distributions lower it as well. A figure to compare samples by, not the divergence itself.

    Args:
        x: samples of the first distribution.
        y: samples of the second.
        bins: cells an axis.
        bounds: of every axis; the range of both samples by default.
        pseudocount: added to each cell.
    """
    counted = shared_histograms(x, y, bins, bounds)
    return float(kl_discrete(counted.first + pseudocount, counted.second + pseudocount))


def js_from_samples(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"], bins: int = 30, bounds: tuple[float, float] | None = None
) -> float:
    """Jensen-Shannon divergence of histograms of two samples.

    Finite without pseudocounts, but two samples of one distribution are apart by about cells (1/n + 1/m) / 8.

    Args:
        x: samples of the first distribution.
        y: samples of the second.
        bins: cells an axis.
        bounds: of every axis; the range of both samples by default.
    """
    counted = shared_histograms(x, y, bins, bounds)
    return float(js_discrete(counted.first, counted.second))


@dataclass(frozen=True)
class EmpiricalLogLikelihood:
    """Mean log-probability of data under a model, the empirical likelihood of the model.

    Attributes:
        mean: nats per example.
        standard_error: of the mean.
        n: examples.
    """

    mean: float
    standard_error: float
    n: int


def empirical_log_likelihood(log_probs: Float[np.ndarray, " n"]) -> EmpiricalLogLikelihood:
    """Mean of log p(x_i) over examples: E_data[log p] = -H(data) - KL(data || p), estimated.

    Raises:
        UsageError: if there are none, or one is not a number.
    """
    values = np.asarray(log_probs, dtype=np.float64).reshape(-1)
    if not len(values) or np.isnan(values).any():
        raise UsageError("log-probabilities are missing or not numbers; give one for each example")
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return EmpiricalLogLikelihood(float(values.mean()), error, len(values))


def maximum_log_likelihood_categorical(counts: Float[np.ndarray, " k"]) -> float:
    """The most any categorical model gives these counts, nats in all: sum of n_k log(n_k / n)."""
    counts = np.asarray(counts, dtype=np.float64)
    p = probabilities(counts)
    seen = counts > 0
    return float((counts[seen] * np.log(p[seen])).sum())


def maximum_log_likelihood_gaussian(x: Float[np.ndarray, "n d"]) -> float:
    """The most any normal distribution gives these points, nats in all.

    At the sample mean and the covariance with divisor n: -n/2 (d log 2 pi + log det S + d).

    Raises:
        UsageError: if the points lie in a subspace, where it is unbounded.
    """
    x = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
    n, d = x.shape
    centred = x - x.mean(0)
    log_det = 2 * np.log(np.diag(cholesky(centred.T @ centred / n))).sum()
    return float(-0.5 * n * (d * np.log(2 * np.pi) + log_det + d))
