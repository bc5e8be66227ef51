"""Folding by any program that can be called from the command line.

    command:esm-fold -i {fasta} -o {folder}
    command:myfold --sequence {sequence} --out {pdb}

The program finds the sequence at {fasta} (or as {sequence}), chains joined by ":", and leaves its structure at {pdb},
or as the one structure file below {folder}. pLDDT is read from the B-factors of the CA atoms, 0 to 1 or 0 to 100.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from protgen.errors import StructureError, ToolError
from protgen.external import ExternalCommand
from protgen.folding.base import CHAIN, Folded, StructurePredictor
from protgen.structure.b_factors import plddt_of, read_b_factors
from protgen.structure.fasta import to_fasta
from protgen.structure.reader import SUFFIXES, read_structure
from protgen.types import JSON

# What the example runs: a helix of as many residues as the sequence has letters.
HELIX = """
import sys
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure
write_structure(Protein.from_backbone(ideal_helix(len(sys.argv[1].replace(':', '')))), sys.argv[2])
"""
PLACES = ("fasta", "sequence", "pdb", "folder")


class Command(StructurePredictor):
    """A program that predicts the structure of a sequence.

    Args:
        template: its command line, with the places {fasta} or {sequence}, and {pdb} or {folder}.
        timeout: seconds for one sequence.

    Raises:
        ConfigError: if the template cannot be used, or there is no such program.
    """

    name = "command"

    @classmethod
    def example(cls) -> dict[str, Any]:
        """A program of a few lines that writes an ideal helix."""
        return {"template": f'"{sys.executable}" -c "{HELIX}" {{sequence}} {{pdb}}'}

    def __init__(self, template: str, timeout: float = 3600.0) -> None:
        self.command = ExternalCommand(
            template, places=PLACES, one_of=[("fasta", "sequence"), ("pdb", "folder")], timeout=timeout
        )

    @property
    def settings(self) -> JSON:
        """The template: what the program itself is, and its weights, only its user knows."""
        return {"name": self.name, "template": self.command.template}

    def prepare(self) -> None:
        """The constructor has looked for the program; more cannot be known."""

    def fold(self, sequence: str) -> Folded:
        """Run the program once and read what it wrote."""
        with TemporaryDirectory(prefix="protgen-") as scratch:
            root = Path(scratch)
            folder, fasta, pdb = root / "out", root / "sequence.fasta", root / "folded.pdb"
            folder.mkdir()
            fasta.write_text(to_fasta([("design", sequence)]), encoding="utf-8")
            self.command.run({"fasta": fasta, "sequence": sequence, "pdb": pdb, "folder": folder}, root)
            found = [pdb] if pdb.is_file() else structure_files(folder)
            if len(found) != 1:
                what = "no structure file" if not found else f"{len(found)} structure files"
                raise ToolError(f"{self.command.program}: left {what}, where one is looked for")
            try:
                protein = read_structure(found[0])
                plddt = plddt_of(read_b_factors(found[0], protein))
            except StructureError as error:
                reason = str(error).removeprefix(f"{found[0]}: ")
                raise ToolError(f"{self.command.program}: its structure cannot be read: {reason}") from None
        n = len(sequence.replace(CHAIN, ""))
        if protein.length != n:
            raise ToolError(f"{self.command.program}: its structure has {protein.length} residues for {n} letters")
        return Folded(protein, plddt if np.isfinite(plddt).all() else None)


def structure_files(folder: Path) -> list[Path]:
    """Structure files below a folder, sorted."""
    names = tuple(suffix + zipped for suffix in SUFFIXES for zipped in ("", ".gz"))
    return sorted(path for path in folder.rglob("*") if path.name.lower().endswith(names) and path.is_file())
