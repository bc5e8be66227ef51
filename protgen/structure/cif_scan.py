"""Read the text of an mmCIF file with gemmi's tokenizer, keeping every value as raw text."""

from collections.abc import Sequence
from typing import cast

import gemmi
import numpy as np

from protgen.errors import StructureError
from protgen.structure.assemblies import ASSEMBLY_TAGS, MOST_ROWS, MOST_TEXT, AssemblyText
from protgen.structure.cif_table import ATOM_TAGS, HEADER_TAGS, MAX_TEXT, CifScan, Columns, make_scan
from protgen.structure.read_warnings import WarningLog

_NOT_ASCII = bytes([*range(128), *(ord("~") for _ in range(128))])  # "~" is in no number, so it cannot pass as one


_SPECIAL = ("?", ".", "'", '"', ";")  # first characters of values that are not what they look like


def scan_cif(data: bytes, log: WarningLog) -> CifScan:
    """Take the atoms and the categories of interest out of the first block that has atoms.

    Args:
        data: the file.
        log: takes the warnings about blocks, encoding and the end of the file.

    Raises:
        StructureError: if the syntax is broken, or no block has atoms.
    """
    block = _pick_block(_parse(data, log), log)
    atoms: Columns = {}
    other: dict[str, Columns] = {}
    last = None
    for item in block:
        tags = _tags(item)
        if not tags:
            continue
        last = tags[0].lower()
        for tag in tags:
            category, _, name = tag.lower()[1:].partition(".")
            if category == "atom_site" and name in ATOM_TAGS:
                atoms[name] = _column(block, tag)
            elif name in HEADER_TAGS.get(category, ()):
                other.setdefault(category, {})[name] = _column(block, tag)
    _check_lengths(atoms)
    if last is not None and last.startswith("_atom_site."):
        _check_end(data, log)
    scan = make_scan(atoms, other, log)
    scan.assemblies = _assemblies(block)
    return scan


def _parse(data: bytes, log: WarningLog) -> gemmi.cif.Document:
    if not data.isascii():
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            log.add("encoding_fallback", f"line {line}")
        data = data.translate(_NOT_ASCII)
    if b"\r" in data and b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    try:
        return gemmi.cif.read_string(data)
    except (ValueError, RuntimeError, IndexError) as error:
        message = " ".join(str(error).split())
        parts = message.split(":", 2)
        place = f"line {parts[1]}: " if len(parts) == 3 and parts[1].isdigit() else ""
        raise StructureError(
            f"{place}the mmCIF syntax is broken ({message[:200]}); it may be cut off or damaged"
        ) from None


def _pick_block(document: gemmi.cif.Document, log: WarningLog) -> gemmi.cif.Block:
    with_atoms = [block for block in document if _has_atoms(block)]
    if not with_atoms:
        raise StructureError("no _atom_site category in any data block; there are no atoms to read")
    if len(with_atoms) > 1:
        log.add("multi_block", f"data block {with_atoms[1].name!r}", len(with_atoms))
    return with_atoms[0]


def _has_atoms(block: gemmi.cif.Block) -> bool:
    return any(tag.lower().startswith("_atom_site.") for item in block for tag in _tags(item)[:1])


def _tags(item: gemmi.cif.Item) -> list[str]:
    """The tags of a loop, or the one tag of a pair."""
    if item.loop is not None:
        return list(item.loop.tags)
    return [str(text) for text in cast(Sequence[str], item.pair)[:1]] if item.pair is not None else []


def _assemblies(block: gemmi.cif.Block) -> AssemblyText:
    """The lists of assemblies and operators, as text of any length within a limit."""
    found = AssemblyText()
    for category, tags in ASSEMBLY_TAGS.items():
        for tag in tags:
            column = block.find_values(f"_{category}.{tag}")
            if len(column) > MOST_ROWS:
                found.problem = f"_{category} has {len(column):,} rows, more than {MOST_ROWS:,}"
                return found
            values = [_plain(value) for value in column]
            if max(map(len, values), default=0) > MOST_TEXT:
                found.problem = f"_{category}.{tag} has a value of more than {MOST_TEXT:,} characters"
                return found
            if values:
                found.columns.setdefault(category, {})[tag] = values
    return found


def _column(block: gemmi.cif.Block, tag: str) -> np.ndarray:
    """(n,) text; quotes taken off, "" for ? and . where they are not quoted."""
    values = [_plain(value) if value[:1] in _SPECIAL else value for value in block.find_values(tag)]
    longest = max(map(len, values), default=0)
    if longest > MAX_TEXT:
        if tag.lower().startswith("_atom_site."):
            raise StructureError(f"{tag}: holds a value of {longest} characters; not an atom's")
        values = [value[:MAX_TEXT] for value in values]
    return np.array(values, dtype=np.str_) if values else np.zeros(0, dtype="U1")


def _plain(value: str) -> str:
    if value in ("?", "."):
        return ""
    return value if value[0] == "." else gemmi.cif.as_string(value)


def _check_lengths(atoms: Columns) -> None:
    lengths = {tag: len(values) for tag, values in atoms.items()}
    if len(set(lengths.values())) > 1:
        raise StructureError(f"columns of _atom_site have different lengths: {lengths}"[:300])


def _check_end(data: bytes, log: WarningLog) -> None:
    """The atoms come last in the file: a whole one closes the table with #, one that is cut does not."""
    if data[-200:].rstrip().endswith(b"#"):
        return
    log.add("no_end", "the last line; the atom table is not closed by #")
    if not data.endswith((b"\n", b"\r")):
        log.add("truncated_tail", "the last line, which has no line end")
