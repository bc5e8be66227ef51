"""Sequences in FASTA, read by Biopython: a header line after ">", then letters over any number of lines."""

import io
from collections.abc import Sequence
from pathlib import Path

from protgen.documents import read_text
from protgen.errors import DocumentError, StructureError

MAX_BYTES = 100_000_000


def read_fasta(path: Path) -> list[tuple[str, str]]:
    """Header (without ">") and sequence of each record, in order; blanks and a closing * are dropped.

    Raises:
        StructureError: if it cannot be read, is no text, or letters come before the first header.
    """
    try:
        text = read_text(path, MAX_BYTES)
    except DocumentError as error:
        raise StructureError(f"{error}; FASTA is looked for") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(">"):
            break
        if line.strip():  # Biopython passes over them
            raise StructureError(f"{path}: line {number}: letters before the first header, which starts with >")
    from Bio.SeqIO.FastaIO import SimpleFastaParser

    records = SimpleFastaParser(io.StringIO(text.lstrip()))
    return [(header.strip(), "".join(sequence.split()).removesuffix("*")) for header, sequence in records]


def to_fasta(records: Sequence[tuple[str, str]]) -> str:
    """FASTA text of headers and sequences, a line each."""
    return "".join(f">{header}\n{sequence}\n" for header, sequence in records)
