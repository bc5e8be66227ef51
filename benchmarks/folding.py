"""Do designs pair their strands as natives do? Hydrogen bonds, strands with two partners, strands kept, crossovers.

    python benchmarks/folding.py STORE --model flow-small --out benchmarks/results/folding [-n 100] [--steps 20]

Sets: natives (validation items of 60-100 residues of STORE), strings (their secondary structure is asked for), pairs
(their strand pairing too, for a model that has learned it), drawn (nothing but lengths of 60-100). Designs go to
OUT/MODEL/SET, for programs that fold sequences (`protgen evaluate --refold`, or any other), and figures to
OUT/MODEL.json. Strings and seeds are the same for all models.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from shortened import brief

from protgen.conditions.base import Condition
from protgen.conditions.length import Length
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.strand_pairing import StrandPairing, ladders_of
from protgen.data.store import Item, Store
from protgen.generation.design import Design, Settings, settings_for
from protgen.generation.generate import generate_each
from protgen.metrics.base import summarise
from protgen.metrics.sheets import share_right_handed
from protgen.models.model import Model
from protgen.models.released import load
from protgen.structure.dssp import assign_dssp, to_string
from protgen.structure.protein import Protein
from protgen.structure.sheets import sheets_of
from protgen.structure.writer import write_structure

LOW, HIGH = 60, 100
SETS = ("natives", "strings", "pairs", "drawn")
ENOUGH_STRAND = 0.1  # share of strand of designs that are counted by themselves


def natives(store: Store, n: int) -> list[Item]:
    """n validation items of the lengths sampled, spread evenly over all of them."""
    rows = [int(i) for i in store.indices("validation") if LOW <= store.lengths[i] <= HIGH]
    chosen = np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(int)
    return [store[rows[k]] for k in chosen]


def requests(kind: str, items: Sequence[Item]) -> list[list[Condition]]:
    """What is asked of each design of a set."""
    if kind == "drawn":
        return [[Length(LOW, HIGH)] for _ in items]
    asked: list[list[Condition]] = [[SecondaryStructure(to_string(item.labels))] for item in items]
    if kind == "pairs":
        for own, item in zip(asked, items, strict=True):
            own.append(StrandPairing(ladders_of(np.asarray(item.atoms, dtype=float)), complete=True))
    return asked


def make(model: Model, kind: str, items: Sequence[Item], seed: int, settings: Settings) -> list[Design]:
    """The designs of a set, in order."""
    return sorted(generate_each(model, requests(kind, items), seed, settings), key=lambda design: design.index)


def strand_kept(codes: str, got: np.ndarray) -> float:
    """Fraction of the residues asked to be strand that are; nan where none is."""
    asked = np.array(list(codes)) == "E"
    return float((got[asked] == "E").mean()) if asked.any() else float("nan")


def figures(proteins: Sequence[Protein], asked: Sequence[Sequence[Condition]]) -> dict:
    """Means with 95 % intervals; crossovers are counted over all structures."""
    rows = [sheets_of(protein) for protein in proteins]
    codes = [assign_dssp(protein.backbone[None])[0] for protein in proteins]
    strings = [[c.codes for c in own if isinstance(c, SecondaryStructure)] for own in asked]
    pairings = [[c for c in own if isinstance(c, StrandPairing) and c.ladders] for own in asked]
    columns = {
        "bonded N-H": [row.bonded for row in rows],
        "strand residues with two partners": [row.two_partners for row in rows],
        "helix": [float((c == "H").mean()) for c in codes],
        "strand": [float((c == "E").mean()) for c in codes],
        "asked strand kept": [strand_kept(s[0], c) if s else np.nan for s, c in zip(strings, codes, strict=True)],
        "asked pairs made": [
            1 - p[0].adherence(protein).difference if p else np.nan
            for p, protein in zip(pairings, proteins, strict=True)
        ],
    }
    kept = {name: np.array(values)[np.isfinite(values)] for name, values in columns.items()}
    right, total = sum(row.right_handed for row in rows), sum(row.crossovers for row in rows)
    return {name: asdict(summarise(values)) for name, values in kept.items() if len(values)} | {
        "crossovers right-handed": asdict(share_right_handed(right, total)),
        "structures with strand >= 10 %": asdict(summarise(np.array(columns["strand"]) >= ENOUGH_STRAND)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--model", default="flow-small")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("-n", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--sets", default=",".join(SETS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    items, model = natives(Store(options.store), options.n), load(options.model)
    settings = settings_for(model, steps=options.steps)
    name = Path(options.model).parent.name if Path(options.model).is_dir() else options.model
    result: dict = {"model": name, "seed": options.seed, "steps": options.steps, "n": len(items)}
    for kind in options.sets.split(","):
        if kind == "pairs" and StrandPairing.name not in model.conditions.names:
            continue
        folder = options.out / name / kind
        folder.mkdir(parents=True, exist_ok=True)
        if kind == "natives":
            proteins = [Protein.from_backbone(np.asarray(item.atoms, dtype=float), name=item.id) for item in items]
            asked: list[list[Condition]] = requests("pairs", items)
        else:
            designs = make(model, kind, items, options.seed, settings)
            proteins, asked = [d.protein for d in designs], [[*d.asked, *d.drawn] for d in designs]
        for number, protein in enumerate(proteins):
            write_structure(protein, folder / f"{number:04d}.pdb")
        result[kind] = figures(proteins, asked)
        (options.out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(kind, json.dumps(brief(result[kind]), indent=1), flush=True)


if __name__ == "__main__":
    main()
