"""Fit the densities and levels of `protgen/metrics/ramachandran_molprobity.py`, and measure how far MolProbity is.

    python benchmarks/fit_molprobity.py CHAINS CCTBX_PYTHON [--sets NAME=DIR ...]
        [--out protgen/metrics/reference] [--results benchmarks/results/molprobity.json]

CHAINS holds `index.csv` and the chains it lists; training chains at 1.8 Å or better and of good covalent geometry are
fitted, all validation chains but NMR models are measured. CCTBX_PYTHON is the Python of an environment with the wheel
`cctbx-base`, which this package does not depend on. Sets are folders of designs. Twenty files of each set are given to
`ramalyze` whole too, placeholder glycines named ALA, to see that it judges the residues and classes that we do.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from fit_reference import fit_density

from protgen.errors import StructureError
from protgen.metrics.bonds import Bonds
from protgen.metrics.ramachandran import UNCLASSIFIED, log_density, placeholder_glycines
from protgen.metrics.ramachandran_molprobity import CLASSES, SCALE, molprobity_classes, molprobity_verdicts
from protgen.metrics.reference_data import ramachandran_reference
from protgen.structure.links import backbone_torsions, links
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.writer import write_structure

FAVOURED = 0.02  # score
ALLOWED = np.array([0.0005, 0.001, 0.002, 0.001, 0.001, 0.001])  # by class
RESOLUTION = 1.8  # Å
BANDWIDTHS = np.array([2.0, 3.0, 4.0, 5.0, 6.5, 8.0, 10.0, 12.0, 15.0])  # degrees
MIDDLE_BANDWIDTH, FITTED_AT = 3.0, 75_000  # degrees, for so many residues; it falls as n^(-1/6) (Scott, 1992)
SENSITIVITY = 0.15  # power of the pilot density by which bandwidths differ; these two agree best with ramalyze
MAX_OUTLIERS = 0.01  # of lengths and angles beyond 4 sigma
WHOLE = 20  # files of each set that ramalyze reads itself
SCORES = """
import sys, numpy as np
from mmtbx.rotamer.ramachandran_eval import RamachandranEval
rows = np.load(sys.argv[1]); score = RamachandranEval().rama_eval.get_score
np.save(sys.argv[1], np.array([score(int(c), float(x), float(y)) for x, y, c in rows.T]))
"""
COUNTS = """
import sys, json, iotbx.pdb
from mmtbx.validation.ramalyze import ramalyze
counts = [0, 0, 0]
for file in sys.argv[1:]:
    found = ramalyze(iotbx.pdb.input(file).construct_hierarchy(), outliers_only=False)
    for k, n in enumerate((found.n_favored, found.n_outliers, found.n_total)): counts[k] += n
print(json.dumps(counts))
"""


def torsions(protein: Protein) -> np.ndarray:
    """(3, n) phi and psi in degrees and MolProbity's class of the residues that have both."""
    joints = links(protein)
    phi, psi, omega = backbone_torsions(protein, joints)
    known = np.isfinite(phi) & np.isfinite(psi)
    classes = molprobity_classes(protein, omega, joints)
    return np.stack([np.rad2deg(phi[known]), np.rad2deg(psi[known]), classes[known]])


def good(protein: Protein) -> bool:
    """Whether at most one in a hundred lengths and angles is an outlier."""
    return Bonds().measure(protein)["geometry_outliers"] <= MAX_OUTLIERS


def natives(chains: Path, split: str, resolution: float | None = None) -> list[Protein]:
    """Chains of a split that can be read; with a resolution, those known to be as good."""
    with (chains / "index.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["split"] == split and "NMR" not in row["method"]]
    if resolution is not None:
        rows = [row for row in rows if row["resolution"] and float(row["resolution"]) <= resolution]
    found = []
    for row in rows:
        try:
            found.append(read_structure(chains / row["file"]))
        except StructureError:
            continue
    return found


def scores(rows: np.ndarray, python: str) -> np.ndarray:
    """(n,) MolProbity's scores."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.npy"
        np.save(file, rows)
        subprocess.run([python, "-c", SCORES, str(file)], check=True, env={})
        return np.load(file)


def density_of(degrees: np.ndarray) -> np.ndarray:
    """(g, g) log density of (2, n) phi and psi: a kernel density whose bandwidth falls with a pilot density."""
    middle = MIDDLE_BANDWIDTH * (degrees.shape[1] / FITTED_AT) ** (-1 / 6)
    return fit_density(*np.deg2rad(degrees), middle, SENSITIVITY, BANDWIDTHS).astype(np.float16)


def fit(rows: np.ndarray, python: str) -> dict[str, np.ndarray]:
    """Densities, and levels at which our shares of each class are MolProbity's."""
    theirs, grids, favoured, allowed = scores(rows, python), [], [], []
    for index, name in enumerate(CLASSES):
        own = rows[2] == index
        grids.append(density_of(rows[:2, own]))
        ours = log_density(*np.deg2rad(rows[:2, own]), np.zeros(own.sum(), int), grids[-1][None].astype(float))
        favoured.append(np.quantile(ours, (theirs[own] < FAVOURED).mean()))
        allowed.append(np.quantile(ours, (theirs[own] < ALLOWED[index]).mean()))
        print(f"{name}: {own.sum()} residues")
    return {"log_density": np.stack(grids), "favoured": np.array(favoured), "allowed": np.array(allowed)}


def agreement(proteins: list[Protein], python: str) -> dict[str, float]:
    """Shares of a set by both, from the same torsions, and by ramalyze itself on some whole files."""
    rows = np.concatenate([torsions(protein) for protein in proteins], axis=1)
    theirs, classes, reference = scores(rows, python), rows[2].astype(int), ramachandran_reference(SCALE)
    ours = log_density(*np.deg2rad(rows[:2]), classes, reference.log_density)
    pair = {
        "favoured": (ours >= reference.favoured[classes], theirs >= FAVOURED),
        "outliers": (ours < reference.allowed[classes], theirs < ALLOWED[classes]),
    }
    result = {"structures": len(proteins), "residues": len(ours)}
    for name, (mine, other) in pair.items():
        result |= {name: round(float(mine.mean()), 4), f"{name}_molprobity": round(float(other.mean()), 4)}
        result |= {f"{name}_same_residues": round(float((mine == other).mean()), 4)}
    return result | whole_files(proteins[:WHOLE], python)


def whole_files(proteins: list[Protein], python: str) -> dict[str, float]:
    """Counts by ramalyze from files, and ours of the same structures."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for k, protein in enumerate(proteins):
            names = np.where(placeholder_glycines(protein), "ALA", protein.residue_names)
            files.append(str(Path(folder) / f"{k}.pdb"))
            write_structure(replace(protein, residue_names=names), files[-1])
        done = subprocess.run([python, "-c", COUNTS, *files], check=True, capture_output=True, text=True, env={})
    favoured, outliers, total = json.loads(done.stdout.splitlines()[-1])
    verdicts = np.concatenate([molprobity_verdicts(protein) for protein in proteins])
    verdicts = verdicts[verdicts != UNCLASSIFIED]
    return {
        "whole_residues": len(verdicts),
        "whole_residues_molprobity": total,
        "whole_favoured": round(float((verdicts == 2).mean()), 4),
        "whole_favoured_molprobity": round(favoured / total, 4),
        "whole_outliers": round(float((verdicts == 0).mean()), 4),
        "whole_outliers_molprobity": round(outliers / total, 4),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chains", type=Path)
    parser.add_argument("python")
    parser.add_argument("--sets", nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=Path("protgen/metrics/reference"))
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/molprobity.json"))
    args = parser.parse_args()
    fitted = [protein for protein in natives(args.chains, "train", RESOLUTION) if good(protein)]
    reference = fit(np.concatenate([torsions(protein) for protein in fitted], axis=1), args.python)
    np.savez_compressed(args.out / f"{SCALE}.npz", **reference)  # pyright: ignore[reportArgumentType]
    ramachandran_reference.cache_clear()  # the agreement is measured with what has just been fitted
    sets = {"validation": natives(args.chains, "validation")}
    for entry in args.sets:
        name, _, folder = entry.partition("=")
        files = sorted(file for file in Path(folder).rglob("*.pdb*") if file.is_file())
        found = [read_structure(file) for file in files]
        sets[name] = [protein for protein in found if protein.mask[:, :4].all(axis=1).any()]
    content = {"chains": len(fitted), "agreement": {name: agreement(own, args.python) for name, own in sets.items()}}
    args.results.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(content, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
