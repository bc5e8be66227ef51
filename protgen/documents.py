"""Read small files that people and earlier runs wrote: JSON, CSV and text, within limits of size and depth.

What comes back is plain values. Pipes and devices are refused before they are opened, a file is read up to its limit
and not beyond, and a name that comes twice, a number that is not finite and a nesting that never ends are errors.
"""

import contextlib
import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import date
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protgen.atomic import unicode_text
from protgen.errors import DocumentError

if TYPE_CHECKING:
    from protgen.types import JSON

MAX_BYTES = 100_000_000  # a manifest of 200,000 chains takes about 50 MB
MAX_SMALL = 5_000_000  # of what a person writes: conditions, layouts
MAX_DEPTH = 64  # the deepest file of ours, a request in `run.json`, nests nine deep
MAX_CELL = 100_000  # characters of a cell of a table
_SURROGATE = re.compile(r"\\u[dD][89abAB]")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def read_bytes(path: str | PathLike[str], most: int = MAX_BYTES) -> bytes:
    """The content of a regular file.

    Args:
        path: the file.
        most: bytes it may hold.

    Raises:
        DocumentError: if it is missing, a folder, a pipe or a device, cannot be read, or holds more.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise DocumentError(f"{path}: {'is not a regular file' if path.exists() else 'no such file'}")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DocumentError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(data) > most:
        raise DocumentError(f"{path}: holds more than {most:,} bytes")
    return data


def read_text(path: str | PathLike[str], most: int = MAX_SMALL) -> str:
    """The text of a regular file in UTF-8, without a byte-order mark.

    Raises:
        DocumentError: as `read_bytes`, and if it is no UTF-8.
    """
    try:
        return read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path}: is no UTF-8 text (byte {error.start})") from None


def read_json(path: str | PathLike[str], most: int = MAX_BYTES) -> "JSON":
    """The JSON object of a file.

    Args:
        path: the file.
        most: bytes it may hold.

    Raises:
        DocumentError: as `read_text`, and if it holds no JSON object, a name twice, a number that is not finite, text
            that is not Unicode, or nests more than `MAX_DEPTH` deep.
    """
    return json_of(read_text(path, most), str(path))


def json_lines(path: str | PathLike[str], most: int = MAX_SMALL) -> "Iterator[JSON]":
    """The JSON objects of a file with one in each line, as they come; lines that hold none are left out.

    Args:
        path: the file; it may be large, as one line at a time is read.
        most: bytes of a line; what is longer is left out.

    Raises:
        DocumentError: if it is missing, no regular file, or cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise DocumentError(f"{path}: {'is not a regular file' if path.exists() else 'no such file'}")
    try:
        with path.open("rb") as file:
            while line := file.readline(most + 1):
                whole = line.endswith(b"\n")
                while not whole and (rest := file.readline(most + 1)):
                    line, whole = b"", rest.endswith(b"\n")
                with contextlib.suppress(DocumentError, UnicodeDecodeError):
                    yield json_of(line.decode(), str(path))
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read ({error.strerror or error})") from None


def json_of(text: str, path: str) -> "JSON":
    """The JSON object of a text, as `read_json` gives that of a file.

    Args:
        text: the content.
        path: what to call it in messages.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        reason = "nests too deep" if isinstance(error, RecursionError) else str(error)
        raise DocumentError(f"{path}: damaged, not JSON ({reason[:200]})") from None
    if not isinstance(value, dict):
        raise DocumentError(f"{path}: damaged, holds no JSON object")
    if _depth(value) > MAX_DEPTH:
        raise DocumentError(f"{path}: damaged, nests more than {MAX_DEPTH} deep")
    if _SURROGATE.search(text) and not _is_unicode(value):
        raise DocumentError(f"{path}: damaged, holds text that is not Unicode")
    return value


def read_table(path: str | PathLike[str], most: int = MAX_BYTES) -> list[dict[str, str]]:
    """The rows of a CSV file with a header; cells that a row lacks are empty.

    Args:
        path: the file.
        most: bytes it may hold.

    Raises:
        DocumentError: as `read_text`, and if a column comes twice, a row has more cells than there are columns, or a
            cell is longer than `MAX_CELL`.
    """
    return table_of(read_text(path, most), str(path))


def table_of(text: str, where: str) -> list[dict[str, str]]:
    """The rows of a CSV text with a header, as `read_table` gives those of a file.

    Args:
        text: the content.
        where: what to call it in messages.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="")
    rows = []
    try:
        names = [name for name in reader.fieldnames or [] if name]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DocumentError(f"{where}: the column {twice[0]!r} comes twice; rename one")
        for number, row in enumerate(reader, start=1):
            if None in row:
                raise DocumentError(f"{where}: row {number} has more cells than there are columns; quote cells with ,")
            if max(map(len, row.values()), default=0) > MAX_CELL:
                raise DocumentError(f"{where}: row {number} has a cell of more than {MAX_CELL:,} characters")
            rows.append(row)
    except csv.Error as error:
        raise DocumentError(f"{where}: row {len(rows) + 1}: is no CSV ({error})") from None
    return rows


def number_in(text: str) -> float:
    """The number a text states in decimal digits.

    Python's own `float` also takes `1_0`, digits of other scripts and `nan`, which here are no numbers.

    Raises:
        ValueError: if it is no number, or not finite.

    Examples:
        >>> number_in(" -1.5e2 ")
        -150.0
    """
    bare = text.strip()
    if not _NUMBER.fullmatch(bare):
        raise ValueError(f"{text!r} is no number")
    return _finite(bare)


def whole_number_in(text: str) -> int:
    """The whole number a text states in decimal digits.

    Raises:
        ValueError: if it is none.

    Examples:
        >>> whole_number_in("-12")
        -12
    """
    bare = text.strip()
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", bare):
        raise ValueError(f"{text!r} is no whole number")
    return int(bare)


def finite(value: Any) -> Any:
    """A JSON value with null in place of NaN and infinities, which JSON does not have, and Unicode in texts."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return unicode_text(value)
    if isinstance(value, Mapping):
        return {unicode_text(str(key)): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def date_in(text: str) -> str:
    """The day that a text states as YYYY-MM-DD; a time may follow behind a T.

    Raises:
        ValueError: if it states none, or one that no calendar has.

    Examples:
        >>> date_in("2021-05-06T00:00:00Z")
        '2021-05-06'
    """
    day, _, _ = text.strip().partition("T")
    if not _DATE.fullmatch(day):
        raise ValueError(f"{text!r} is no date")
    return date.fromisoformat(day).isoformat()


def is_day(text: str) -> bool:
    """Whether a text is a day as YYYY-MM-DD, and nothing else."""
    try:
        return date_in(text) == text
    except ValueError:
        return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is given twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _depth(value: Any) -> int:
    """How deep a value nests; walks level by level, so that no depth is too much."""
    level, depth = [value], 0
    while level and depth <= MAX_DEPTH:
        inner = []
        for entry in level:
            inner += entry.values() if isinstance(entry, Mapping) else entry if isinstance(entry, list) else ()
        level, depth = inner, depth + 1
    return depth


def _is_unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
