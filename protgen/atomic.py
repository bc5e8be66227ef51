"""Write files whole or not at all: a temporary file beside the target takes its place."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[Path]:
    """A temporary path in the folder of `path`, which replaces `path` when the block ends.

    Where the block raises, the temporary file is removed and `path` stays as it was. Each writer has a temporary file
    of its own, so that several processes may write one path; the last one wins.

    Args:
        path: the file to write; its folder must exist.

    Yields:
        The path to write to. Create the file there by `open(..., "xb")` or the like.

    Raises:
        OSError: if the file cannot be written or moved.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder) / "a.txt") as temporary:
        ...         _ = temporary.write_text("whole")
        ...     (Path(folder) / "a.txt").read_text()
        'whole'
    """
    target = Path(path)
    # The name holds nothing of the target's, which may have the longest name the file system takes.
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | PathLike[str], content: bytes) -> None:
    """Write bytes atomically.

    Raises:
        OSError: if the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | PathLike[str], text: str) -> None:
    """Write text atomically as UTF-8, line ends as they are.

    Raises:
        OSError: if the file cannot be written.
    """
    write_bytes(path, text.encode())
