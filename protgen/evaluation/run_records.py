"""The runs of a folder of designs: `run.json` of a whole one, `run_0100-0199.json` of each part made by itself.

A part is a range of the designs of one run (`protgen sample --shard` or `--indices`). Parts of one run have the same
request, and no design in common.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from protgen.documents import read_json
from protgen.errors import DocumentError, UsageError
from protgen.evaluation.design_records import DESIGN
from protgen.types import JSON

RUN = "run.json"
FORMATS = ("pdb", "cif")  # of designs
PART_RUN = re.compile(r"run_\d{4,}-\d{4,}\.json")
MOST_DESIGNS = 10_000_000  # of a run


@dataclass(frozen=True)
class Part:
    """Some designs of a run.

    Attributes:
        first, last: indices of its designs, both included.
        asked: how it was asked for, such as "--shard 3/16".
    """

    first: int
    last: int
    asked: str = ""

    @property
    def indices(self) -> range:
        """Of its designs."""
        return range(self.first, self.last + 1)

    @property
    def name(self) -> str:
        """For names of files."""
        return f"{self.first:04d}-{self.last:04d}"

    def to_json(self) -> JSON:
        """As the record of the run has it."""
        return {"first": self.first, "last": self.last, "asked": self.asked}


@dataclass(frozen=True)
class RunRecord:
    """What a run says of itself.

    Attributes:
        path: of the file.
        request: what decides its designs.
        n: designs of the whole run.
        status: "running", "interrupted", "failed" or "done".
        part: that it makes; None for all.
    """

    path: Path
    request: JSON
    n: int
    status: str
    part: Part | None

    @property
    def indices(self) -> range:
        """Of the designs it is to have."""
        return range(self.n) if self.part is None else self.part.indices


def run_files(folder: Path) -> list[Path]:
    """Records of runs in a folder, that of a whole one first; they may be of something else, as a training."""
    parts = sorted(path for path in folder.glob("run_*.json") if PART_RUN.fullmatch(path.name))
    return [path for path in (folder / RUN, *parts) if path.is_file()]


def read_run(path: Path) -> RunRecord:
    """The record of a run.

    Raises:
        DocumentError: if it cannot be read, or is none of a run of designs.
    """
    content = read_json(path)
    request, n, status = (content.get(key) for key in ("request", "n", "status"))
    if (
        not isinstance(request, dict)
        or request.get("format") not in FORMATS
        or not isinstance(status, str)
        or not is_count(n, 1, MOST_DESIGNS)
    ):
        raise DocumentError(f"{path}: damaged, or no record of a run of `protgen sample`")
    return RunRecord(path, request, n, status, _part_of(path, content.get("part"), n))


def is_count(value: object, least: int, most: int) -> TypeGuard[int]:
    """Whether a JSON value is a whole number within limits."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _part_of(path: Path, content: object, n: int) -> Part | None:
    if content is None:
        return None
    plain = content if isinstance(content, dict) else {}
    first, last = plain.get("first"), plain.get("last")
    if not is_count(first, 0, n - 1) or not is_count(last, first, n - 1):
        raise DocumentError(f"{path}: damaged, its part is no range of {n} designs")
    return Part(first, last, str(plain.get("asked", "")))


def runs_of(folder: Path) -> list[RunRecord]:
    """The runs of a folder that can be read; a file that cannot says nothing of where its designs belong."""
    found = []
    for path in run_files(folder):
        try:
            found.append(read_run(path))
        except DocumentError:
            continue
    return found


def designs_in(folder: Path) -> set[int]:
    """Indices of the designs whose structure is in a folder."""
    names = (DESIGN.fullmatch(path.name) for path in folder.iterdir())
    return {int(name[1]) for name in names if name and name[2] in ("pdb", "cif")}


def joined(folders: Sequence[Path]) -> dict[Path, Path]:
    """For each folder of a part, the first of the folders with a part of the same run; it may be the same.

    Folders of whole runs, and of structures of other origin, are left out.

    Args:
        folders: in their order.

    Raises:
        UsageError: if two folders of one run have a design in common.
    """
    first_of: dict[Path, Path] = {}
    seen: list[tuple[JSON, Path, dict[int, Path]]] = []
    for folder in folders:
        runs = runs_of(folder)
        if not runs or any(run.part is None for run in runs) or any(run.request != runs[0].request for run in runs):
            continue
        request = runs[0].request
        match = next((entry for entry in seen if entry[0] == request), None)
        if match is None:
            match = request, folder, {}
            seen.append(match)
        _, first, owners = match
        for index in sorted(designs_in(folder)):
            if index in owners:
                raise UsageError(
                    f"design_{index:04d} is in {owners[index]} and in {folder}, two parts of one run; "
                    "move one of them elsewhere"
                )
            owners[index] = folder
        first_of[folder] = first
    return first_of
