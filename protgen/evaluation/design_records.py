"""The record that `protgen sample` writes next to a design: `design_0003.json` beside `design_0003.pdb`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protgen.documents import read_json, whole_number_in
from protgen.errors import DocumentError
from protgen.integrity import SEAL, damage, is_sealed
from protgen.structure.reader import stem
from protgen.structure.residue_id import ResidueId
from protgen.types import JSON

DESIGN = re.compile(r"design_(\d{4,9})\.(pdb|cif|json|xtc)", re.ASCII)
MAX_RECORD = 20_000_000  # bytes; that of a design with a motif of 10,000 residues takes some 3 MB


def read_record(path: Path) -> JSON:
    """The record next to a structure file; empty where there is none of ours.

    Raises:
        DocumentError: if it is not what `protgen sample` wrote: a motif that it names would be lost without a word.
    """
    place = path.parent / f"{stem(path)}.json"
    if not place.exists():
        return {}
    try:
        record = read_json(place, MAX_RECORD)
    except DocumentError:
        if DESIGN.fullmatch(place.name):
            raise
        return {}  # of another program, whatever it holds
    if SEAL in record and not is_sealed(record):
        raise DocumentError(
            f"{place}: has other content than was written; make the design anew (protgen sample --resume), or remove "
            "the record to go on without what it says"
        )
    return record if _is_ours(record) else {}


def _is_ours(record: JSON) -> bool:
    """Whether a JSON object has the entries of our records that are read again."""
    asked, motif = record.get("requested", []), record.get("motif") or []
    if not isinstance(asked, list) or not isinstance(motif, list):
        return False
    try:
        for entry in motif:
            _ = recorded_residue(entry["design"]), recorded_residue(entry["motif"])
    except (KeyError, TypeError, ValueError):
        return False
    return all(isinstance(entry, dict) and isinstance(entry.get("condition"), str) for entry in asked)


def checked_record(structure: Path, index: int) -> tuple[JSON, str]:
    """The record of a design, and what is wrong with record or files, in words; "" where they are what was written.

    Args:
        structure: its file.
        index: of the design.
    """
    try:
        record = read_json(structure.with_suffix(".json"), MAX_RECORD)
    except DocumentError as error:
        return {}, str(error)
    return record, damage_of(record, structure, index)


def damage_of(record: JSON, structure: Path, index: int) -> str:
    """What is wrong with a design, in words; arguments as of `checked_record`."""
    files = record.get("files")
    if not isinstance(files, dict) or structure.name not in files:
        return "its record has no checksum of the structure"
    if record.get("index") != index or not is_sealed(record):
        return "its record has other content than was written"
    return damage(structure.parent, files)


def recorded_residue(entry: Mapping[str, Any]) -> ResidueId:
    """A residue that a record names; older records have no insertion codes."""
    return ResidueId(str(entry["chain"]), whole_number_in(str(entry["residue"])), str(entry.get("insertion", "")))
