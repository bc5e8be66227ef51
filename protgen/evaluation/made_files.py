"""Which files of a stage's folder were made here, and of what: `made.jsonl`.

A stage that goes on keeps what another tool has put in the place of its files, and makes its own anew where they were
made of something else, such as an earlier backbone of the same name. Each line (`sealed_log.py`) is a name with a
digest of all that its files were made of, and their sizes and SHA-256.
"""

import contextlib
from collections.abc import Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from protgen.errors import DocumentError
from protgen.evaluation.sealed_log import SealedLog
from protgen.integrity import digest_of, fingerprint_or_none
from protgen.types import JSON

MADE = "made.jsonl"


class MadeFiles:
    """The log of a folder; a context, whose end without an error puts its lines in order.

    Args:
        folder: that holds the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._log = folder, SealedLog(folder / MADE)
        self._known = self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._log.close()
        if kind is None and self._known:
            self._log.replace(self._lines())

    def is_own(self, name: str, path: Path) -> bool:
        """Whether a file is there with the bytes that it was given here."""
        files = self._known[name]["files"] if name in self._known else {}
        return path.name in files and fingerprint_or_none(path) == files[path.name]

    def is_current(self, name: str, made_of: JSON) -> bool:
        """Whether what was made last under a name was made of that."""
        return name in self._known and self._known[name]["of"] == digest_of(made_of)

    def add(self, name: str, made_of: JSON, paths: Iterable[Path]) -> None:
        """Note what was made. Files that were made before under the name, and are none of these, are removed.

        Args:
            name: of a design, or of a refold.
            made_of: all that decides the files.
            paths: the files.

        Raises:
            UsageError: if the log cannot be written.
        """
        files = {path.name: fingerprint_or_none(path) for path in sorted(paths)}
        self._remove_files(name, but=files)
        entry = {"of": digest_of(made_of), "files": files}
        if self._known.get(name) == entry:
            return
        self._known[name] = entry
        if self._log.is_open:
            self._log.append({"name": name, **entry})
        else:
            self._log.begin(self._lines())

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

    def _lines(self) -> list[JSON]:
        return [{"name": name, **self._known[name]} for name in sorted(self._known)]

    def _read(self) -> dict[str, JSON]:
        found: dict[str, JSON] = {}
        if not self._log.path.is_file():
            return found
        with contextlib.suppress(DocumentError):
            for line in self._log.lines():
                if isinstance(line.get("name"), str) and _is_entry(line):
                    found[line["name"]] = {"of": line["of"], "files": line["files"]}
        return found


def _is_entry(line: JSON) -> bool:
    files = line.get("files")
    return isinstance(line.get("of"), str) and isinstance(files, dict) and all(Path(old).name == old for old in files)
