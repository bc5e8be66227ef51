"""Write files whole or not at all, as Unicode: a temporary file beside one replaces it, once it is on the disk."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[Path]:
    """A temporary path in the folder of `path`, which replaces `path` when the block ends.

    The content is on the disk before the name changes: after a power cut there is the old file or the new one, whole.
    Where the block raises, the temporary file is removed and `path` stays as it was. Each writer has a temporary file
    of its own, so that several processes may write one path; the last one wins.

    Args:
        path: the file to write; its folder must exist.

    Yields:
        The path to write to. Create the file there by `open(..., "xb")` or the like.

    Raises:
        OSError: if the file cannot be written or moved.

    Examples:
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
        sync(temporary)
        os.replace(temporary, target)
        sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk.

    Raises:
        OSError: if they cannot be written, as on a full disk.
    """
    is_folder = path.is_dir()
    try:
        handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    except OSError:
        if is_folder:  # Windows opens none, and one that may not be listed cannot be opened either
            return
        raise
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # file systems that do not sync
            raise
    finally:
        os.close(handle)


def move_folder(source: Path, target: Path) -> None:
    """Give a finished folder its name, which no other has.

    Raises:
        OSError: if it cannot be moved.
    """
    sync(source)
    source.rename(target)
    sync(target.parent)


def write_bytes(path: str | PathLike[str], content: bytes) -> None:
    """Write bytes atomically.

    Raises:
        OSError: if the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | PathLike[str], text: str) -> None:
    """Write text atomically as UTF-8, line ends as they are; what is no Unicode as `unicode_text` has it.

    Raises:
        OSError: if the file cannot be written.
    """
    write_bytes(path, unicode_text(text).encode())


def unicode_text(text: str) -> str:
    """A text as Unicode has it: the bytes of a file's name that are no UTF-8 become `\\xff` and the like.

    Examples:
        >>> unicode_text("\\udcff.pdb")
        '\\\\xff.pdb'
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        try:
            return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        except UnicodeEncodeError:  # other halves of a pair, which no file's name gives
            return text.encode("utf-8", "backslashreplace").decode()
    return text
