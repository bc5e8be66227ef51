"""A run that is killed by SIGKILL ends as an unbroken one does; `benchmarks/kill_sampling.py` kills more often."""

import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")]
kill_sampling = pytest.importorskip("benchmarks.kill_sampling", reason="no checkout here")


def test_four_kills_of_four_shards_change_no_byte(tmp_path):
    """One before a design, one within its structure, one within its record, one after it."""
    found = kill_sampling.kill_and_compare(tmp_path, n=8, kills=4, seed=0)
    assert (found["kills"], found["structures"], found["same_bytes"]) == (4, 8, True), found
