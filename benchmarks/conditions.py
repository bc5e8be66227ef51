"""How well conditions are met by a released model, each alone and together, with the validity of what comes out.

    python benchmarks/conditions.py --part rg -n 100 --out benchmarks/results/conditions [--store STORE] [--motifs DIR]

Parts: ss, fold_class, rg, contacts, contact_map, partial, rfdiffusion24, motifbench, symmetry, composed, calibration.
`ss`, `contacts`, `contact_map`, `partial`, `composed` and `calibration` take strings, contacts and structures of
validation natives of 60-100 residues from STORE (`protgen data build CHAINS --out STORE`); the motif parts take the
benchmark files from DIR
(`rfdiffusion24/`, `motifbench/`) and scaffold the problems whose total length the model was trained on, n backbones
each. Each part writes its own JSON. With `--steps 20,40,80` each part is made with each of these, at the same requests
and seeds, in folders `20`, `40`, `80`.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from cath import protein_of
from conditions_bench import HIGH, LOW, Bench, interval, measured, valid, valid_rows
from conditions_motifs import motifbench, rfdiffusion24
from shortened import brief

from protgen.conditions.base import Condition, Conditions
from protgen.conditions.contact_map import ContactMap, elements_of, relation
from protgen.conditions.contacts import Contacts
from protgen.conditions.fold_class import CLASSES, FoldClass
from protgen.conditions.length import Length
from protgen.conditions.partial import Partial
from protgen.conditions.radius_of_gyration import RadiusOfGyration
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.symmetry import Symmetry
from protgen.evaluation.validity import validity
from protgen.generation.design import Design
from protgen.generation.generate import generate
from protgen.generation.job import prepare
from protgen.metrics.reference_data import typical_radius_of_gyration
from protgen.structure.dssp import to_string
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure

PAIRS, LEAST_APART, NATIVE_CONTACT = 5, 6, 8.0  # contacts asked for: of residues at least 6 apart, CA within 8 Å
SCALES = (0.9, 1.0, 1.15)  # of the native mean radius of gyration
GROUPS = ("C2", "C3", "C4", "D2")
INTERFACE, LEAST_INTERFACE = 8.0, 8  # Å between CA atoms of two chains, and residues of a protomer
NOISES = (0.2, 0.4, 0.6)  # of structures that are varied
UNITS = {
    "contacts": "Å beyond 8 Å",
    "radius_of_gyration": "relative",
}  # of errors; the others are fractions of residues


def ss(bench: Bench) -> dict:
    """Three-state agreement with strings of validation natives."""
    strings = [to_string(item.labels) for item in bench.natives()]
    designs = bench.make([[SecondaryStructure(codes)] for codes in strings])
    agreement = [1 - measured(design, "secondary_structure")[0] for design in designs]
    return {"agreement": interval(agreement), "validity": valid([d.protein for d in designs])}


def fold_class(bench: Bench) -> dict:
    """Fraction of designs in the class asked for."""
    result = {}
    for wanted in CLASSES:
        designs = list(
            generate(bench.model, [Length(LOW, HIGH), FoldClass(wanted)], bench.n, bench.seed, bench.settings)
        )
        met = [measured(design, "fold_class")[1] for design in designs]
        result[wanted] = {"in class": interval(met), "validity": valid([d.protein for d in designs])}
    return result


def radii(designs: Sequence[Design]) -> np.ndarray:
    """Rg of designs, Å."""
    return np.array([validity(design.protein)["rg"] for design in designs], dtype=float)


def rg_requests(bench: Bench, scale: float) -> list[Conditions]:
    """Lengths spread over the range, each with its own radius."""
    lengths = np.linspace(LOW, HIGH, bench.n).round().astype(int).tolist()
    return [Length(n) & RadiusOfGyration(round(scale * typical_radius_of_gyration(n), 3)) for n in lengths]


def rg(bench: Bench) -> dict:
    """Error and correlation of Rg asked at several fractions of what natives have."""
    result, asked, got = {}, [], []
    for scale in SCALES:
        requests = rg_requests(bench, scale)
        designs = bench.make(requests)
        wanted = np.array([request[1].radius for request in requests])  # type: ignore[attr-defined]
        found = radii(designs)
        asked, got = [*asked, *wanted], [*got, *found]
        error = np.abs(found / wanted - 1)
        result[f"{scale} of native"] = {"error": interval(error), "validity": valid([d.protein for d in designs])}
    result["correlation"] = float(np.corrcoef(asked, got)[0, 1])
    return result


def native_contacts(xyz: np.ndarray, rng: np.random.Generator) -> Contacts | None:
    """Five random pairs of a native that touch."""
    ca = xyz[:, 1]
    distance = np.linalg.norm(ca[:, None] - ca[None], axis=-1)
    i, j = np.nonzero(np.triu(distance < NATIVE_CONTACT, k=LEAST_APART))
    if len(i) < PAIRS:
        return None
    picked = rng.choice(len(i), PAIRS, replace=False)
    return Contacts(tuple((int(i[k]) + 1, int(j[k]) + 1, 0.0, NATIVE_CONTACT) for k in picked))


def contacts(bench: Bench) -> dict:
    """Fraction of native pairs, asked for as contacts, that come within 8 and 10 Å."""
    rng = np.random.default_rng(bench.seed)
    requests = []
    for item in bench.natives():
        wanted = native_contacts(np.array(item.atoms, dtype=float), rng)
        if wanted is not None:
            requests.append(Length(len(item.atoms)) & wanted)
    designs = bench.make(requests)
    plain = bench.make([[request[0]] for request in requests])
    result = {}
    for label, made in (("asked", designs), ("not asked", plain)):
        found = [
            distance
            for design, request in zip(made, requests, strict=True)
            for distance in request[1].adherence(design.protein).got
        ]
        result[label] = {
            "within 8 Å": interval(np.array(found) <= 8.0),
            "within 10 Å": interval(np.array(found) <= 10.0),
            "validity": valid([design.protein for design in made]),
        }
    return result


def contact_map(bench: Bench) -> dict:
    """Pairs of strands of natives, with their secondary structure: by what the model has learned, or by energy."""
    requests, natives = [], []
    for item in bench.natives():
        found = strand_map(np.array(item.atoms, dtype=float), to_string(item.labels))
        if found is not None:
            requests.append([found])
            natives.append(protein_of(item))
    designs = bench.make(requests)
    rows = [validity(design.protein) for design in designs]
    met = [request[0].adherence(design.protein) for request, design in zip(requests, designs, strict=True)]
    return {
        "mechanism": prepare(bench.model, requests[0], bench.settings).assignments[0].mechanism,
        "pairs made": interval(1 - each.difference for each in met),
        "all pairs made": interval(each.satisfied for each in met),
        "strand": interval(row["strand"] for row in rows),
        "strand asked": interval(request[0].blueprint.count("E") / len(request[0].blueprint) for request in requests),
        "two partners": interval(row["two_partners"] for row in rows),
        "no fault of a fold": interval(not row["faults"] for row in rows),
        "validity": valid_rows(rows),
        "natives": {"two partners": interval(validity(protein)["two_partners"] for protein in natives)},
    }


def strand_map(xyz: np.ndarray, codes: str) -> ContactMap | None:
    """The secondary structure of a native and which of its strands pair; None where none do."""
    elements, ca = elements_of(codes), xyz[:, 1]
    strands = [k for k, (code, *_) in enumerate(elements) if code == "E"]
    pairs = [(i + 1, j + 1, relation(ca, elements[i], elements[j])) for i, j in combinations(strands, 2)]
    pairs = [pair for pair in pairs if pair[2] in ("parallel", "antiparallel")]
    return ContactMap(codes, tuple(pairs)) if pairs else None


def partial(bench: Bench) -> dict:
    """Natives varied by three levels of noise: how far they have moved, and whether they are whole and sound."""
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, item in enumerate(bench.natives()):
            files.append(Path(folder, f"{number}.pdb"))
            write_structure(protein_of(item), files[-1])
        for noise in NOISES:
            designs = bench.make([[Partial(str(file), noise)] for file in files])
            result[f"noise {noise}"] = {
                "1 - TM to the native": interval(measured(design, "partial")[0] for design in designs),
                "sound": interval(bool(validity(design.protein)["sound"]) for design in designs),
                "validity": valid([design.protein for design in designs]),
            }
    return result


def interface(protein: Protein) -> int:
    """Residues of the first chain whose CA is within 8 Å of another chain's."""
    ca, first = protein.backbone[:, 1], protein.chain_ids == protein.chains[0]
    distance = np.linalg.norm(ca[first][:, None] - ca[~first][None], axis=-1)
    return int((distance < INTERFACE).any(1).sum())


def symmetry(bench: Bench) -> dict:
    """Distance from perfect symmetry, interfaces and clashes of copies made together, and of docked ones.

    Chains that are made together have as many residues as fit the model, docked ones 50 to 80.
    """
    result = {}
    for group in GROUPS:
        together = Length(bench.reach[1] // Symmetry(group).copies)
        for mechanism, length in (("assembly", together), ("construction", Length(50, 80))):
            settings = replace(bench.settings, enforce={"symmetry": mechanism})
            designs = list(generate(bench.model, [length, Symmetry(group)], bench.n, bench.seed, settings))
            rows = [validity(design.protein) for design in designs]
            touching = [interface(design.protein) for design in designs]
            result[f"{group}, {mechanism}"] = {
                "RMSD to perfect symmetry, Å": interval(measured(design, "symmetry")[0] for design in designs),
                "residues of an interface": interval(touching),
                "8 residues or more": interval(n >= LEAST_INTERFACE for n in touching),
                "no clash": interval(row["n_clashes"] == 0 for row in rows),
                "no fault of a fold": interval(bool(row["sound"]) for row in rows),
                "validity": valid([design.protein for design in designs]),
            }
    return result


def composed(bench: Bench) -> dict:
    """Two and three conditions at once, each error against that of the same condition alone."""
    rng = np.random.default_rng(bench.seed)
    parts: dict[str, list[Condition]] = {"secondary_structure": [], "radius_of_gyration": [], "contacts": []}
    for item in bench.natives():
        touching = native_contacts(np.array(item.atoms, dtype=float), rng)
        if touching is not None:
            ca = np.array(item.atoms, dtype=float)[:, 1]
            radius = float(np.sqrt(np.square(ca - ca.mean(0)).sum(-1).mean()))
            parts["secondary_structure"].append(SecondaryStructure(to_string(item.labels)))
            parts["radius_of_gyration"].append(RadiusOfGyration(round(radius, 3)))
            parts["contacts"].append(touching)
    lengths = [Length(condition.length) for condition in parts["secondary_structure"]]  # type: ignore[attr-defined]
    structure, radius, touch = parts
    combinations = [[structure], [radius], [touch], [structure, radius], [structure, touch], [structure, radius, touch]]
    alone: dict[str, float] = {}
    result = {}
    for names in combinations:
        requests = [[length, *(parts[name][k] for name in names)] for k, length in enumerate(lengths)]
        designs = bench.make(requests)
        row = {}
        for name in names:
            error = interval(measured(design, name)[0] for design in designs)
            alone.setdefault(name, error["mean"])
            row[name] = {"error": error, "times its error alone": error["mean"] / max(alone[name], 1e-9)}
            print(" & ".join(names), name, round(error["mean"], 5), flush=True)
        result[" & ".join(names)] = {"errors": row, "validity": valid([design.protein for design in designs])}
    return result


def calibration(bench: Bench) -> dict:
    """Adherence and validity against the weight: of guidance for learned conditions, of the energy for the rest."""
    natives = bench.natives()
    strings = [[SecondaryStructure(to_string(item.labels))] for item in natives]
    mixed = [[Length(len(item.atoms)), FoldClass("mixed")] for item in natives]
    rng = np.random.default_rng(bench.seed)
    found = [(len(item.atoms), native_contacts(np.array(item.atoms, dtype=float), rng)) for item in natives]
    touching = [Length(length) & pairs for length, pairs in found if pairs is not None]
    radii_asked = rg_requests(bench, SCALES[-1])
    panels: dict[str, tuple[Sequence[Sequence[Condition]], tuple[float, ...], bool]] = {
        "secondary_structure": (strings, (1.0, 1.5, 2.0, 3.0), True),
        "fold_class": (mixed, (1.0, 1.5, 2.0, 3.0), True),
        "radius_of_gyration": (radii_asked, (0.0, 0.1, 0.3, 1.0), False),
        "contacts": (touching, (0.0, 0.1, 0.3, 1.0, 3.0), False),
    }
    result: dict[str, list] = {}
    for name, (requests, weights, guided) in panels.items():
        for weight in weights:
            settings = replace(bench.settings, guidance=weight) if guided else None
            weighted = requests if guided else [Conditions.of(request) * weight for request in requests]
            designs = bench.make(weighted, settings)
            error = interval(measured(design, name)[0] for design in designs)
            result.setdefault(name, []).append(
                {"weight": weight, "error": error, "validity": valid([d.protein for d in designs])}
            )
            print(name, weight, round(error["mean"], 4), flush=True)
    plot(result, bench.out / "calibration.png")
    return result


def plot(result: dict[str, list], path: Path) -> None:
    """Error and validity against the weight, a panel for each condition."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(result), figsize=(4.5 * len(result), 3.5))
    for panel, (name, rows) in zip(panels, result.items(), strict=True):
        weights = [row["weight"] for row in rows]
        means = [row["error"]["mean"] for row in rows]
        ends = np.abs([[row["error"][end] for row in rows] for end in ("ci_low", "ci_high")] - np.array(means))
        panel.errorbar(weights, means, yerr=np.nan_to_num(ends), marker="o", label="error")
        favoured = [row["validity"]["Ramachandran favoured"]["mean"] for row in rows]
        whole = [row["validity"]["no chain break"]["mean"] for row in rows]
        right = panel.twinx()
        right.plot(weights, favoured, "s--", color="tab:green", label="Ramachandran favoured")
        right.plot(weights, whole, "^--", color="tab:red", label="no chain break")
        right.set_ylim(0, 1.05)
        panel.set(
            title=name, xlabel="weight", ylabel=f"error, {UNITS.get(name, 'fraction of residues')}", ylim=(0, None)
        )
    entries = [*panel.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
    figure.legend(handles=entries, loc="lower center", ncols=len(entries), frameon=False)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    figure.savefig(path, dpi=120)


PARTS: dict[str, Callable[[Bench], dict]] = {
    function.__name__: function
    for function in (
        ss,
        fold_class,
        rg,
        contacts,
        contact_map,
        partial,
        rfdiffusion24,
        motifbench,
        symmetry,
        composed,
        calibration,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=sorted(PARTS), required=True)
    parser.add_argument("-n", type=int, default=100)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--motifs", type=Path)
    parser.add_argument("--model", default="flow-small")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--problems", default="", help="motif problems by the beginnings of their names: 02,07; all")
    parser.add_argument("--candidates", type=int, help="for each design, in place of the planner's choice")
    parser.add_argument("--steps", default="", help="numbers of steps, each in a folder of its own; the model's own")
    options = parser.parse_args()
    if options.motifs is None and {"rfdiffusion24", "motifbench"} & set(options.part):
        parser.error("the motif parts need --motifs")
    if not options.steps:
        options.steps = None
        return run(options)
    out = options.out
    for steps in map(int, options.steps.split(",")):
        options.steps, options.out = steps, out / str(steps)
        run(options)


def run(options: argparse.Namespace) -> None:
    """All parts that are asked for, with one number of steps."""
    bench = Bench(options)
    bench.out.mkdir(parents=True, exist_ok=True)
    for name in options.part:
        begun = time.perf_counter()
        result = {
            "command": f"python benchmarks/conditions.py --part {name} --model {options.model} -n {options.n} "
            f"--seed {options.seed}"
            + (f" --problems {options.problems}" if options.problems else "")
            + ("" if options.candidates is None else f" --candidates {options.candidates}")
            + ("" if options.steps is None else f" --steps {options.steps}"),
            "model": options.model,
            "settings": asdict(bench.settings),
            "own": bench.model.config.get("sampling", {}),
            "machine": machine(),
            "n": options.n,
            **PARTS[name](bench),
        }
        result["seconds"] = round(time.perf_counter() - begun, 1)
        (bench.out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(name, json.dumps(brief(result), indent=1), flush=True)


def machine() -> str:
    """What the run was on."""
    chip = f"{torch.cuda.get_device_name(0)}, " if torch.cuda.is_available() else ""
    return f"{chip}{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"


if __name__ == "__main__":
    main()
