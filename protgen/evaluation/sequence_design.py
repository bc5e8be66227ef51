"""Sequences for a folder of backbones: FASTA, structures with names and CB, scores and liabilities.

    design_0000.fasta       a record a sequence: name, score, confidence
    design_0000_1.pdb       the backbone with the names of the first sequence and CB; B-factors: probability, 0-100
    sequences.csv           a row a sequence
    sequences.json          the tool and its settings
    agreement.json          how far a second designer agrees, where one scores the sequences too
    made.jsonl              which of the files were made here, and of which backbone

A FASTA file that is there already is kept: one of another tool (.fasta or .fa), whose structures are then written, and
one of ours as long as its backbone is the same. One that does not fit its backbone costs that design, and stays. Rows
are read from the FASTA files.
"""

import contextlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from protgen.errors import ProtgenError, StructureError, ToolError, UsageError
from protgen.evaluation.collect import SEQUENCE_MARKER
from protgen.evaluation.design_records import read_record, recorded_residue
from protgen.evaluation.made_files import MadeFiles
from protgen.evaluation.refold_cache import structure_hash
from protgen.evaluation.second_opinion import AGREEMENT, COLUMN, MESSAGE, add_scores, agreement
from protgen.evaluation.tables import output_folder, write_csv, write_json, write_text
from protgen.folding.base import CHAIN
from protgen.integrity import fingerprint
from protgen.inverse_folding.base import DesignedSequence, InverseFolder, SequenceModel, SequenceTask
from protgen.inverse_folding.chain_letters import by_residue, joined
from protgen.inverse_folding.liabilities import Liabilities, liabilities
from protgen.inverse_folding.tool_fasta import SUFFIXES, fitting_records
from protgen.structure.fasta import read_fasta, to_fasta
from protgen.structure.ideal import add_cb
from protgen.structure.protein import CB, Protein
from protgen.structure.reader import read_structure, stem
from protgen.structure.residue_id import residue_id, residue_ids
from protgen.structure.residue_names import ONE_LETTER, THREE_LETTER
from protgen.structure.writer import write_structure
from protgen.types import JSON

TABLE, SETTINGS = "sequences.csv", SEQUENCE_MARKER
COLUMNS = ("name", "design", "sequence", "length", "score", "confidence", "fixed", "liabilities")
PROPERTIES = tuple(each.name for each in fields(Liabilities))
TIED = ("auto", "all", "none")
_NUMBER = re.compile(r"(\w+)=([^\s,]+)")
_RANGE = re.compile(r"([^\W\d_]|\d)?\s*(-?\d+)(?:-(-?\d+))?")

Row = dict[str, Any]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SequenceSettings:
    """How sequences are designed.

    Attributes:
        n: for each backbone.
        seed: of their draws.
        fixed: residues that keep the letter they have in the file, such as "A10-20,B5"; "" for none but motifs.
        tied: "all" ties chains of one length, "auto" those of designs that were made symmetric, "none" nothing.
        keep_motifs: whether residues of a motif keep their letters, as the record next to the design says.
        suffix: "pdb" or "cif".
    """

    n: int = 8
    seed: int = 0
    fixed: str = ""
    tied: str = "auto"
    keep_motifs: bool = True
    suffix: str = "pdb"


def design_folder(
    paths: Sequence[Path],
    out: Path,
    tool: InverseFolder,
    settings: SequenceSettings,
    progress: Progress | None = None,
    second: SequenceModel | None = None,
) -> list[Row]:
    """Design what is missing, and return the rows of all sequences; what went wrong is in a row's `message`.

    Args:
        paths: structure files of the backbones.
        out: folder for the sequences; made if need be.
        tool: writes the sequences.
        settings: how.
        progress: called with (backbones done, backbones in all).
        second: another designer, which scores all sequences anew; None for none.

    Raises:
        UsageError: if the folder cannot be used, or a tool cannot work here.
    """
    tool.prepare()
    with output_folder(out, "protgen design-sequences"), MadeFiles(out) as made:
        write_json(out / SETTINGS, describe(tool, settings))
        rows: list[Row] = []
        for done, path in enumerate(paths, start=1):
            try:
                protein = read_structure(path)
                fasta = designed_fasta(path, protein, out, (tool, settings), made)
                own = rows_of(fasta, protein)
                if second is not None:
                    add_scores(own, protein, designed_places(path, protein, settings), second, settings.seed)
                rows += own
            except UsageError:
                raise
            except ProtgenError as error:
                rows.append({"name": stem(path), "design": path.name, "message": in_one_line(error, path)})
            if progress is not None:
                progress(done, len(paths))
        scored = [] if second is None else [COLUMN, MESSAGE]
        write_csv(out / TABLE, [*COLUMNS, *scored, *PROPERTIES, "message"], rows)
        if second is not None:
            write_json(out / AGREEMENT, agreement(rows, tool.settings, second.settings))
        else:
            (out / AGREEMENT).unlink(missing_ok=True)  # of columns that an earlier run had
    return rows


def describe(tool: InverseFolder, settings: SequenceSettings) -> JSON:
    """All that decides the sequences, for `sequences.json`."""
    return {"tool": tool.settings, **asdict(settings)}


def in_one_line(error: ProtgenError, path: Path) -> str:
    """What an error says of a structure file, without the name of the file before it."""
    text = " ".join(str(error).split())
    for name in (str(path), path.name, stem(path)):
        text = text.removeprefix(f"{name}: ")
    return text


def fasta_of(out: Path, name: str) -> Path:
    """Where the sequences of a design are, or are to be.

    Raises:
        ToolError: if there are two files of them.
    """
    found = [path for suffix in SUFFIXES if (path := out / f"{name}{suffix}").is_file()]
    if len(found) > 1:
        raise ToolError(f"{found[0]} and {found[1].name} are both there; leave one of them")
    return found[0] if found else out / f"{name}{SUFFIXES[0]}"


def designed_fasta(
    path: Path, protein: Protein, out: Path, writer: tuple[InverseFolder, SequenceSettings], made: MadeFiles
) -> Path:
    """The FASTA file of a backbone, with a structure for each of its sequences; made as far as they are missing.

    Args:
        path: of the backbone.
        protein: what it holds.
        out: folder of the sequences.
        writer: designs them, and how.
        made: the log of the folder.

    Raises:
        ProtgenError: if sequences cannot be designed, or those of another tool do not fit.
    """
    tool, settings = writer
    name, fasta = stem(path), fasta_of(out, stem(path))
    task = task_of(path, protein, settings)
    made_of: JSON = {"backbone": structure_hash(protein), "fixed": task.fixed, "tied": task.tied}
    is_own = made.is_own(name, fasta)
    if fasta.is_file() and not is_own:
        records = fitting_records(protein, read_fasta(fasta), fasta.name)
        made_of["fasta"] = fingerprint(fasta)["sha256"]
        same = made.is_current(name, made_of)
        places = structures_of(fasta, len(records), settings.suffix)
        for place, (_, sequence) in zip(places, records, strict=True):
            if not holds(place, protein, sequence) or (made.is_own(name, place) and not same):
                write_named(place, protein, sequence)
        made.add(name, made_of, places)
        return fasta
    if is_own and made.is_current(name, made_of):
        records = read_fasta(fasta)
        places = structures_of(fasta, len(records), settings.suffix)
        pairs = zip(places, records, strict=True)
        if all(made.is_own(name, place) or holds(place, protein, text) for place, (_, text) in pairs):
            return fasta
    made.remove(name)
    found = designed(protein, tool, settings, task)
    places = structures_of(fasta, len(found), settings.suffix)
    write_design(fasta, protein, found, places)
    made.add(name, made_of, [fasta, *places])
    return fasta


def structures_of(fasta: Path, n: int, suffix: str) -> list[Path]:
    """Where the structures of the sequences of a FASTA file are."""
    return [fasta.with_name(f"{fasta.stem}_{k}.{suffix}") for k in range(1, n + 1)]


def holds(place: Path, protein: Protein, sequence: str) -> bool:
    """Whether a file holds a structure with that sequence."""
    try:
        names = read_structure(place).residue_names.tolist() if place.is_file() else []
    except StructureError:
        return False
    return names == [THREE_LETTER[letter] for letter in by_residue(protein, sequence)]


def write_named(place: Path, protein: Protein, sequence: str, b_factors: np.ndarray | None = None) -> None:
    """Write the backbone with the names of a sequence.

    Args:
        place: the file.
        protein: the backbone.
        sequence: chains joined by ":".
        b_factors: (l,) of each residue, if known.
    """
    named = replace(with_sequence(protein, sequence), name=stem(place))
    write_structure(named, place, b_factors=b_factors)


def write_design(fasta: Path, protein: Protein, found: Sequence[DesignedSequence], places: Sequence[Path]) -> None:
    """Write the structures of the sequences of one backbone, and the FASTA file last.

    Args:
        fasta: the file of the sequences.
        protein: the backbone.
        found: the sequences.
        places: the files of the structures.
    """
    records = []
    for place, each in zip(places, found, strict=True):
        known = np.isfinite(each.log_probs).all()
        numbers = f" score={each.score:.4f} confidence={each.confidence.mean():.4f}" if known else ""
        fixed = f" fixed={int((~each.designed).sum())}"
        records.append((f"{stem(place)}{numbers}{fixed}", each.sequence))
        write_named(place, protein, each.sequence, 100 * each.confidence if known else None)
    write_text(fasta, to_fasta(records))


def designed(
    protein: Protein, tool: InverseFolder, settings: SequenceSettings, task: SequenceTask
) -> list[DesignedSequence]:
    """The sequences of one backbone. A tool that cannot be told of given letters has them put back afterwards.

    Raises:
        ToolError: if there is none, or the tool cannot tie residues and should.
    """
    if isinstance(tool, SequenceModel):
        return tool.propose(protein, settings.n, settings.seed, task)
    if task.tied:
        raise ToolError(f"{tool.name}: cannot tie chains; name proteinmpnn, or add --tied none")
    found = tool.design(protein, settings.n, settings.seed)
    if not found:
        raise ToolError(f"{tool.name}: gave no sequence")
    free = np.array([not letter for letter in task.fixed]) if task.fixed else np.ones(protein.length, dtype=bool)
    unknown = np.full(protein.length, np.nan)
    return [DesignedSequence(with_letters(protein, text, task.fixed), unknown, free) for text in found]


def with_letters(protein: Protein, sequence: str, fixed: Sequence[str] | None) -> str:
    """A sequence with given letters in their places."""
    if fixed is None:
        return sequence
    return joined(protein, np.where(np.array(fixed) == "", by_residue(protein, sequence), np.array(fixed)))


def with_sequence(protein: Protein, sequence: str) -> Protein:
    """The backbone with the residue names of a sequence, and CB where the amino acid has one."""
    letters = by_residue(protein, sequence)
    atoms, mask = protein.atoms.copy(), protein.mask.copy()
    has_cb = (letters != "G") & mask[:, :3].all(axis=-1)
    atoms[:, CB] = np.where(has_cb[:, None], add_cb(np.nan_to_num(protein.backbone)), np.nan)
    mask[:, CB] = has_cb
    names = np.array([THREE_LETTER[letter] for letter in letters])
    return replace(protein, atoms=atoms, mask=mask, residue_names=names, warnings=())


def task_of(path: Path, protein: Protein, settings: SequenceSettings) -> SequenceTask:
    """What is known of the sequences of a design: letters of motifs and of named residues, chains that are copies.

    Raises:
        UsageError: if named residues cannot be read.
        StructureError: if one of them is not in the file, or has no letter there.
    """
    record = read_record(path)
    kept = named_residues(protein, settings.fixed)
    if kept and set(protein.residue_names.tolist()) == {"GLY"}:
        raise StructureError(f"{protein.name}: --fixed names residues that are placeholders: it is glycine throughout")
    if settings.keep_motifs:
        kept |= motif_residues(record, protein)
    letters = [ONE_LETTER.get(name, "") for name in protein.residue_names.tolist()]
    without = [k for k in sorted(kept) if not letters[k]]
    if without:
        raise StructureError(f"{protein.name}: residue {residue_id(protein, without[0])} has no letter to keep")
    fixed = tuple(letters[k] if k in kept else "" for k in range(protein.length)) if kept else None
    symmetric = any(entry.get("condition") == "symmetry" for entry in record.get("requested", []))
    tie = settings.tied == "all" or (settings.tied == "auto" and symmetric)
    return SequenceTask(fixed, copies(protein) if tie else ())


def designed_places(path: Path, protein: Protein, settings: SequenceSettings) -> np.ndarray:
    """(l,) True where a residue's letter is designed. Arguments and errors are those of `task_of`."""
    fixed = task_of(path, protein, settings).fixed
    return np.array([not letter for letter in fixed]) if fixed else np.ones(protein.length, dtype=bool)


def motif_residues(record: JSON, protein: Protein) -> set[int]:
    """Places of the residues of a motif."""
    wanted = {recorded_residue(entry["design"]) for entry in record.get("motif") or []}
    return {k for k, own in enumerate(residue_ids(protein)) if own in wanted}


def named_residues(protein: Protein, text: str) -> set[int]:
    """Places of residues named as "A10-20,B5"; without a chain those of every chain.

    Raises:
        UsageError: if a part cannot be read.
        StructureError: if it names no residue of the file.
    """
    found: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise UsageError(f"--fixed {part}: write residues as A10-20,B5: chain, number or range")
        first = int(match[2])
        last = first if match[3] is None else int(match[3])
        own = (protein.residue_numbers >= first) & (protein.residue_numbers <= last)
        own &= np.full(protein.length, True) if match[1] is None else protein.chain_ids == match[1]
        if not own.any():
            raise StructureError(f"{protein.name}: --fixed {part} names no residue of it")
        found |= set(np.flatnonzero(own).tolist())
    return found


def copies(protein: Protein) -> tuple[tuple[int, ...], ...]:
    """Groups of residues at one place of chains of one length; none where all lengths differ."""
    places = [np.flatnonzero(protein.chain_ids == chain) for chain in protein.chains]
    groups: list[tuple[int, ...]] = []
    for length in dict.fromkeys(len(own) for own in places):
        alike = [own for own in places if len(own) == length]
        if len(alike) > 1:
            groups += [tuple(group) for group in np.stack(alike, 1).tolist()]
    return tuple(groups)


def rows_of(fasta: Path, protein: Protein) -> list[Row]:
    """The rows of one design's sequences.

    Raises:
        StructureError: if the file cannot be read.
        ToolError: if a sequence does not fit the backbone.
    """
    rows = []
    for k, (header, sequence) in enumerate(fitting_records(protein, read_fasta(fasta), fasta.name), start=1):
        row: Row = {"name": f"{fasta.stem}_{k}", "design": fasta.stem, "sequence": sequence}
        row |= {"length": len(sequence.replace(CHAIN, ""))}
        rows.append(row | numbers_of(header) | liabilities(sequence).row())
    return rows


def numbers_of(header: str) -> dict[str, float]:
    """The score, the confidence and the number of given letters, as far as a header has them.

    LigandMPNN's overall_confidence is exp(-score).
    """
    found = {}
    for key, text in _NUMBER.findall(header):
        with contextlib.suppress(ValueError):
            found[key] = float(text)
    if 0 < found.get("overall_confidence", 0.0) <= 1:
        found.setdefault("score", -math.log(found["overall_confidence"]))
    return {key: found[key] for key in ("score", "confidence", "fixed") if math.isfinite(found.get(key, math.nan))}


def best_sequences(rows: Sequence[Row]) -> dict[str, Row]:
    """The sequence with the least score of each design, by the design's name; the first where none has a score."""
    found: dict[str, Row] = {}
    for row in rows:
        if "sequence" not in row:
            continue
        best = found.setdefault(str(row["design"]), row)
        if row.get("score", math.inf) < best.get("score", math.inf):
            found[str(row["design"])] = row
    return found
