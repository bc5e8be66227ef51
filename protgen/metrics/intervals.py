"""95 % intervals: of a mean, of a share, and of a statistic whose plug-in estimate is biased.

How often each covers the truth is in `tests/unit/test_metrics_intervals.py`, by simulation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

LEVEL = 0.95
RESAMPLES = 1000
_FEW = 8  # values below which a resampled mean cannot reach as far as the mean may be off
_NORMAL_ABOVE = 10_000  # values above which the mean is normal to all printed digits: no need to resample


@dataclass(frozen=True)
class Stratum:
    """Members of two sets that are compared with each other alone.

    Attributes:
        first: (n,) values of the first set.
        second: (m,) values of the second.
        weight: of the stratum; those of all sum to 1.
    """

    first: np.ndarray
    second: np.ndarray
    weight: float = 1.0

    @property
    def difference(self) -> float:
        """Mean of the second less that of the first."""
        return float(self.second.mean() - self.first.mean())


@dataclass(frozen=True)
class Corrected:
    """A statistic without the bias that the bootstrap finds, and its interval.

    Attributes:
        value: twice the plug-in estimate less the mean over resamples.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float


def widened_tails(n: float, level: float = LEVEL) -> tuple[float, float]:
    """The percentiles of a bootstrap distribution of a mean between which a 95 % interval lies.

    A resampled mean varies less than the mean by sqrt((n - 1) / n), and knows nothing of Student's t: at 10 values the
    plain percentiles cover 90 % where 95 % is said. Phi(±t sqrt(n / (n - 1))) makes up for both (Hesterberg 2015, What
    Teachers Should Know About the Bootstrap, section 5.3).

    Args:
        n: values; of two samples, one more than the degrees of freedom.
        level: probability content of the interval.

    Examples:
        >>> [round(tail, 4) for tail in widened_tails(1e9)]
        [0.025, 0.975]
    """
    reach = stdtrit(n - 1, (1.0 + level) / 2.0) * np.sqrt(n / (n - 1))
    return float(ndtr(-reach)), float(ndtr(reach))


def mean_interval(
    values: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> tuple[float, float]:
    """Bootstrap interval of a mean, between widened percentiles; mean ± t s / √n below 8 and above 10,000 values.

    Args:
        values: (n,) finite, two or more.
        seed: of the resampling.
        resamples: number of bootstrap samples.
        level: probability content of the interval.
    """
    n = len(values)
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    if n < _FEW or n > _NORMAL_ABOVE:
        half = float(stdtrit(n - 1, (1.0 + level) / 2.0) * values.std(ddof=1) / np.sqrt(n))
        return float(values.mean()) - half, float(values.mean()) + half
    low, high = np.quantile(resampled_means(values, np.random.default_rng(seed), resamples), widened_tails(n, level))
    return float(low), float(high)


def resampled_means(values: np.ndarray, rng: np.random.Generator, resamples: int = RESAMPLES) -> np.ndarray:
    """(resamples,) means of bootstrap samples; in pieces, so that memory stays at 16 MB."""
    n = len(values)
    chunk = max(1, 2_000_000 // n)
    return np.concatenate(
        [
            values[rng.integers(0, n, size=(min(chunk, resamples - start), n))].mean(axis=1)
            for start in range(0, resamples, chunk)
        ]
    )


def is_share(values: np.ndarray) -> bool:
    """Whether values are verdicts, each 0 or 1, so that their mean is a share."""
    return bool(len(values)) and bool(np.isin(values, (0.0, 1.0)).all())


def wilson_interval(count: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Interval of a share: `count` of `n`; inside [0, 1], and of some width for none and for all of n too.

    Wilson 1927, J. Am. Stat. Assoc. 22, 209; Brown, Cai and DasGupta 2001, Stat. Sci. 16, 101 recommend it for few.

    Args:
        count: members that are as asked.
        n: members, one or more.
        level: probability content of the interval.

    Examples:
        >>> [round(end, 3) for end in wilson_interval(24, 24)]
        [0.862, 1.0]
    """
    z = float(ndtri((1.0 + level) / 2.0))
    p = count / n
    centre, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    # For none and all the ends are 0 and 1, which rounding need not give.
    return (0.0 if count == 0 else float(low)), (1.0 if count == n else float(high))


def difference_interval(strata: Sequence[Stratum], level: float = LEVEL) -> tuple[float, float]:
    """Interval of a weighted mean of differences of means, second less first, over strata that are compared apart.

    Of other values than verdicts it is Welch's: the variance of each side is pooled over its strata, so that a stratum
    may hold one value, and the degrees of freedom are Satterthwaite's. Of verdicts (0 or 1) it is put together from the
    Wilson intervals of all shares (Newcombe 1998, Stat. Med. 17, 873, method 10; Zou and Donner 2008, Stat. Med. 27,
    1693, for weights).

    Args:
        strata: one or more.
        level: probability content of the interval.

    Returns:
        Both ends; NaN where no stratum of a side has two values.
    """
    value = sum(stratum.weight * stratum.difference for stratum in strata)
    if all(is_share(values) for stratum in strata for values in (stratum.first, stratum.second)):
        below, above = _share_reach(strata, level)
        return value - below, value + above
    sides = [[stratum.first for stratum in strata], [stratum.second for stratum in strata]]
    squares, freedoms = [], []
    for side in sides:
        variance, freedom = _pooled(side)
        squares.append(variance * sum(s.weight**2 / len(values) for s, values in zip(strata, side, strict=True)))
        freedoms.append(freedom)
    if min(freedoms) == 0:
        return np.nan, np.nan
    total = sum(squares)
    if total == 0:
        return value, value
    freedom = total**2 / sum(square**2 / own for square, own in zip(squares, freedoms, strict=True))
    half = float(stdtrit(freedom, (1.0 + level) / 2.0) * np.sqrt(total))
    return value - half, value + half


def _pooled(strata: Sequence[np.ndarray]) -> tuple[float, int]:
    """The variance within strata, and its degrees of freedom."""
    freedom = sum(len(values) - 1 for values in strata)
    square = sum(float(np.square(values - values.mean()).sum()) for values in strata)
    return (square / freedom if freedom else np.nan), freedom


def _share_reach(strata: Sequence[Stratum], level: float) -> tuple[float, float]:
    """How far the interval of a difference of shares reaches below the difference, and above it."""
    below = above = 0.0
    for stratum in strata:
        p, q = float(stratum.first.mean()), float(stratum.second.mean())
        low_p, high_p = wilson_interval(float(stratum.first.sum()), len(stratum.first), level)
        low_q, high_q = wilson_interval(float(stratum.second.sum()), len(stratum.second), level)
        below += stratum.weight**2 * ((q - low_q) ** 2 + (high_p - p) ** 2)
        above += stratum.weight**2 * ((high_q - q) ** 2 + (p - low_p) ** 2)
    return below**0.5, above**0.5


def corrected_interval(value: float, drawn: np.ndarray, least: float = -np.inf, level: float = LEVEL) -> Corrected:
    """A biased statistic put right by its bootstrap, with an interval about that.

    A resample is to the sample what the sample is to the truth, so the mean excess of `drawn` over `value` estimates
    that of `value` over the truth. It is taken off once for the value, and twice for what was drawn (Efron and
    Tibshirani 1993, An Introduction to the Bootstrap, section 10.6).

    Args:
        value: of the sample.
        drawn: (resamples,) of bootstrap samples.
        least: smallest value that the statistic can have.
        level: probability content of the interval.
    """
    bias = float(drawn.mean()) - value
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(drawn - 2 * bias, [tail, 1.0 - tail])
    return Corrected(max(value - bias, least), float(max(low, least)), float(max(high, least)))
