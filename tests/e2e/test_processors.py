"""What of a run depends on the processor, and what does not: the claim of the README, on other vector units."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

OTHER = {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "OMP_NUM_THREADS": "2"}


def sampled(out: Path, **environment: str) -> list[dict]:
    """Records of two designs of flow-pairing, of a drawn length, blueprint and pairing."""
    command = [sys.executable, "-m", "protgen", "sample", "--length", "40-60", "-n", "2", "--steps", "1", "--seed", "3"]
    command += ["--no-relax", "--no-pictures"]  # which have no part in what is compared
    done = subprocess.run(
        [*command, "--out", str(out)], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(path.read_text()) for path in sorted(out.glob("design_*.json"))]


def test_requests_lengths_and_drawn_blueprints_are_the_same_on_every_processor(tmp_path):
    """With the vector units of any x86-64 machine and two threads in place of one; coordinates may differ."""
    own, other = sampled(tmp_path / "own", OMP_NUM_THREADS="1"), sampled(tmp_path / "other", **OTHER)
    assert len(own) == len(other) == 2
    for a, b in zip(own, other, strict=True):
        for key in ("index", "file", "seed", "model", "requested", "drawn", "settings"):
            assert a[key] == b[key], key
        assert a["validity"]["length"] == b["validity"]["length"]
    assert own[0]["drawn"], "a blueprint is drawn"
