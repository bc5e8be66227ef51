"""Kill a training by SIGKILL at many places, resume it each time, and compare it with an unbroken one, byte by byte.

    python benchmarks/kill_training.py --kills 75 --out benchmarks/results/kill_training.json

A small VAE on scikit-learn's digits; a checkpoint after every step. A third of the kills fall between steps, the
others into a save: after one of its files, or after the new checkpoint has its name and before older ones go. Each lets
up to two of its places pass before, and none is counted that did not end its process. A third of the runs that are
killed, of each kind, reads its batches one step ahead by a thread, as a run on a GPU does. After each kill the newest
checkpoint is read as a resumed run reads it, and no run may have passed one over.
"""

import argparse
import json
import os
import random
import signal
import tempfile
import warnings
from pathlib import Path

from preloaded import PROCESSES, begin_server

PLACES = ("step", "file", "name")
CONFIG = {
    "space": {"name": "image", "height": 8, "width": 8, "channels": 1, "levels": 2, "binary": True},
    "encoder": {"name": "perceptron", "height": 8, "width": 8, "channels": 1, "scalar_dim": 1, "dim": 16},
    "family": {"name": "vae", "latent_dim": 4, "pool": True, "warmup": 0},
    "conditions": ["class_label"],
}


# Every run is a process of its own, forked from one that has imported these: imports take longer than the rest.
IMPORTED = ["protgen.models.model", "protgen.training.loop", "lightning.pytorch", "sklearn.datasets"]


def work(run: Path, steps: int, place: str, number: int, ahead: bool) -> None:
    """Train to the end, or to the kill; a damaged checkpoint or curve is an error.

    Args:
        run: folder of the run.
        steps: of the whole run.
        place: where the kill falls; "" for none.
        number: of the passes of that place before it.
        ahead: whether a thread reads the batches of the next step.
    """
    import torch

    from protgen.data.image_files import load_images
    from protgen.data.images import ImageBatches, binarise
    from protgen.errors import RecoveredWarning
    from protgen.models.model import build_model
    from protgen.training import checkpoint, loop
    from protgen.training.batches import Ahead
    from protgen.training.settings import Machine, TrainSettings

    warnings.simplefilter("error", RecoveredWarning)
    loop.Ahead = lambda read, steps, _: Ahead(read, steps, ahead)  # which a run on a CPU leaves off
    left = [number]

    def passed(here: str) -> None:
        left[0] -= here == place
        if place and left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    save, move = checkpoint.save_tensors, checkpoint.move_folder
    checkpoint.save_tensors = lambda tensors, path: (save(tensors, path), passed("file"))
    checkpoint.move_folder = lambda source, target: (move(source, target), passed("name"))
    images = load_images("digits").of("train")
    batches = ImageBatches(images, 50, 3, lambda batch, rng: binarise(batch, images.levels, rng))
    torch.manual_seed(0)
    settings = TrainSettings(steps=steps, warmup=1, bf16=False, log_every=1, checkpoint_minutes=0)
    on_progress = lambda _: passed("step")  # noqa: E731
    loop.train(build_model(CONFIG), batches, settings, run=run, machine=Machine("cpu"), on_progress=on_progress)


def started(run: Path, steps: int, place: str = "", number: int = 0, ahead: bool = False) -> int | None:
    """The exit status of a process that trains."""
    process = PROCESSES.Process(target=work, args=(run, steps, place, number, ahead))
    process.start()
    process.join()
    return process.exitcode


def newest_step(run: Path) -> int:
    """The step of the newest checkpoint, 0 where there is none yet.

    Raises:
        CheckpointError: if it is not whole.
    """
    from protgen.training.checkpoint import newest_checkpoint, read_checkpoint

    newest = newest_checkpoint(run)
    return 0 if newest is None else read_checkpoint(newest, {}).state["step"]


def contents(run: Path) -> dict[str, bytes]:
    """What is compared: the last checkpoint's tensors, the curve and the model."""
    last = max((run / "checkpoints").glob("step_*"))
    files = [*last.glob("*.safetensors"), run / "losses.csv", *(run / "model").iterdir()]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in sorted(files)}


def kill_and_compare(folder: Path, kills: int, seed: int) -> dict[str, int | bool | list[int] | dict[str, int]]:
    """Kill a run many times, and compare it with an unbroken one.

    Args:
        folder: for both.
        kills: how many; each falls within the next three steps.
        seed: of their places.
    """
    begin_server(IMPORTED)
    rng, steps, cut = random.Random(seed), 3 * kills + 3, folder / "cut"
    assert started(folder / "straight", steps) == 0
    newest, n_ahead = [], 0
    for k in range(kills):
        ahead = (k + k // len(PLACES)) % 3 == 0  # one of each round of places, another one in the next
        status = started(cut, steps, PLACES[k % len(PLACES)], rng.randrange(3), ahead)
        assert status == -signal.SIGKILL, f"kill {k} did not come: {status}"
        newest.append(newest_step(cut))
        assert newest == sorted(newest), f"kill {k} lost a checkpoint"
        n_ahead += ahead
    assert started(cut, steps) == 0
    return {
        "kills": {place: len(range(k, kills, len(PLACES))) for k, place in enumerate(PLACES)},
        "while a thread read ahead": n_ahead,
        "steps": steps,
        "newest checkpoint after each kill": newest,
        "same_bytes": contents(folder / "straight") == contents(cut),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=75)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = kill_and_compare(Path(folder), options.kills, options.seed)
    print(json.dumps(found))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    assert found["same_bytes"]


if __name__ == "__main__":
    main()
