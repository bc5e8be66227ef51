"""Turn the averaged weights of a training run into a model that ships with the package.

    python benchmarks/release.py RUN STORE --name flow-small [--minutes 120] [--start flow-small] [--guide RUN/model]

A run of a student (`distil.model=`) has its settings of sampling and its blueprints from its teacher. Of a run whose
checkpoints are gone, `model/` is taken: it has the same averaged weights.

Writes `config.json`, `model.safetensors` (bfloat16), `blueprints.json`, `checksums.json` and, for a model that has
learned strand pairing, `topologies.json` to `protgen/weights/NAME`, and the IDs of the store's items to `--manifest`
unless that file is there already and lists the same; `card.md` is by hand, from the figures of
`benchmarks/flow_small.py --model NAME`.
"""

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path

from protgen.conditions.strand_pairing import StrandPairing
from protgen.data.store import Store
from protgen.generation.design import settings_for
from protgen.models.blueprints import fit_store
from protgen.models.files import load_json, load_tensors
from protgen.models.model import WEIGHTS, build_model, guide_of, load_model, load_weights, save_model, with_guide
from protgen.models.released import load, weights_folder
from protgen.models.topologies import fit_topologies
from protgen.training.checkpoint import newest_checkpoint


def manifest(store: Store, name: str) -> dict:
    """The store's manifest cut down to IDs: of the items kept, and of those dropped for each kind of reason."""
    full = load_json(store.folder / "manifest.json")
    dropped: dict[str, list[str]] = {}
    for entry in full["dropped"]:
        dropped.setdefault(re.sub(r"[0-9.]+", "#", entry["reason"]), []).append(entry["id"])
    return {
        "about": f"IDs of the structures {name} was trained and validated on, as `protgen data build` names them (file "
        "stem; a range after the colon is a compact crop).",
        "settings": full["settings"],
        "n_kept": len(full["kept"]),
        "n_dropped": len(full["dropped"]),
        **{split: [e["id"] for e in full["kept"] if e["split"] == split] for split in ("train", "validation")},
        "dropped": dropped,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--minutes", type=float, default=None, help="training time, for the card")
    parser.add_argument("--sampling", type=json.loads, default={}, help="settings it is sampled with, as JSON")
    parser.add_argument("--family", type=json.loads, default={}, help="keywords of sampling of its family, as JSON")
    parser.add_argument("--guide", type=Path, default=None, help="model folder of a weaker one, for autoguidance")
    parser.add_argument("--keep", default=None, help="model whose blueprints, topologies and guide it takes over")
    parser.add_argument("--start", default=None, help="model whose weights training started from")
    parser.add_argument("--manifest", type=Path, default=Path("data/manifests/flow_small.json"), help="list of IDs")
    parser.add_argument("--weights", type=Path, default=weights_folder(), help="where models are kept")
    options = parser.parse_args()
    checkpoint = newest_checkpoint(options.run)
    run, store = load_json(options.run / "run.json"), Store(options.store)
    path = options.run / "model" / WEIGHTS if checkpoint is None else checkpoint / "ema.safetensors"
    if not path.is_file():
        raise SystemExit(f"{options.run}: neither a checkpoint nor {path.relative_to(options.run)}")
    steps = run.get("ended", {}).get("step") if checkpoint is None else load_json(checkpoint / "state.json")["step"]
    train = store.indices("train")
    lengths = store.lengths[train]
    model = build_model(run["model"])
    load_weights(model.family, load_tensors(path), path)
    listing = options.manifest
    ids = manifest(store, options.name)
    if not listing.is_file():
        listing.write_text(json.dumps(ids, indent=0) + "\n")
    elif any(load_json(listing)[split] != ids[split] for split in ("train", "validation")):
        raise SystemExit(f"{listing}: lists other structures than {options.store}; give another --manifest")
    about = {
        "license": "MIT",
        "lengths": [int(lengths.min()), int(lengths.max())],
        "data": f"PDB chains (CC0); IDs in data/manifests/{listing.name}",
        "started_from": options.start,
        "training_items": len(train),
        "parameters": sum(p.numel() for p in model.family.parameters()),
        "steps": steps,
        "minutes": options.minutes,
        "settings": {**run["settings"], "processes": run.get("processes", 1)},
    }
    taught = run["model"].get("about", {}).get("teacher")
    if taught is not None:
        ways = len(list((options.run / "ways").glob("way_*.safetensors")))
        about |= {
            "started_from": taught["model"],
            "teacher": taught | {"ways": ways},
            "data": f"{ways:,} ways of {taught['model']} at y of its training items (data/manifests/{listing.name})",
        }
    base = {key: value for key, value in run["model"].items() if key != "guide"}
    config = {**base, "family": run["model"]["family"] | options.family, "about": about}
    if options.sampling:
        config["sampling"] = options.sampling
    settings_for(replace(model, config=config))  # refuses what is no setting
    if taught is not None:
        teacher = load(taught["model"])
        released = replace(model, config=config, blueprints=teacher.blueprints, topologies=teacher.topologies)
    elif options.keep is not None:
        kept = load(options.keep)
        if "guide" in kept.config.get("about", {}):
            about["guide"] = kept.config["about"]["guide"]
        released = replace(model, config=config, blueprints=kept.blueprints, topologies=kept.topologies)
        if kept.guide is not None:
            released = with_guide(released, guide_of(kept))
    else:
        released = replace(model, config=config, blueprints=fit_store(store))
        if StrandPairing.name in model.conditions.names:
            released = replace(released, topologies=fit_topologies(store))
    if options.guide is not None:
        released = with_guide(released, load_model(options.guide))
    save_model(released, options.weights / options.name)
    print(options.weights / options.name, about)


if __name__ == "__main__":
    main()
