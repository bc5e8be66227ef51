"""The most memory that one large file takes: an assembly in `protgen evaluate`, and a long text in the reader.

    python benchmarks/evaluate_memory.py --out benchmarks/results/evaluate_memory.json

Each case runs in a process of its own, which says its peak of resident memory; that of a small file is what importing
and starting take. The assembly stands among twenty small structures, so that folds are read and all pairs compared.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure

CHAIN = 400  # residues of each chain of the assembly
APART = 60.0  # Å between chains, which stand on a grid
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
MOST = 9999  # residues of a chain of a PDB file
EVALUATE = "from protgen.cli.main import run; code = run(['evaluate', *sys.argv[1:], '--no-report'])"
READ = "from protgen.structure.reader import read_structure; code = 0 * read_structure(sys.argv[1]).length"


def assembly(residues: int) -> Protein:
    """Helices on a grid, none near another."""
    n = -(-residues // CHAIN)
    places = np.array([[k % 8, k // 8 % 8, 0] for k in range(n)]) * APART
    places[:, 2] = [1.7 * CHAIN * (k // 64) for k in range(n)]
    backbone = np.concatenate([ideal_helix(CHAIN) + place for place in places])[:residues]
    chains = np.repeat([LETTERS[k % len(LETTERS)] + "2" * (k // len(LETTERS)) for k in range(n)], CHAIN)[:residues]
    numbers = np.tile(np.arange(1, CHAIN + 1), n)[:residues]
    return Protein.from_backbone(backbone, chain_ids=chains, residue_numbers=numbers)


def write_text(path: Path, size: int) -> None:
    """A PDB file of one model of so many bytes: chains of up to 9,999 residues, on a grid of 3.8 Å."""
    written = 0
    with path.open("w") as file:
        for k in range(size // 81 // 4):
            letter, number = LETTERS[k // MOST], k % MOST + 1
            x, y, z = 3.8 * (k % 100), 3.8 * (k // 100 % 100), 3.8 * (k // 10000)
            for atom, shift in (("N ", 0.0), ("CA", 1.4), ("C ", 2.8), ("O ", 3.4)):
                written += file.write(
                    f"ATOM  {written // 81 % 100000:5d}  {atom}  GLY {letter}{number:4d}    "
                    f"{x + shift:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           {atom[0]}  \n"
                )
        file.write("END\n")


def peak(code: str, *arguments: object) -> dict[str, float]:
    """Megabytes at the most, seconds of processor and of the clock, and exit code of a piece of Python."""
    measure = "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
    command = [sys.executable, "-c", f"import resource, sys; {code}; {measure}", *map(str, arguments)]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime, time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return {
        "megabytes": round(int(done.stderr.split()[-1]) / 1024),
        "cpu_seconds": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before, 1),
        "seconds": round(time.monotonic() - begun, 1),
        "exit_code": done.returncode,
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Peak memory of evaluate and of the reader for one large file.")
    parser.add_argument("--residues", type=int, default=20_000)
    parser.add_argument("--megabytes", type=int, default=199)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        small, large, text = Path(home) / "small", Path(home) / "large", Path(home) / "text.pdb"
        for folder in (small, large):
            folder.mkdir()
            for k in range(20):
                write_structure(Protein.from_backbone(ideal_helix(40 + k)), folder / f"helix{k:02d}.pdb")
        write_structure(assembly(options.residues), large / "assembly.cif")
        found: dict[str, object] = {"residues": options.residues, "megabytes_of_text": options.megabytes}
        found["evaluate_small"] = peak(EVALUATE, small, "--out", Path(home) / "a")
        found["evaluate_assembly"] = peak(EVALUATE, large, "--out", Path(home) / "b")
        write_text(text, options.megabytes * 1_000_000)
        found["read_small"] = peak(READ, small / "helix00.pdb")
        found["read_text"] = peak(READ, text)
    print(json.dumps(found))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
