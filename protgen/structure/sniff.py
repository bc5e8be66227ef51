"""Get the bytes of a structure file, unpacked within a limit, and recognise its format by content, not by name."""

import re
import zlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from protgen.errors import StructureError
from protgen.structure.read_warnings import WarningLog

MAX_BYTES = 200_000_000  # unpacked; a gzip bomb stops here, and two million atoms do not
MAX_LINE = 1_000_000  # bytes; longer than any line of a real PDB or mmCIF file
MAX_LINES = 8_000_000  # 200 MB have 2.5 million lines of 80 characters; each line takes some 50 bytes beside its own
CHUNK = 1 << 20

FOREIGN = {  # first bytes of what people hand in by mistake, and what to do about it
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"BZh": "compressed by bzip2; unpack it, or use gzip",
    b"\xfd7zXZ": "compressed by xz; unpack it, or use gzip",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it, or use gzip",
    b"version https://git-lfs": "a git-lfs pointer, not the file itself; run git lfs pull",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"\x89PNG": "a picture",
    b"%PDF": "a PDF document",
    b"MMTF": "MMTF, which is retired; get the mmCIF file",
}


@dataclass(frozen=True)
class Payload:
    """An unpacked file.

    Attributes:
        kind: "pdb", "cif" or "bcif".
        data: the bytes, without a byte-order mark.
    """

    kind: str
    data: bytes


def checked_path(path: str | PathLike[str]) -> Path:
    """The path of a structure file.

    Raises:
        StructureError: if it is no path at all, such as a `Protein` or the content of a file.
    """
    if not isinstance(path, str | PathLike):
        raise StructureError(f"a {type(path).__name__} is no path; give the file's name as str or Path")
    if isinstance(path, str) and "\n" in path:
        raise StructureError("a text of several lines is no path; write it to a file and give the file's name")
    return Path(path)


def load(path: Path, log: WarningLog, max_bytes: int = MAX_BYTES) -> Payload:
    """Read, unpack and recognise a file.

    Args:
        path: the file, gzipped or not.
        log: takes `trailing_bytes` when something follows the gzip stream.
        max_bytes: unpacked size at which to stop.

    Raises:
        StructureError: if the file cannot be opened, is too large, damaged, or of no format read here.
    """
    try:
        if not path.is_file():
            raise StructureError("is not a file" if path.exists() else "no such file")
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise StructureError(f"cannot be opened: {error.strerror or error}") from None
    except ValueError as error:  # a NUL in the name
        raise StructureError(f"cannot be opened: {error}") from None
    if data[:2] == b"\x1f\x8b":
        data = _gunzip(data, log, max_bytes)
    if len(data) > max_bytes:
        raise StructureError(f"holds more than the limit of {max_bytes:,} bytes; raise max_bytes if it is sound")
    return _recognise(data.removeprefix(b"\xef\xbb\xbf"))


def _gunzip(data: bytes, log: WarningLog, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size, rest = 0, data
    while rest[:2] == b"\x1f\x8b":
        stream = zlib.decompressobj(wbits=31)
        pending = rest
        while not stream.eof:
            try:
                part = stream.decompress(pending, CHUNK)
            except zlib.error as error:
                raise StructureError(f"the gzip data are damaged ({error}); fetch the file again") from None
            pending = stream.unconsumed_tail
            if not part and not pending and not stream.eof:
                raise StructureError("the gzip data end too early; the file is cut off, fetch it again")
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                raise StructureError(
                    f"unpacks to more than the limit of {max_bytes:,} bytes; raise max_bytes if it is sound"
                )
        rest = stream.unused_data
    if rest.strip(b"\0"):  # zero padding is allowed after a gzip stream
        log.add("trailing_bytes", f"{len(rest)} bytes after the gzip stream", 1)
    return b"".join(parts)


def _recognise(data: bytes) -> Payload:
    head = data[:4096]
    start = head.lstrip()
    if not start and not data.strip():
        raise StructureError("is empty")
    for magic, what in FOREIGN.items():
        if head.startswith(magic):
            raise StructureError(f"is {what}")
    if head[:1] in (b"\x83", b"\x84", b"\xde") and b"dataBlocks" in data:
        return Payload("bcif", data)
    if b"\0" in data:
        raise StructureError("holds NUL bytes; it is binary or damaged, not a PDB or mmCIF file")
    if start[:1] == b"<":
        raise StructureError("is an HTML or XML page, not a PDB or mmCIF file; the download probably failed")
    if start[:1] in (b"{", b"["):
        raise StructureError("is JSON, not a PDB or mmCIF file")
    check_lines(data)
    return Payload("cif" if _looks_like_cif(data) else "pdb", data)


def check_lines(data: bytes) -> None:
    """Raise if a line is longer than `MAX_LINE`, or there are more than `MAX_LINES`, at a cost linear in size."""
    lines = data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
    if lines > MAX_LINES:
        raise StructureError(f"has {lines:,} lines, more than {MAX_LINES:,}; not a PDB or mmCIF file")
    start = 0
    while len(data) - start > MAX_LINE:
        end = max(data.rfind(b"\n", start, start + MAX_LINE + 1), data.rfind(b"\r", start, start + MAX_LINE + 1))
        if end < 0:
            line = data.count(b"\n", 0, start) + 1
            raise StructureError(f"line {line}: is longer than {MAX_LINE:,} bytes; not a PDB or mmCIF file")
        start = end + 1


def _looks_like_cif(data: bytes) -> bool:
    first = re.search(rb"^[ \t]*([^#\s][^\r\n]{0,80})", data, re.MULTILINE)  # the first line that is no comment
    return first is not None and first.group(1)[:5].lower() == b"data_"
