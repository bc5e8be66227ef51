"""Read one source: its units, what of them passes the filters, and a reason for the rest.

`read_source` needs nothing but its argument, so that it runs in any process; what it gives is small and plain.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from protgen.data.assemblies import assembly_of
from protgen.data.domains import Domain
from protgen.data.sources import Source, resolution_of
from protgen.data.units import Kind, Unit, copies_of, units_of
from protgen.data.windows import Filters, Window, complete_residues, residue_types, windows_of
from protgen.errors import StructureError
from protgen.structure.reader import parse_structure

if TYPE_CHECKING:
    from protgen.types import JSON


@dataclass(frozen=True)
class ReadingOptions:
    """What of a file is read.

    Attributes:
        units: what becomes an item.
        chain: name of the chain to take; "" for all.
        models: whether every model of a file is a source of its own.
    """

    units: Kind = "chain"
    chain: str = ""
    models: bool = False


@dataclass(frozen=True)
class Task:
    """A source to read, and how.

    Attributes:
        source: the file.
        filters: what to keep.
        options: what to read.
        pdb: ID of its PDB entry; "" if unknown.
        domains: of that entry.
        base: folder that a relative path begins at; None for the one that this process is in.
    """

    source: Source
    filters: Filters
    options: ReadingOptions
    pdb: str = ""
    domains: tuple[Domain, ...] = ()
    base: Path | None = None


@dataclass(frozen=True)
class Piece:
    """A unit that gave items.

    Attributes:
        id: of the unit.
        chain: name of its chain in the file.
        atoms: (l, 4, 3) float32 Å, of its complete residues.
        numbers: (l,) int32 residue numbers.
        aatype: (l,) uint8 residue types.
        windows: the items.
        digest: of the coordinates, by which the same file given twice is known.
        topologies: CATH codes C.A.T that are known of it.
        parts: (l,) uint8 number of the part of each residue: 0 where there is one.
    """

    id: str
    chain: str
    atoms: np.ndarray
    numbers: np.ndarray
    aatype: np.ndarray
    windows: tuple[Window, ...]
    digest: str
    parts: np.ndarray
    topologies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What came of a source.

    Attributes:
        pieces: what was kept.
        dropped: an entry with `id` and `reason` for each unit that gave nothing.
        unreadable: whether the file could not be read.
        warnings: codes of what the reader noticed.
    """

    pieces: tuple[Piece, ...] = ()
    dropped: "tuple[JSON, ...]" = ()
    unreadable: bool = False
    warnings: tuple[str, ...] = ()


def read_source(task: Task) -> Reading:
    """Read a source and keep what passes the filters."""
    source, options = task.source, task.options
    assembled = options.units == "assembly"
    path = source.path if task.base is None else task.base / source.path
    try:
        result = parse_structure(path, model=source.model if options.models else 0, assembly=assembled)
    except StructureError as error:
        reason = str(error).replace(str(path), str(source.path))
        return Reading((), (_drop(source.id, f"unreadable: {reason}"),), unreadable=True)
    protein = result.protein
    codes = tuple(w.code for w in result.warnings if not (options.models and w.code == "multi_model"))
    codes += ("no_assembly",) if assembled and result.assembly is None else ()
    if options.chain:
        if options.chain not in protein.chains:
            return Reading((), (_drop(source.id, f"no chain {options.chain}: it has {', '.join(protein.chains)}"),))
        protein = protein.select(protein.chain_ids == options.chain)
    resolution = resolution_of(source.facts.get("resolution"), source.id) or protein.resolution
    if resolution and resolution > task.filters.max_resolution:
        reason = f"resolution {resolution} > {task.filters.max_resolution} Å"
        return Reading((), (_drop(source.id, reason),), warnings=codes)
    if assembled:
        units, dropped = assembly_of(source.id, protein, result.assembly, task.filters.max_length)
    else:
        units, dropped = units_of(source.id, protein, options.units, task.domains, task.pdb)
    if options.units in ("chain", "complex", "assembly") and not options.chain:
        dropped += [_drop(f"{source.id}_{chain}", f"no protein: {kind}") for chain, kind in result.other_chains.items()]
    pieces: list[Piece] = []
    for group in copies_of(units):
        _read_group(group, task.filters, pieces, dropped)
    order = {unit.id: k for k, unit in enumerate(units)}
    pieces.sort(key=lambda piece: order[piece.id])
    return Reading(tuple(pieces), tuple(dropped), warnings=codes)


def _read_group(group: list[Unit], filters: Filters, pieces: list[Piece], dropped: "list[JSON]") -> None:
    """Keep the first of some copies that passes the filters, and say why the others are left out."""
    kept = ""
    for unit in group:
        if kept:
            dropped.append(_drop(unit.id, f"copy of {kept} in the same file"))
            continue
        windows, reason = windows_of(unit.id, unit.protein, filters, unit.parts)
        if windows:
            kept = unit.id
            for window in windows if unit.assembly else ():
                window.facts["assembly"] = unit.assembly
            pieces.append(_piece(unit, windows))
        else:
            dropped.append(_drop(unit.id, reason))


def _piece(unit: Unit, windows: list[Window]) -> Piece:
    whole = complete_residues(unit.protein)
    return Piece(
        unit.id,
        unit.chain,
        whole.backbone.astype(np.float32),
        whole.residue_numbers.astype(np.int32),
        residue_types(whole.residue_names),
        tuple(windows),
        hashlib.sha256(np.round(unit.protein.backbone, 2).tobytes()).hexdigest(),
        _parts(unit),
        unit.topologies,
    )


def _parts(unit: Unit) -> np.ndarray:
    """(l,) uint8 part of each complete residue of a unit, none passed over."""
    whole = np.asarray(unit.protein.mask[:, :4].all(axis=1))
    if unit.parts is None:
        return np.zeros(int(whole.sum()), np.uint8)
    return np.unique(unit.parts[whole], return_inverse=True)[1].astype(np.uint8)


def _drop(name: str, reason: str) -> "JSON":
    return {"id": name, "reason": reason}
