"""Are designs asked for by a CATH code of that fold? Probability by the fold network, and TM-score to members.

    protgen data build CHAINS --out STORE --topologies
    python benchmarks/cath.py STORE --out benchmarks/results/cath.json --designs DIR [-n 8] [--steps 20]

Sets of each code: asked (n designs), drawn (n designs that are drawn from members, and the network is not told; for a
model that has learned codes), not asked (n designs of the same lengths), members (training natives with the code), held
out (validation natives with it, to which the fold network was not fitted). The TM-score is the largest to a training
native with the code, by the length of the design; a native is not compared with those of its own sequence cluster.
Designs go to DIR/CODE/SET. The same command goes on where it was stopped.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from shortened import brief

from protgen.conditions.base import Condition
from protgen.conditions.cath import LEVELS, Cath, measured_as
from protgen.conditions.length import Length
from protgen.data.fields import CATH
from protgen.data.folds import fold_nodes
from protgen.data.store import Item, Store
from protgen.documents import finite
from protgen.generation.choice import PAIRING
from protgen.generation.design import Design, settings_for
from protgen.generation.generate import generate, generate_each
from protgen.metrics.base import summarise
from protgen.metrics.fold import at_level, class_names, read_folds
from protgen.metrics.tm import ca_trace, tm_scores
from protgen.models.model import Model
from protgen.models.released import load
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure

CODES = "1.20,2.60.40,3.30.70,3.40.50"
SAME_FOLD = 0.5  # TM-score
MOST_NATIVES = 20


def members_of(store: Store, code: str, split: str) -> list[Item]:
    """The items of a split that have a code, or one below it."""
    items = (store[int(i)] for i in store.indices(split))
    return [item for item in items if code in fold_nodes(item.facts.get(CATH, ""))]


def protein_of(item: Item) -> Protein:
    """The backbone of an item."""
    return Protein.from_backbone(np.asarray(item.atoms, dtype=float), name=item.id)


def designs_of(
    model: Model, code: str, name: str, lengths: Sequence[int], options: argparse.Namespace
) -> list[Protein]:
    """The designs of a set, in order.

    Args:
        model: that makes them.
        code: of CATH.
        name: of the set.
        lengths: of the designs that are asked for by the code; for those that are not.
        options: number, seed and steps.
    """
    enforce = {Cath.name: "blueprint"} if name == "drawn" else {}
    settings = settings_for(model, steps=options.steps, enforce=enforce)
    if name != "not asked":
        return in_order(generate(model, Cath(code), options.n, options.seed, settings))
    requests: list[Sequence[Condition]] = [[Length(length)] for length in lengths]
    return in_order(generate_each(model, requests, options.seed, settings))


def in_order(designs: Iterable[Design]) -> list[Protein]:
    """The proteins of designs by their number."""
    return [design.protein for design in sorted(designs, key=lambda design: design.index)]


def nearest_tm(proteins: Sequence[Protein], members: Sequence[Item], clusters: Sequence[str]) -> np.ndarray:
    """(n,) largest TM-score of each to a member of another cluster, by its own length; NaN without any."""
    traces = [*(ca_trace(p) for p in proteins), *(np.asarray(item.atoms, dtype=float)[:, 1] for item in members)]
    pairs = [
        (k, len(proteins) + m)
        for k, cluster in enumerate(clusters)
        for m, item in enumerate(members)
        if item.cluster != cluster
    ]
    best = np.full(len(proteins), np.nan)
    if pairs:
        scores = tm_scores(traces, np.array(pairs)).by_first
        np.fmax.at(best, np.array(pairs)[:, 0], scores)
    return best


def figures(code: str, proteins: Sequence[Protein], members: Sequence[Item], clusters: Sequence[str]) -> dict:
    """Means with 95 % intervals."""
    level = LEVELS[code.count(".")][0]
    rows = at_level(read_folds(proteins).probabilities, level)
    column = class_names(level).index(measured_as(code))
    tm = nearest_tm(proteins, members, clusters)
    tm = tm[np.isfinite(tm)]
    columns = {
        "most probable at its level": rows.argmax(axis=1) == column,
        "probability": rows[:, column],
        "TM to members": tm,
        f"TM of {SAME_FOLD} or more": tm >= SAME_FOLD,
    }
    return {name: asdict(summarise(np.asarray(values))) for name, values in columns.items() if len(values)}


def measure(model: Model, store: Store, code: str, options: argparse.Namespace) -> Iterator[tuple[str, object]]:
    """The sets of a code one after another, each with its figures; those that are known are left out."""
    members, held_out = (members_of(store, code, split) for split in ("train", "validation"))
    chosen = np.linspace(0, len(members) - 1, min(MOST_NATIVES, len(members))).round().astype(int)
    known = options.known.get(code, {})
    yield "members in the store", len(members)
    for name, items in {"members": [members[k] for k in chosen], "held out": held_out}.items():
        if items and name not in known:
            yield name, figures(code, [protein_of(i) for i in items], members, [i.cluster for i in items])
    lengths = known.get("lengths", [])
    for name in ("asked", *(["drawn"] if Cath.name in model.conditions.names else []), "not asked"):
        if name in known:
            continue
        proteins = designs_of(model, code, name, lengths, options)
        if name == "asked":
            lengths = [protein.length for protein in proteins]
            yield "lengths", lengths
        folder = options.designs / code / name.replace(" ", "_")
        folder.mkdir(parents=True, exist_ok=True)
        for number, protein in enumerate(proteins):
            write_structure(protein, folder / f"{number:04d}.pdb")
        yield name, figures(code, proteins, members, [""] * len(proteins))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--model", default=PAIRING)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--designs", type=Path, required=True)
    parser.add_argument("--codes", default=CODES)
    parser.add_argument("-n", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    store, model = Store(options.store), load(options.model)
    name = Path(options.model).parent.name if Path(options.model).is_dir() else options.model
    result: dict = {"model": name, "seed": options.seed, "steps": options.steps, "n": options.n, "codes": {}}
    before = json.loads(options.out.read_text()) if options.out.is_file() else {}
    if before | {"codes": {}} == result:  # the same command goes on where it stopped
        result = before
    options.known = result["codes"]
    for code in options.codes.split(","):
        for kind, values in measure(model, store, code, options):
            result["codes"].setdefault(code, {})[kind] = values
            options.out.write_text(json.dumps(finite(result), indent=1) + "\n")
            print(code, kind, json.dumps(brief(values, digits=2)), flush=True)


if __name__ == "__main__":
    main()
