"""Refolds of the sequences that a folder holds, as files that are named after their designs.

    design_0000.pdb         of an alignment: its best sequence and others designed for it
    design_0000_3.pdb       of one sequence, the third of design_0000.fasta
    refolds.json            the tool, and whether it is a relative judge

A file that is there already and has as many residues as its design is kept, whoever wrote it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from protgen.errors import ProtgenError, StructureError, ToolError, UsageError
from protgen.evaluation.collect import CACHE_MARKER
from protgen.evaluation.refolding import folded
from protgen.evaluation.sequence_design import (
    Row,
    SequenceSettings,
    as_number,
    kept_sequences,
    task_of,
)
from protgen.evaluation.tables import make_folder, write_json
from protgen.folding.base import AlignmentPredictor, StructurePredictor
from protgen.inverse_folding.base import InverseFolder, SequenceModel
from protgen.structure.protein import Protein
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
    records = kept_sequences(sequences / f"{name}.fasta", protein)
    if records is None:
        raise ToolError(f"{name}: no sequences that fit it in {sequences}")
    tool, settings = writer
    if isinstance(folder, AlignmentPredictor) and folder.reads_alignments and isinstance(tool, SequenceModel):
        place = out / f"{name}.pdb"
        if not fits(place, protein):
            model = tool.at_temperature(folder.diversity)
            task = task_of(path, protein, settings)
            more = [each.sequence for each in model.propose(protein, folder.depth, settings.seed, task)]
            write_refold(folder, [best_of(records), *more], place)
        return
    for k, (_, sequence) in enumerate(records, start=1):
        place = out / f"{name}_{k}.pdb"
        if not fits(place, protein):
            write_refold(folder, [sequence], place)


def write_refold(folder: StructurePredictor, query: Sequence[str], place: Path) -> None:
    """Fold a query and write the structure, with the predictor's confidence as B-factors."""
    found = folded(folder, query)
    write_structure(found.protein, place, b_factors=found.plddt)


def best_of(records: Sequence[tuple[str, str]]) -> str:
    """The sequence with the least score in its header; the first where none has one."""
    scores = [score_in(header) for header, _ in records]
    known = [k for k, score in enumerate(scores) if score == score]
    return records[min(known, key=lambda k: scores[k]) if known else 0][1]


def score_in(header: str) -> float:
    """The score that a header of FASTA states; NaN where it states none."""
    for word in header.replace(",", " ").split():
        if word.startswith("score="):
            return as_number(word.removeprefix("score="))
    return float("nan")


def fits(path: Path, protein: Protein) -> bool:
    """Whether a structure of as many residues is there."""
    try:
        return path.is_file() and read_structure(path).length == protein.length
    except StructureError:
        return False


def best_sequences(rows: Sequence[Row]) -> dict[str, Row]:
    """The sequence with the least score of each design, by the design's name."""
    found: dict[str, Row] = {}
    for row in rows:
        if "sequence" not in row:
            continue
        best = found.get(str(row["design"]))
        if best is None or row.get("score", float("inf")) < best.get("score", float("inf")):
            found[str(row["design"])] = row
    return found
