"""TM-scores of large structures: what they cost, and how they agree with TM-align (tmtools).

    OMP_NUM_THREADS=1 python benchmarks/tm_large.py CHAINS --out benchmarks/results/tm_score/tm_large.json

CHAINS is a folder of single chains. Structures are made of natives side by side, turned at random; the other of a pair
is the same with noise, deletions and half of the chains moved, or is of other natives. Above `--compared` residues
TM-align takes minutes and is left out. What is in `--out` is not measured again. CPU seconds of one core.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from protgen.atomic import write_text
from protgen.metrics.tm import ca_trace, tm_scores
from protgen.metrics.tm_native import engine
from protgen.structure.reader import read_structure

SHORTEST = 60  # residues of a native
APART = 40.0  # Å between the centres of neighbours
KINDS = {"noise": 0.0, "moved": 25.0, "other": 0.0}  # Å by which half of the chains of the second are moved


def natives(files: list[Path], total: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Centred CA traces, drawn until there are so many residues; the last one is cut."""
    found, left = [], total
    while left >= SHORTEST:
        trace = ca_trace(read_structure(files[int(rng.integers(len(files)))]))[:left]
        if len(trace) >= SHORTEST:
            found.append(trace - trace.mean(axis=0))
            left -= len(trace)
    return found


def turn(rng: np.random.Generator) -> np.ndarray:
    """A random rotation."""
    q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return q * np.sign(np.linalg.det(q))


def beside(parts: list[np.ndarray], turns: list[np.ndarray], shifts: np.ndarray) -> np.ndarray:
    """Traces at the points of a grid."""
    places = APART * np.array([[k % 3, k // 3 % 3, k // 9] for k in range(len(parts))]) + shifts
    return np.concatenate([part @ own.T + place for part, own, place in zip(parts, turns, places, strict=True)])


def damaged(trace: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A trace with noise of 1 Å and two stretches of up to 15 residues cut out."""
    keep = np.ones(len(trace), dtype=bool)
    for first in rng.integers(0, len(trace), 2):
        keep[first : first + int(rng.integers(2, 15))] = False
    return (trace + rng.normal(size=trace.shape))[keep]


def pair_of(kind: str, files: list[Path], size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two structures of about so many residues."""
    parts = natives(files, size, rng)
    turns = [turn(rng) for _ in parts]
    first = beside(parts, turns, np.zeros((len(parts), 3)))
    others = natives(files, size, rng) if kind == "other" else [damaged(part, rng) for part in parts]
    turns = [turn(rng) for _ in others] if kind == "other" else turns
    moved = (np.arange(len(others)) >= len(others) // 2)[:, None]
    second = beside(others, turns, moved * KINDS[kind] * rng.normal(size=(len(others), 3)))
    return first, second @ turn(rng).T


def measured(first: np.ndarray, second: np.ndarray, compared: bool) -> dict:
    """Scores by the first length and CPU seconds, of ours and of TM-align."""
    begun = time.process_time()
    scores = tm_scores([first, second], np.array([[0, 1]]))
    found = {"residues": [len(first), len(second)], "tm": round(float(scores.by_first[0]), 4)}
    found["seconds"] = round(time.process_time() - begun, 1)
    if compared:
        import tmtools

        begun = time.process_time()
        result = tmtools.tm_align(first, second, "A" * len(first), "A" * len(second))
        found["tm_align"] = round(result.tm_norm_chain1, 4)
        found["tm_align_seconds"] = round(time.process_time() - begun, 1)
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="TM-scores of large structures: cost, and agreement with TM-align.")
    parser.add_argument("chains", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[900, 1500, 2000, 5000])
    parser.add_argument("--compared", type=int, default=1500, help="residues up to which TM-align runs too")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    files = sorted(path for path in options.chains.rglob("*.pdb*") if path.is_file())
    before = json.loads(options.out.read_text()) if options.out.is_file() else {}
    rows = before.get("pairs", {})
    for size in options.sizes:
        for number, kind in enumerate(KINDS):
            name = f"{size} {kind}"
            if name not in rows:
                given = pair_of(kind, files, size, np.random.default_rng([size, number]))
                rows[name] = measured(*given, compared=size <= options.compared)
            print(name, rows[name], flush=True)
            write_text(options.out, json.dumps({"engine": engine(), "pairs": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
