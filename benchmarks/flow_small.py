"""The figures of the shipped model: validity, secondary structure, adherence, diversity, novelty, reproducibility.

    python benchmarks/flow_small.py STORE --out benchmarks/results/flow_small [--n 200] [--seed 0] [--model flow-small]

STORE is made by `protgen data build CHAINS --out STORE`. Designs have lengths 60-100 (uniform, or `--lengths 128-256`)
and default settings; the natives are the validation split of the store at the same lengths, the strings asked for are
theirs, and novelty is against every training item, and with `--chains CHAINS` against the whole chains of these.
`--parts` picks some of the parts; each writes its own JSON, so a run can go on where it stopped.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from shortened import brief

from protgen.conditions.base import Condition
from protgen.conditions.length import Length
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.strand_pairing import StrandPairing
from protgen.data.sources import find_sources
from protgen.data.store import Item, Store
from protgen.evaluation.sets import COPY
from protgen.evaluation.validity import validity
from protgen.generation.design import Design, SampleSettings, settings_for
from protgen.generation.generate import generate, generate_each
from protgen.geometry import so3
from protgen.metrics.base import summarise
from protgen.metrics.diversity import Clustering, diversity
from protgen.metrics.novelty import NOVEL, novelty
from protgen.metrics.reference_data import typical_radius_of_gyration
from protgen.metrics.tm import ca_trace
from protgen.models.model import Model
from protgen.models.released import load
from protgen.spaces.backbone import Backbone
from protgen.structure.dssp import to_string
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.writer import write_structure
from protgen.types import Conditioning

Lengths = tuple[int, int]
LENGTHS: Lengths = (60, 100)


def figures(proteins: Sequence[Protein]) -> dict[str, dict[str, float]]:
    """The bars of the model card, each a mean over structures with its 95 % interval."""
    rows = [validity(protein) for protein in proteins]

    def column(function: Callable[[dict], float]) -> dict[str, float]:
        return asdict(summarise(np.array([float(function(row)) for row in rows])))

    return {
        "no chain break": column(lambda r: r["chain_breaks_rfdiffusion3"] == 0),
        "peptide bonds within 1.33 +- 0.1 Å": column(lambda r: r["peptide_valid"]),
        "no heavy-atom clash < 2.0 Å": column(lambda r: r["n_clashes"] == 0),
        "Ramachandran favoured": column(lambda r: r["rama_favoured"]),
        "helix + strand": column(lambda r: r["helix"] + r["strand"]),
        "helix": column(lambda r: r["helix"]),
        "strand": column(lambda r: r["strand"]),
        "mainly beta or mixed": column(lambda r: r["fold_class"] in ("beta", "mixed")),
        "structures with a left-handed helix": column(lambda r: r["left_handed_helices"] > 0),
        "Rg within 15 % of natives": column(
            lambda r: abs(r["rg"] / float(typical_radius_of_gyration(int(r["length"]))) - 1) <= 0.15
        ),
        "Rg / 2.2 L^0.38": column(lambda r: r["rg_ratio"]),
    }


def unconditional(
    model: Model, n: int, seed: int, settings: SampleSettings, out: Path, lengths: Lengths = LENGTHS
) -> dict:
    """Default designs, with and without the relaxation; the files are kept for the other parts."""
    start = time.perf_counter()
    designs = list(generate(model, [Length(*lengths)], n, seed, settings))
    seconds = time.perf_counter() - start
    folder = out / "designs"
    folder.mkdir(parents=True, exist_ok=True)
    for design in designs:
        write_structure(design.protein, folder / f"{design.protein.name}.pdb")
    drawn = obtained(designs, SecondaryStructure)
    pairs = obtained(designs, StrandPairing)
    return {
        "n": n,
        "seconds": round(seconds, 1),
        "after relaxation": figures([design.protein for design in designs]),
        "before relaxation": figures([design.raw for design in designs]),
        "drawn blueprint obtained": asdict(summarise(np.array(drawn))) if drawn else None,
        "drawn strand pairs obtained": asdict(summarise(np.array(pairs))) if pairs else None,
    }


def obtained(designs: Sequence[Design], kind: type[Condition]) -> list[float]:
    """How far each drawn condition of a kind was met, 1 wholly; strand pairing without pairs says nothing."""
    return [
        1 - condition.adherence(design.protein).difference
        for design in designs
        for condition in design.drawn
        if isinstance(condition, kind) and not (isinstance(condition, StrandPairing) and not condition.ladders)
    ]


def validation_items(store: Store, lengths: Lengths) -> list[Item]:
    """Validation items of the lengths sampled."""
    low, high = lengths
    return [store[int(i)] for i in store.indices("validation") if low <= store.lengths[i] <= high]


def natives(store: Store, lengths: Lengths = LENGTHS) -> list[Protein]:
    """Validation items of the lengths sampled, as structures."""
    chosen = validation_items(store, lengths)
    return [Protein.from_backbone(np.array(item.atoms, dtype=float), name=item.id) for item in chosen]


def asked_structure(
    model: Model, store: Store, seed: int, settings: SampleSettings, count: int = 100, lengths: Lengths = LENGTHS
) -> dict:
    """Three-state agreement with strings of validation natives, one design each."""
    items = validation_items(store, lengths)[:count]
    requests = [SecondaryStructure(to_string(item.labels)) for item in items]
    designs = sorted(generate_each(model, [[r] for r in requests], seed, settings), key=lambda design: design.index)
    agreement = [1 - r.adherence(d.protein).difference for r, d in zip(requests, designs, strict=True)]
    result = figures([design.protein for design in designs])
    return {"n": len(items), "asked structure obtained": asdict(summarise(np.array(agreement))), "validity": result}


def folds(store: Store, out: Path, chains: Path | None) -> dict:
    """Clusters at TM 0.5, and of each design the nearest training item, and the nearest whole chain if these are given.

    The store holds crops of longer chains, which a design may match across their ends.
    """
    proteins = [read_structure(path) for path in sorted((out / "designs").glob("*.pdb"))]
    traces, jobs = [ca_trace(protein) for protein in proteins], os.cpu_count() or 1
    clusters = diversity(traces, jobs=jobs)
    training = [int(i) for i in store.indices("train")]
    items = [np.array(store[i].atoms[:, 1], dtype=float) for i in training]
    result = {
        "n": len(proteins),
        "clusters by": str(Clustering()),
        "clusters": int(clusters.n_clusters),
        "clusters / samples": clusters.clusters_per_sample,
        "clusters by the shorter length": diversity(traces, clustering=Clustering("shorter"), jobs=jobs).n_clusters,
        "mean pairwise TM": float(clusters.mean_pairwise_tm),
        "training items": nearest(traces, items, jobs),
    }
    if chains is None:
        return result
    named = {store[i].id.split(":")[0] for i in training}
    whole = [ca_trace(read_structure(source.path)) for source in find_sources(chains) if source.id in named]
    return {**result, "whole training chains": nearest(traces, whole, jobs)}


def nearest(traces: Sequence[np.ndarray], references: Sequence[np.ndarray], jobs: int) -> dict:
    """The highest TM of each design, by its length, to any reference."""
    found = novelty(traces, references, jobs=jobs).max_tm
    return {
        "n": len(references),
        "max TM": asdict(summarise(found)),
        "largest": float(found.max()),
        "share with TM of 0.9 or more (copies)": asdict(summarise((found >= COPY).astype(float))),
        "share with TM below 0.5 (new folds)": asdict(summarise((found < NOVEL).astype(float))),
    }


def reproducibility(model: Model, seed: int, settings: SampleSettings, count: int = 8) -> dict:
    """Largest difference (Å) of designs when made together, and alone in another order with other threads."""
    asked = [Length(*LENGTHS)]
    together = {d.index: d.protein.backbone for d in generate(model, asked, count, seed, settings)}
    worst = {}
    threads = torch.get_num_threads()
    for name, size, use in (("batch size 1, reversed", 1, threads), ("batch size 3, one thread", 3, 1)):
        torch.set_num_threads(use)
        own = replace(settings, batch_size=size)
        again = [next(generate(model, asked, count, seed, own, indices=[i])) for i in reversed(range(count))]
        worst[name] = [float(np.abs(d.protein.backbone - together[d.index]).max()) for d in reversed(again)]
    torch.set_num_threads(threads)
    largest = max(max(values) for values in worst.values())
    return {"n": count, "largest difference, Å": largest, "of each design, Å": worst}


def equivariance(model: Model, motions: int = 20) -> dict:
    """Largest change of scalars, and of vectors turned back, under rigid motions in float64."""
    rng = torch.Generator().manual_seed(0)
    encoder = model.family.encoder.double()
    space = Backbone()
    worst = 0.0
    for length in (10, 40, 100):
        mask = torch.ones(1, length, dtype=torch.bool)
        state = space.noise(mask, torch.randn(1, length, 7, generator=rng))
        state = state.with_fields(trans=state["trans"].double(), rots=so3.project(state["rots"].double()))
        unknown = model.conditions.unknown(mask)
        cond = Conditioning(unknown.residue.double(), unknown.globals.double())
        t = torch.tensor([0.5])
        with torch.no_grad():
            base = encoder(state, t, cond)
            for _ in range(motions):
                turn = so3.project(so3.uniform(torch.randn(4, generator=rng, dtype=torch.float64)))
                moved = state.with_fields(trans=state["trans"] @ turn.T + 7.0, rots=turn @ state["rots"])
                result = encoder(moved, t, cond)
                worst = max(worst, float((result.scalars - base.scalars).abs().max()))
                worst = max(worst, float((result.vectors - base.vectors @ turn.T).abs().max()))
    encoder.float()
    return {"largest error, float64": worst}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="flow-small")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chains", type=Path, help="the chains the store was built from: novelty against whole ones")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lengths", default="{}-{}".format(*LENGTHS), help="of designs and natives")
    parser.add_argument("--parts", default="unconditional,natives,asked,folds,reproducibility,equivariance")
    options = parser.parse_args()
    store, model = Store(options.store), load(options.model)
    settings = settings_for(model, batch_size=options.batch_size)
    low, high = (int(end) for end in options.lengths.split("-"))
    lengths = low, high
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    parts = {
        "unconditional": lambda: unconditional(model, options.n, options.seed, settings, out, lengths),
        "natives": lambda: {"n": len(natives(store, lengths)), "figures": figures(natives(store, lengths))},
        "asked": lambda: asked_structure(model, store, options.seed, settings, lengths=lengths),
        "folds": lambda: folds(store, out, options.chains),
        "reproducibility": lambda: reproducibility(model, options.seed, settings),
        "equivariance": lambda: equivariance(model),
    }
    for name in options.parts.split(","):
        result = {
            "command": f"python benchmarks/flow_small.py STORE --model {options.model} --n {options.n} "
            f"--seed {options.seed} --lengths {options.lengths} --parts {name}",
            "model": options.model,
            "settings": asdict(settings),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
            **parts[name](),
        }
        (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(name, json.dumps(brief(result), indent=1), flush=True)


if __name__ == "__main__":
    main()
