"""Likelihoods of the released models on held-out natives, next to the noise baseline of each space; and convergence.

    python benchmarks/likelihoods.py CHAINS --n 6 --out benchmarks/results/likelihoods.json

CHAINS has an `index.csv` (file, split, length, n_breaks, resolution): the first `--n` validation chains of 48-64
residues without a break are taken, in its order. Every number is -log p / l in nats, as `protgen evaluate` prints it,
y unknown. The baseline is that of the noise distribution of the space: a model above it has learned nothing. Nats over
frames and over torsions are densities over different volumes, which no constant converts: frames have a bond length
and two angles at each joint and no angle N-CA-C, torsions the reverse.

`--baselines FILE` writes the noise baselines of 100 validation chains of 40-96 residues and does nothing else.

Convergence: the flow of `--flow` on the first chains, at several steps, draws and first times.
"""

import argparse
import csv
import json
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from protgen.evaluation.likelihood import LikelihoodSettings, flow_settings, log_prob, open_likelihood, state_of
from protgen.families.flow_matching import FlowMatching
from protgen.families.ode_likelihood import estimate_by_flow, log_noise
from protgen.samplers.schedules import Path as NoisePath
from protgen.spaces.backbone import Backbone
from protgen.spaces.torsions import Torsions
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.types import Batch

MODELS = ("flow-small", "flow-pairing", "flow-base", "diffusion-small", "autoregressive-small", "spline-small")
SHORTEST, LONGEST = 48, 64


def chains(folder: Path, count: int, shortest: int = SHORTEST, longest: int = LONGEST) -> list[Protein]:
    """Validation chains without a break."""
    found = []
    for row in csv.DictReader((folder / "index.csv").open()):
        fits = row["split"] == "validation" and shortest <= int(row["length"]) <= longest and row["n_breaks"] == "0"
        if fits and len(found) < count:
            found.append(read_structure(folder / row["file"]))
    return found


def summed(values: list[float]) -> dict:
    """Mean, standard error over chains, and how many."""
    return {
        "nats per residue": round(float(np.mean(values)), 3),
        "standard error": round(float(np.std(values, ddof=1) / len(values) ** 0.5), 3),
        "n": len(values),
    }


def of_model(name: str, proteins: list[Protein], steps: int) -> dict:
    """-log p / l of one model, and the noise baseline of its space."""
    settings = open_likelihood(name)
    if flow_settings(settings) is not None:
        settings = replace(settings, steps=steps)
    found = [log_prob(protein, settings) for protein in proteins]
    flow, space = flow_settings(settings), settings.model.family.space
    states = [state_of(protein, settings.model) for protein in proteins]
    noise = [-float(log_noise(space, NoisePath(), x)[0]) / p.length for x, p in zip(states, proteins, strict=True)]
    own = [float(f.error[0]) / p.length for f, p in zip(found, proteins, strict=True) if f.error is not None]
    return {
        "space": settings.model.config["space"]["name"],
        "volume": space.volume,
        "kind of log p": found[0].kind,
        **summed([-float(f.nats[0]) / p.length for f, p in zip(found, proteins, strict=True)]),
        "mean standard error of one chain's draws": round(float(np.mean(own)), 3) if own else None,
        "flow": None if flow is None else vars(flow),
        "noise baseline": round(float(np.mean(noise)), 3),
    }


def baselines(proteins: list[Protein]) -> dict:
    """-log p / l of natives under the noise of each space of backbones."""
    found = {}
    for space in (Backbone(), Torsions()):
        values = []
        for protein in proteins:
            mask = torch.ones(1, protein.length, dtype=torch.bool)
            x = space.encode(Batch({"atoms": torch.from_numpy(protein.backbone[None]).float()}, mask))
            values.append(-float(log_noise(space, NoisePath(), x)[0]) / protein.length)
        found[type(space).__name__.lower()] = summed(values)
    return found


# First time, steps, draws and probes of each row of the table of convergence.
GRID = (
    (0.1, 10, 2, 1), (0.1, 20, 2, 1), (0.1, 40, 2, 1), (0.1, 80, 2, 1), (0.1, 160, 2, 1),
    (0.1, 40, 2, 2), (0.1, 40, 2, 4),
    (0.05, 20, 2, 1), (0.05, 40, 2, 1), (0.05, 80, 2, 1),
)  # fmt: skip


def convergence(name: str, proteins: list[Protein], grid: Sequence[tuple[float, int, int, int]]) -> list[dict]:
    """The same draws at several first times, steps, numbers of draws and of probes."""
    settings: LikelihoodSettings = open_likelihood(name)
    model = settings.model
    assert isinstance(model.family, FlowMatching)
    usual = flow_settings(settings)
    assert usual is not None
    rows = []
    for first, steps, draws, probes in grid:
        values, errors = [], []
        for protein in proteins:
            x = state_of(protein, model)
            rng = torch.Generator().manual_seed(0)
            one = replace(usual, first=first, steps=steps, draws=draws, probes=probes)
            denoiser, cond = model.family.denoiser(), model.conditions.unknown(x.mask)
            found = estimate_by_flow(denoiser, model.family.space, x, cond, rng, one)
            values.append(-float(found.nats[0]) / protein.length)
            errors.append(float(found.error[0]) / protein.length)
        rows.append({"first": first, "steps": steps, "draws": draws, "probes": probes,
                     "each": [round(v, 2) for v in values],
                     "error of each": [round(e, 2) for e in errors if e == e]})  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chains", type=Path)
    parser.add_argument("--n", type=int, default=6)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--steps", type=int, default=20, help="of a probability flow")
    parser.add_argument("--flow", default="flow-small", help="the model whose convergence is shown; empty for none")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--baselines", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.baselines is not None:
        whole = [p for p in chains(options.chains, 100, 40, 96) if not np.isnan(p.backbone).any()]
        options.baselines.write_text(json.dumps(baselines(whole), indent=1) + "\n")
    if options.out is None:
        return
    proteins = chains(options.chains, options.n)
    result = json.loads(options.out.read_text()) if options.out.is_file() else {}
    result["chains"] = {"n": len(proteins), "lengths": [SHORTEST, LONGEST], "split": "validation"}
    result["machine"] = f"{platform.machine()}, 1 thread, torch {torch.__version__}"
    for name in filter(None, options.models.split(",")):
        result.setdefault("models", {})[name] = of_model(name, proteins, options.steps)
        print(name, result["models"][name], flush=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    if options.flow:
        result["convergence"] = {"model": options.flow, "rows": convergence(options.flow, proteins[:2], GRID)}
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
