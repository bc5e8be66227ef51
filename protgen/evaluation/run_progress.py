"""How far a run of `protgen sample` is: designs made, missing and damaged, over the folders that hold its parts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from protgen.errors import UsageError
from protgen.evaluation.design_records import DESIGN, checked_record
from protgen.evaluation.run_records import RUN, RunRecord, read_run, run_files
from protgen.folder_lock import Owner, holders
from protgen.types import JSON

INNER = "backbones"  # the folder of designs in one of `protgen run`


@dataclass(frozen=True)
class FolderProgress:
    """What one folder holds of a run.

    Attributes:
        path: of the folder.
        runs: that were made there, the whole one first.
        made: SHA-256 of the structure of each design that is what was written, by index.
        damaged: what is wrong with each other design that has a record, by index.
        owners: who uses the folder now, as far as can be known from here.
    """

    path: Path
    runs: tuple[RunRecord, ...]
    made: dict[int, str]
    damaged: dict[int, str]
    owners: tuple[Owner, ...]

    @property
    def asked(self) -> set[int]:
        """Indices of the designs it is to have."""
        return {index for run in self.runs for index in run.indices}

    @property
    def state(self) -> str:
        """In a word: "running" only where a process is known to work on it, or that cannot be known."""
        if self.owners:
            return "running"
        if self.asked <= self.made.keys():
            return "done"
        states = {run.status for run in self.runs} - {"done"}
        return "killed" if "running" in states else min(states, default="incomplete")


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    Attributes:
        folders: with its parts.
        n: designs of the whole run.
        request: what decides its designs.
    """

    folders: tuple[FolderProgress, ...]
    n: int
    request: JSON

    @property
    def made(self) -> set[int]:
        """Indices of the designs that are there, whole, in some folder."""
        return {index for folder in self.folders for index in folder.made if index < self.n}

    @property
    def damaged(self) -> dict[int, str]:
        """What is wrong with designs that are whole in no folder, with the folder's name."""
        found = {i: f"{folder.path}: {why}" for folder in self.folders for i, why in folder.damaged.items()}
        return {index: found[index] for index in sorted(found) if index not in self.made}

    @property
    def missing(self) -> list[int]:
        """Indices of the designs that are in no folder."""
        return sorted(set(range(self.n)) - self.made - self.damaged.keys())

    @property
    def twice(self) -> list[int]:
        """Indices of designs that several folders hold."""
        return self._of_several(lambda sums: len(sums) > 1)

    @property
    def unlike(self) -> list[int]:
        """Indices of designs that several folders hold with different bytes."""
        return self._of_several(lambda sums: len(set(sums)) > 1)

    def _of_several(self, holds: Callable[[list[str]], bool]) -> list[int]:
        sums: dict[int, list[str]] = {}
        for folder in self.folders:
            for index, checksum in folder.made.items():
                sums.setdefault(index, []).append(checksum)
        return sorted(index for index, own in sums.items() if holds(own))


def progress_of(folders: Sequence[Path]) -> RunProgress:
    """How far the run in some folders is; every design is compared with its checksums.

    Args:
        folders: with a whole run or parts of one run; also those that `protgen run` fills.

    Raises:
        UsageError: if one holds no run, its record is damaged, or two hold different runs.
    """
    places = [folder / INNER if not run_files(folder) and run_files(folder / INNER) else folder for folder in folders]
    found: list[FolderProgress] = []
    for folder in dict.fromkeys(places):
        found.append(_look_at(folder))
        first, own = found[0].runs[0], found[-1].runs
        strange = next((run for run in own if run.request != first.request), None)
        if strange is not None:
            raise UsageError(
                f"{strange.path} and {first.path} are of different runs: "
                f"{what_differs(first.request, strange.request)}; give folders of one run"
            )
    runs = [run for one in found for run in one.runs]
    return RunProgress(tuple(found), max(run.n for run in runs), runs[0].request)


def what_differs(one: JSON, other: JSON) -> str:
    """The entries of two requests that differ, in words."""
    names = [key for key in dict.fromkeys([*one, *other]) if one.get(key) != other.get(key)]
    return f"their {' and '.join(names)} differ{'s' if len(names) == 1 else ''}"


def _look_at(folder: Path) -> FolderProgress:
    files = run_files(folder) if folder.is_dir() else []
    if not files:
        there = "holds no run of protgen sample" if folder.exists() else "no such folder"
        raise UsageError(f"{folder}: {there} ({RUN} or a part's run_0000-0099.json)")
    runs = tuple(read_run(path) for path in files)
    made, damaged = {}, {}
    for path in folder.iterdir():
        match = DESIGN.fullmatch(path.name)
        if match is None or match[2] != "json":
            continue
        index = int(match[1])
        structure = path.with_suffix(f".{runs[0].request.get('format')}")
        record, problem = checked_record(structure, index)
        if problem:
            damaged[index] = problem
        else:
            made[index] = str(record["files"][structure.name]["sha256"])
    return FolderProgress(folder, runs, made, damaged, tuple(holders(folder)))


def in_ranges(indices: Sequence[int], most: int = 12) -> str:
    """Ascending indices in words.

    Examples:
        >>> in_ranges([0, 1, 2, 7, 9, 10])
        '0-2, 7, 9-10'
    """
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    words = [f"{first}-{last}" if last > first else str(first) for first, last in ranges[:most]]
    return ", ".join(words) + (f" and {len(ranges) - most} more ranges" if len(ranges) > most else "")
