"""A training that is killed by SIGKILL ends as an unbroken one does; `benchmarks/kill_training.py` kills more often."""

import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")]
kill_training = pytest.importorskip("benchmarks.kill_training", reason="no checkout here")


def test_three_kills_change_no_byte(tmp_path):
    """Between steps, in the middle of a save, and after it: weights, averages, moments, curve and model."""
    found = kill_training.kill_and_compare(tmp_path, kills=3, seed=0)
    assert found["kills"] == {"step": 1, "file": 1, "name": 1}
    assert found["same_bytes"]
    assert len(kill_training.contents(tmp_path / "cut")) >= 6
