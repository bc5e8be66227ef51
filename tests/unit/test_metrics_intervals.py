"""Intervals: closed forms, independent programs, and how often each kind covers the truth.

Of 400 intervals at 95 % the share that covers has a standard error of 1.1 points, of 60 one of 2.8: bounds lie three
below. An interval of 90 % would fail the exact tests, not these.
"""

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_ind

from protgen.evaluation.comparison import difference, matched_difference
from protgen.metrics.base import summarise
from protgen.metrics.distribution import corrected_distance, frechet_distance
from protgen.metrics.fold import fold_divergence, fold_score
from protgen.metrics.intervals import (
    Stratum,
    corrected_interval,
    difference_interval,
    mean_interval,
    resampled_means,
    widened_tails,
    wilson_interval,
)

TRIALS = 400


def test_resampled_means_are_as_many_as_asked():
    """7 of 5 values, of one stream whatever the pieces; and of more values than a piece holds."""
    values = np.array([0.0, 1.0, 2.0, 4.0, 8.0])
    expected = values[np.random.default_rng(3).integers(0, 5, size=(7, 5))].mean(axis=1)
    assert resampled_means(values, np.random.default_rng(3), 7).tolist() == expected.tolist()
    many = np.arange(2_000_001) % 2
    assert resampled_means(many, np.random.default_rng(0), 2) == pytest.approx([0.5, 0.5], abs=2e-3)


def covered(intervals, truth):
    low, high = np.array(intervals).T
    return float(((low <= truth) & (truth <= high)).mean())


@pytest.mark.parametrize(("count", "n"), [(0, 10), (24, 24), (3, 17), (50, 100)])
def test_wilson_is_that_of_scipy(count, n):
    """The interval of a share agrees with scipy's, and is inside [0, 1] with a width for none and all."""
    expected = binomtest(count, n).proportion_ci(0.95, "wilson")
    low, high = wilson_interval(count, n)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= low < high <= 1


@pytest.mark.parametrize(("n", "p"), [(12, 0.5), (24, 0.9), (24, 0.97), (100, 0.02)])
def test_wilson_covers_a_share(n, p):
    """Coverage of the Wilson interval, exactly, over the binomial distribution: 93 % or more, and less than always."""
    from scipy.stats import binom

    inside = [low <= p <= high for low, high in (wilson_interval(k, n) for k in range(n + 1))]
    assert 0.93 <= binom.pmf(np.arange(n + 1), n, p) @ inside < 0.9999


def test_a_summary_of_verdicts_is_a_share():
    """24 of 24 are no certainty: [0.862, 1], the interval of a share; 0.5 among the values makes them no verdicts."""
    summary = summarise(np.ones(24))
    assert (summary.ci_low, summary.ci_high) == pytest.approx((0.862, 1.0), abs=5e-4)
    assert summarise(np.zeros(24)).ci_high == pytest.approx(0.138, abs=5e-4)
    assert summarise([1.0, 0.0, 0.5, 1.0] * 6) != summarise([1.0, 0.0, 1.0, 1.0] * 6)


def test_the_interval_of_a_mean_is_of_95_percent():
    """Of normal values it is mean ± t s / √n to the noise of resampling: a 90 % interval would be 16 % narrower."""
    values = np.random.default_rng(0).normal(size=60)
    exact = 2.001 * values.std(ddof=1) / np.sqrt(60)
    assert mean_interval(values) == mean_interval(values, resamples=1000) != mean_interval(values, resamples=999)
    low, high = mean_interval(values, resamples=20_000)
    assert (high - low) / 2 == pytest.approx(exact, rel=0.03)
    assert widened_tails(1e9) == pytest.approx((0.025, 0.975))
    assert widened_tails(10)[0] == pytest.approx(0.00855, abs=2e-5)  # Phi(-2.262 sqrt(10 / 9))


@pytest.mark.parametrize("n", [3, 10, 20])
def test_the_interval_of_a_mean_covers_it(n):
    """Student's t below 8 values, widened percentiles above: near 95 % of normal values, and of 10 uniform ones."""
    rng = np.random.default_rng(n)
    draws = [rng.normal(size=(TRIALS, n)), rng.random((TRIALS, n)) - 0.5]
    for values in draws[: 1 if n == 3 else 2]:  # of 3 uniform values t covers 90 %
        found = covered([mean_interval(row, resamples=400, seed=k) for k, row in enumerate(values)], 0.0)
        assert 0.915 <= found <= 0.985


def test_a_difference_is_welchs_of_scipy():
    """Unequal variances and numbers: the ends that scipy gives, with the sign second less first."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=9), 2.0 + 3.0 * rng.normal(size=14)
    expected = ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    found = difference(a, b)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert found.value == pytest.approx(b.mean() - a.mean())


def test_a_difference_of_shares_is_newcombes():
    """Newcombe's own example, 56 of 70 less 48 of 80: 0.0524 to 0.3339 (1998, table II, a, method 10)."""
    a, b = np.repeat([1.0, 0.0], [48, 32]), np.repeat([1.0, 0.0], [56, 14])
    found = difference(a, b)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    same = difference(np.ones(24), np.ones(24))
    assert same.low < -0.1 < 0.1 < same.high


def test_a_matched_difference_covers_it():
    """Strata of 1 to 6 members that differ by 10 and a difference of 1 within each: 95 % of intervals hold it."""
    rng = np.random.default_rng(0)
    first, second = np.repeat(np.arange(6), [1, 2, 3, 4, 5, 6]), np.repeat(np.arange(6), [6, 1, 2, 5, 3, 1])
    found = []
    for _ in range(TRIALS):
        a, b = 10.0 * first + rng.normal(size=len(first)), 1 + 10.0 * second + 2 * rng.normal(size=len(second))
        matched, n_strata = matched_difference(a, b, first, second)
        found.append((matched.low, matched.high))
    assert n_strata == 6
    assert 0.915 <= covered(found, 1.0) <= 0.985


def test_a_matched_difference_of_shares_covers_it():
    """The same of verdicts, whose shares differ by 0.2 within each stratum."""
    rng = np.random.default_rng(1)
    strata = np.repeat(np.arange(4), [3, 5, 8, 10])
    base = np.array([0.1, 0.3, 0.5, 0.7])[strata]
    found = []
    for _ in range(TRIALS):
        a, b = (rng.random(len(base)) < base).astype(float), (rng.random(len(base)) < base + 0.2).astype(float)
        matched, _ = matched_difference(a, b, strata, strata)
        found.append((matched.low, matched.high))
    assert 0.93 <= covered(found, 0.2) <= 1.0


def test_lone_values_have_no_interval():
    """Where no stratum has two values of a side, nothing is known of their spread."""
    strata = [Stratum(np.array([1.5]), np.array([2.5]), 0.5), Stratum(np.array([1.0]), np.array([3.0]), 0.5)]
    assert np.isnan(difference_interval(strata)).all()


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_a_corrected_frechet_distance_covers_it(shift):
    """Two Gaussians in 4 dimensions, 40 of each: the distance is 4 shift^2 + 0.25 where a deviation is 1.5.

    The plain estimate lies above in nearly all draws; corrected, its mean is right and its interval holds the truth.
    """
    rng = np.random.default_rng(0)
    scale = np.array([1.5, 1, 1, 1]) if shift else np.ones(4)
    truth = 4 * shift**2 + (0.25 if shift else 0.0)
    intervals, values, plain = [], [], []
    for k in range(60):
        a, b = rng.normal(size=(40, 4)), shift + scale * rng.normal(size=(40, 4))
        found = corrected_distance(frechet_distance, a, b, resamples=60, seed=k)
        assert found is not None
        intervals.append((found.low, found.high))
        values.append(found.value)
        plain.append(frechet_distance(a, b))
    assert 0.86 <= covered(intervals, truth) <= 1.0
    error = np.std(values) / 60**0.5
    assert abs(np.mean(values) - truth) < 3 * error + 0.05
    assert np.mean(plain) - truth > 4 * error


def test_a_corrected_fold_divergence_covers_it():
    """Probabilities of 8 classes, 50 structures: 0 between sets of one law, and a known divergence between two."""
    rng = np.random.default_rng(0)
    laws = np.array([[4, 1, 1, 1, 1, 1, 1, 2]]) / 12.0, np.array([[1, 1, 2, 4, 1, 1, 1, 1]]) / 12.0
    for other, truth in ((laws[0], 0.0), (laws[1], fold_divergence(*laws))):
        intervals = []
        for k in range(60):
            a, b = (np.eye(8)[rng.choice(8, size=50, p=law[0])] for law in (laws[0], other))
            found = corrected_distance(fold_divergence, a, b, resamples=60, seed=k)
            assert found is not None
            intervals.append((found.low, found.high))
        assert 0.86 <= covered(intervals, truth) <= 1.0


def test_a_corrected_fold_score_covers_it():
    """One-hot probabilities of 8 classes have the score exp(entropy) of their law."""
    rng = np.random.default_rng(0)
    law = np.array([4, 1, 1, 1, 1, 1, 1, 2]) / 12.0
    truth = float(np.exp(-(law * np.log(law)).sum()))
    intervals = []
    for _ in range(100):
        fractions = np.eye(8)[rng.choice(8, size=60, p=law)]
        drawn = np.array([fold_score(fractions[rows]) for rows in rng.integers(0, 60, size=(100, 60))])
        found = corrected_interval(fold_score(fractions), drawn, least=1.0)
        intervals.append((found.low, found.high))
    assert 0.87 <= covered(intervals, truth) <= 1.0


def test_too_few_for_a_corrected_distance():
    """Below five members a column the interval would not cover what it says, and there is none."""
    a = np.random.default_rng(0).normal(size=(20, 4))
    assert corrected_distance(frechet_distance, a, a, resamples=10) is not None
    assert corrected_distance(frechet_distance, a[:19], a, resamples=10) is None


def test_a_correction_takes_the_bias_off_once_and_twice():
    """Resamples 0.3 above the value: the value is 0.3 too high, and they are 0.6."""
    drawn = 1.3 + np.linspace(-0.1, 0.1, 1001)
    found = corrected_interval(1.0, drawn)
    assert (found.value, found.low, found.high) == pytest.approx((0.7, 0.605, 0.795))
    floored = corrected_interval(0.1, drawn, least=0.0)
    assert (floored.value, floored.low, floored.high) == (0.0, 0.0, 0.0)


def test_a_difference_of_shares_reaches_as_far_as_its_weights_say():
    """Method 10 of Newcombe for one stratum; with a weight of a half both reaches are halved."""
    first, second = np.array([1.0] * 7 + [0.0] * 3), np.array([1.0] * 4 + [0.0] * 8)
    p, q = 0.7, 4 / 12
    (low_p, high_p), (low_q, high_q) = wilson_interval(7, 10), wilson_interval(4, 12)
    below, above = np.hypot(q - low_q, high_p - p), np.hypot(high_q - q, p - low_p)
    for weight in (1.0, 0.5):
        low, high = difference_interval([Stratum(first, second, weight)])
        assert low == pytest.approx(weight * (q - p - below))
        assert high == pytest.approx(weight * (q - p + above))
