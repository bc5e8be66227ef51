"""Read one structure file into a `Protein`, or say in one line why it cannot be read truthfully.

The formats are PDB, mmCIF and BinaryCIF, each gzipped or not, recognised by content. Every coordinate is
checked as raw text before it becomes a number; nothing defaults to zero. The reader warns of what is unusual but
readable; `Protein.warnings` holds these warnings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path

import numpy as np

from protgen.errors import StructureError
from protgen.structure.assemble import assemble
from protgen.structure.assemblies import Assembly, first_assembly
from protgen.structure.atom_table import AtomTable
from protgen.structure.bcif import scan_bcif
from protgen.structure.cif_scan import scan_cif
from protgen.structure.cif_table import CifScan, asym_names, cif_table
from protgen.structure.file_names import SUFFIXES, stem
from protgen.structure.geometry_checks import check_geometry
from protgen.structure.other_chains import other_chains
from protgen.structure.pdb_scan import PdbScan, scan_pdb
from protgen.structure.pdb_table import blank_chain, pdb_table
from protgen.structure.protein import Protein
from protgen.structure.read_warnings import ReadWarning, WarningLog
from protgen.structure.sequence_checks import check_sequences
from protgen.structure.sniff import MAX_BYTES, checked_path, load

__all__ = ["SUFFIXES", "ReadResult", "count_models", "parse_structure", "read_models", "read_structure", "stem"]


@dataclass(frozen=True)
class ReadResult:
    """What a file holds.

    Attributes:
        protein: the residues of one model; `protein.warnings` are the same warnings.
        warnings: what the reader noticed, one entry for each code.
        n_models: number of models in the file.
        other_chains: what each chain is that holds no protein (DNA, RNA, sugar, ligand, water), by its name.
        assembly: the first that the file lists; None where it lists none, or was not asked for.
    """

    protein: Protein
    warnings: tuple[ReadWarning, ...]
    n_models: int
    other_chains: Mapping[str, str] = field(default_factory=dict)
    assembly: Assembly | None = None


def read_structure(
    path: str | PathLike[str],
    *,
    model: int = 0,
    strict: bool = False,
    name: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> Protein:
    """Read a PDB, mmCIF or BinaryCIF file, gzipped or not.

    Args:
        path: the file. The format is recognised by content; the name does not matter.
        model: index of the model to take, from 0.
        strict: treat reader warnings as errors.
        name: for the protein; the file's name without suffixes by default.
        max_bytes: unpacked size at which to stop.

    Returns:
        The protein. Its attribute `warnings` says what is unusual about the file.

    Raises:
        StructureError: one line with the file, the line or tag, the reason, and what to do.

    Examples:
        >>> protein = read_structure("1aki.pdb.gz")  # doctest: +SKIP
        >>> [str(warning) for warning in protein.warnings]  # doctest: +SKIP
    """
    return parse_structure(path, model=model, strict=strict, name=name, max_bytes=max_bytes).protein


def parse_structure(
    path: str | PathLike[str],
    *,
    model: int = 0,
    strict: bool = False,
    name: str | None = None,
    max_bytes: int = MAX_BYTES,
    assembly: bool = False,
) -> ReadResult:
    """Read a file as `read_structure` does, and also say how many models it holds.

    Args:
        path: the file.
        model: index of the model to take, from 0.
        strict: treat reader warnings as errors.
        name: for the protein; the file's name without suffixes by default.
        max_bytes: unpacked size at which to stop.
        assembly: whether to read the first assembly too.

    Raises:
        StructureError: as `read_structure`; also if an assembly is asked for and its list cannot be read.
    """
    return _read(path, [model], strict, name, max_bytes, assembly)[0]


def read_models(
    path: str | PathLike[str], *, strict: bool = False, name: str | None = None, max_bytes: int = MAX_BYTES
) -> list[Protein]:
    """Read every model of a file, as `read_structure` reads one.

    Args:
        path: the file.
        strict: treat reader warnings as errors; several models are no warning here.
        name: for the proteins, which get "_model1" and so on appended.
        max_bytes: unpacked size at which to stop.

    Raises:
        StructureError: as `read_structure`.
    """
    return [result.protein for result in _read(path, None, strict, name, max_bytes)]


def count_models(path: str | PathLike[str], *, max_bytes: int = MAX_BYTES) -> int:
    """How many models a file holds; their atoms are not looked at.

    Args:
        path: the file.
        max_bytes: unpacked size at which to stop.

    Raises:
        StructureError: as `read_structure`.
    """
    path = checked_path(path)
    try:
        return len(_scan(path, WarningLog(), max_bytes).models)
    except StructureError as error:
        raise StructureError(f"{path}: {error}") from None


def _scan(path: Path, log: WarningLog, max_bytes: int) -> PdbScan | CifScan:
    payload = load(path, log, max_bytes)
    if payload.kind == "bcif":
        return scan_bcif(payload.data, log, max_bytes)
    return (scan_pdb if payload.kind == "pdb" else scan_cif)(payload.data, log)


def _read(
    path: str | PathLike[str],
    models: list[int] | None,
    strict: bool,
    name: str | None,
    max_bytes: int,
    assembly: bool = False,
) -> list[ReadResult]:
    path = checked_path(path)
    try:
        log = WarningLog()
        scan = _scan(path, log, max_bytes)
        n_models = len(scan.models)
        if n_models > 1 and models is not None:
            log.add("multi_model", f"{n_models} models", n_models)
        results = []
        for index in range(n_models) if models is None else models:
            if not 0 <= index < n_models:
                raise StructureError(f"holds {n_models} models; there is no model {index}, they count from 0")
            own_name = (name or stem(path)) + ("" if models is not None else f"_model{index + 1}")
            results.append(_model(scan, index, own_name, log.copy(), n_models, assembly))
            if strict and results[-1].warnings:
                raise StructureError(f"refused, as strict reading was asked for: {_in_words(results[-1].warnings)}")
        return results
    except StructureError as error:
        raise StructureError(f"{path}: {error}") from None


def _model(
    scan: PdbScan | CifScan, index: int, name: str, log: WarningLog, n_models: int, assembly: bool
) -> ReadResult:
    """One model of a scanned file; `log` collects its warnings."""
    table = _table(scan, index, log)
    protein = _protein(table, name, log)
    found = _assembly(scan, index, table) if assembly else None
    warnings = log.warnings()
    return ReadResult(replace(protein, warnings=warnings), warnings, n_models, other_chains(table, protein), found)


def _assembly(scan: PdbScan | CifScan, index: int, table: AtomTable) -> Assembly | None:
    if isinstance(scan, PdbScan):
        names = {chain: [chain] for chain in np.unique(table.chain).tolist()} | blank_chain(scan, index, table)
    else:
        names = asym_names(scan, index, table)
    return first_assembly(scan.assemblies, names)


def _table(scan: PdbScan | CifScan, model: int, log: WarningLog) -> AtomTable:
    return pdb_table(scan, model, log) if isinstance(scan, PdbScan) else cif_table(scan, model, log)


def _protein(table: AtomTable, name: str, log: WarningLog) -> Protein:
    missing = np.isnan(table.occupancy)
    if missing.any():
        log.add("occupancy_missing", f"atom {int(np.flatnonzero(missing)[0]) + 1}", int(missing.sum()))
    outside = (table.occupancy < 0) | (table.occupancy > 1)
    if outside.any():
        log.add("occupancy_out_of_range", f"atom {int(np.flatnonzero(outside)[0]) + 1}", int(outside.sum()))
    protein = assemble(table, name, log)
    check_sequences(table, protein, log)
    check_geometry(protein, log)
    return protein


def _in_words(warnings: tuple[ReadWarning, ...]) -> str:
    return "; ".join(f"{warning.code} ({warning.count}, first at {warning.first_place})" for warning in warnings)
