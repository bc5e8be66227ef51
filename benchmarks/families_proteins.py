"""Every family over two encoders on the same proteins, at equal parameters and equal CPU time: one table.

    python benchmarks/families_proteins.py STORE --out benchmarks/results/families_proteins [--minutes 5]
        [--families flow_matching,diffusion] [--encoders egnn,gvp] [--n 50] [--seed 0] [--jobs 2]
        [--table docs/families.md]

STORE is made by `protgen data build CHAINS --max-length 96 --out STORE`. Each cell, a family over an encoder, trains
in a process of its own on one thread, its steps chosen so that they take `--minutes` of CPU time (measured on the first
ones, so that the learning rate falls as it should), then makes `--n` designs of 40-96 residues with default settings,
and is asked for the log-likelihood of validation items without y. The width of the encoder is the one that brings the
parameters of the whole nearest to `--parameters`. Each cell writes its own JSON, so a run goes on where it stopped.

Measures of densities differ: on frames nats are with respect to Å^(3 (l - 1)) rad^(3 l) of centred positions and
rotations, on torsions to radians and standardised bond angles of what exists. No constant converts one to the other: a
joint of frames has a bond length, two angles and three torsions, one of torsions has the angles and torsions, and
N-CA-C beside. So there is a table for each space, of -log p / l as `protgen evaluate` prints it (lower is likelier),
next to the number of the noise of the space (`likelihoods.py --baselines`), above which a model has learned nothing. A
flow over torsions sees no frames, so its one encoder is the plain transformer. `classical` is not here: it is fitted to
descriptors and has no structures to give.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from flow_small import figures

from protgen.conditions.length import Length
from protgen.data.dataset import collate
from protgen.data.store import Store
from protgen.families.base import IterativeFamily, LikelihoodFamily
from protgen.families.ode_likelihood import log_noise
from protgen.generation.design import SampleSettings
from protgen.generation.generate import generate
from protgen.metrics.base import summarise
from protgen.metrics.diversity import Clustering, diversity
from protgen.metrics.tm import ca_trace
from protgen.models.blueprints import fit_store
from protgen.models.model import Model, build_model
from protgen.samplers.schedules import Path as NoisePath
from protgen.structure.picture import draw_backbones
from protgen.training.loop import train
from protgen.training.settings import Machine, TrainSettings
from protgen.types import JSON

SHORTEST, LONGEST = 40, 96
# What is not a default: the causal family and the flow see torsions, and centres of p(x | z) are what is looked at.
FAMILIES: dict[str, JSON] = {
    "flow_matching": {},
    "diffusion": {},
    "vae": {"beta": 0.1, "warmup": 100, "std": 0.3, "latent_dim": 8, "observation_noise": False},
    "latent": {
        "frame_latents": True,
        "vae": {"beta": 0.3, "noise": 0.1, "std": 0.1, "observation_noise": False},
        "second": {"min_t": 0.15},
    },
    "autoregressive": {"exposure_noise": 0.01},
    "normalizing_flow": {"coupling": "spline"},
    "gan": {},
}
ON_TORSIONS = ("autoregressive", "normalizing_flow")
TORSION_FIELDS = {"torsions": 3, "angles": 3}
RESULTS = Path(__file__).parent / "results"
TRIAL = 24  # steps timed to choose the number of steps


def configuration(family: str, encoder: str, dim: int) -> JSON:
    """The model of a cell with an encoder of that width."""
    network: JSON = {"name": encoder, "dim": dim}
    if encoder == "transformer" and family in ON_TORSIONS:
        network["fields"] = TORSION_FIELDS
    return {
        "space": {"name": "torsions" if family in ON_TORSIONS else "backbone"},
        "encoder": network,
        "family": {"name": family} | FAMILIES[family],
        "conditions": ["length", "secondary_structure", "fractions"],
    }


def size(config: JSON) -> int:
    """Parameters of a model."""
    return sum(p.numel() for p in build_model(config).family.parameters())


def sized(family: str, encoder: str, parameters: int) -> JSON:
    """The configuration whose parameters are nearest to a number."""
    choices = {dim: size(configuration(family, encoder, dim)) for dim in range(16, 161, 4)}
    return configuration(family, encoder, min(choices, key=lambda dim: abs(choices[dim] - parameters)))


def trained(config: JSON, store: Store, minutes: float, seed: int) -> tuple[Model, JSON]:
    """A model after so many minutes of CPU time, and what the training was."""

    def fit(steps: int) -> tuple[Model, float]:
        torch.manual_seed(seed)
        family = dict(config["family"])
        if family["name"] == "latent":  # 3 of 5 steps for the autoencoder
            family["first_stage"] = max(1, 3 * steps // 5)
        settings = TrainSettings(
            steps=steps, max_pairs_per_batch=20_000, warmup=min(200, steps // 10), ema=0.99, log_every=max(1, steps),
            seed=seed, validate_every=10**9,
        )  # fmt: skip
        begun = time.process_time()
        model = train(build_model(config | {"family": family}), store, settings, machine=Machine("cpu"))
        return model, time.process_time() - begun

    fit(2)  # what only the first steps of a process cost
    pace = fit(TRIAL)[1] / TRIAL
    steps = max(TRIAL, int(60 * minutes / pace))
    model, seconds = fit(steps)
    return model, {"steps": steps, "CPU minutes": round(seconds / 60, 2)}


def likelihood(model: Model, store: Store, seed: int, count: int = 16) -> JSON:
    """Held-out nats a residue, y unknown, with what kind of number it is."""
    family = model.family
    if not isinstance(family, LikelihoodFamily):
        return {"kind": "none"}
    nats, noise, kind = [], [], ""
    for i in store.indices("validation")[:count]:
        batch = collate([store[int(i)]])
        state = family.space.encode(batch)
        rng = torch.Generator().manual_seed(seed)
        found = family.log_prob(state, model.conditions.unknown(batch.mask), rng)
        kind = found.kind
        nats.append(-float(found.nats[0]) / int(batch.mask.sum()))
        noise.append(-float(log_noise(family.space, NoisePath(), state)[0]) / int(batch.mask.sum()))
    first = family.first if isinstance(family, IterativeFamily) else None
    return {
        "kind": kind,
        "first": first,
        "-log p / l": asdict(summarise(np.array(nats))),
        "noise baseline": float(np.mean(noise)),
    }


def cell(family: str, encoder: str, options: argparse.Namespace) -> JSON:
    """Train, sample and evaluate one cell; what the parent process asks of its child."""
    torch.set_num_threads(1)
    store = Store(options.store)
    config = sized(family, encoder, options.parameters)
    model, training = trained(config, store, options.minutes, options.seed)
    model = Model(model.family.eval(), model.conditions, config, fit_store(store))
    model.family.autocast_dtype = None
    begun = time.process_time()
    designs = list(generate(model, [Length(SHORTEST, LONGEST)], options.n, options.seed, SampleSettings(device="cpu")))
    seconds = time.process_time() - begun
    traces = [ca_trace(design.protein) for design in designs]
    picture = options.out / f"{family}_{encoder}.png"
    draw_backbones([design.protein for design in designs[:4]], picture, columns=4)
    return {
        "model": config,
        "parameters": sum(p.numel() for p in model.family.parameters()),
        **training,
        "n": options.n,
        "CPU seconds per sample": round(seconds / options.n, 2),
        "after relaxation": figures([design.protein for design in designs]),
        "before relaxation": figures([design.raw for design in designs]),
        "clusters / samples at TM 0.5": diversity(traces, jobs=1).clusters_per_sample,
        "clusters by": str(Clustering()),
        "likelihood": likelihood(model, store, options.seed),
    }


COLUMNS = {
    "no break": "no chain break",
    "no clash": "no heavy-atom clash < 2.0 Å",
    "Rama": "Ramachandran favoured",
    "H + E": "helix + strand",
    "E": "strand",
    "Rg ok": "Rg within 15 % of natives",
}


def row_of_designs(family: str, encoder: str, result: JSON) -> list[str]:
    """A row of the table of designs."""
    figures = result.get("after relaxation") or result["after clean-up"]
    return [
        f"`{family}`",
        f"`{encoder}`",
        f"{result['parameters'] / 1e6:.2f} M",
        str(result["steps"]),
        *(f"{100 * figures[name]['mean']:.0f} %" for name in COLUMNS.values()),
        f"{result['clusters / samples at TM 0.5']:.2f}",
        str(result["CPU seconds per sample"]),
    ]


KINDS = {"exact": "exact", "lower_bound": "upper bound", "estimate": "estimate of an upper bound"}


def row_of_density(family: str, encoder: str, density: JSON) -> list[str]:
    """A row of the table of one space: -log p / l, standard error, n, kind; and what an older file lacks."""
    name = [f"`{family}`", f"`{encoder}`"]
    found = density.get("-log p / l")
    if found is None and family in ("flow_matching", "latent"):  # the prior of `latent` is a flow
        return [*name, "", "", "", "to be run again: recorded before flows began at a noisy point"]
    sign = 1 if found is not None else -1  # older files have log p / l
    found = found or density["nats per residue"]
    error = abs(found["ci_high"] - found["ci_low"]) / (2 * 1.96)
    return [*name, f"{sign * found['mean']:.2f}", f"{error:.2f}", str(found["n"]), KINDS[density["kind"]]]


def lines_of(heads: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *(f"| {' | '.join(row)} |" for row in rows)]


def table(results: dict[tuple[str, str], JSON], command: str, noise: JSON) -> str:
    """The cells as Markdown: designs, then densities over each space."""
    made = {which: result for which, result in results.items() if "failed" not in result}
    heads = ["family", "encoder", "parameters", "steps", *COLUMNS, "clusters", "s / sample"]
    lines = ["# Families side by side", "", *lines_of(heads, [row_of_designs(*w, r) for w, r in made.items()]), ""]
    lines += [f"`{family}` over `{encoder}` failed: {result['failed']}" for (family, encoder), result in results.items()
              if "failed" in result]  # fmt: skip
    first = next(iter(results.values()))
    lines.append(
        f"Made by `{command}` on {first['machine']}. Figures are means over n = {first['n']} designs after relaxation"
        "; the JSON files beside the table's script have intervals, and the figures before it."
    )
    for space, words in (("backbone", "frames"), ("torsions", "torsions")):
        rows = [
            row_of_density(*which, result["likelihood"])
            for which, result in made.items()
            if result["model"]["space"]["name"] == space and result["likelihood"]["kind"] != "none"
        ]
        base = noise[space]
        lines += [
            "",
            f"## Densities over {words}",
            "",
            f"-log p / l in nats of held-out natives, y unknown, lower is likelier; {VOLUMES[space]}. The noise of the "
            f"space itself gives {base['nats per residue']:.2f} ± {base['standard error']:.2f} (n = {base['n']} "
            "natives of 40-96 residues): a model above it has learned less than nothing. Numbers of the two spaces are "
            "densities over different volumes and cannot be compared.",
            "",
            *lines_of(["family", "encoder", "-log p / l", "standard error", "n", "kind of -log p"], rows),
        ]
    return "\n".join([*lines, ""])


VOLUMES = {
    "backbone": "p is a density with respect to Å^(3 (l - 1)) rad^(3 l)",
    "torsions": "p is a density with respect to radians and standard deviations of bond angles, of what exists",
}


def released(result: JSON) -> list[str]:
    """What `likelihoods.py` found of the released models, and of how the flow's number converges."""
    rows = [
        [f"`{name}`", m["space"], f"{m['nats per residue']:.2f}", f"{m['standard error']:.2f}", str(m["n"]),
         KINDS[m["kind of log p"]], "" if m["flow"] is None else f"t = {m['flow']['first']:g}, "
         f"{m['flow']['steps']} steps, {m['flow']['draws']} draws of 1 probe",
         f"{m['noise baseline']:.2f}"]
        for name, m in result["models"].items()
    ]  # fmt: skip
    lines = [
        "",
        "## Released models",
        "",
        f"Validation chains of {result['chains']['lengths'][0]}-{result['chains']['lengths'][1]} residues, few as "
        "it is a check and no benchmark; `python benchmarks/likelihoods.py CHAINS`. Compare within a space.",
        "",
        *lines_of(
            ["model", "space", "-log p / l", "standard error", "n", "kind of -log p", "first time", "noise"], rows
        ),
    ]
    if "convergence" in result:
        rows = [
            [f"{r['first']:g}", str(r["steps"]), str(r["draws"]), str(r["probes"]),
             ", ".join(f"{v:.2f}" for v in r["each"]), ", ".join(f"{v:.2f}" for v in r["error of each"])]
            for r in result["convergence"]["rows"]
        ]  # fmt: skip
        lines += [
            "",
            f"How the number of `{result['convergence']['model']}` depends on where and how finely it is integrated, "
            "for single chains and the same draws. An earlier first time is another, valid, bound; below the clip of "
            "the training weights (0.1) the network decides it. Fewer than 40 steps give too low a number; from 40 to "
            "160 it changes by less than the standard error of two draws, and by more probes by no more than that; "
            "from 0.05 it still rises at 80. The default is 50.",
            "",
            *lines_of(
                ["first time", "steps", "draws", "probes", "-log p / l of each chain", "standard error of each"], rows
            ),
        ]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5.0, help="CPU time of each training")
    parser.add_argument("--parameters", type=int, default=600_000)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--encoders", default="egnn,gvp")
    parser.add_argument("--n", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time; CPU time is each process's own")
    parser.add_argument("--table", type=Path, default=None, help="where the table goes; printed as well")
    parser.add_argument("--cell", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.cell is not None:
        family, encoder = options.cell.split(":")
        (options.out / f"{family}_{encoder}.json").write_text(
            json.dumps(cell(family, encoder, options), indent=1) + "\n"
        )
        return
    command = (
        f"python benchmarks/families_proteins.py STORE --minutes {options.minutes:g} --parameters {options.parameters} "
        f"--n {options.n} --seed {options.seed}"
    )
    machine = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    cells = [
        (family, encoder)
        for family in options.families.split(",")
        for encoder in (["transformer"] if family == "normalizing_flow" else options.encoders.split(","))
    ]

    def run(which: tuple[str, str]) -> JSON:
        """The result of a cell, from its file or by a process of its own."""
        path = options.out / f"{which[0]}_{which[1]}.json"
        if not path.is_file() or json.loads(path.read_text()).get("command") != command:
            order = [sys.executable, __file__, *sys.argv[1:], "--cell", ":".join(which)]
            one = os.environ | {"OMP_NUM_THREADS": "1"}
            done = subprocess.run(order, env=one, stderr=subprocess.PIPE, text=True, check=False)
            if done.returncode == 0:
                result = json.loads(path.read_text())
            else:
                result = {"failed": (done.stderr.strip().splitlines() or ["killed"])[-1]}
            path.write_text(json.dumps({"command": command, "machine": machine} | result, indent=1) + "\n")
        return json.loads(path.read_text())

    noise = json.loads((RESULTS / "likelihood_baselines.json").read_text())
    results: dict[tuple[str, str], JSON] = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        for which, result in zip(cells, pool.map(run, cells), strict=True):
            results[which] = result
            print(table({which: result}, command, noise).splitlines()[4], flush=True)
    text = table(results, command, noise)
    if (RESULTS / "likelihoods.json").is_file():
        lines = released(json.loads((RESULTS / "likelihoods.json").read_text()))
        text = "\n".join([text.rstrip(), *lines, ""])
    print(text)
    if options.table is not None:
        options.table.write_text(text)


if __name__ == "__main__":
    main()
