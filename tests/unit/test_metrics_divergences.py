"""Divergences and likelihoods against closed forms, and against scipy where it has them."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from protgen.errors import UsageError
from protgen.metrics import divergences as d


def test_discrete_divergences_agree_with_scipy():
    rng = np.random.default_rng(0)
    p, q = rng.random((5, 8)), rng.random((5, 8))
    for row in range(5):
        assert d.kl_discrete(p, q)[row] == pytest.approx(stats.entropy(p[row], q[row]))
        assert d.js_discrete(p, q)[row] == pytest.approx(jensenshannon(p[row], q[row]) ** 2)
    assert d.kl_discrete(p, p).max() < 1e-15


def test_limits():
    """Disjoint distributions: KL infinite, JS log 2. Values of probability 0 under p cost nothing."""
    p, q = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert np.isinf(d.kl_discrete(p, q))
    assert d.js_discrete(p, q) == pytest.approx(math.log(2))
    assert d.kl_discrete(np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5])) == pytest.approx(math.log(2))


def test_gaussian_divergence_in_one_dimension():
    """log(s2 / s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2."""
    got = d.kl_gaussian(np.array([1.0]), np.array([[0.25]]), np.array([-1.0]), np.array([[4.0]]))
    assert got == pytest.approx(math.log(2 / 0.5) + (0.25 + 4) / 8 - 0.5)


def test_gaussian_divergence_is_the_mean_log_ratio():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 3))
    first = stats.multivariate_normal([0, 1, 2], a @ a.T + np.eye(3))
    second = stats.multivariate_normal([1, 1, 0], b @ b.T + np.eye(3))
    x = first.rvs(200_000, random_state=0)
    sampled = (first.logpdf(x) - second.logpdf(x)).mean()
    assert d.kl_gaussian(first.mean, first.cov, second.mean, second.cov) == pytest.approx(sampled, rel=0.02)
    assert d.kl_gaussian(first.mean, first.cov, first.mean, first.cov) == pytest.approx(0, abs=1e-12)


def test_divergence_of_samples_nears_the_closed_form():
    """Two normals a unit apart: KL 0.5 nats; samples of one distribution: nearly 0."""
    rng = np.random.default_rng(0)
    x, y, again = rng.normal(0, 1, 100_000), rng.normal(1, 1, 100_000), rng.normal(0, 1, 100_000)
    assert d.kl_from_samples(x, y, 40) == pytest.approx(0.5, abs=0.03)
    assert d.kl_from_samples(x, again, 40) < 1e-3
    grid = np.linspace(-8, 9, 20_001)
    p, q = stats.norm.pdf(grid), stats.norm.pdf(grid, 1)
    assert d.js_from_samples(x, y, 40) == pytest.approx(float(d.js_discrete(p, q)), abs=0.005)
    assert d.js_from_samples(x, again, 40) == pytest.approx(40 * 2e-5 / 8, abs=1e-4)


def test_samples_in_the_plane_and_bounds():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50_000, 2))
    counted = d.shared_histograms(x, x + 100.0, 10, (-3.0, 3.0))
    assert counted.cells == 100
    assert counted.second.sum() == 0
    assert counted.first.sum() == np.count_nonzero((np.abs(x) <= 3).all(1))
    # Without bounds as many cells, over the range of both.
    free = d.shared_histograms(x[:, 0], x[:, 0] + 100.0, 10)
    assert (free.cells, free.first.sum(), free.second.sum()) == (10, 50_000, 50_000)
    assert (free.first * free.second == 0).all()
    # Independent axes: divergences add.
    y = x + np.array([0.5, 0.0])
    assert d.kl_from_samples(x, y, 24) == pytest.approx(0.125, abs=0.02)


def test_maximum_likelihood_is_reached_and_not_passed():
    """The closed form equals the likelihood of the fitted model, and any other model has less."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2)) @ np.array([[1.0, 0.4], [0.0, 0.5]]) + 3
    best = d.maximum_log_likelihood_gaussian(x)
    fitted = stats.multivariate_normal(x.mean(0), np.cov(x.T, ddof=0))
    assert best == pytest.approx(fitted.logpdf(x).sum())
    assert best > stats.multivariate_normal(x.mean(0) + 0.1, fitted.cov).logpdf(x).sum()
    counts = np.array([7, 0, 3])
    assert d.maximum_log_likelihood_categorical(counts) == pytest.approx(7 * math.log(0.7) + 3 * math.log(0.3))


def test_empirical_likelihood_of_the_true_model_is_the_negative_entropy():
    rng = np.random.default_rng(0)
    found = d.empirical_log_likelihood(stats.norm.logpdf(rng.normal(size=40_000)))
    assert abs(found.mean + 0.5 * math.log(2 * math.pi * math.e)) < 4 * found.standard_error
    assert found.standard_error == pytest.approx(math.sqrt(0.5 / 40_000), rel=0.05)
    assert found.n == 40_000


def test_mistakes_are_told():
    with pytest.raises(UsageError, match="negative"):
        d.kl_discrete(np.array([-1.0, 2.0]), np.array([0.5, 0.5]))
    with pytest.raises(UsageError, match="outcomes"):
        d.kl_discrete(np.ones(2), np.ones(3))
    with pytest.raises(UsageError, match="positive definite"):
        d.maximum_log_likelihood_gaussian(np.ones((5, 2)))
    with pytest.raises(UsageError, match="dimension"):
        d.js_from_samples(np.ones((4, 2)), np.ones((4, 3)))
    with pytest.raises(UsageError, match="missing"):
        d.empirical_log_likelihood(np.array([]))


def test_what_was_seen_once_counts():
    """Counts of 1 and 3: log(1/4) + 3 log(3/4)."""
    found = d.maximum_log_likelihood_categorical(np.array([1, 0, 3]))
    assert found == pytest.approx(math.log(0.25) + 3 * math.log(0.75))
