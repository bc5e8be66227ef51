"""Lines of JSON on the disk as they come, each with its own checksum: what the logs of evaluations and stages share.

A line that is cut or changed counts as missing. The first line that is added puts those that are still good in its
place before itself, so that what a killed process left of a line spoils no other.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from protgen import atomic
from protgen.documents import json_lines
from protgen.errors import UsageError
from protgen.integrity import is_sealed, sealed
from protgen.types import JSON


class SealedLog:
    """A file of such lines.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def is_open(self) -> bool:
        """Whether a line has been added."""
        return self._file is not None

    def lines(self) -> Iterator[JSON]:
        """What is there, line by line; what is damaged comes as an empty one.

        Raises:
            DocumentError: if the file is missing or cannot be read.
        """
        return (line if is_sealed(line) else {} for line in json_lines(self.path))

    def begin(self, contents: Iterable[JSON]) -> None:
        """Put lines in place of what is there, and keep the file open for more.

        Raises:
            UsageError: if it cannot be written.
        """
        self.replace(contents)
        try:
            self._file = self.path.open("a", encoding="utf-8", newline="\n")
        except OSError as error:
            raise self._unwritable(error) from None

    def replace(self, contents: Iterable[JSON]) -> None:
        """Put lines in place of what is there, whole or not at all.

        Raises:
            UsageError: if it cannot be written.
        """
        try:
            atomic.write_text(self.path, "".join(map(line_of, contents)))
        except OSError as error:
            raise self._unwritable(error) from None

    def append(self, content: JSON) -> None:
        """Write a line; a process that is killed afterwards loses it no more.

        Raises:
            UsageError: if the disk is full.
        """
        assert self._file is not None, "begin() comes first"
        try:
            self._file.write(line_of(content))
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(f"{self.path}: cannot be written: {error.strerror or error}")


def line_of(content: JSON) -> str:
    """A line with its checksum."""
    return json.dumps(sealed(content), allow_nan=False) + "\n"
