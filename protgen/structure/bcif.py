"""Read BinaryCIF: the same categories as mmCIF, each column packed by a chain of simple encodings.

References: Sehnal et al., PLoS Comput. Biol. 16:e1008247 (2020);
github.com/molstar/BinaryCIF/blob/master/encoding.md.
"""

import numpy as np

from protgen.errors import StructureError
from protgen.structure.assemblies import ASSEMBLY_TAGS, MOST_ROWS, MOST_TEXT, AssemblyText
from protgen.structure.cif_table import ATOM_TAGS, HEADER_TAGS, MAX_TEXT, CifScan, Columns, make_scan
from protgen.structure.msgpack import unpack
from protgen.structure.read_warnings import WarningLog
from protgen.structure.sniff import MAX_BYTES

_TYPES = {1: "i1", 2: "<i2", 3: "<i4", 4: "u1", 5: "<u2", 6: "<u4", 32: "<f4", 33: "<f8"}
_DAMAGE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError)  # of reading such data
LEAST = 4  # bytes of a value: a text of one character
ASSEMBLIES = 64_000_000  # bytes that the lists of assemblies may take
COLUMNS = 3  # times the limit of a file: 200 MB of mmCIF text hold two million atoms, whose columns take 500 MB


class _Room:
    """How many bytes the columns of a file may still take; each array is asked for before it is made."""

    def __init__(self, most: int, text: int = MAX_TEXT) -> None:
        self.most = self.left = most
        self.text = text  # characters of a value

    def check(self, values: int, width: int) -> None:
        """Look whether an array fits.

        Raises:
            StructureError: if it does not.
        """
        if values * width > self.left:
            raise StructureError(
                f"unpacks to columns of more than the limit of {self.most:,} bytes; raise max_bytes if it is sound"
            )

    def keep(self, array: np.ndarray) -> np.ndarray:
        """A column that stays in memory."""
        self.check(array.size, array.itemsize)
        self.left -= array.nbytes
        return array


def scan_bcif(data: bytes, log: WarningLog, max_bytes: int = MAX_BYTES) -> CifScan:
    """Take the atoms and the categories of interest out of the first block that has atoms.

    Args:
        data: the file, unpacked.
        log: takes `multi_block`.
        max_bytes: limit of an unpacked file; the columns that are read may take three times as much.

    Raises:
        StructureError: if the data are damaged or unpack to too much, or no block has atoms.
    """
    tree, room = unpack(data), _Room(COLUMNS * max_bytes)
    try:
        blocks = [block["categories"] for block in tree["dataBlocks"]]
        named = [{str(c["name"]).lower().lstrip("_"): c for c in categories} for categories in blocks]
        with_atoms = [categories for categories in named if "atom_site" in categories]
        if not with_atoms:
            raise StructureError("no _atom_site category in any data block; there are no atoms to read")
        if len(with_atoms) > 1:
            log.add("multi_block", "the second data block with atoms", len(with_atoms))
        categories = with_atoms[0]
        atoms = _columns(categories["atom_site"], ATOM_TAGS, room)
        other = {n: _columns(categories[n], tags, room) for n, tags in HEADER_TAGS.items() if n in categories}
    except _DAMAGE as error:
        reason = f"{type(error).__name__}: {error}"
        raise StructureError(f"the BinaryCIF data are damaged ({' '.join(reason.split())[:120]})") from None
    scan = make_scan(atoms, other, log)
    scan.assemblies = _assemblies(categories)
    return scan


def _assemblies(categories: dict) -> AssemblyText:
    """The lists of assemblies and operators as text; what is wrong with them is said when they are asked for."""
    found, room = AssemblyText(), _Room(ASSEMBLIES, MOST_TEXT + 1)
    try:
        for category, tags in ASSEMBLY_TAGS.items():
            if category not in categories:
                continue
            if categories[category]["rowCount"] > MOST_ROWS:
                raise StructureError(f"_{category} has more than {MOST_ROWS:,} rows")
            columns = _columns(categories[category], tags, room)
            texts = {tag: [str(value) for value in values.tolist()] for tag, values in columns.items()}
            if any(len(text) > MOST_TEXT for values in texts.values() for text in values):
                raise StructureError(f"_{category} has a value of more than {MOST_TEXT:,} characters")
            found.columns[category] = texts
    except StructureError as error:
        found.problem = str(error)
    except _DAMAGE as error:
        found.problem = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    return found


def _columns(category: dict, tags, room: _Room) -> Columns:
    rows = category["rowCount"]
    wanted = {str(column["name"]).lower(): column for column in category["columns"]}
    wanted = {name: column for name, column in wanted.items() if name in tags}
    room.check(rows * len(wanted), LEAST)
    return {n: _column(column, rows, f"{category['name']}.{column['name']}", room) for n, column in wanted.items()}


def _column(column: dict, rows: int, tag: str, room: _Room) -> np.ndarray:
    values = np.asarray(_decode(column["data"], room))
    if values.shape != (rows,):
        raise StructureError(f"{tag}: has {len(values)} values for {rows} rows; the file is damaged")
    absent = np.zeros(rows, dtype=bool)
    if column.get("mask") is not None:
        mask = np.asarray(_decode(column["mask"], room))
        if mask.shape != (rows,):
            raise StructureError(f"{tag}: has a mask of {len(mask)} for {rows} rows; the file is damaged")
        absent = mask != 0
    if values.dtype.kind == "f":
        room.check(rows, 8)
        return room.keep(np.where(absent, np.nan, values.astype(float)))
    if values.dtype.kind in "iu" and rows:
        width = max(len(str(values.min())), len(str(values.max())))
        room.check(rows, 4 * width)
        values = values.astype(f"U{width}")
    values = values.astype(np.str_)
    if values.dtype.itemsize > 4 * room.text:
        raise StructureError(f"{tag}: holds a value of more than {room.text} characters; not an atom's")
    return room.keep(np.where(absent, "", values))


def _decode(packed: dict, room: _Room):
    value = packed["data"]
    for encoding in reversed(packed["encoding"]):
        kind = encoding["kind"]
        if kind not in _DECODERS:
            raise StructureError(f"BinaryCIF encoding {str(kind)[:40]!r} is not known")
        value = _DECODERS[kind](value, encoding, room)
    return value


def _byte_array(data: bytes, encoding: dict, _: _Room) -> np.ndarray:
    return np.frombuffer(data, dtype=_TYPES[encoding["type"]])


def _fixed_point(data: np.ndarray, encoding: dict, room: _Room) -> np.ndarray:
    room.check(data.size, 8)
    return data.astype(float) / float(encoding["factor"])


def _interval_quantization(data: np.ndarray, encoding: dict, room: _Room) -> np.ndarray:
    room.check(data.size, 8)
    step = (float(encoding["max"]) - float(encoding["min"])) / (int(encoding["numSteps"]) - 1)
    return float(encoding["min"]) + data.astype(float) * step


def _run_length(data: np.ndarray, encoding: dict, room: _Room) -> np.ndarray:
    counts = data[1::2].astype(np.int64)
    total = sum(counts.tolist())  # as whole numbers without a limit: a sum of int64 can pass its own
    if (counts < 0).any() or total != encoding["srcSize"]:
        raise StructureError("a BinaryCIF column has run lengths that do not add up; the file is damaged")
    room.check(total, data.itemsize)
    return np.repeat(data[::2], counts)


def _delta(data: np.ndarray, encoding: dict, room: _Room) -> np.ndarray:
    room.check(data.size, 8)
    return np.cumsum(data.astype(np.int64)) + int(encoding["origin"])


def _integer_packing(data: np.ndarray, encoding: dict, room: _Room) -> np.ndarray:
    """Undo packing of wide integers: a value at the limit of the narrow type is added to the next one."""
    room.check(data.size, 8)
    limits = np.iinfo(data.dtype)
    at_limit = data == limits.max
    if not encoding.get("isUnsigned"):
        at_limit |= data == limits.min
    totals = np.cumsum(data.astype(np.int64))
    ends = np.flatnonzero(~at_limit)
    return np.diff(totals[ends], prepend=0)


def _string_array(data: bytes, encoding: dict, room: _Room) -> np.ndarray:
    text = encoding["stringData"]
    offsets = np.asarray(_decode({"data": encoding["offsets"], "encoding": encoding["offsetEncoding"]}, room))
    indices = np.asarray(_decode({"data": data, "encoding": encoding["dataEncoding"]}, room))
    room.check(len(offsets), 100)  # what a short text takes in Python
    ends = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    words = [text[a : min(b, a + room.text)] for a, b in ends]
    if len(indices) and not (indices.min() >= -1 and indices.max() < len(words)):
        raise StructureError("a BinaryCIF column points outside its strings; the file is damaged")
    room.check(len(words) + 1, 4 * max(map(len, words), default=0))
    table = np.array([*words, ""], dtype=np.str_)
    room.check(indices.size, table.itemsize)
    return table[indices]  # -1, for no value, picks the last


_DECODERS = {
    "ByteArray": _byte_array,
    "FixedPoint": _fixed_point,
    "IntervalQuantization": _interval_quantization,
    "RunLength": _run_length,
    "Delta": _delta,
    "IntegerPacking": _integer_packing,
    "StringArray": _string_array,
}
