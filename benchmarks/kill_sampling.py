"""Kill a run of designs by SIGKILL at random places, finish it, and compare it with an unbroken one, byte by byte.

    python benchmarks/kill_sampling.py --n 1000 --kills 10 --out benchmarks/results/kill_sampling.json

The run is made as four shards, of which two have a folder in common. A kill falls before a design is written, within
the writing of its structure or its record, or after it. A small network with random weights makes the designs, by the
same code as a trained one.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from preloaded import PROCESSES, begin_server

PLACES = ("before", "structure", "record", "after")
SHARDS = 4
REQUEST = ("--length", "10-12", "--steps", "1", "--no-relax", "--blueprint", "free", "--no-pictures", "--device", "cpu")
CONFIG = {
    "space": {"name": "backbone"},
    "encoder": {"name": "frame_attention", "dim": 16, "pair_dim": 4, "blocks": 1, "heads": 2, "refresh": 1},
    "family": {"name": "flow_matching"},
    "conditions": ["length"],
    "about": {"lengths": [8, 20]},
}


# Every run is a process of its own, forked from one that has imported these: imports take longer than the rest.
IMPORTED = ["protgen.cli.main", "protgen.models.model", "protgen.generation.generate", "mdtraj"]


def work(place: str, number: int, arguments: list[str]) -> None:
    """Run a command line to its end, or to the kill.

    Args:
        place: where the kill falls; "" for none.
        number: of the designs before it.
        arguments: of `protgen`.
    """
    from protgen import atomic
    from protgen.cli.design_folder import DesignFolder
    from protgen.cli.main import run

    left = [number]

    def passed(here: str) -> None:
        left[0] -= here == place
        if here == place and left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    add, sync = DesignFolder.add, atomic.sync

    def add_or_die(self, design, record):  # type: ignore[no-untyped-def]
        passed("before")
        add(self, design, record)
        passed("after")

    def sync_or_die(path: Path) -> None:  # the content is on the disk, and has not its name yet
        sync(path)
        if path.suffix == ".tmp":
            passed("record" if b'"seal"' in path.read_bytes() else "structure")

    DesignFolder.add, atomic.sync = add_or_die, sync_or_die  # type: ignore[method-assign]
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    sys.exit(run(arguments))


def started(arguments: list[str], place: str = "", number: int = 0) -> int | None:
    """The exit status of a process that samples."""
    process = PROCESSES.Process(target=work, args=(place, number, arguments))
    process.start()
    process.join()
    return process.exitcode


def contents(*folders: Path) -> dict[str, bytes]:
    """Name and bytes of every file of a design."""
    return {path.name: path.read_bytes() for folder in folders for path in sorted(folder.glob("design_*"))}


def kill_and_compare(home: Path, n: int, kills: int, seed: int) -> dict[str, object]:
    """Kill a run many times, finish it, and compare it with an unbroken one.

    Args:
        home: folder for model and runs.
        n: number of designs.
        kills: how many; spread over the shards.
        seed: of their places.
    """
    begin_server(IMPORTED)
    import torch

    from protgen.models.model import build_model, save_model

    torch.manual_seed(0)
    save_model(build_model(CONFIG), home / "model")
    request = ["sample", "--model", str(home / "model"), *REQUEST, "-n", str(n)]
    begun = time.monotonic()
    assert started([*request, "--out", str(home / "whole")]) == 0
    straight = time.monotonic() - begun
    folders = [home / "a", home / "b", home / "both", home / "both"]
    shards = [[*request, "--shard", f"{k}/{SHARDS}", "--out", str(folders[k - 1]), "--resume"] for k in range(1, 5)]
    rng, places, killed = random.Random(seed), [], 0
    for k in range(kills):
        places.append(PLACES[k % len(PLACES)])
        most = max(1, n // (kills + SHARDS))  # so that a shard is not done before its last kill
        status = started(shards[k % SHARDS], places[-1], rng.randrange(most))
        killed += status == -signal.SIGKILL
        assert status in (-signal.SIGKILL, 0), status
    assert [started(shard) for shard in shards] == [0] * SHARDS
    made, whole = contents(*folders[:3]), contents(home / "whole")
    return {
        "n": n,
        "kills": killed,
        "places": places,
        "structures": sum(name.endswith(".pdb") for name in made),
        "same_bytes": made == whole,
        "left_behind": len(list(home.glob("*/.*.tmp"))),
        "seconds_of_the_unbroken_run": round(straight, 1),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Kill a run of designs, finish it, compare it.")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = kill_and_compare(Path(folder), options.n, options.kills, options.seed)
    print(json.dumps(found))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    assert found["same_bytes"]
    assert found["structures"] == options.n
    assert found["kills"] == options.kills


if __name__ == "__main__":
    main()
