"""Our TM-score search against TM-align (tmtools): agreement over pairs of real chains, and speed in the same run.

    OMP_NUM_THREADS=1 python benchmarks/tm_score.py CHAINS [--pairs 500] [--seed 0] [--timed 60] [--out FOLDER]

CHAINS holds `index.csv` and the chains it lists. Half of the pairs are drawn at random, half share their CATH topology,
so that scores on both sides of 0.5 occur; lengths are 50-250. Ours does not depend on the order of two chains and
TM-align's does, a little, which is the larger part of what differs; the figures show it by sign. Speed is CPU time of
one core on pairs of chains of 95-105 residues, ours and theirs in turn, so that a busy machine slows both alike.
"""

import argparse
import csv
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tmtools

from protgen.metrics.tm import ca_trace, tm_scores
from protgen.structure.reader import read_structure

SHORTEST, LONGEST = 50, 250  # residues
TIMED = (95, 105)  # residues
BARS = {"mean absolute difference": 0.01, "same side of 0.5": 0.99, "lowest difference": -0.03, "speed ratio": 5.0}


def read_index(chains: Path) -> list[dict[str, str]]:
    """Rows of the chains with every residue in place, in the order of the index."""
    with (chains / "index.csv").open(newline="") as handle:
        return [row for row in csv.DictReader(handle) if row["n_breaks"] == "0"]


def draw_pairs(rows: list[dict[str, str]], n: int, seed: int) -> list[tuple[int, int]]:
    """Pairs of rows: the first half at random, the second drawn from all pairs of one CATH topology (C.A.T)."""
    rng = np.random.default_rng(seed)
    fits = [k for k, row in enumerate(rows) if SHORTEST <= int(row["length"]) <= LONGEST]
    pairs = [tuple(int(i) for i in rng.choice(fits, 2, replace=False)) for _ in range(n - n // 2)]
    topologies: dict[str, list[int]] = {}
    for k in fits:
        if rows[k]["cath"]:
            topologies.setdefault(".".join(rows[k]["cath"].split(".")[:3]), []).append(k)
    alike = [(i, j) for members in topologies.values() for n_i, i in enumerate(members) for j in members[n_i + 1 :]]
    pairs += [alike[int(k)] for k in rng.choice(len(alike), n // 2, replace=False)]
    return pairs


def read_traces(chains: Path, rows: list[dict[str, str]], which: list[int]) -> dict[int, np.ndarray]:
    """CA traces by row."""
    return {k: ca_trace(read_structure(chains / rows[k]["file"])) for k in sorted(set(which))}


def tm_align(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """TM-align's scores by the first and the second length."""
    result = tmtools.tm_align(first, second, "A" * len(first), "A" * len(second))
    return result.tm_norm_chain1, result.tm_norm_chain2


def agreement(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """How two sets of scores (p, 2) differ; the side of 0.5 is that of the shorter length's score."""
    difference = ours - theirs
    largest_ours, largest_theirs = ours.max(axis=1), theirs.max(axis=1)
    return {
        "mean absolute difference": float(np.abs(difference).mean()),
        "mean difference": float(difference.mean()),
        "lowest difference": float(difference.min()),
        "highest difference": float(difference.max()),
        "below by more than 0.01": float((difference < -0.01).mean()),
        "same side of 0.5": float(((largest_ours >= 0.5) == (largest_theirs >= 0.5)).mean()),
        "pairs with TM >= 0.5": int((largest_theirs >= 0.5).sum()),
    }


def speed(chains: Path, rows: list[dict[str, str]], n: int, seed: int) -> dict[str, float]:
    """CPU milliseconds a pair, in five turns of ours and theirs on the same pairs."""
    rng = np.random.default_rng(seed + 1)
    fits = [k for k, row in enumerate(rows) if TIMED[0] <= int(row["length"]) <= TIMED[1]]
    drawn = [tuple(int(i) for i in rng.choice(fits, 2, replace=False)) for _ in range(n)]
    by_row = read_traces(chains, rows, [i for pair in drawn for i in pair])
    position = {k: i for i, k in enumerate(by_row)}
    traces, pairs = list(by_row.values()), np.array([[position[i], position[j]] for i, j in drawn])
    spent = {"full": [], "quick": [], "tmtools": []}
    for _ in range(5):
        for effort in ("full", "quick"):
            start = time.process_time()
            tm_scores(traces, pairs, effort=effort)
            spent[effort].append(time.process_time() - start)
        start = time.process_time()
        for i, j in pairs:
            tm_align(traces[i], traces[j])
        spent["tmtools"].append(time.process_time() - start)
    result = {f"{name}, ms a pair": 1e3 * float(np.median(times)) / n for name, times in spent.items()}
    result["speed ratio"] = result["tmtools, ms a pair"] / result["full, ms a pair"]
    result["speed ratio, quick"] = result["tmtools, ms a pair"] / result["quick, ms a pair"]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chains", type=Path)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timed", type=int, default=60, help="pairs of the comparison of speed")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tm_score"))
    options = parser.parse_args()
    rows = read_index(options.chains)
    drawn = draw_pairs(rows, options.pairs, options.seed)
    by_row = read_traces(options.chains, rows, [i for pair in drawn for i in pair])
    position = {k: i for i, k in enumerate(by_row)}
    traces, pairs = list(by_row.values()), np.array([[position[i], position[j]] for i, j in drawn])
    theirs = np.array([tm_align(traces[i], traces[j]) for i, j in pairs])
    result: dict = {
        "command": f"OMP_NUM_THREADS=1 python benchmarks/tm_score.py CHAINS --pairs {options.pairs} "
        f"--seed {options.seed} --timed {options.timed}",
        "versions": {"tmtools": version("tmtools"), "numpy": np.__version__, "python": platform.python_version()},
        "bars": BARS,
        "n": len(pairs),
    }
    half = len(pairs) - len(pairs) // 2
    for effort in ("full", "quick"):
        scores = tm_scores(traces, pairs, effort=effort)
        ours = np.stack([scores.by_first, scores.by_second], axis=1)
        result[effort] = {
            "all": agreement(ours, theirs),
            "random": agreement(ours[:half], theirs[:half]),
            "same topology": agreement(ours[half:], theirs[half:]),
        }
    result["speed"] = speed(options.chains, rows, options.timed, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "tm_score.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
