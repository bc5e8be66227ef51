"""How `protgen train` ends where it is stopped or cannot go on: exit code, one line, and a checkpoint that is whole."""

import csv
import errno
import math
import os
import signal
import subprocess
import sys
import time

import pytest

from protgen import atomic
from protgen.data import images
from protgen.training import checkpoint
from protgen.training.checkpoint import newest_checkpoint, read_checkpoint

pytestmark = pytest.mark.slow


def words(run, steps: int) -> list[str]:
    """A training of digits that writes a checkpoint after every step."""
    return ["train", "data=digits", "family=vae", f"run={run}", "encoder.dim=16", "machine.accelerator=cpu",
            f"train.steps={steps}", "train.log_every=1", "train.checkpoint_minutes=0", "train.warmup=1",
            "train.validate_every=1000000", "validation.samples=0", "machine.threads=1"]  # fmt: skip


def steps_of(run) -> list[int]:
    """The steps whose training loss is in the curve; a validation has a row of its own."""
    with (run / "losses.csv").open(newline="") as lines:
        return [int(row["step"]) for row in csv.DictReader(lines) if row["loss"]]


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_command_with_its_code_and_a_checkpoint_that_resumes(cli, tmp_path, number, code):
    """Sent to the process as a scheduler or Ctrl-C does, while it trains without end; the same command goes on."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "protgen", *words(run, 1_000_000)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            while process.poll() is None and newest_checkpoint(run) is None:
                time.sleep(0.02)
            process.send_signal(number)
            err = process.communicate(timeout=120)[1]
        finally:
            process.kill()
    assert process.returncode == code, err
    assert "Traceback" not in err
    last = steps_of(run)[-1]
    assert err.splitlines()[-1] == f"error: interrupted: the same command goes on from step {last}", err
    assert read_checkpoint(newest_checkpoint(run), {}).state["step"] == last
    done = cli(*words(run, last + 2))
    assert done.code == 0, done.err
    assert steps_of(run) == list(range(1, last + 3))
    assert read_checkpoint(newest_checkpoint(run), {}).state["step"] == last + 2


@pytest.fixture
def begun(cli, tmp_path):
    """The folder of a run of two steps, and its checkpoint's files."""
    assert cli(*words(tmp_path / "run", 2)).code == 0
    folder = newest_checkpoint(tmp_path / "run")
    return tmp_path / "run", {path: path.read_bytes() for path in folder.iterdir()}


def test_a_run_that_diverges_exits_with_2(cli, begun, monkeypatch):
    """A pixel without a number in the fourth batch: the line names it and the checkpoint of the third."""
    run, _ = begun
    made = images.ImageBatches.__call__

    def spoilt(self, number):
        batch = made(self, number)
        if number == 3:
            batch.arrays["pixels"] = batch["pixels"].float() * math.nan
        return batch

    monkeypatch.setattr(images.ImageBatches, "__call__", spoilt)
    cli(*words(run, 6)).assert_failed(2, "step 4: loss", "at batch 3", "step_00000003 is kept")
    assert read_checkpoint(newest_checkpoint(run), {}).state["step"] == 3


@pytest.mark.parametrize(
    ("place", "number", "reason"),
    [
        ("sync", errno.ENOSPC, "No space left on device"),
        ("save_tensors", errno.EROFS, "Read-only file system"),
        ("move_folder", errno.EACCES, "Permission denied"),
    ],
)
def test_a_folder_that_takes_no_more_exits_with_2(cli, begun, monkeypatch, place, number, reason):
    """Wherever the save stands when the disk is full or became read-only: the checkpoint before has not changed."""
    run, before = begun

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic if place == "sync" else checkpoint, place, refuse)
    cli(*words(run, 4)).assert_failed(2, "cannot be written", reason, "step_00000002 is kept", "the same command again")
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in newest_checkpoint(run).iterdir()} == before
    assert cli(*words(run, 4)).code == 0
    assert steps_of(run) == [1, 2, 3, 4]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_exits_with_2(cli, begun):
    """As above, by the file system itself."""
    run, before = begun
    folder = run / "checkpoints"
    folder.chmod(0o500)
    try:
        cli(*words(run, 4)).assert_failed(2, "cannot be written (Permission denied)", "step_00000002 is kept")
    finally:
        folder.chmod(0o700)
    assert {path: path.read_bytes() for path in newest_checkpoint(run).iterdir()} == before
