"""Which files of a stage's folder were made here, and of what: `made.jsonl`.

A stage that goes on keeps what another tool has put in the place of its files, and makes its own anew where they were
made of something else, such as an earlier backbone of the same name. Each line is a name with a digest of all that its
files were made of, and their sizes and SHA-256; it carries its own checksum. What is cut or changed counts as missing.
"""

import hashlib
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from protgen import atomic
from protgen.documents import json_lines
from protgen.errors import DocumentError, UsageError
from protgen.integrity import fingerprint, is_sealed, sealed
from protgen.types import JSON

MADE = "made.jsonl"


class MadeFiles:
    """The log of a folder; a context, whose end without an error puts its lines in order.

    Args:
        folder: that holds the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / MADE
        self._known = self._read()
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
        if kind is None and self._known:
            self._whole()

    def is_own(self, name: str, path: Path) -> bool:
        """Whether a file is there with the bytes that it was given here."""
        files = self._known[name]["files"] if name in self._known else {}
        return path.name in files and _fingerprint(path) == files[path.name]

    def is_current(self, name: str, made_of: JSON) -> bool:
        """Whether what was made last under a name was made of that."""
        return name in self._known and self._known[name]["of"] == digest(made_of)

    def add(self, name: str, made_of: JSON, paths: Iterable[Path]) -> None:
        """Note what was made. Files that were made before under the name, and are none of these, are removed.

        Args:
            name: of a design, or of a refold.
            made_of: all that decides the files.
            paths: the files.

        Raises:
            UsageError: if the log cannot be written.
        """
        files = {path.name: _fingerprint(path) for path in sorted(paths)}
        self._remove_files(name, but=files)
        entry = {"of": digest(made_of), "files": files}
        if self._known.get(name) == entry:
            return
        self._known[name] = entry
        try:
            if self._file is None:
                self._whole()
                self._file = self.path.open("a", encoding="utf-8", newline="\n")
            else:
                self._file.write(_line(name, entry))
                self._file.flush()
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written: {error.strerror or error}") from None

    def remove(self, name: str) -> None:
        """Remove the files that were made under a name, as far as they are unchanged, and forget them."""
        self._remove_files(name)
        self._known.pop(name, None)

    @property
    def names(self) -> list[str]:
        """All under which something was made."""
        return sorted(self._known)

    def _remove_files(self, name: str, but: Collection[str] = ()) -> None:
        for old in self._known[name]["files"] if name in self._known else ():
            if old not in but and self.is_own(name, self.folder / old):
                (self.folder / old).unlink()

    def _whole(self) -> None:
        try:
            atomic.write_text(self.path, "".join(_line(name, self._known[name]) for name in sorted(self._known)))
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written: {error.strerror or error}") from None

    def _read(self) -> dict[str, JSON]:
        found: dict[str, JSON] = {}
        if not self.path.is_file():
            return found
        try:
            for line in json_lines(self.path):
                if is_sealed(line) and isinstance(line.get("name"), str) and _is_entry(line):
                    found[line["name"]] = {"of": line["of"], "files": line["files"]}
        except DocumentError:
            return found
        return found


def digest(made_of: JSON) -> str:
    """SHA-256 of what something was made of."""
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def _is_entry(line: JSON) -> bool:
    files = line.get("files")
    return isinstance(line.get("of"), str) and isinstance(files, dict) and all(Path(old).name == old for old in files)


def _fingerprint(path: Path) -> Any:
    try:
        return fingerprint(path) if path.is_file() else None
    except OSError:
        return None


def _line(name: str, entry: JSON) -> str:
    return json.dumps(sealed({"name": name, **entry})) + "\n"
