"""Decode the part of MessagePack that BinaryCIF uses; one function, so that no dependency is needed for it.

References: github.com/msgpack/msgpack/blob/master/spec.md.
"""

import struct
from typing import Any

from protgen.errors import StructureError

MAX_DEPTH = 64  # BinaryCIF nests about ten deep
MAX_ENTRIES = 100_000  # of a list or a map: categories, columns, encodings; values are packed as bytes
_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I",
    0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_SIZED = {  # code -> (kind, format of the size)
    0xC4: ("bytes", ">B"), 0xC5: ("bytes", ">H"), 0xC6: ("bytes", ">I"),
    0xD9: ("str", ">B"), 0xDA: ("str", ">H"), 0xDB: ("str", ">I"),
    0xDC: ("list", ">H"), 0xDD: ("list", ">I"), 0xDE: ("dict", ">H"), 0xDF: ("dict", ">I"),
}  # fmt: skip


def unpack(data: bytes) -> Any:
    """The object a MessagePack stream holds.

    Raises:
        StructureError: if the stream is cut, too deep, or of a type BinaryCIF does not use.
    """
    try:
        value, stop = _value(data, 0, 0)
    except (struct.error, IndexError):
        raise StructureError("the MessagePack data end too early; the file is cut off") from None
    except (UnicodeDecodeError, TypeError) as error:  # a key that cannot be hashed is a TypeError
        raise StructureError(f"the MessagePack data are damaged ({error})") from None
    if stop != len(data):
        raise StructureError(f"{len(data) - stop} bytes follow the MessagePack data; the file is damaged")
    return value


def _value(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > MAX_DEPTH:
        raise StructureError(f"the MessagePack data nest more than {MAX_DEPTH} deep; not a BinaryCIF file")
    code = data[at]
    at += 1
    if code < 0x80:
        return code, at
    if code >= 0xE0:
        return code - 0x100, at
    if code in _CONSTANTS:
        return _CONSTANTS[code], at
    if code in _NUMBERS:
        form = _NUMBERS[code]
        return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    if code < 0xC0:
        kind = "dict" if code < 0x90 else "list" if code < 0xA0 else "str"
        size = code & (0x1F if kind == "str" else 0x0F)
    elif code in _SIZED:
        kind, form = _SIZED[code]
        size = struct.unpack_from(form, data, at)[0]
        at += struct.calcsize(form)
    else:
        raise StructureError(f"MessagePack type 0x{code:02x} at byte {at - 1} is not part of BinaryCIF")
    return _sized(data, at, depth, kind, size)


def _sized(data: bytes, at: int, depth: int, kind: str, size: int) -> tuple[Any, int]:
    if size > len(data) - at:  # every entry takes at least a byte
        raise IndexError
    if size > MAX_ENTRIES and kind in ("list", "dict"):
        raise StructureError(f"the MessagePack data have a {kind} of {size:,} entries; not a BinaryCIF file")
    if kind in ("bytes", "str"):
        raw = data[at : at + size]
        return (raw if kind == "bytes" else raw.decode("utf-8")), at + size
    if kind == "list":
        items = []
        for _ in range(size):
            item, at = _value(data, at, depth + 1)
            items.append(item)
        return items, at
    pairs = {}
    for _ in range(size):
        key, at = _value(data, at, depth + 1)
        pairs[key], at = _value(data, at, depth + 1)
    return pairs, at
