"""Manifests of public IDs: PDB entry, chain and residue range of three sets, and of what models learned.

    python benchmarks/public_manifests.py CHAINS [--models data/manifests/flow_small.json] [--out data/manifests]

CHAINS is a folder of single chains with an `index.csv` (file, pdb, chain, resolution, cluster40, cath, split). A chain
without a PDB ID, with a chain name of none or with residues out of order cannot be named in public, and is counted.

- `cath_small.csv`: chains with a CATH code, whole, 40 to 128 residues.
- `length_60_128.csv`: chains of 60 to 128 residues, whole, one for each 40 % cluster, as SCOPe sets have them.
- `high_resolution.csv`: chains of 40 to 512 residues at 1.8 Å or better, whole.
- one for each list of models: the items of its JSON, crops by the numbers of their ends.
"""

import argparse
import csv
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np

from protgen.data.manifest import COLUMNS, sequence_digest
from protgen.data.windows import complete_residues, residue_types
from protgen.documents import read_table
from protgen.structure.file_names import stem
from protgen.structure.links import links
from protgen.structure.protein import CA, Protein
from protgen.structure.reader import read_structure
from protgen.structure.trace import radius_of_gyration

RESOLUTION = 1.8  # Å
_CROP = re.compile(r"(.+):([0-9]+)-([0-9]+)")


def place(protein: Protein, k: int) -> str:
    """A residue as ranges name it."""
    number, code = int(protein.residue_numbers[k]), str(protein.insertion_codes[k]).strip()
    return f"({number}){code}" if number < 0 else f"{number}{code}"


def row_of(pdb: str, chain: str, protein: Protein, start: int, stop: int) -> dict[str, object]:
    """The row of a stretch of complete residues."""
    own = protein.select(np.arange(start, stop))
    types = residue_types(own.residue_names)
    ends = f"{place(protein, start)}-{place(protein, stop - 1)}"
    return {
        "id": f"{pdb}_{chain}_{ends.replace('(', '').replace(')', '')}",
        "residues": f"{ends}:{chain}",
        "length": stop - start,
        "rg": f"{radius_of_gyration(own.backbone[:, CA]):.2f}",
        "sequence": sequence_digest(types.tobytes()) if len(set(types.tolist())) > 1 else "",
    }


def unnamed(row: dict[str, str], protein: Protein) -> str:
    """Why a chain has no public name; "" if it has one."""
    if not re.fullmatch(r"[0-9][a-z0-9]{3}", row["pdb"]):
        return "no PDB ID"
    if not re.fullmatch(r"[A-Za-z0-9]{1,4}", row["chain"]):
        return "no chain name"
    numbers = list(zip(protein.residue_numbers.tolist(), protein.insertion_codes.tolist(), strict=True))
    if numbers != sorted(numbers) or len(set(numbers)) < len(numbers):
        return "residue numbers out of order"
    return ""


def write(path: Path, rows: list[dict[str, object]]) -> None:
    """One manifest."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write manifests of public IDs.")
    parser.add_argument("chains", type=Path)
    parser.add_argument("--models", type=Path, nargs="*", default=[Path("data/manifests/flow_small.json")])
    parser.add_argument("--out", type=Path, default=Path("data/manifests"))
    options = parser.parse_args()
    listed = {path: json.loads(path.read_text()) for path in options.models}
    crops: dict[str, list[tuple[Path, str, int, int]]] = {}
    for path, content in listed.items():
        for split in ("train", "validation"):
            for name in content[split]:
                found = _CROP.fullmatch(name)
                bare, first, last = found.groups() if found else (name, 0, 0)
                crops.setdefault(bare, []).append((path, split, int(first), int(last)))
    sets: dict[str, list[dict[str, object]]] = {"cath_small": [], "length_60_128": [], "high_resolution": []}
    sets |= {path.stem: [] for path in listed}
    left: dict[str, Counter[str]] = {name: Counter() for name in sets}
    clusters: set[str] = set()
    for row in read_table(options.chains / "index.csv"):
        protein = complete_residues(read_structure(options.chains / row["file"]))
        whole, reason = not links(protein).broken.any(), unnamed(row, protein)
        known = {"split": row["split"], "cluster": row["cluster40"]}
        length = protein.length
        good = float(row["resolution"] or "inf") <= RESOLUTION
        fits = {
            "cath_small": whole and bool(row["cath"]) and 40 <= length <= 128,
            "length_60_128": whole and 60 <= length <= 128 and row["cluster40"] not in clusters,
            "high_resolution": whole and good and 40 <= length <= 512,
        }
        for name in (name for name, fit in fits.items() if fit):
            left[name][reason or "listed"] += 1
            if not reason:
                sets[name].append(row_of(row["pdb"], row["chain"], protein, 0, length) | known)
                clusters |= {row["cluster40"]} if name == "length_60_128" else set()
        for path, split, first, last in crops.get(stem(Path(row["file"])), []):
            left[path.stem][reason or "listed"] += 1
            if not reason:
                start, stop = (first - 1, last) if last else (0, length)
                sets[path.stem].append(
                    row_of(row["pdb"], row["chain"], protein, start, stop) | known | {"split": split}
                )
    for name, rows in sets.items():
        unique = {str(row["id"]): row for row in rows}
        write(options.out / f"{name}.csv", list(unique.values()))
        print(json.dumps({"set": name, "items": len(unique), "same_id": len(rows) - len(unique), **left[name]}))


if __name__ == "__main__":
    main()
