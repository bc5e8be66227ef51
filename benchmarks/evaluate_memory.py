"""The most memory that `protgen evaluate` takes for one large file: an assembly, and a text of many bytes.

    python benchmarks/evaluate_memory.py --out benchmarks/results/evaluate_memory.json

Each case runs in a process of its own, whose peak of resident memory the system counts; that of one small file is what
importing and starting take.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure

CHAIN = 400  # residues of each chain of the assembly
APART = 60.0  # Å between chains, which stand on a grid
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def assembly(residues: int) -> Protein:
    """Chains of hairpins and helices on a grid, none near another."""
    parts, chains, numbers = [], [], []
    for k in range(-(-residues // CHAIN)):
        size = min(CHAIN, residues - k * CHAIN)
        backbone = np.concatenate([ideal_helix(size - 20), ideal_hairpin(8) + np.array([30.0, 0.0, 0.0])])[:size]
        shift = np.array([k % 8, k // 8 % 8, k // 64]) * np.array([APART, APART, 1.7 * CHAIN])
        parts.append(backbone + shift)
        chains += [LETTERS[k % len(LETTERS)]] * len(backbone)
        numbers += range(1, len(backbone) + 1)
    whole = np.concatenate(parts)
    names = np.full(len(whole), "GLY")
    return Protein.from_backbone(
        whole, chain_ids=np.array(chains), residue_names=names, residue_numbers=np.array(numbers)
    )


def text_of(size: int) -> str:
    """A PDB file of a helix and of remarks: most of what a text of many bytes may be, in lines of 80 characters."""
    from protgen.structure.pdb_writer import to_pdb

    own = to_pdb(Protein.from_backbone(ideal_helix(60)))
    line = "REMARK 999 " + 69 * "x" + "\n"
    return line * ((size - len(own)) // len(line)) + own


def peak(*arguments: str) -> dict[str, float]:
    """Megabytes at the most, seconds of processor, and exit code of `protgen`."""
    script = (
        "import resource, sys; from protgen.cli.main import run; code = run(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "megabytes": round(int(done.stderr.split()[-1]) / 1024),
        "cpu_seconds": round(after.ru_utime - before.ru_utime, 1),
        "seconds": round(time.monotonic() - begun, 1),
        "exit_code": done.returncode,
    }


if __name__ == "__main__":
    print(os.getpid(), argparse, json, tempfile, write_structure, Path, text_of, assembly, peak)
