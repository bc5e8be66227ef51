"""Does beginning anew turn the crossovers of designs, and what does it cost and change besides?

    python benchmarks/redraws.py --model flow-pairing --out benchmarks/results/redraws.json [-n 200] [--seeds 0,1]
        [--designs FOLDER]

Designs of 60-100 residues on drawn topologies, with default settings, without redraws and with those of the default.
Crossovers are counted as DSSP sees strands and bridges in what was made, and by the strands and pairs that were drawn,
whether they were made or not. `--designs` keeps those that differ, for a refold: FOLDER/SEED/0 without redraws,
FOLDER/SEED/6 with them.
"""

import argparse
import json
import os
import platform
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from folding import HIGH, LOW, figures
from shortened import brief

from protgen.atomic import write_text
from protgen.conditions.length import Length
from protgen.generation.design import Design, SampleSettings, settings_for
from protgen.generation.generate import generate
from protgen.generation.hands import strands_and_pairs
from protgen.metrics.base import summarise
from protgen.models.model import Model
from protgen.models.released import load
from protgen.structure.protein import CA
from protgen.structure.sheets import crossover_hands
from protgen.structure.writer import write_structure


def made(model: Model, n: int, seed: int, redraws: int) -> tuple[list[Design], float]:
    """Designs in order, and CPU seconds of each on average."""
    begun = time.process_time()
    found = list(generate(model, [Length(LOW, HIGH)], n, seed, SampleSettings(redraws=redraws, device="cpu")))
    return sorted(found, key=lambda design: design.index), (time.process_time() - begun) / n


def figures_of(designs: list[Design]) -> dict:
    """Those of `folding.py`, and the crossovers of what was drawn."""
    known = [(d, strands_and_pairs([*d.drawn, *d.asked], d.protein.length)) for d in designs]
    hands = [hand for design, own in known if own for hand in crossover_hands(design.protein.atoms[:, CA], *own)]
    return figures([d.protein for d in designs], [[*d.asked, *d.drawn] for d in designs]) | {
        "drawn crossovers right-handed": asdict(summarise(np.array(hands) > 0))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="flow-pairing")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--designs", type=Path, help="folder of the designs that differ")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, most = load(options.model), SampleSettings().redraws
    result: dict = {
        "command": f"python benchmarks/redraws.py --model {options.model} -n {options.n} --seeds {options.seeds}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "settings": asdict(settings_for(model)),
    }
    for seed in (int(text) for text in options.seeds.split(",")):
        runs = {redraws: made(model, options.n, seed, redraws) for redraws in (0, most)}
        pairs = list(zip(runs[0][0], runs[most][0], strict=True))
        differ = [i for i, (a, b) in enumerate(pairs) if not np.array_equal(a.raw.backbone, b.raw.backbone)]
        result[f"seed {seed}"] = {
            "began anew": summarise(np.isin(np.arange(options.n), differ)).mean,
            **{
                f"redraws {redraws}": {"CPU seconds": round(seconds, 3), **figures_of(designs)}
                for redraws, (designs, seconds) in runs.items()
            },
        }
        for redraws, (designs, _) in runs.items():
            print(seed, redraws, json.dumps(brief(result[f"seed {seed}"][f"redraws {redraws}"]), indent=1), flush=True)
            if options.designs is not None:
                folder = options.designs / str(seed) / str(redraws)
                folder.mkdir(parents=True, exist_ok=True)
                for i in differ:
                    write_structure(designs[i].protein, folder / f"{i:04d}.pdb")
        write_text(options.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
