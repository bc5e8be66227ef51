"""What scripts under `benchmarks/` print of a summary."""

import pytest

shortened = pytest.importorskip("shortened", reason="the benchmarks are not beside the tests")


def test_a_summary_is_its_mean_interval_and_number():
    value = {"mean": 1.0312, "median": 1.0, "ci_low": 0.99, "ci_high": 1.07, "n": 8, "n_given": 9}
    found = shortened.brief({"drawn": {"rg": value}, "steps": [value, 3], "command": "python", "machine": "x"})
    assert found == {"drawn": {"rg": "1.031 [0.990, 1.070] n=8"}, "steps": ["1.031 [0.990, 1.070] n=8", 3]}
    assert shortened.brief(value, digits=2) == "1.03 [0.99, 1.07] n=8"


def test_one_value_has_no_interval():
    assert shortened.brief({"mean": 0.5, "ci_low": float("nan"), "ci_high": float("nan"), "n": 1}) == "0.500 n=1"
