"""Inverse folding by any program that can be called from the command line, ProteinMPNN to begin with.

    command:python protein_mpnn_run.py --pdb_path {pdb} --out_folder {folder} --num_seq_per_target {n}
        --sampling_temp 0.1 --seed {seed}

The program finds the backbone at {pdb} and leaves its sequences as FASTA at {fasta}, or in any one .fa or .fasta file
below {folder}. Chains are joined by "/" or ":". ProteinMPNN and LigandMPNN put the sequence of the file they were
given first; they mark their own with "sample=" or "id=" in the header, and where a header is marked the unmarked are
left out.
"""

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from protgen.errors import ToolError
from protgen.external import ExternalCommand
from protgen.folding.base import CHAIN
from protgen.inverse_folding.base import InverseFolder
from protgen.inverse_folding.chain_letters import chain_lengths
from protgen.structure.fasta import read_fasta
from protgen.structure.protein import Protein
from protgen.structure.residue_names import ONE_LETTER
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
_MARKED = re.compile(r"(^|[\s,])(sample|id)=")
_GAPS = str.maketrans("", "", "X-")  # what ProteinMPNN writes for residue numbers that the file lacks


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
            return sequences_for(protein, read_fasta(found[0]), self.command.program)[:n]


def fasta_files(folder: Path) -> list[Path]:
    """FASTA files below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".fa", ".fasta") and path.is_file())


def sequences_for(protein: Protein, records: list[tuple[str, str]], program: str) -> list[str]:
    """The sequences among FASTA records that were made for a protein, chains joined by ":".

    Args:
        protein: the backbone; each chain must have as many letters as residues.
        records: header and sequence of each.
        program: for messages.

    Raises:
        ToolError: if there is none, or one does not fit.
    """
    marked = [record for record in records if _MARKED.search(record[0])]
    found = []
    wanted = chain_lengths(protein)
    for header, text in marked or records:
        chains = [part.translate(_GAPS) for part in text.upper().replace("/", CHAIN).split(CHAIN)]
        if [len(chain) for chain in chains] != wanted:
            got = "+".join(str(len(chain)) for chain in chains)
            raise ToolError(f"{program}: sequence {header[:40]!r} has {got} letters for {'+'.join(map(str, wanted))}")
        odd = set("".join(chains)) - set(ONE_LETTER.values())
        if odd:
            raise ToolError(f"{program}: sequence {header[:40]!r} has letters {''.join(sorted(odd))}, no amino acids")
        found.append(CHAIN.join(chains))
    if not found:
        raise ToolError(f"{program}: left no sequence")
    return found
