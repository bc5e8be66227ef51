"""Recovery of native letters by sequence designers, and how their likelihoods agree on designs.

    python benchmarks/inverse_folding.py --natives CHAINS --tools graph_mpnn:RUN/weights proteinmpnn [--n 200]
    python benchmarks/inverse_folding.py --designs FOLDER --tools proteinmpnn graph_mpnn:RUN/weights

Natives are the first N chains of the validation split of `CHAINS/index.csv`, in the order of their files. Each tool
draws one sequence for each at temperature 0.1. Recovery is the fraction of residues whose drawn letter is that of the
file; residues of unknown type are left out. The figures are the median over chains and the mean over residues, with
bootstrap 95 % intervals over chains. ProteinMPNN and Frame2seq were trained on much of the PDB, these chains probably
among them.

Designs are the backbones of a folder. The first tool draws four sequences for each, every tool scores them, and r is
the Pearson correlation of mean log-likelihoods with those of the first tool: over all sequences, over backbones (means
of their sequences), within backbones (what is left after those means). One tool's sequences and not all tools': each
prefers its own, and that difference would decide r.
"""

import argparse
import csv
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from protgen.atomic import write_text
from protgen.errors import ProtgenError
from protgen.evaluation.collect import collect_files
from protgen.evaluation.refolding import build_tool
from protgen.inverse_folding.base import SequenceModel
from protgen.inverse_folding.chain_letters import by_residue
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.residue_names import ONE_LETTER

DRAWN = 4  # sequences of the first tool for each design
RESAMPLED = 2_000


@dataclass(frozen=True)
class Recovered:
    """Right letters and known letters of each chain."""

    right: np.ndarray
    known: np.ndarray

    def figures(self) -> dict[str, object]:
        """Median over chains and mean over residues, with intervals over chains."""
        rng = np.random.default_rng(0)
        drawn = rng.integers(len(self.right), size=(RESAMPLED, len(self.right)))
        each = self.right / self.known
        medians = np.median(each[drawn], axis=1)
        means = self.right[drawn].sum(axis=1) / self.known[drawn].sum(axis=1)
        return {
            "median over chains": round(float(np.median(each)), 4),
            "its 95 % interval": [round(float(x), 4) for x in np.quantile(medians, (0.025, 0.975))],
            "mean over residues": round(float(self.right.sum() / self.known.sum()), 4),
            "its interval": [round(float(x), 4) for x in np.quantile(means, (0.025, 0.975))],
            "chains": len(each),
            "residues": int(self.known.sum()),
        }


def validation(folder: Path, n: int) -> list[Protein]:
    """The first n chains of the validation split that have N, CA and C of every residue that is kept."""
    with (folder / "index.csv").open(newline="") as handle:
        rows = sorted(row["file"] for row in csv.DictReader(handle) if row["split"] != "train")
    found = []
    for file in rows:
        try:
            protein = read_structure(folder / file)
        except ProtgenError:
            continue
        protein = protein.select(np.asarray(protein.mask[:, :3].all(axis=1)))
        if protein.length >= 30:
            found.append(protein)
        if len(found) == n:
            break
    return found


def recovery(tool: SequenceModel, natives: list[Protein], seed: int) -> Recovered:
    """Right letters of one drawn sequence for each native."""
    right, known = [], []
    for protein in natives:
        native = np.array([ONE_LETTER.get(name, "") for name in protein.residue_names.tolist()])
        drawn = by_residue(protein, tool.design(protein, 1, seed)[0])
        right.append(int((native == drawn).sum()))
        known.append(int((native != "").sum()))
    return Recovered(np.array(right), np.array(known))


def agreement(tools: dict[str, SequenceModel], designs: list[Protein], seed: int) -> dict[str, object]:
    """Correlations of the tools' mean log-likelihoods with those of the first, of sequences that it draws."""
    scores: dict[str, list[list[float]]] = {name: [] for name in tools}
    first, *others = tools
    for protein in designs:
        sequences = tools[first].design(protein, DRAWN, seed)
        for name, tool in tools.items():
            scores[name].append([-found.score for found in tool.score(protein, sequences, seed)])
    values = {name: np.array(rows) for name, rows in scores.items()}
    found: dict[str, object] = {"designs": len(designs), "sequences": int(values[first].size)}
    for other in others:
        pair = values[first], values[other]
        means = [value.mean(axis=1, keepdims=True) for value in pair]
        found[other] = {
            "r over sequences": round(correlation(*pair), 3),
            "r over backbones": round(correlation(*means), 3),
            "r within backbones": round(correlation(*(v - m for v, m in zip(pair, means, strict=True))), 3),
        }
    return found


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r of all values."""
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", nargs="+", required=True)
    parser.add_argument("--natives", type=Path)
    parser.add_argument("--designs", type=Path)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tools: dict[str, SequenceModel] = {}
    for reference in options.tools:
        tool = build_tool("inverse_folding", reference)
        if not isinstance(tool, SequenceModel):
            parser.error(f"{reference} gives no likelihoods")
        tool.prepare()
        tools[reference] = tool
    result: dict[str, object] = {"settings": [tool.settings for tool in tools.values()], "seed": options.seed}
    if options.natives:
        natives = validation(options.natives, options.n)
        for name, tool in tools.items():
            start = time.process_time()
            figures = recovery(tool, natives, options.seed).figures()
            result[f"recovery, {name}"] = figures | {"CPU seconds": round(time.process_time() - start, 1)}
    if options.designs:
        designs = [read_structure(path) for _, path in collect_files([options.designs])][: options.n]
        result["agreement"] = agreement(tools, designs, options.seed)
    print(json.dumps(result, indent=1))
    if options.out:
        write_text(options.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
