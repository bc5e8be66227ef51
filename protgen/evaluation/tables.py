"""Write tables and summaries, atomically."""

import contextlib
import csv
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from protgen import atomic
from protgen.documents import finite, number_in
from protgen.errors import UsageError
from protgen.folder_lock import locked


def make_folder(path: Path) -> None:
    """Create a folder for output.

    Raises:
        UsageError: if it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot be used for output: {error.strerror or error}") from None
    if not os.access(path, os.W_OK):
        raise UsageError(f"{path}: cannot be written to; choose another --out")


def require_place(path: Path) -> None:
    """Check the place of a file for output, before what it will hold is computed.

    Raises:
        UsageError: if its folder does not exist or cannot be written to, or it is a folder itself.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"{path.parent}: no such folder; make it first")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give the name of a file")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{path.parent}: cannot be written to; choose another --out")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says of a file that cannot be written into one line.

    Raises:
        UsageError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path that replaces `path` when the block ends, as of `protgen.atomic.replacing`.

    Raises:
        UsageError: if the disk is full or the file cannot be written.
    """
    with writing(path), atomic.replacing(path) as temporary:
        yield temporary


@contextmanager
def output_folder(path: Path, task: str) -> Iterator[None]:
    """Create a folder for output and hold its lock; one that was made for nothing is removed.

    Args:
        path: the folder.
        task: what is done there, such as "protgen evaluate".

    Raises:
        UsageError: if it cannot be made or written to.
        LockedError: if another run uses it.
    """
    is_new = not path.exists()
    make_folder(path)
    try:
        with locked(path, task):
            yield
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # it holds something
                path.rmdir()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically.

    Raises:
        UsageError: if the disk is full or the folder cannot be written.
    """
    with writing(path):
        atomic.write_text(path, text)


def format_value(value: Any) -> str:
    """One cell: six significant digits, empty where there is no value."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, float):
        return format(value, ".6g")
    return plain_cell(value) if isinstance(value, str) else str(value)


def plain_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula: a ' goes before =, +, -, @, a tab and a line's end.

    Numbers stay as they are. A carriage return, which would end the row, is written as \\r.

    Examples:
        >>> [plain_cell(text) for text in ("=1+1", "-2", "-x.pdb", "a=b")]
        ["'=1+1", '-2', "'-x.pdb", 'a=b']
    """
    text = text.replace("\r", "\\r")
    if not text.startswith(("=", "+", "-", "@", "\t", "\n")):
        return text
    try:
        number_in(text)
    except ValueError:
        return "'" + text
    return text


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows under fixed columns; a key a row lacks is an empty cell.

    Args:
        path: the file.
        columns: in their order.
        rows: values by column.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([format_value(row.get(column)) for column in columns] for row in rows)
    write_text(path, buffer.getvalue())


def write_json(path: Path, content: Any) -> None:
    """Write JSON that every parser reads: NaN and infinity become null."""
    write_text(path, json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
