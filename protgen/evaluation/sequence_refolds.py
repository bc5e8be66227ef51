"""Refolds of the sequences that a folder holds, as files that are named after their designs.

    design_0000.pdb         of an alignment: its best sequence and others designed for it
    design_0000_3.pdb       of one sequence, the third of design_0000.fasta
    refolds.json            the tool, and whether it is a relative judge

A file that is there already and has as many residues as its design is kept, whoever wrote it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from protgen.errors import ProtgenError, ToolError, UsageError
from protgen.evaluation.collect import CACHE_MARKER
from protgen.evaluation.refold_cache import has_structure
from protgen.evaluation.refolding import folded
from protgen.evaluation.sequence_design import (
    SequenceSettings,
    best_sequences,
    rows_of,
    task_of,
)
from protgen.evaluation.tables import make_folder, write_json
from protgen.folding.base import AlignmentPredictor, StructurePredictor
from protgen.inverse_folding.base import InverseFolder, SequenceModel
from protgen.structure.reader import read_structure, stem
from protgen.structure.writer import write_structure

Progress = Callable[[int, int], None]


def refold_folder(
    paths: Sequence[Path],
    sequences: Path,
    out: Path,
    folder: StructurePredictor,
    writer: tuple[InverseFolder, SequenceSettings],
    progress: Progress | None = None,
) -> dict[str, str]:
    """Fold the sequences of each backbone as far as its refolds are missing.

    Args:
        paths: structure files of the backbones.
        sequences: folder of their FASTA files.
        out: folder for the refolds; made if need be.
        folder: predicts structures.
        writer: designs the further sequences of an alignment, and how.
        progress: called with (backbones done, backbones in all).

    Returns:
        One line on what went wrong, by the name of the design.

    Raises:
        UsageError: if the folder cannot be used, or the predictor cannot work here.
    """
    folder.prepare()
    make_folder(out)
    about: dict[str, Any] = {"about": "refolds of protgen run", "relative": folder.relative, "folder": folder.settings}
    write_json(out / CACHE_MARKER, about)
    problems: dict[str, str] = {}
    for done, path in enumerate(paths, start=1):
        try:
            refold(path, sequences, out, folder, writer)
        except UsageError:
            raise
        except ProtgenError as error:
            problems[stem(path)] = " ".join(str(error).split())
        if progress is not None:
            progress(done, len(paths))
    return problems


def refold(
    path: Path,
    sequences: Path,
    out: Path,
    folder: StructurePredictor,
    writer: tuple[InverseFolder, SequenceSettings],
) -> None:
    """Fold the sequences of one backbone. Arguments are those of `refold_folder`.

    Raises:
        ProtgenError: if it has no sequence, or one cannot be folded.
    """
    protein, name = read_structure(path), stem(path)
    rows = rows_of(sequences / f"{name}.fasta", protein)
    if not rows:
        raise ToolError(f"{name}: no sequences that fit it in {sequences}")
    tool, settings = writer
    if isinstance(folder, AlignmentPredictor) and folder.reads_alignments and isinstance(tool, SequenceModel):
        place = out / f"{name}.pdb"
        if not has_structure(place, protein.length):
            model = tool.at_temperature(folder.diversity)
            task = task_of(path, protein, settings)
            more = [each.sequence for each in model.propose(protein, folder.depth, settings.seed, task)]
            write_refold(folder, [best_sequences(rows)[name]["sequence"], *more], place)
        return
    for row in rows:
        place = out / f"{row['name']}.pdb"
        if not has_structure(place, protein.length):
            write_refold(folder, [row["sequence"]], place)


def write_refold(folder: StructurePredictor, query: Sequence[str], place: Path) -> None:
    """Fold a query and write the structure, with the predictor's confidence as B-factors."""
    found = folded(folder, query)
    write_structure(found.protein, place, b_factors=found.plddt)
