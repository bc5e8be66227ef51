"""Rows of an evaluation on the disk as they come, `rows.jsonl`: from it an interrupted evaluation goes on.

Each line (`sealed_log.py`) is the row of one file with the size and SHA-256 that the file had; the first says with
which settings all were measured. Likelihoods, which take longer, have a log of their own (`evaluation/likelihood.py`).
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from protgen.documents import finite
from protgen.errors import DocumentError
from protgen.evaluation.sealed_log import SealedLog
from protgen.evaluation.set_summary import ERROR, Row
from protgen.types import JSON

ROWS = "rows.jsonl"
INFINITE = "infinite"  # key of the sign of a number that is not finite and not NaN
Place = tuple[str, int]  # of a row: label of the file, which no other has, and number of the model


@dataclass(frozen=True)
class KeptRow:
    """A row, and which bytes it is of.

    Attributes:
        row: of the file.
        file: its size and SHA-256; None where it is no regular file, or cannot be read.
        problems: of metrics of other packages, by metric.
    """

    row: Row
    file: JSON | None
    problems: dict[str, str] = field(default_factory=dict)


def plain_row(row: Mapping[str, Any]) -> Row:
    """A row as it comes back from the disk: Python's numbers and text, so that resuming changes no cell."""
    return {name: _plain(value) for name, value in row.items()}


class RowLog:
    """The rows of an evaluation, those of an earlier one first; a context, whose end closes the file.

    Args:
        folder: of the results.
        settings: all that decides a row beside the bytes of its file.
        resume: whether rows of an earlier evaluation with the same settings are used.
        wanted: the rows that this evaluation has; others are dropped.
        name: of the file.
    """

    def __init__(
        self, folder: Path, settings: JSON, *, resume: bool, wanted: Collection[Place], name: str = ROWS
    ) -> None:
        self.path = folder / name
        self._log = SealedLog(self.path)
        self.head = json.loads(json.dumps(finite(settings), default=str))
        self.known = self._read(set(wanted)) if resume else {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._log.close()

    def add(self, place: Place, kept: KeptRow) -> None:
        """Write a row; a process that is killed afterwards loses it no more.

        Raises:
            UsageError: if the disk is full.
        """
        if not self._log.is_open:
            self._log.begin([{"settings": self.head}, *(_entry(own, row) for own, row in self.known.items())])
        if place not in self.known or self.known[place].file != kept.file:
            self._log.append(_entry(place, kept))

    def _read(self, wanted: set[Place]) -> dict[Place, KeptRow]:
        """Rows of an earlier evaluation; those of files that could not be read are left out, to be tried again."""
        found: dict[Place, KeptRow] = {}
        if not self._log.path.exists():
            return found
        try:
            lines = self._log.lines()
            if next(lines, {}).get("settings") != self.head:
                return found
            for line in lines:
                place, kept = _kept(line)
                if place in wanted and kept is not None:
                    found[place] = kept
        except DocumentError:
            return {}
        return found


def _kept(line: JSON) -> tuple[Place | None, KeptRow | None]:
    """A line's place and row; None where it is not what was written, or of a file that could not be read."""
    place, row, file = line.get("place"), line.get("row"), line.get("file")
    if (
        not isinstance(place, list)
        or [type(part) for part in place] != [str, int]
        or not isinstance(row, dict)
        or not isinstance(file, dict)
    ):
        return None, None
    values = {name: _value(value) for name, value in row.items()}
    if values.get("status") == ERROR or any(isinstance(value, list) for value in values.values()):
        return None, None
    problems = line.get("problems")
    lines = {str(name): str(text) for name, text in problems.items()} if isinstance(problems, dict) else {}
    return (place[0], place[1]), KeptRow(values, file, lines)


def _entry(place: Place, kept: KeptRow) -> JSON:
    row = {name: _stored(value) for name, value in kept.row.items()}
    return {"place": list(place), "file": kept.file, "row": row, "problems": kept.problems}


def _plain(value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    return float(value) if isinstance(value, float | np.floating) else str(value)


def _stored(value: Any) -> Any:
    """A value of a plain row as JSON has it: null for NaN, an object for infinity."""
    if not isinstance(value, float) or np.isfinite(value):
        return value
    return None if np.isnan(value) else {INFINITE: "+" if value > 0 else "-"}


def _value(stored: Any) -> Any:
    if stored is None:
        return float("nan")
    if isinstance(stored, dict):
        return float("-inf") if stored.get(INFINITE) == "-" else float("inf")
    return stored
