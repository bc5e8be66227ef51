"""Time and memory to read 100,000 atoms, half and twice that, and a chain of 100 residues as .pdb.gz.

Run: python benchmarks/reader.py [--atoms 100000]. Writes a table to standard output. Each large read runs in
a process of its own, so that its peak memory above the import is its own.
"""

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np

from protgen.structure.ideal import add_cb, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.writer import write_cif, write_pdb

CHAIN = 500  # residues a chain


def make_protein(n_atoms: int) -> Protein:
    """Helices of 500 residues with CB, one a chain, five atoms a residue."""
    n_chains = max(1, n_atoms // (5 * CHAIN))
    backbone = ideal_helix(CHAIN)
    single = np.concatenate([backbone, add_cb(backbone)[:, None]], axis=1)
    atoms = np.concatenate([single + 12.0 * np.array([0, k % 8, k // 8]) for k in range(n_chains)])
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    names = [letters[k] if n_chains <= len(letters) else f"C{k}" for k in range(n_chains)]
    length = len(atoms)
    return Protein(
        atoms,
        np.ones((length, 5), dtype=bool),
        np.full(length, "LEU"),
        np.repeat(names, CHAIN),
        np.tile(np.arange(1, CHAIN + 1), n_chains),
        np.full(length, ""),
    )


def write_large_pdb(protein: Protein, path: Path) -> None:
    """More atoms than the format numbers: serials wrap, as programs do that write such files."""
    one_model = []
    half = protein.length // 2
    for part in (np.arange(half), np.arange(half, protein.length)):
        write_pdb(protein.select(part), path)
        one_model += [line for line in path.read_text().splitlines() if not line.startswith("END")]
    path.write_text("\n".join([*one_model, "END"]) + "\n")


def peak_kb() -> int:
    """Peak resident memory of this process; Linux only (after a spawn, getrusage gives the parent's)."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1])


def measure(path: str, queue: multiprocessing.Queue) -> None:
    before = peak_kb()
    start = time.perf_counter()
    protein = read_structure(path)
    seconds = time.perf_counter() - start
    queue.put((seconds, (peak_kb() - before) / 1024, int(protein.mask.sum())))


def in_own_process(path: Path) -> tuple[float, float, int]:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=measure, args=(str(path), queue))
    process.start()
    answer = queue.get(timeout=300)
    process.join()
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atoms", type=int, default=100_000)
    n_atoms = parser.parse_args().atoms
    with tempfile.TemporaryDirectory() as folder:
        print("| file | atoms | s | MB above import |\n|---|---|---|---|")
        for factor in (0.5, 1, 2):
            protein = make_protein(int(n_atoms * factor))
            for suffix in (".pdb", ".cif", ".cif.gz"):
                path = Path(folder) / f"x{suffix}"
                if suffix != ".pdb":
                    write_cif(protein, path)
                elif len(protein.chains) > 62:
                    continue  # no names left for the chains
                else:
                    write_large_pdb(protein, path)
                seconds, megabytes, atoms = in_own_process(path)
                print(f"| {suffix} | {atoms:,} | {seconds:.2f} | {megabytes:.0f} |")
        path = Path(folder) / "small.pdb.gz"
        write_pdb(Protein.from_backbone(ideal_helix(100)), path)
        times = []
        for _ in range(200):
            start = time.perf_counter()
            read_structure(path)
            times.append(time.perf_counter() - start)
        print(f"\n100 residues, .pdb.gz: median {1e3 * float(np.median(times)):.1f} ms")


if __name__ == "__main__":
    main()
