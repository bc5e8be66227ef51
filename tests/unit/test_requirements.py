"""A plain install leaves out what training alone needs, says what to install, and does all else without it."""

import subprocess
import sys

import pytest

from protgen.errors import UsageError
from protgen.training.requirements import require_extra

pytestmark = pytest.mark.slow

# An import hook that makes the packages of the extra look as if they were not there.
PLAIN = """
import sys
for name in ("hydra", "omegaconf", "lightning", "lightning_fabric", "pytorch_lightning", "tensorboard", "torchmetrics"):
    sys.modules[name] = None
from protgen.cli.main import run
sys.exit(next((code for command in sys.argv[1:] if (code := run(command.split("|")))), 0))
"""


def run(*commands: tuple[str, ...]) -> subprocess.CompletedProcess:
    """Commands one after another in a process of their own, up to the first that fails."""
    command = [sys.executable, "-c", PLAIN, *("|".join(each) for each in commands)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=None)


def test_training_without_the_extra_says_what_to_install():
    """One line and exit code 2, before anything is loaded."""
    done = run(("train", "experiment=flow_small", "data.store=none"))
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "hydra, lightning, tensorboard" in line
    assert "pip install 'protgen[train]'" in line


def test_sampling_and_evaluating_do_without_it(tmp_path):
    """A design from the default model, and its evaluation with report."""
    designs, results = tmp_path / "designs", tmp_path / "results"
    sample = ("sample", "--length", "40", "-n", "1", "--steps", "2", "--out", str(designs), "--device", "cpu")
    done = run(sample, ("evaluate", str(designs), "--out", str(results)))
    assert done.returncode == 0, done.stderr
    assert (results / "report.html").is_file()


def test_what_is_missing_is_named(monkeypatch):
    require_extra()
    monkeypatch.setitem(sys.modules, "lightning", None)
    with pytest.raises(UsageError, match="training needs lightning, not installed here"):
        require_extra()
