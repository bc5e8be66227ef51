"""B-factors of the CA atoms, where structure predictors write their confidence: pLDDT."""

import re
from os import PathLike
from pathlib import Path

import numpy as np

from protgen.structure.atom_table import NUMBER
from protgen.structure.bcif import scan_bcif
from protgen.structure.cif_scan import scan_cif
from protgen.structure.cif_table import cif_table
from protgen.structure.pdb_scan import scan_pdb
from protgen.structure.pdb_table import pdb_table
from protgen.structure.protein import Protein
from protgen.structure.read_warnings import WarningLog
from protgen.structure.sniff import MAX_BYTES, load

_VALUE = re.compile(rf"\s*({NUMBER}(?:[eE][+-]?\d{{1,3}})?)(?:\(\d+\))?\s*", re.ASCII)


def read_b_factors(path: str | PathLike[str], protein: Protein) -> np.ndarray:
    """(l,) B-factors of the CA atoms of a structure file's first model.

    Args:
        path: a file that `read_structure` has read.
        protein: what it read: the residues in their order.

    Returns:
        One value a residue, as the file has it; NaN where there is no CA, no such column, or no number. Of several
        locations of an atom the first counts.

    Raises:
        StructureError: if the file cannot be read, as `read_structure` would.
    """
    log = WarningLog()
    payload = load(Path(path), log, MAX_BYTES)
    if payload.kind == "pdb":
        lines = scan_pdb(payload.data, log)
        table = pdb_table(lines, 0, log)
        texts = [lines.lines[row][60:66].decode("ascii", "replace") for row in lines.models[0]]
    else:
        columns = (scan_cif if payload.kind == "cif" else scan_bcif)(payload.data, log)
        table = cif_table(columns, 0, log)
        column = columns.atoms.get("b_iso_or_equiv")
        texts = [""] * len(table) if column is None else [str(value) for value in column[columns.models[0]].tolist()]
    found: dict[tuple[str, int, str], float] = {}
    for row in np.flatnonzero((table.name == "CA") & (table.element != "CA")).tolist():
        place = (str(table.chain[row]), int(table.number[row]), str(table.insertion[row]))
        value = _VALUE.fullmatch(texts[row])
        found.setdefault(place, float(value[1]) if value else np.nan)
    places = zip(
        protein.chain_ids.tolist(), protein.residue_numbers.tolist(), protein.insertion_codes.tolist(), strict=True
    )
    return np.array([found.get((str(chain), int(number), str(code)), np.nan) for chain, number, code in places])


def plddt_of(b_factors: np.ndarray) -> np.ndarray:
    """(l,) pLDDT on the scale from 0 to 100, of B-factors on that scale or from 0 to 1.

    ESMFold as Meta published it and AlphaFold write 0 to 100, ESMFold in transformers 0 to 1. A file in which no value
    exceeds 1 is of the second kind: on the first scale no predictor gives values so low. One value of 0 or 1 throughout
    is a placeholder, and values outside 0 to 100 are no pLDDT: all are NaN then. B-factors of crystallography between 0
    and 100 cannot be distinguished from pLDDT.
    """
    known = b_factors[np.isfinite(b_factors)]
    nothing = np.full(len(b_factors), np.nan)
    if len(known) == 0 or known.min() < 0 or known.max() > 100:
        return nothing
    if np.ptp(known) == 0 and known[0] in (0.0, 1.0):
        return nothing
    return b_factors * (100.0 if known.max() <= 1 else 1.0)
