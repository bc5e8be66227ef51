"""Summaries: known answers, determinism, and nothing dropped in silence."""

import numpy as np
import pytest

from protgen.metrics.base import summarise
from protgen.registry import build, names


def test_summary_counts_what_is_missing():
    """NaN values are left out of the mean, and the count says so."""
    summary = summarise([1.0, np.nan, 3.0, np.nan])
    assert (summary.mean, summary.median, summary.n, summary.n_given) == (2.0, 2.0, 2, 4)


def test_summary_of_nothing_and_of_one():
    """No value gives NaN throughout; one value has a mean but no interval."""
    empty, single = summarise([np.nan, np.nan]), summarise([4.0])
    assert np.isnan([empty.mean, empty.ci_low]).all()
    assert (empty.n, empty.n_given) == (0, 2)
    assert single.mean == 4.0
    assert np.isnan(single.ci_low)


def test_two_values_have_the_interval_of_student():
    """Mean ± 12.706 s / sqrt 2 of one degree of freedom: 1.5 ± 6.353 of 1 and 2."""
    summary = summarise([1.0, 2.0])
    assert (summary.ci_low, summary.ci_high) == pytest.approx((1.5 - 6.353, 1.5 + 6.353), abs=1e-3)


def test_interval_is_deterministic_and_ordered():
    """The same values and seed give the same interval, and it holds the mean."""
    values = np.random.default_rng(1).normal(size=200)
    first, second = summarise(values), summarise(values)
    assert first == second
    assert first.ci_low < first.mean < first.ci_high
    assert first != summarise(values, seed=1)


def test_interval_covers_the_true_mean():
    """In samples of a known distribution the 95 % interval misses the mean about one time in twenty."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        summary = summarise(rng.exponential(size=80), resamples=400)
        hits += summary.ci_low <= 1.0 <= summary.ci_high
    assert 0.88 <= hits / 200 <= 0.99


def test_large_samples_use_the_normal_interval():
    """Above the bootstrap's limit the interval is mean ± 1.96 s/sqrt(n)."""
    values = np.random.default_rng(0).normal(size=20_000)
    summary = summarise(values)
    half = 1.959964 * values.std(ddof=1) / np.sqrt(len(values))
    assert summary.ci_high - summary.mean == pytest.approx(half, rel=1e-4)


@pytest.mark.parametrize("name", names("metrics"))
def test_every_metric_states_what_it_measures(name):
    """Each quantity of each registered metric has a definition, and names do not collide."""
    metric = build("metrics", name)
    assert metric.name == name
    assert all(q.definition and q.name for q in metric.quantities)
    others = [q.name for n in names("metrics") if n != name for q in build("metrics", n).quantities]
    assert not {q.name for q in metric.quantities} & set(others)
