"""Validation loss of AdamW and of Muon with AdamW, after the same steps from the same weights, and their CPU time.

    python benchmarks/optimizers.py --store STORE --out optimizers.json --steps 2000 --seeds 3

Every arm has the same network, batches and random streams; only the rates differ. Runs are kept under `--runs`, so the
same command goes on after an interruption.
"""

import argparse
import csv
import json
import math
import time
from pathlib import Path

import torch

from protgen.cli.train import prepare_model
from protgen.cli.train_config import load_config
from protgen.data.store import Store
from protgen.training.checkpoint import newest_checkpoint
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
    """The last validation loss of one run, and its CPU seconds a step; NaN where it was begun before."""
    lr, muon = ARMS[arm]
    steps, pairs = options.steps, options.pairs
    run = options.runs / f"{arm.replace(' ', '_')}_{seed}"
    config = load_config(
        [f"experiment={options.experiment}", f"data.store={options.store}", f"train.lr={lr}", f"train.muon_lr={muon}",
         f"train.seed={seed}", f"train.steps={steps}", f"train.max_pairs_per_batch={pairs}", "train.cooldown=1.0",
         f"train.warmup={max(1, steps // 20)}", f"train.validate_every={steps}", *options.override]
    )  # fmt: skip
    torch.manual_seed(seed)
    store, fresh = Store(config.store), newest_checkpoint(run) is None
    begun = time.process_time()
    train(
        prepare_model(config, store), store, config.settings, run=run, machine=Machine("cpu"),
        on_validation=Validation(store, pairs, 32),
    )  # fmt: skip
    seconds = (time.process_time() - begun) / steps if fresh else math.nan
    with (run / "losses.csv").open() as file:
        losses = [float(row["validation_loss"]) for row in csv.DictReader(file) if row.get("validation_loss")]
    return {"arm": arm, "seed": seed, "validation_loss": losses[-1], "cpu_seconds_a_step": seconds}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/optimizers"))
    parser.add_argument("--experiment", default="flow_pairing")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("override", nargs="*", help="of the configuration, as encoder.dim=128")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for seed in range(options.seeds):
        for arm in ARMS:
            rows.append(trained(options, arm, seed))
            print(rows[-1], flush=True)
            options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
