"""The output folder of `protgen sample`: what is there already, and writing so that nothing is lost."""

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

import protgen
from protgen.cli.console import warn
from protgen.documents import finite
from protgen.errors import DocumentError, UsageError
from protgen.evaluation.design_records import DESIGN, checked_record
from protgen.evaluation.run_records import RUN, Part, read_run, run_files
from protgen.evaluation.tables import make_folder, write_json, write_text
from protgen.generation.design import Design
from protgen.integrity import fingerprints, sealed
from protgen.structure.trajectory import write_trajectory
from protgen.structure.writer import write_structure
from protgen.types import JSON

FIXED = "fixed_positions.jsonl"  # where motifs lie, for ProteinMPNN's --fixed_positions_jsonl
PICTURES = ("designs.png", "designs.html")
DERIVED = ("ranking.csv", "best", *PICTURES)  # what is made of all designs at the end


class DesignFolder:
    """A folder of designs, or of a part of the designs of a run.

    Several parts of one run may have one folder. Each writes its own designs, and beside them files with its indices in
    their names: its record, `run_0100-0199.json`, and what is made of its designs.

    Args:
        path: where it is; made if need be.
        suffix: "pdb" or "cif".
        request: what decides the designs (see `describe_request`).
        n: how many designs the run is to have.
        part: of them that is made here; None for all.

    Raises:
        UsageError: if the folder cannot be made or written to.
    """

    def __init__(self, path: Path, suffix: str, request: JSON, n: int, part: Part | None = None) -> None:
        make_folder(path)
        self.path = path
        self.suffix = suffix
        self.request = request
        self.n = n
        self.part = part
        self.indices = range(n) if part is None else part.indices
        self.records: dict[int, JSON] = {}
        self.begun = time.time()
        self.facts: JSON = {}
        self.stale: list[Path] = []  # of the run being replaced: they go when the first new design is at hand

    def open(self, *, resume: bool, overwrite: bool) -> list[int]:
        """Make the folder ready and return the indices still to be made.

        Raises:
            UsageError: if it holds designs and neither flag says what to do with them, or if a run to be
                resumed was made otherwise.
        """
        old = self.earlier()
        if old and overwrite:
            others = ("run_*.json", "fixed_positions_*.jsonl", "designs_*.png", "designs_*.html")
            of_parts = [path for pattern in others for path in self.path.glob(pattern)]
            self.stale = [*old, *of_parts, *(self.path / name for name in (RUN, FIXED, *DERIVED))]
        elif old and resume:
            self.check_same_request()
            self.records = self.read_records()
        elif old:
            raise UsageError(
                f"{self.path}: holds {len(old)} files of an earlier run; choose another --out, "
                "or add --resume to finish that run or --overwrite to replace it"
            )
        elif self.part is not None:
            self.join()
        return [index for index in self.indices if index not in self.records]

    def earlier(self) -> list[Path]:
        """Files of earlier runs: of all designs of the folder, or of those of the part that is made."""
        named = [(path, DESIGN.fullmatch(path.name)) for path in sorted(self.path.iterdir())]
        found = [(path, int(match[1])) for path, match in named if match]
        if self.part is None:
            return [path for path, _ in found]
        return [path for path, index in found if index in self.indices]

    def join(self) -> None:
        """Say that this part is made, in a folder that may hold other parts of the same run.

        The record is written before those of others are looked at: of two parts of different runs that come at the
        same time at least one sees the other.

        Raises:
            UsageError: if the folder holds designs or the record of another run.
        """
        own = self.path / self.run_name()
        was_there = own.exists()
        if was_there:
            self.check_same_request([own])
        self.write_run("running")
        try:
            self.check_same_request()
        except UsageError:
            if not was_there:
                own.unlink(missing_ok=True)
            raise

    def run_name(self) -> str:
        """The name of the record of this run or part."""
        return RUN if self.part is None else f"run_{self.part.name}.json"

    def named(self, name: str) -> Path:
        """The path of a file that is made of the designs of this run, or of this part."""
        stem, dot, suffix = name.partition(".")
        return self.path / (name if self.part is None else f"{stem}_{self.part.name}{dot}{suffix}")

    def check_same_request(self, files: Sequence[Path] = ()) -> None:
        """Raise UsageError unless the runs in the folder were made with the same request.

        Args:
            files: records of runs; all of the folder where there are none.
        """
        known = list(files) or run_files(self.path)
        if not known:
            raise UsageError(
                f"{self.path / RUN}: missing, so the run cannot be resumed; choose another --out, or --overwrite"
            )
        for file in known:
            try:
                before = read_run(file).request
            except DocumentError as error:
                raise UsageError(
                    f"{error}, so the run cannot be resumed; choose another --out, or --overwrite"
                ) from None
            difference = first_difference(before, json.loads(json.dumps(finite(self.request))))
            if difference:
                raise UsageError(f"{self.path}: cannot resume, that run had {difference}; give the same options")

    def read_records(self) -> dict[int, JSON]:
        """Records of the designs that are complete: record and files are what was written. Others are named."""
        found: dict[int, JSON] = {}
        for index in self.indices:
            structure, record = self.files(index)
            if not record.exists():
                continue
            content, problem = checked_record(structure, index)
            if problem:
                warn(f"{record.stem}: {problem}; the design is made anew")
            else:
                found[index] = content
        return found

    def files(self, index: int) -> tuple[Path, Path]:
        """Structure file and record of a design."""
        stem = f"design_{index:04d}"
        return self.path / f"{stem}.{self.suffix}", self.path / f"{stem}.json"

    def files_of_design(self, index: int) -> list[Path]:
        """All files that a design can have: structure, record and trajectory."""
        structure, record = self.files(index)
        return [structure, record, structure.with_suffix(".xtc")]

    def add(self, design: Design, record: JSON) -> None:
        """Write a design; its record comes last, so that a design with a record is whole."""
        if self.stale:
            from protgen.evaluation.ranking import remove_copies

            for entry in self.stale:
                if entry.is_dir():  # `best`: copies go, and what others have put beside them stays
                    remove_copies(entry)
                    with contextlib.suppress(OSError):
                        entry.rmdir()
                else:
                    entry.unlink(missing_ok=True)
            self.stale = []
            self.write_run("running")
        structure, record_path = self.files(design.index)
        write_structure(design.protein, structure)
        if design.trajectory:
            frames = structure.with_suffix(".xtc")  # the design itself is its topology: the atoms are the same
            write_trajectory(design.trajectory, frames)
            record = record | {"trajectory": frames.name}
        names = [structure.name, *([record["trajectory"]] if design.trajectory else [])]
        record = sealed(finite(record | {"files": fingerprints(self.path, names)}))
        write_json(record_path, record)
        self.records[design.index] = record
        if design.motif:
            self.write_fixed_positions()

    def write_fixed_positions(self) -> None:
        """Write the positions of the motif in each design, one JSON object of one line, as ProteinMPNN reads them."""
        held = {self.files(i)[0].stem: self.records[i].get("fixed_positions", {}) for i in sorted(self.records)}
        write_text(self.named(FIXED), json.dumps(held) + "\n")

    def complete(self) -> None:
        """Write what a whole run has, and parts made by themselves have not left: its record, the places of motifs."""
        try:
            known = read_run(self.path / self.run_name()).n
        except DocumentError:
            known = 0
        if known != self.n:
            self.write_run("done")
        if any(record.get("motif") for record in self.records.values()):
            self.write_fixed_positions()

    def write_run(self, status: str, **facts: object) -> None:
        """Write `run.json`, or the record of the part: what was asked, how far it got.

        Args:
            status: "running", "interrupted", "failed" or "done".
            facts: further entries, kept for the next time.
        """
        self.facts |= facts
        if self.stale:  # the folder still holds the old run, and its run.json refers to that
            return
        part = {} if self.part is None else {"part": self.part.to_json()}
        write_json(
            self.path / self.run_name(),
            {
                "status": status,
                "version": protgen.__version__,
                "n": self.n,
                **part,
                "n_done": len(self.records),
                "request": self.request,
                "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self.begun)),
                "wall_seconds": round(time.time() - self.begun, 2),
                **self.facts,
                "designs": [self.records[index].get("file") for index in sorted(self.records)],
            },
        )


def first_difference(before: object, now: object, name: str = "") -> str:
    """In words, the first place where two JSON values differ; empty if they do not.

    Args:
        before, now: JSON values.
        name: what to call them.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*now, *(key for key in before if key not in now)]:
            found = first_difference(before.get(key), now.get(key), f"{name} {key}".strip())
            if found:
                return found
        return ""
    if before == now:
        return ""
    return f"{name} {shorten(before)} and now it is {shorten(now)}"


def shorten(value: object, most: int = 60) -> str:
    """A JSON value in at most so many characters."""
    text = json.dumps(value)
    return text if len(text) <= most else text[: most - 3] + "..."
