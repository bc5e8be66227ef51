"""Fit the limits of `protgen/metrics/soundness.py` to natives, and say which share of natives exceeds each.

    python benchmarks/fit_soundness.py CHAINS [--out protgen/metrics/reference/soundness.json] [--jobs 1]

CHAINS holds `index.csv` (columns file, split, resolution, method, length) and the chains it lists. Fitted are whole
training chains of 40 to 300 residues, by crystallography at 2.5 Å or better where the resolution is known, of good
covalent geometry that stand on their own: their Rg is at most 1.25 times the median of their length (the others are
rods, hooks and arms that fold with partners, which one chain does not show), and they are not rich in cysteine (4 or
more, above 3 %: disulfides and metals hold up to 80 % coil together, and a backbone cannot count on them). At most one
in twenty of these is beyond each limit. Statistics are written, never structures.
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from protgen.errors import StructureError
from protgen.metrics.bonds import Bonds
from protgen.metrics.reference_data import SoundnessReference
from protgen.metrics.soundness import FAULTS, measures
from protgen.parallel import run
from protgen.structure.reader import read_structure

SHARE = 0.05  # of natives that stand on their own beyond each limit, at most
SMOOTHED_SHARE = 0.043  # the same where a parabola smooths the limit, which adds some tenths of a percent
GLOBULAR = 1.25  # Rg over the median of natives of that length
RICH, RICH_SHARE = 4, 0.03  # cysteines, and their share of the residues
SHORTEST, LONGEST = 40, 300  # residues
WORST_RESOLUTION = 2.5  # Å, where it is known
MAX_OUTLIERS, MAX_TWISTED = 0.01, 0.02  # of lengths and angles beyond 4 sigma; of peptide bonds
EDGES = np.array([40, 50, 60, 70, 80, 95, 110, 130, 160, 200, 240, 301])  # residues
BY_LENGTH = ("packing", "joint", "coil")  # whose natives change with length; other limits are the same for all
Row = dict[str, float]


def listed(chains: Path, split: str) -> list[Path]:
    """Chains of one split that may be fitted."""
    with (chains / "index.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["split"] == split and row["n_breaks"] == "0"]
    rows = [row for row in rows if SHORTEST <= int(row["length"]) <= LONGEST and "NMR" not in row["method"]]
    return [chains / r["file"] for r in rows if not r["resolution"] or float(r["resolution"]) <= WORST_RESOLUTION]


def measure(path: Path) -> Row | None:
    """The numbers of one chain; None if it cannot be read, has several chains, a break or bad geometry."""
    try:
        protein = read_structure(path)
    except StructureError:
        return None
    bonds = Bonds().measure(protein)
    good = bonds["geometry_outliers"] <= MAX_OUTLIERS and bonds["omega_twisted"] <= MAX_TWISTED
    if len(protein.chains) > 1 or bonds["chain_breaks"] or bonds["missing_segments"] or not good:
        return None
    return measures(protein) | {"cysteines": float((protein.residue_names == "CYS").sum())}


def alone(row: Row) -> bool:
    """Whether a native stands on its own: globular, and not rich in cysteine."""
    rich = row["cysteines"] >= RICH and row["cysteines"] > RICH_SHARE * row["length"]
    return row["rg_chain_ratio"] <= GLOBULAR and not rich


def measure_all(paths: Sequence[Path], jobs: int) -> list[Row]:
    """The chains that could be measured."""
    outcomes = sorted(run(measure, paths, jobs=jobs), key=lambda outcome: outcome.index)
    return [outcome.result for outcome in outcomes if outcome.result is not None]


def column(rows: Sequence[Row], name: str) -> np.ndarray:
    """(n,) values of a column."""
    return np.array([row[name] for row in rows])


def curve(length: np.ndarray, values: np.ndarray, share: float, by_length: bool) -> np.ndarray:
    """A percentile of natives by length: one for all, or those of bins, smoothed by a parabola in log L."""
    if not by_length:
        return np.full(len(EDGES) - 1, np.quantile(values, share, method="higher" if share > 0.5 else "lower"))
    parts = [values[(length >= low) & (length < high)] for low, high in pairwise(EDGES)]
    x, n = np.log(centres(length)), np.array([len(part) for part in parts])
    found = np.array([np.quantile(part, share) for part in parts])
    return np.polynomial.Polynomial.fit(x, found, 2, w=np.sqrt(n))(x)


def centres(length: np.ndarray) -> np.ndarray:
    """Geometric mean length of each bin."""
    return np.array([np.exp(np.log(length[(length >= a) & (length < b)]).mean()) for a, b in pairwise(EDGES)])


def beyond(rows: Sequence[Row], reference: SoundnessReference) -> dict[str, np.ndarray]:
    """(n,) bool a limit: the rows that exceed it."""
    return {
        fault.column: np.array(
            [fault.sign * row[fault.column] > fault.sign * reference.at(fault.column, row["length"]) for row in rows]
        )
        for fault in FAULTS
    }


def fit(rows: list[Row]) -> SoundnessReference:
    """Medians and limits of natives."""
    good = [row for row in rows if alone(row)]
    length = column(good, "length")
    middle = curve(length, column(good, "neighbours"), 0.5, True)
    reference = SoundnessReference(centres(length), {"neighbours": middle})
    for row in rows:
        row["packing"] = row["neighbours"] / reference.at("neighbours", row["length"])
    for fault in FAULTS:
        by_length = fault.column in BY_LENGTH
        share = SMOOTHED_SHARE if by_length else SHARE
        values = column(good, fault.column)
        reference.curves[fault.column] = curve(length, values, 1 - share if fault.sign > 0 else share, by_length)
    return reference


def shares(rows: list[Row], reference: SoundnessReference) -> dict[str, object]:
    """Share of natives beyond each limit and beyond any; of all of them, and of those that stand on their own."""
    for row in rows:
        row["packing"] = row["neighbours"] / reference.at("neighbours", row["length"])
    result: dict[str, object] = {}
    for name, part in (("all", rows), ("alone", [row for row in rows if alone(row)])):
        found = beyond(part, reference)
        each = {key: round(float(value.mean()), 3) for key, value in found.items()}
        result[name] = {"n": len(part), **each, "any": round(float(np.any(list(found.values()), axis=0).mean()), 3)}
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chains", type=Path)
    parser.add_argument("--out", type=Path, default=Path("protgen/metrics/reference/soundness.json"))
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    rows = measure_all(listed(args.chains, "train"), args.jobs)
    reference = fit(rows)
    content = {
        "length": np.round(reference.length, 1).tolist(),
        "curves": {name: np.round(values, 4).tolist() for name, values in reference.curves.items()},
        "beyond": {
            "train": shares(rows, reference),
            "validation": shares(measure_all(listed(args.chains, "validation"), args.jobs), reference),
        },
    }
    args.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(content, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
