"""Refolds of the sequences that a folder holds, as files that are named after their designs.

    design_0000.pdb         of an alignment: its best sequence and others designed for it
    design_0000_3.pdb       of one sequence, the third of design_0000.fasta
    refolds.json            the tool, and whether it is a relative judge
    made.jsonl              which of the files were made here, and of what

A refold that is there already is kept: one of another tool, in any format that is read, and one of ours as long as the
sequence, and of an alignment the backbone, is the same. One that does not fit its design costs that design, and stays.
Where another tool has refolds of a design, there is none of an alignment.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from protgen.errors import ProtgenError, ToolError, UsageError
from protgen.evaluation.collect import CACHE_MARKER
from protgen.evaluation.made_files import MadeFiles
from protgen.evaluation.refold_cache import structure_hash
from protgen.evaluation.refolding import folded
from protgen.evaluation.sequence_design import (
    SequenceSettings,
    best_sequences,
    describe,
    fasta_of,
    in_one_line,
    rows_of,
    task_of,
)
from protgen.evaluation.tables import make_folder, write_json
from protgen.folding.base import CHAIN, AlignmentPredictor, StructurePredictor
from protgen.inverse_folding.base import InverseFolder, SequenceModel
from protgen.structure.file_names import is_structure_name
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure, stem
from protgen.structure.residue_names import ONE_LETTER
from protgen.structure.writer import write_structure
from protgen.types import JSON

ABOUT = "refolds of protgen run"

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
    about: JSON = {"about": ABOUT, "relative": folder.relative, "folder": folder.settings}
    write_json(out / CACHE_MARKER, about)
    problems: dict[str, str] = {}
    with MadeFiles(out) as made:
        places = Refolds(out, made)
        for done, path in enumerate(paths, start=1):
            try:
                refold(path, sequences, places, folder, writer)
            except UsageError:
                raise
            except ProtgenError as error:
                problems[stem(path)] = in_one_line(error, path)
            if progress is not None:
                progress(done, len(paths))
    return problems


class Refolds:
    """The refolds of a folder, ours and those of other tools.

    Args:
        out: the folder.
        made: its log.
    """

    def __init__(self, out: Path, made: MadeFiles) -> None:
        self.out, self.made = out, made
        found = [path for path in sorted(out.iterdir()) if path.is_file() and is_structure_name(path)]
        self._there = {stem(path): path for path in found}

    def place(self, name: str) -> Path:
        """The file of a refold, there or to be made."""
        return self._there.get(name, self.out / f"{name}.pdb")

    def is_others(self, name: str) -> bool:
        """Whether another tool has written it."""
        return name in self._there and not self.made.is_own(name, self._there[name])

    def others(self) -> list[str]:
        """Names of all that other tools have written."""
        return [name for name in self._there if self.is_others(name)]

    def make(self, name: str, made_of: JSON, query: Callable[[], Sequence[str]], folder: StructurePredictor) -> None:
        """Fold a query, unless that has been done, and write the structure with the confidence as B-factors.

        Args:
            name: of the refold.
            made_of: all that decides it.
            query: gives the sequence, and those of its alignment after it.
            folder: predicts structures.
        """
        place = self.place(name)
        if place.is_file() and self.made.is_current(name, made_of) and self.made.is_own(name, place):
            return
        found = folded(folder, query())
        write_structure(found.protein, place, b_factors=found.plddt)
        self.made.add(name, made_of, [place])


def refold(
    path: Path,
    sequences: Path,
    refolds: Refolds,
    folder: StructurePredictor,
    writer: tuple[InverseFolder, SequenceSettings],
) -> None:
    """Fold the sequences of one backbone.

    Args:
        path: of the backbone.
        sequences: folder of the FASTA files.
        refolds: of all designs.
        folder: predicts structures.
        writer: designs the further sequences of an alignment, and how.

    Raises:
        ProtgenError: if it has no sequence, one cannot be folded, or a refold of another tool does not fit.
    """
    protein, name = read_structure(path), stem(path)
    fasta = fasta_of(sequences, name)
    if not fasta.is_file():
        raise ToolError(f"no sequences that fit it in {sequences}")
    rows = rows_of(fasta, protein)
    given = [each for each in (name, *(str(row["name"]) for row in rows)) if refolds.is_others(each)]
    texts = {str(row["name"]): str(row["sequence"]) for row in rows}
    for each in given:
        check_fits(refolds.place(each), protein, [texts[each]] if each in texts else list(texts.values()))
    tool, settings = writer
    made_of: JSON = {"folder": folder.settings}
    if isinstance(folder, AlignmentPredictor) and folder.reads_alignments and isinstance(tool, SequenceModel):
        if given:
            refolds.made.remove(name)
            return
        best = str(best_sequences(rows)[name]["sequence"])
        model = tool.at_temperature(folder.diversity)
        made_of |= {"backbone": structure_hash(protein), "sequence": best, "writer": describe(model, settings)}
        task = task_of(path, protein, settings)

        def alignment() -> list[str]:
            return [best, *(each.sequence for each in model.propose(protein, folder.depth, settings.seed, task))]

        refolds.make(name, made_of, alignment, folder)
        return
    for row_name, sequence in texts.items():
        if row_name not in given:
            refolds.make(row_name, made_of | {"sequence": sequence}, lambda one=sequence: [one], folder)
    for old in refolds.made.names:  # of sequences that are no more
        if old.startswith(f"{name}_") and old.removeprefix(f"{name}_").isdigit() and old not in texts:
            refolds.made.remove(old)


def check_fits(place: Path, protein: Protein, sequences: Sequence[str]) -> None:
    """Raise ToolError if a refold of another tool has other residues than its design, or other letters.

    Args:
        place: of the refold.
        protein: the backbone.
        sequences: one of which it should have; glycine throughout, and unknown residues, say nothing.
    """
    found = read_structure(place)
    advice = "; remove it to have one made"
    if found.length != protein.length:
        raise ToolError(f"its refold {place} has {found.length} residues for {protein.length}{advice}")
    letters = [ONE_LETTER.get(name, "X") for name in found.residue_names.tolist()]
    if set(letters) == {"G"} or "X" in letters:
        return
    if "".join(letters) not in [sequence.replace(CHAIN, "") for sequence in sequences]:
        raise ToolError(f"its refold {place} is of another sequence than those of the design{advice}")
