"""Two nodes: an agent of torchrun each, which find each other at an address, as under SLURM."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def command(store: Path, run: Path) -> list[str]:
    own = ["experiment=flow_tiny", f"data.store={store}", f"run={run}"]
    counts = ["steps=4", "accumulate=2", "warmup=1", "bf16=false", "log_every=1", "validate_every=100"]
    return ["-m", "protgen", "train", *own, *(f"train.{text}" for text in counts), "validation.samples=0"]


def free_port() -> int:
    """A port of this machine that nobody has at the moment."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


def test_two_nodes_make_the_bytes_of_one_process(tiny_store, tmp_path):
    """By the command of `docs/training.md`, with one process a node; losses, weights and averages are the same."""
    one = os.environ | {"OMP_NUM_THREADS": "1"}
    meet = ["--rdzv-id=tests", "--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{free_port()}"]
    agent = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", *meet]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": one}
    nodes = [subprocess.Popen([*agent, *command(tiny_store, tmp_path / "two")], **pipes) for _ in range(2)]
    try:
        said = [node.communicate(timeout=300)[0] for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert [node.returncode for node in nodes] == [0, 0], said
    assert sum("Model:" in text for text in said) == 1  # the first process alone speaks
    subprocess.run([sys.executable, *command(tiny_store, tmp_path / "one")], check=True, env=one, capture_output=True)
    made = sorted(path.relative_to(tmp_path / "one") for path in tmp_path.glob("one/checkpoints/*/*.safetensors"))
    assert {path.name for path in made} >= {"weights.safetensors", "ema.safetensors", "optimizer.safetensors"}
    for path in [*made, Path("losses.csv"), Path("model/model.safetensors")]:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes(), path
