"""Turn the atom records of one PDB model into columns, each checked as raw text before it is a number.

A column holds few distinct texts, and coordinates few distinct shapes of text, so that what is said of a text is worked
out once for each.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import gemmi
import numpy as np

from protgen.errors import StructureError
from protgen.structure.atom_table import NUMBER, AtomTable, check_range, occupancy_of
from protgen.structure.pdb_scan import PdbScan
from protgen.structure.read_warnings import WarningLog

WIDTH = 80
_COORDINATE = re.compile(rf" *{NUMBER} *".encode())
_INTEGER = re.compile(rb" *-?\d+ *")
_HYBRID36 = re.compile(rb"[A-Z][0-9A-Z]{3}|[a-z][0-9a-z]{3}")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_AXES = "xyz"
BLOCK = 1 << 18  # rows or fields that are looked at together: what is made of all at once takes many times the file
_LETTERS = np.array([chr(code).strip() for code in range(128)])
_VALUES = np.zeros(128)  # of digits; 0 of other characters
_VALUES[ord("0") : ord("9") + 1] = range(10)
_SHAPES = np.arange(128, dtype=np.uint8)  # 0 for every digit; other characters as they are
_SHAPES[ord("0") : ord("9") + 1] = ord("0")


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
    return AtomTable(
        name=_mapped(grid[:, 12:16], lambda text: text.strip().upper()),
        altloc=_LETTERS[grid[:, 16]],
        residue_name=_mapped(grid[:, 17:20], lambda text: text.strip().upper()),
        chain=_chain_names(_LETTERS[grid[:, 21]], rows, log),
        number=_numbers(grid[:, 22:26], rows),
        insertion=_LETTERS[grid[:, 26]],
        xyz=_coordinates(grid[:, 30:54], rows),
        occupancy=_mapped(grid[:, 54:60], occupancy_of),
        element=_elements(grid, rows, log),
        hetero=grid[:, 0] == ord("H"),
        in_polymer=_before_ter(_LETTERS[grid[:, 21]], scan.ters[model]),
        header=scan.header,
    )


def _grid(scan: PdbScan, rows: Sequence[int]) -> np.ndarray:
    """(n, 80) bytes; refuses what is not printable ASCII in the columns that matter."""
    lines = [scan.lines[i] for i in rows]
    whole = b"".join([line if len(line) == WIDTH else line[:WIDTH].ljust(WIDTH) for line in lines])
    grid = np.frombuffer(whole, np.uint8).reshape(-1, WIDTH)
    for start in range(0, len(grid), BLOCK):
        part = grid[start : start + BLOCK]
        odd = (part < 32) | (part > 126)
        if not odd.any():
            continue
        k = int(np.flatnonzero(odd.any(axis=1))[0])
        i, column = start + k, int(np.flatnonzero(odd[k])[0]) + 1
        raise StructureError(
            f"line {rows[i] + 1}, column {column}: a tab, control or non-ASCII character in an atom record; "
            "its columns must be plain text and spaces"
        )
    touching = grid[:, 29] != 32
    if touching.any():
        i = int(np.flatnonzero(touching)[0])
        raise StructureError(f"line {rows[i] + 1}, column 30: must be blank; the columns look shifted or overflowing")
    return grid


def _distinct(columns: np.ndarray) -> tuple[list[bytes], np.ndarray, np.ndarray]:
    """The distinct texts of n fields of k <= 8 bytes in order, the first field of each, and (n,) which a field has."""
    n, k = columns.shape
    padded = np.zeros((n, 8), np.uint8)
    padded[:, :k] = columns
    codes, first, inverse = np.unique(
        padded.view(">u8").ravel().astype(np.uint64), return_index=True, return_inverse=True
    )
    raw = codes.astype(">u8").tobytes()
    return [raw[8 * i : 8 * i + k] for i in range(len(codes))], first, inverse


def _mapped(columns: np.ndarray, convert: Callable[[str], object]) -> np.ndarray:
    """(n,) what `convert` makes of the text of each field of (n, k) bytes."""
    texts, _, inverse = _distinct(columns)
    return np.array([convert(text.decode("ascii")) for text in texts])[inverse]


def _coordinates(columns: np.ndarray, rows: Sequence[int]) -> np.ndarray:
    """(n, 3) Å; every field must be a plain decimal number, its point where the rest of the file has it.

    A number is that of its digits, which is exact, by a power of ten: rounded once, as `float` rounds.
    """
    raw = np.ascontiguousarray(columns).reshape(-1, 8)
    xyz, counts = np.empty(len(raw)), Counter[bytes]()
    for start in range(0, len(raw), BLOCK):
        part = raw[start : start + BLOCK]
        shapes, first, inverse = _distinct(_SHAPES[part])
        bad = [k for k, shape in zip(first.tolist(), shapes, strict=True) if not _COORDINATE.fullmatch(shape)]
        if bad:
            shown = part[min(bad)].tobytes().decode("ascii")
            why = "blank" if not shown.strip() else "not a number"
            raise StructureError(f"{_field_place(rows, start + min(bad))} is {shown!r}, {why}")
        counts.update(dict(zip(shapes, np.bincount(inverse).tolist(), strict=True)))
        weights = np.array([_weights(shape) for shape in shapes])
        units = np.array([_unit(shape) for shape in shapes])
        xyz[start : start + BLOCK] = np.einsum("kc,kc->k", _VALUES[part], weights[inverse]) / units[inverse]
    _check_points(raw, counts, rows)
    xyz = xyz.reshape(-1, 3)
    check_range(xyz, lambda i: f"line {rows[i] + 1}")
    return xyz


def _weights(shape: bytes) -> list[float]:
    """(8,) powers of ten of the characters of a number without its point."""
    return [10.0 ** shape[k + 1 :].count(b"0") for k in range(len(shape))]


def _unit(shape: bytes) -> float:
    """What the digits of a number are divided by: a power of ten with its sign."""
    return (-1.0 if b"-" in shape else 1.0) * 10.0 ** shape.partition(b".")[2].count(b"0")


def _check_points(raw: np.ndarray, shapes: Counter[bytes], rows: Sequence[int]) -> None:
    """Raise where a lost or added character shows in the place of the decimal point, or at a field's end.

    Where most fields have a point in one column, one without a point is damaged; where most are flush right,
    one that ends in a blank is. Fewer or more decimals, flush right, are how some programs write.

    Args:
        raw: (n, 8) bytes of the fields.
        shapes: how many fields have each shape.
        rows: lines of the atoms.
    """
    points = np.array([shape.find(b".") for shape in shapes])
    counts = np.array(list(shapes.values()))
    pointless, blank_end = points < 0, np.array([shape.endswith(b" ") for shape in shapes])
    fraction = np.bincount(points[~pointless], counts[~pointless], minlength=8).max() / len(raw)
    if fraction < 0.75:  # no common column to compare single fields with
        return
    odd = pointless | blank_end if counts[blank_end].sum() <= 0.1 * len(raw) else pointless
    if odd.any():
        k = _first_of(raw, {shape for shape, is_odd in zip(shapes, odd.tolist(), strict=True) if is_odd})
        raise StructureError(
            f"{_field_place(rows, k)} is {raw[k].tobytes().decode('ascii')!r}, its decimal point or end not "
            "where the rest of the file has it; the line looks damaged or shifted"
        )


def _first_of(raw: np.ndarray, wanted: set[bytes]) -> int:
    """The first field with one of some shapes, of which there is one."""
    for start in range(0, len(raw), BLOCK):
        shapes, first, _ = _distinct(_SHAPES[raw[start : start + BLOCK]])
        found = [k for k, shape in zip(first.tolist(), shapes, strict=True) if shape in wanted]
        if found:
            return start + min(found)
    raise AssertionError("no field has any of the shapes")


def _field_place(rows: Sequence[int], k: int) -> str:
    """The k-th coordinate field in words."""
    start = 31 + k % 3 * 8
    return f"line {rows[k // 3] + 1}, columns {start}-{start + 7}: {_AXES[k % 3]}"


def _numbers(columns: np.ndarray, rows: Sequence[int]) -> np.ndarray:
    texts, first, inverse = _distinct(columns)
    numbers = [residue_number(text) for text in texts]
    if None in numbers:
        k = numbers.index(None)
        raise StructureError(
            f"line {rows[first[k]] + 1}, columns 23-26: {texts[k].decode('ascii')!r} is no residue number"
        )
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


def _elements(grid: np.ndarray, rows: Sequence[int], log: WarningLog) -> np.ndarray:
    """(n,) element symbols, "" where not given; calcium and C-alpha are distinguished by their column if need be."""
    element = _mapped(grid[:, 76:78], _element_of)
    blank = element == ""
    if blank.any():
        log.add("element_inferred", f"line {rows[int(np.flatnonzero(blank)[0])] + 1}", int(blank.sum()))
        raw_name = _mapped(grid[:, 12:16], str)
        if np.isin(raw_name, [" N  ", " C  ", " O  "]).any():  # this file keeps element columns within atom names
            element = np.where(blank & np.char.startswith(raw_name, "CA"), "CA", element)
    return element


def _element_of(text: str) -> str:
    symbol = text.strip().upper()
    known = symbol.isalpha() and gemmi.Element(symbol.capitalize()).atomic_number > 0
    return symbol if known else ""  # old files have an entry name and a serial number here


def _chain_names(chain: np.ndarray, rows: Sequence[int], log: WarningLog) -> np.ndarray:
    blank = chain == ""
    if not blank.any():
        return chain
    log.add("no_chain_id", f"line {rows[int(np.flatnonzero(blank)[0])] + 1}", int(blank.sum()))
    taken = set(np.unique(chain).tolist())
    return np.where(blank, next(letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ_" if letter not in taken), chain)


def blank_chain(scan: PdbScan, model: int, table: AtomTable) -> dict[str, list[str]]:
    """The letter that the chain without a name was given, by what REMARK 350 calls it; empty if all have names."""
    rows = zip(scan.models[model], table.chain.tolist(), strict=True)
    found = next((name for i, name in rows if scan.lines[i][21:22] == b" "), None)
    return {} if found is None else {"NULL": [found]}


def _before_ter(chain: np.ndarray, ters: list[int]) -> np.ndarray:
    """(n,) bool; True for the atoms before the last TER of their chain."""
    last = {chain[k - 1]: k for k in ters if k > 0}
    before = np.zeros(len(chain), dtype=bool)
    for name, stop in last.items():
        before[:stop] |= chain[:stop] == name
    return before
