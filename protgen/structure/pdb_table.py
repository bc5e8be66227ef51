"""Turn the atom records of one PDB model into columns, each checked as raw text before it is a number."""

import re

import gemmi
import numpy as np

from protgen.errors import StructureError
from protgen.structure.atom_table import NUMBER, AtomTable, check_range, map_unique, occupancy_of
from protgen.structure.pdb_scan import PdbScan
from protgen.structure.read_warnings import WarningLog

WIDTH = 80
_COORDINATE = re.compile(rf" *{NUMBER} *".encode())
_INTEGER = re.compile(rb" *-?\d+ *")
_HYBRID36 = re.compile(rb"[A-Z][0-9A-Z]{3}|[a-z][0-9a-z]{3}")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_AXES = "xyz"


def pdb_table(scan: PdbScan, model: int, log: WarningLog) -> AtomTable:
    """The atoms of one model.

    Args:
        scan: the sorted lines.
        model: index of the model, from 0.
        log: takes the warnings about elements, occupancies and chain names.

    Raises:
        StructureError: naming the line, if a field is not what the format says.
    """
    rows = scan.models[model]
    grid = _grid(scan, rows)
    altloc, chain, insertion = (_text(grid, k, k + 1) for k in (16, 21, 26))
    raw_name = _text(grid, 12, 16)
    occupancy = map_unique(_text(grid, 54, 60), occupancy_of)
    element = _elements(grid, raw_name, rows, log)
    return AtomTable(
        name=np.char.upper(np.char.strip(raw_name)),
        altloc=np.char.strip(altloc),
        residue_name=np.char.upper(np.char.strip(_text(grid, 17, 20))),
        chain=_chain_names(np.char.strip(chain), rows, log),
        number=_numbers(grid, rows),
        insertion=np.char.strip(insertion),
        xyz=_coordinates(grid, rows),
        occupancy=occupancy,
        element=element,
        hetero=grid[:, 0] == ord("H"),
        in_polymer=_before_ter(chain, scan.ters[model]),
        header=scan.header,
    )


def _grid(scan: PdbScan, rows: list[int]) -> np.ndarray:
    """(n, 80) bytes; refuses what is not printable ASCII in the columns that matter."""
    lines = scan.lines
    grid = np.frombuffer(b"".join([lines[i][:WIDTH].ljust(WIDTH) for i in rows]), np.uint8).reshape(-1, WIDTH)
    odd = ((grid < 32) | (grid > 126)).any(axis=1)
    if odd.any():
        i = int(np.flatnonzero(odd)[0])
        column = int(np.flatnonzero((grid[i] < 32) | (grid[i] > 126))[0]) + 1
        raise StructureError(
            f"line {rows[i] + 1}, column {column}: a tab, control or non-ASCII character in an atom record; "
            "its columns must be plain text and spaces"
        )
    touching = grid[:, 29] != 32
    if touching.any():
        i = int(np.flatnonzero(touching)[0])
        raise StructureError(f"line {rows[i] + 1}, column 30: must be blank; the columns look shifted or overflowing")
    return grid


def _bytes(grid: np.ndarray, start: int, stop: int) -> np.ndarray:
    return np.ascontiguousarray(grid[:, start:stop]).view(f"S{stop - start}").ravel()


def _text(grid: np.ndarray, start: int, stop: int) -> np.ndarray:
    return _bytes(grid, start, stop).astype(f"U{stop - start}")


def _coordinates(grid: np.ndarray, rows: list[int]) -> np.ndarray:
    """(n, 3) Å; every field must be a plain decimal number, its point where the rest of the file has it."""
    fields = np.ascontiguousarray(grid[:, 30:54]).view("S8").ravel().tolist()
    good = _COORDINATE.fullmatch
    for k, text in enumerate(fields):
        if not good(text):
            shown = text.decode("ascii")
            why = "blank" if not shown.strip() else "not a number"
            raise StructureError(f"{_field_place(rows, k)} is {shown!r}, {why}")
    _check_points(grid, rows)
    xyz = np.array(fields).astype(float).reshape(-1, 3)
    check_range(xyz, lambda i: f"line {rows[i] + 1}")
    return xyz


def _check_points(grid: np.ndarray, rows: list[int]) -> None:
    """Raise where a lost or added character shows in the place of the decimal point, or at a field's end.

    Where most fields have a point in one column, one without a point is damaged; where most are flush right,
    one that ends in a blank is. Fewer or more decimals, flush right, are how some programs write.
    """
    raw = np.ascontiguousarray(grid[:, 30:54]).reshape(-1, 8)
    is_point, blank_end = raw == ord("."), raw[:, 7] == ord(" ")
    pointless = ~is_point.any(axis=1)
    fraction = np.bincount(is_point.argmax(axis=1)[~pointless], minlength=8).max() / len(raw)
    if fraction < 0.75:  # no common column to compare single fields with
        return
    odd = pointless | blank_end if blank_end.mean() <= 0.1 else pointless
    if odd.any():
        k = int(np.flatnonzero(odd)[0])
        raise StructureError(
            f"{_field_place(rows, k)} is {raw[k].tobytes().decode('ascii')!r}, its decimal point or end not "
            "where the rest of the file has it; the line looks damaged or shifted"
        )


def _field_place(rows: list[int], k: int) -> str:
    """The k-th coordinate field in words."""
    start = 31 + k % 3 * 8
    return f"line {rows[k // 3] + 1}, columns {start}-{start + 7}: {_AXES[k % 3]}"


def _numbers(grid: np.ndarray, rows: list[int]) -> np.ndarray:
    raw = _bytes(grid, 22, 26)
    distinct, first, inverse = np.unique(raw, return_index=True, return_inverse=True)
    numbers = []
    for text, k in zip(distinct.tolist(), first.tolist(), strict=True):
        number = residue_number(text)
        if number is None:
            raise StructureError(f"line {rows[k] + 1}, columns 23-26: {text.decode('ascii')!r} is no residue number")
        numbers.append(number)
    return np.array(numbers, dtype=np.int64)[inverse]


def residue_number(text: bytes) -> int | None:
    """A residue number of four columns, plain or hybrid-36 ("A000" is 10,000); None if it is neither.

    References: cci.lbl.gov/hybrid_36.
    """
    if _INTEGER.fullmatch(text):
        return int(text)
    if not _HYBRID36.fullmatch(text):
        return None
    shown = text.decode("ascii")
    value = 0
    for digit in shown.upper():
        value = value * 36 + _DIGITS.index(digit)
    return value - 10 * 36**3 + 10**4 + (26 * 36**3 if shown[0].islower() else 0)


def _elements(grid: np.ndarray, raw_name: np.ndarray, rows: list[int], log: WarningLog) -> np.ndarray:
    """(n,) element symbols, "" where not given; calcium and C-alpha are distinguished by their column if need be."""
    element = map_unique(_text(grid, 76, 78), _element_of)
    blank = element == ""
    if blank.any():
        log.add("element_inferred", f"line {rows[int(np.flatnonzero(blank)[0])] + 1}", int(blank.sum()))
        if np.isin(raw_name, [" N  ", " C  ", " O  "]).any():  # this file keeps element columns within atom names
            element = np.where(blank & np.char.startswith(raw_name, "CA"), "CA", element)
    return element


def _element_of(text: str) -> str:
    symbol = text.strip().upper()
    known = symbol.isalpha() and gemmi.Element(symbol.capitalize()).atomic_number > 0
    return symbol if known else ""  # old files have an entry name and a serial number here


def _chain_names(chain: np.ndarray, rows: list[int], log: WarningLog) -> np.ndarray:
    blank = chain == ""
    if not blank.any():
        return chain
    log.add("no_chain_id", f"line {rows[int(np.flatnonzero(blank)[0])] + 1}", int(blank.sum()))
    taken = set(np.unique(chain).tolist())
    return np.where(blank, next(letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ_" if letter not in taken), chain)


def _before_ter(chain: np.ndarray, ters: list[int]) -> np.ndarray:
    """(n,) bool; True for the atoms before the last TER of their chain."""
    last = {chain[k - 1]: k for k in ters if k > 0}
    before = np.zeros(len(chain), dtype=bool)
    for name, stop in last.items():
        before[:stop] |= chain[:stop] == name
    return before
