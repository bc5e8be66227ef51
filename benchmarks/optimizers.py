"""Validation loss of AdamW and of Muon with AdamW, after the same CPU time from the same weights.

    python benchmarks/optimizers.py --store STORE --out optimizers.json --minutes 8 --seeds 2

Every arm has the same network, batches and random streams, and its learning rate falls over all of its time; only the
rates differ. The orthogonalisation of Muon takes the same time for any batch, so the size of a batch (`--pairs`)
decides too. Runs are kept under `--runs`, so the same command goes on after an interruption.
"""

import argparse
import csv
import json
import os
import platform
from pathlib import Path

import torch

from protgen.cli.train import prepare_model
from protgen.cli.train_config import load_config
from protgen.data.store import Store
from protgen.training.loop import train
from protgen.training.settings import Machine
from protgen.training.validation import Validation

ARMS = {  # learning rates of AdamW and of Muon
    "adamw 1e-3": ("1e-3", "null"),
    "adamw 3e-3": ("3e-3", "null"),
    "muon 1e-3 and adamw 1e-3": ("1e-3", "1e-3"),
    "muon 3e-3 and adamw 1e-3": ("1e-3", "3e-3"),
}


def trained(options: argparse.Namespace, arm: str, seed: int) -> dict[str, float | str | int]:
    """The last validation loss of one run, its steps and CPU seconds a step, all that is not training left out."""
    lr, muon = ARMS[arm]
    minutes, pairs = options.minutes, options.pairs
    run = options.runs / f"{arm.replace(' ', '_')}_{seed}"
    config = load_config(
        [f"experiment={options.experiment}", f"data.store={options.store}", f"train.lr={lr}", f"train.muon_lr={muon}",
         f"train.seed={seed}", f"train.minutes={minutes}", f"train.max_pairs_per_batch={pairs}", "train.cooldown=1.0",
         "train.warmup=50", "train.ema=0.98", "train.steps=1000000", "train.validate_every=1000000", *options.override]
    )  # fmt: skip
    torch.manual_seed(seed)
    store = Store(config.store)
    train(
        prepare_model(config, store), store, config.settings, run=run, machine=Machine("cpu"),
        on_validation=Validation(store, pairs, 32),
    )  # fmt: skip
    steps = int(json.loads((run / "run.json").read_text())["ended"]["step"])
    with (run / "losses.csv").open() as file:
        losses = [float(row["validation_loss"]) for row in csv.DictReader(file) if row.get("validation_loss")]
    return {
        "arm": arm,
        "seed": seed,
        "validation_loss": losses[-1],
        "steps": steps,
        "cpu_seconds_a_step": 60 * minutes / steps,
    }


def machine() -> str:
    """What computes."""
    return f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/optimizers"))
    parser.add_argument("--experiment", default="flow_pairing")
    parser.add_argument("--minutes", type=float, default=8.0, help="CPU time of each arm")
    parser.add_argument("--pairs", type=int, default=76_000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("override", nargs="*", help="of the configuration, as encoder.dim=128")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict] = []
    for seed in range(options.seeds):
        for arm in options.arms:
            rows.append(trained(options, arm, seed))
            print(rows[-1], flush=True)
            about = {"machine": machine(), "minutes": options.minutes, "pairs": options.pairs}
            options.out.write_text(
                json.dumps(about | {"experiment": options.experiment, "rows": rows}, indent=1) + "\n"
            )


if __name__ == "__main__":
    main()
