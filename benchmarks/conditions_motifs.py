"""The parts of `conditions.py` on motifs: scaffolds for published problems, and how well they hold the motif."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from conditions_bench import VALIDITY, Bench, interval, measured, valid_rows

from protgen.conditions.contig_dialects import MotifProblem, read_genie2, read_motifbench, to_placement
from protgen.conditions.length import Length
from protgen.conditions.motif import Motif
from protgen.evaluation.validity import validity
from protgen.generation.design import Design
from protgen.generation.generate import generate
from protgen.metrics.bonds import links
from protgen.metrics.clashes import HEAVY_LIMIT
from protgen.structure.writer import write_structure


def joins_unbroken(design: Design) -> bool:
    """No chain break where the motif meets the scaffold."""
    inside = {entry.index for entry in design.motif}
    joints = [k for k in range(design.protein.length - 1) if (k in inside) != (k + 1 in inside)]
    return not links(design.protein).broken[joints].any()


def motif_clear(design: Design) -> bool:
    """No two backbone atoms of motif and scaffold closer than 2.0 Å, neighbours along the chain apart."""
    backbone = design.protein.backbone
    inside = np.zeros(len(backbone), dtype=bool)
    inside[[entry.index for entry in design.motif]] = True
    own, other = np.flatnonzero(inside), np.flatnonzero(~inside)
    distance = np.linalg.norm(backbone[own][:, None, :, None] - backbone[other][None, :, None], axis=-1).min((2, 3))
    return not (distance[np.abs(own[:, None] - other[None]) > 1] < HEAVY_LIMIT).any()


def scaffold(bench: Bench, problems: Sequence[MotifProblem], label: str) -> dict:
    """n backbones for each problem within the model's reach, written as MotifBench wants them.

    What was measured of each problem is written as soon as it is done, and a run goes on where it stopped.
    """
    shortest, longest = bench.reach
    every: dict[str, list[dict]] = {}
    skipped = []
    wanted = tuple(bench.options.problems.split(","))
    for problem in problems:
        if not problem.name.startswith(wanted):  # all begin with nothing
            continue
        low, high = problem.contig.lengths
        if high < shortest or low > longest:
            skipped.append(f"{problem.name} ({low}-{high})")
            continue
        every[problem.name] = scaffolds(bench, problem, bench.out / label / problem.name)
        means = {name: round(value["mean"], 3) for name, value in motif_figures(every[problem.name]).items()}
        print(problem.name, means, flush=True)
    rows = [row for own in every.values() for row in own]
    return {
        "problems": len(every),
        "out of reach": skipped,
        **motif_figures(rows),
        "validity": valid_rows(rows),
        "by problem": {name: motif_figures(own) for name, own in every.items()},
    }


def scaffolds(bench: Bench, problem: MotifProblem, folder: Path) -> list[dict]:
    """What is measured of each design for one problem; from its file where that was made by the same run."""
    path = folder.with_suffix(".json")
    run = {
        "model": bench.options.model,
        "n": bench.n,
        "seed": bench.seed,
        "settings": asdict(bench.settings),
        "own": bench.model.config.get("sampling", {}),
    }
    run["columns"] = list(VALIDITY)
    if path.is_file() and (found := json.loads(path.read_text()))["run"] == run:
        return found["designs"]
    shortest, longest = bench.reach
    low, high = problem.contig.lengths
    asked = Motif(str(problem.file), str(problem.contig)) & Length(max(low, shortest), min(high, longest))
    designs = sorted(generate(bench.model, asked, bench.n, bench.seed, bench.settings), key=lambda d: d.index)
    export(designs, folder)
    rows = [
        {
            "motif RMSD, Å": measured(design, "motif")[0],
            "joins whole": bool(joins_unbroken(design)),
            "clear": bool(motif_clear(design)),
            **{name: value for name, value in validity(design.protein).items() if name in VALIDITY},
        }
        for design in designs
    ]
    path.write_text(json.dumps({"run": run, "designs": rows}, default=float) + "\n")
    return rows


def motif_figures(rows: Sequence[Mapping]) -> dict:
    """Figures of scaffolds."""
    return {
        "motif RMSD, Å": interval(row["motif RMSD, Å"] for row in rows),
        "motif RMSD < 1 Å": interval(row["motif RMSD, Å"] < 1 for row in rows),
        "no break at the joins": interval(row["joins whole"] for row in rows),
        "no clash of motif and scaffold": interval(row["clear"] for row in rows),
    }


def export(designs: Sequence[Design], folder: Path) -> None:
    """MotifBench's folder of one problem: NAME_0.pdb, NAME_1.pdb, ... and scaffold_info.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["sample_num,motif_placements"]
    for number, design in enumerate(designs):
        write_structure(design.protein, folder / f"{folder.name}_{number}.pdb")
        motif = next(condition for condition in design.asked if isinstance(condition, Motif))
        lines.append(f"{number},{to_placement(motif.parsed)}")
    (folder / "scaffold_info.csv").write_text("\n".join(lines) + "\n")


def rfdiffusion24(bench: Bench) -> dict:
    """RFdiffusion's single-chain problems, from Genie2's files."""
    files = sorted((bench.options.motifs / "rfdiffusion24").glob("*.pdb"))
    return scaffold(bench, [read_genie2(file) for file in files], "rfdiffusion24")


def motifbench(bench: Bench) -> dict:
    """MotifBench's problems."""
    folder = bench.options.motifs / "motifbench"
    problems = read_motifbench(folder / "example_contig_specifications.csv", folder / "motif_pdbs")
    return scaffold(bench, problems, "motifbench")
