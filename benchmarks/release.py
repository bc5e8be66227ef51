"""Turn the averaged weights of a training run into a model that ships with the package.

    python benchmarks/release.py RUN STORE --name flow-small [--minutes 120]

Writes `config.json`, `model.safetensors` (bfloat16) and `layouts.json` to `protgen/weights/NAME`; `card.md` is by hand,
from the figures of `benchmarks/flow_small.py`.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from protgen.data.store import Store
from protgen.models.files import load_json, load_tensors
from protgen.models.layouts import fit_store
from protgen.models.model import build_model, load_weights, save_model
from protgen.models.released import weights_folder
from protgen.training.checkpoint import newest_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--minutes", type=float, default=None, help="training time, for the card")
    parser.add_argument("--weights", type=Path, default=weights_folder(), help="where models are kept")
    options = parser.parse_args()
    checkpoint = newest_checkpoint(options.run)
    if checkpoint is None:
        raise SystemExit(f"{options.run}: no checkpoint")
    run, store = load_json(options.run / "run.json"), Store(options.store)
    train = store.indices("train")
    lengths = store.lengths[train]
    model = build_model(run["model"])
    path = checkpoint / "ema.safetensors"
    load_weights(model.family, load_tensors(path), path)
    about = {
        "license": "MIT",
        "lengths": [int(lengths.min()), int(lengths.max())],
        "data": "PDB chains (CC0); IDs in data/manifests/flow_small.json",
        "training_items": len(train),
        "parameters": sum(p.numel() for p in model.family.parameters()),
        "steps": load_json(checkpoint / "state.json")["step"],
        "minutes": options.minutes,
        "settings": {**run["settings"], "processes": run.get("processes", 1)},
    }
    released = replace(model, config={**run["model"], "about": about}, layouts=fit_store(store))
    save_model(released, options.weights / options.name)
    print(options.weights / options.name, about)


if __name__ == "__main__":
    main()
