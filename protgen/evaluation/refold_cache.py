"""Sequences and refolds kept on disk under a hash of their inputs, so that nothing is computed twice.

    refolds.json                  what this folder is
    sequences/<hash>.fasta        of a backbone, an inverse folder with its settings, a number and a seed
    structures/<hash>.pdb         of a sequence, a structure predictor and its settings; B-factors: pLDDT, 0-100

What cannot be read back counts as missing and is made again.
"""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from protgen.documents import number_in
from protgen.errors import StructureError
from protgen.evaluation.collect import CACHE_MARKER
from protgen.evaluation.tables import make_folder, write_json, write_text
from protgen.folding.base import CHAIN, Folded
from protgen.integrity import digest_of
from protgen.structure.fasta import read_fasta, to_fasta
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.writer import write_structure
from protgen.types import JSON

HASHED = 24  # digits of a name
_SCORE = re.compile(r" score=(\S+)$")


class RefoldCache:
    """A folder of sequences and refolds.

    Args:
        folder: made if need be.

    Raises:
        UsageError: if it cannot be made or written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in ("sequences", "structures"):
            make_folder(folder / part)
        write_json(folder / CACHE_MARKER, {"about": "cache of protgen evaluate; may be deleted"})

    def sequences_path(self, protein: Protein, settings: JSON, n: int, seed: int) -> Path:
        """Where the sequences of a backbone are.

        Args:
            protein: the backbone.
            settings: of the tool.
            n: number of sequences.
            seed: of their draws.
        """
        made_of = {"structure": structure_hash(protein), "tool": settings, "n": n, "seed": seed}
        return self.folder / "sequences" / f"{digest_of(made_of)[:HASHED]}.fasta"

    def structure_path(self, sequence: str, settings: JSON) -> Path:
        """Where the refold of a sequence is."""
        return self.folder / "structures" / f"{digest_of({'sequence': sequence, 'tool': settings})[:HASHED]}.pdb"

    def sequences(self, path: Path, length: int) -> tuple[list[str], list[float]] | None:
        """The sequences kept there, and their scores where all have one; None if there are none that fit the length."""
        try:
            records = read_fasta(path)
        except StructureError:
            return None
        found = [sequence for _, sequence in records]
        if not found or any(len(sequence.replace(CHAIN, "")) != length for sequence in found):
            return None
        texts = [match[1] for match in (_SCORE.search(header) for header, _ in records) if match]
        try:
            scores = [math.nan if text == "nan" else number_in(text) for text in texts]
        except ValueError:
            return None
        return found, scores if len(scores) == len(found) else []

    def keep_sequences(self, path: Path, sequences: Sequence[str], scores: Sequence[float] = ()) -> None:
        """Write sequences, whole or not at all.

        Args:
            path: where to.
            sequences: of a design.
            scores: of each, nats a residue; empty where there are none.
        """
        tails = [f" score={score!r}" for score in scores] or [""] * len(sequences)
        records = [(f"{k}{tail}", text) for k, (text, tail) in enumerate(zip(sequences, tails, strict=True))]
        write_text(path, to_fasta(records))

    def keep_structure(self, path: Path, folded: Folded) -> None:
        """Write a refold, whole or not at all.

        Raises:
            StructureError: if the format cannot hold it.
        """
        write_structure(folded.protein, path, b_factors=folded.plddt)


def has_structure(path: Path, length: int) -> bool:
    """Whether a structure of that many residues is there."""
    try:
        return path.is_file() and read_structure(path).length == length
    except StructureError:
        return False


def structure_hash(protein: Protein) -> str:
    """SHA-256 of coordinates rounded to 0.001 Å, which atoms there are, residue names, chains and numbers."""
    digest = hashlib.sha256(np.round(np.nan_to_num(protein.atoms) * 1000).astype("<i8").tobytes())
    digest.update(protein.mask.tobytes())
    for column in (protein.residue_names, protein.chain_ids, protein.residue_numbers, protein.insertion_codes):
        digest.update(json.dumps(column.tolist()).encode())
    return digest.hexdigest()
