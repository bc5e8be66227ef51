"""Time and memory to read 100,000 atoms, half and twice that, and processor time of small files beside gemmi's.

    python benchmarks/reader.py --out benchmarks/results/reader.json [--atoms 100000] [--files FOLDER]

Each large read runs in a process of its own, so that its peak memory above the import is its own; seconds are those of
its processor. The small files are those of a folder, 200 at most, or else a chain of 100 residues as .pdb.gz. Both
readers take turns file by file, so that other work on the machine is the same for both.
"""

import argparse
import json
import multiprocessing
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np

from protgen.atomic import write_text
from protgen.structure.file_names import is_structure_name
from protgen.structure.ideal import add_cb, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.writer import write_cif, write_pdb

CHAIN = 500  # residues a chain
SMALL = 200  # small files read


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
    start = time.process_time()
    protein = read_structure(path)
    seconds = time.process_time() - start
    queue.put((seconds, (peak_kb() - before) / 1024, int(protein.mask.sum())))


def in_own_process(path: Path) -> tuple[float, float, int]:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=measure, args=(str(path), queue))
    process.start()
    answer = queue.get(timeout=300)
    process.join()
    return answer


def small_files(folder: str | None, chain: Path) -> list[Path]:
    """200 files of a folder, by a seed, or else one chain so many times."""
    if folder is None:
        write_pdb(Protein.from_backbone(ideal_helix(100)), chain)
        return [chain] * SMALL
    files = sorted(path for path in Path(folder).rglob("*") if is_structure_name(path))
    return random.Random(0).sample(files, min(SMALL, len(files)))


def cpu_ms(read: Callable[[str], object], path: Path) -> float:
    start = time.process_time()
    read(str(path))
    return 1e3 * (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--atoms", type=int, default=100_000)
    parser.add_argument("--files", help="folder of small files; 0 atoms leave out the large ones")
    options = parser.parse_args()
    large = []
    with tempfile.TemporaryDirectory() as folder:
        if options.atoms:
            for factor in (0.5, 1, 2):
                large += large_files(make_protein(int(options.atoms * factor)), Path(folder))
        files = small_files(options.files, Path(folder) / "small.pdb.gz")
        for path in files[:20]:
            read_structure(path)
        times = np.array([[cpu_ms(read, path) for read in (read_structure, gemmi.read_structure)] for path in files])
        ours, theirs = np.median(times, axis=0)
    small = {"n": len(files), "CPU ms, median": round(ours, 2), "gemmi": round(theirs, 2)}
    result = {
        "command": f"python benchmarks/reader.py --atoms {options.atoms}"
        + (" --files FOLDER" if options.files else ""),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, gemmi {gemmi.__version__}",
        "large": large,
        "small": small,
    }
    write_text(options.out, json.dumps(result, indent=1) + "\n")
    print("small files", small)


def large_files(protein: Protein, folder: Path) -> list[dict[str, object]]:
    """A row for each format."""
    rows = []
    for suffix in (".pdb", ".cif", ".cif.gz"):
        path = folder / f"x{suffix}"
        if suffix != ".pdb":
            write_cif(protein, path)
        elif len(protein.chains) > 62:
            continue  # no names left for the chains
        else:
            write_large_pdb(protein, path)
        seconds, megabytes, atoms = in_own_process(path)
        row = {"format": suffix, "atoms": atoms, "CPU s": round(seconds, 2), "MB above import": round(megabytes)}
        rows.append(row)
        print(row, flush=True)
    return rows


if __name__ == "__main__":
    main()
