"""Is a design the fold of the sequences that are designed for it? Refolds of natives, of decoys and of designs.

    pip install "protgen[design,refold]"
    python benchmarks/refold.py STORE --out benchmarks/results/refold.json [-n 28] [--networks a]
        [--designs NAME=FOLDER ...] [--single]

For each backbone ProteinMPNN writes 48 sequences at T = 0.3, which trRosetta reads as an alignment, and a backbone is
folded from what it predicts (`protgen.folding.trrosetta`). `refold_tm` and `refold_rmsd` compare it with the backbone.
The ProteinMPNN score is the mean negative log-likelihood of 8 sequences at T = 0.1, nats a residue. With `--single`
the best of those 8 by it is folded alone besides (`single_tm`, `single_rmsd`), the weaker second mode of the folder.
`cpu_s` are the CPU seconds of sequences and refold of a backbone, those of the single mode left out.

Sets: natives (validation items of 60-100 residues), and two kinds of decoys that are made of them: loops (phi and psi
of each coil residue drawn from those of all natives, other angles kept, ideal bonds) and noise (10 degrees on each phi
and psi). Then the backbones of each FOLDER. AUCs say how well natives are told from each set. All-helix backbones fold
easily: so there are figures for those with strand (>= 10 %), and for the compact among them.
The judge is relative and is not designability: its alignment comes from the backbone itself.

A row a backbone is kept; a second run makes what is missing.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from folding import ENOUGH_STRAND, natives
from scipy.stats import mannwhitneyu

from protgen.atomic import write_text
from protgen.data.store import Store
from protgen.evaluation.collect import collect_files
from protgen.evaluation.laptop_refold import NEAR
from protgen.folding.trrosetta import TrRosetta
from protgen.inverse_folding.base import SequenceTask
from protgen.inverse_folding.proteinmpnn import ProteinMPNN
from protgen.metrics.base import summarise
from protgen.metrics.compactness import expected_radius_of_gyration, radius_of_gyration
from protgen.metrics.self_consistency import score_refold
from protgen.structure.dssp import assign_dssp
from protgen.structure.ideal import build_from_torsions
from protgen.structure.links import backbone_torsions
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.sheets import sheets_of

SCORED, COOL = 8, 0.1  # sequences of the score, and their temperature
SPREAD = np.radians(10.0)
AVERAGED = ("refold_tm", "single_tm", "mpnn_score", "bonded", "helix", "strand", "cpu_s")
LOOSE = 1.25  # Rg over that of natives of the length
GROUPS: dict[str, Callable[[dict], bool]] = {
    "all": lambda row: True,
    "strand >= 10 %": lambda row: row["strand"] >= ENOUGH_STRAND,
    "of these compact": lambda row: row["strand"] >= ENOUGH_STRAND and row["rg_ratio"] < LOOSE,
}

Row = dict[str, Any]


def loops_drawn_anew(proteins: list[Protein], seed: int) -> Iterator[Protein]:
    """Natives whose coil residues have the torsions of other coil residues."""
    torsions = [backbone_torsions(protein) for protein in proteins]
    coils = [assign_dssp(protein.backbone[None])[0] == "C" for protein in proteins]
    pool = np.concatenate([np.stack([t[0], t[1]], 1)[coil] for t, coil in zip(torsions, coils, strict=True)])
    pool = pool[np.isfinite(pool).all(1)]
    for i, (protein, (phi, psi, omega), coil) in enumerate(zip(proteins, torsions, coils, strict=True)):
        drawn = pool[np.random.default_rng([seed, i]).integers(len(pool), size=len(phi))]
        yield chain(str(protein.name), np.where(coil, drawn[:, 0], phi), np.where(coil, drawn[:, 1], psi), omega)


def with_noise(proteins: list[Protein], seed: int) -> Iterator[Protein]:
    """Natives with noise on each phi and psi."""
    for i, protein in enumerate(proteins):
        phi, psi, omega = backbone_torsions(protein)
        noise = SPREAD * np.random.default_rng([seed, i]).standard_normal((2, len(phi)))
        yield chain(str(protein.name), phi + noise[0], psi + noise[1], omega)


def chain(name: str, phi: np.ndarray, psi: np.ndarray, omega: np.ndarray) -> Protein:
    """A chain of ideal bonds; an angle that is not known, as at a break, is 180 degrees."""
    angles = [np.where(np.isfinite(a), a, np.pi) for a in (phi, psi, omega)]
    return Protein.from_backbone(build_from_torsions(*angles), name=name)


def judge(protein: Protein, folder: TrRosetta, writer: ProteinMPNN, seed: int, single: TrRosetta | None) -> Row:
    """The figures of one backbone."""
    task, begun = SequenceTask(), time.process_time()
    scored = writer.at_temperature(COOL).propose(protein, SCORED, seed, task)
    many = writer.at_temperature(folder.diversity).propose(protein, folder.depth, seed, task)
    found = folder.fold_alignment([each.sequence for each in many])
    score = score_refold(protein, found.protein, np.asarray(found.plddt))
    spent = time.process_time() - begun
    alone: dict[str, float] = {}
    if single is not None:
        best = min(scored, key=lambda each: each.score)
        refold = single.fold_alignment([best.sequence])
        against = score_refold(protein, refold.protein, np.asarray(refold.plddt))
        alone = {"single_tm": round(against.tm, 4), "single_rmsd": round(against.rmsd, 3)}
    codes, sheets = assign_dssp(protein.backbone[None])[0], sheets_of(protein)
    return {
        "name": protein.name,
        "length": protein.length,
        "refold_tm": round(score.tm, 4),
        "refold_rmsd": round(score.rmsd, 3),
        **alone,
        "mpnn_score": round(float(np.mean([each.score for each in scored])), 4),
        "bonded": round(sheets.bonded, 4),
        "helix": round(float((codes == "H").mean()), 4),
        "strand": round(float((codes == "E").mean()), 4),
        "rg_ratio": round(radius_of_gyration(protein) / expected_radius_of_gyration(protein.length), 4),
        "cpu_s": round(spent, 2),
    }


def figures(rows: list[Row]) -> dict[str, Any]:
    """Means with 95 % intervals of each group of backbones."""
    found = {}
    for name, belongs in GROUPS.items():
        group = [row for row in rows if belongs(row)]
        if group:
            columns = {key: [row[key] for row in group if key in row] for key in AVERAGED}
            for mode in ("refold", "single"):
                columns[f"{mode}_rmsd < 3 Å"] = [float(r[f"{mode}_rmsd"] < NEAR) for r in group if f"{mode}_rmsd" in r]
            found[name] = {key: asdict(summarise(values)) for key, values in columns.items() if values}
    return found


def told_apart(better: list[Row], worse: list[Row]) -> dict[str, float]:
    """AUC, 1 where the better set always has the better value."""
    n = len(better) * len(worse)
    return {
        name: round(float(mannwhitneyu([s * r[name] for r in better], [s * r[name] for r in worse]).statistic) / n, 3)
        for name, s in (("refold_tm", 1), ("refold_rmsd", -1), ("single_tm", 1), ("mpnn_score", -1))
        if name in better[0] and name in worse[0]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("-n", type=int, default=28, help="natives")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--networks", default="a", help="of trRosetta's five")
    parser.add_argument("--designs", nargs="*", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--single", action="store_true", help="fold single sequences too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    items = natives(Store(options.store), options.n)
    own = [Protein.from_backbone(np.asarray(item.atoms, dtype=float), name=item.id) for item in items]
    sets: dict[str, list[Protein]] = {
        "natives": own,
        "loops drawn anew": list(loops_drawn_anew(own, options.seed)),
        "10 degrees of noise": list(with_noise(own[::3], options.seed)),
    }
    for text in options.designs:
        name, _, folder = text.partition("=")
        sets[name] = [read_structure(path) for _, path in collect_files([Path(folder)])]
    about = {"seed": options.seed, "networks": options.networks, "single": options.single}
    old = json.loads(options.out.read_text()) if options.out.exists() else {}
    kept: dict[str, list[Row]] = old["rows"] if {k: old.get(k) for k in about} == about else {}
    folder, writer = TrRosetta(networks=options.networks), ProteinMPNN()
    single = TrRosetta("single", networks=options.networks) if options.single else None
    for name, proteins in sets.items():
        rows = kept.setdefault(name, [])
        done = {row["name"] for row in rows}
        for protein in proteins:
            if protein.name not in done:
                rows.append(judge(protein, folder, writer, options.seed, single))
                write(options.out, about, kept)
        for group, values in figures(rows).items():
            print(
                name,
                group,
                {k: f"{v['mean']:.3f} [{v['ci_low']:.3f}, {v['ci_high']:.3f}]" for k, v in values.items()},
                values["refold_tm"]["n"],
                flush=True,
            )
    write(options.out, about, kept)


def write(out: Path, about: dict[str, Any], kept: dict[str, list[Row]]) -> None:
    """The figures first, then every row."""
    sets = {name: figures(rows) for name, rows in kept.items()}
    apart = {name: told_apart(kept["natives"], rows) for name, rows in kept.items() if name != "natives" and rows}
    write_text(out, json.dumps({**about, "sets": sets, "AUC, natives against": apart, "rows": kept}, indent=1) + "\n")


if __name__ == "__main__":
    main()
