"""Inverse folding by any program that can be called from the command line, ProteinMPNN to begin with.

    command:python protein_mpnn_run.py --pdb_path {pdb} --out_folder {folder} --num_seq_per_target {n}
        --sampling_temp 0.1 --seed {seed}

The program finds the backbone at {pdb} and leaves its sequences as FASTA at {fasta}, or in any one .fa or .fasta file
below {folder}; which of its records count says `protgen.inverse_folding.tool_fasta`.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from protgen.errors import ToolError
from protgen.external import ExternalCommand
from protgen.inverse_folding.base import InverseFolder
from protgen.inverse_folding.tool_fasta import SUFFIXES, fitting_records
from protgen.structure.fasta import read_fasta
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure
from protgen.types import JSON

# What the example runs: letters at random, by chain, for the CA atoms of the file.
LETTERS = """
import random, sys
chains = [line[21] for line in open(sys.argv[1]) if line[12:16] == ' CA ']
draw = random.Random(int(sys.argv[4]))
with open(sys.argv[2], 'w') as out:
    for k in range(int(sys.argv[3])):
        parts = [''.join(draw.choice('ACDEFGHIKL') for c in chains if c == name) for name in dict.fromkeys(chains)]
        print('>' + str(k), '/'.join(parts), sep=chr(10), file=out)
"""
PLACES = ("pdb", "fasta", "folder", "n", "seed")


class Command(InverseFolder):
    """A program that writes sequences for a backbone.

    Args:
        template: its command line, with the places {pdb}, {fasta} or {folder}, {n} and {seed}.
        timeout: seconds for one backbone.

    Raises:
        ConfigError: if the template cannot be used, or there is no such program.
    """

    name = "command"

    @classmethod
    def example(cls) -> dict[str, Any]:
        """A program of a few lines that draws letters."""
        return {"template": f'"{sys.executable}" -c "{LETTERS}" {{pdb}} {{fasta}} {{n}} {{seed}}'}

    def __init__(self, template: str, timeout: float = 3600.0) -> None:
        self.command = ExternalCommand(template, places=PLACES, one_of=[("pdb",), ("fasta", "folder")], timeout=timeout)

    @property
    def settings(self) -> JSON:
        """The template: what the program itself is, and its weights, only its user knows."""
        return {"name": self.name, "template": self.command.template}

    def prepare(self) -> None:
        """The constructor has looked for the program; more cannot be known."""

    def design(self, protein: Protein, n: int, seed: int) -> list[str]:
        """Run the program once and read what it wrote."""
        with TemporaryDirectory(prefix="protgen-") as scratch:
            root = Path(scratch)
            folder, fasta, pdb = root / "out", root / "sequences.fasta", root / "design.pdb"
            folder.mkdir()
            write_structure(protein, pdb)
            values = {"pdb": pdb, "fasta": fasta, "folder": folder, "n": n, "seed": seed}
            self.command.run(values, root)
            found = [fasta] if fasta.is_file() else fasta_files(folder)
            if len(found) != 1:
                what = "no FASTA file" if not found else f"{len(found)} FASTA files"
                raise ToolError(f"{self.command.program}: left {what}, where one is looked for")
            records = fitting_records(protein, read_fasta(found[0]), self.command.program)
            return [sequence for _, sequence in records][:n]


def fasta_files(folder: Path) -> list[Path]:
    """FASTA files below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
