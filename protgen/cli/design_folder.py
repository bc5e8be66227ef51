"""The output folder of `protgen sample`: what is there already, and writing so that nothing is lost."""

import json
import re
import shutil
import time
from pathlib import Path

import protgen
from protgen.cli.console import warn
from protgen.documents import finite, read_json
from protgen.errors import DocumentError, UsageError
from protgen.evaluation.tables import make_folder, write_json, write_text
from protgen.generation.design import Design
from protgen.integrity import damage, fingerprints, is_sealed, sealed
from protgen.structure.trajectory import write_trajectory
from protgen.structure.writer import write_structure
from protgen.types import JSON

RUN = "run.json"
FIXED = "fixed_positions.jsonl"  # where motifs lie, for ProteinMPNN's --fixed_positions_jsonl
DERIVED = ("ranking.csv", "best", "designs.png", "designs.html")  # what is made of all designs at the end
_OURS = re.compile(r"design_\d{4,}\.(pdb|cif|json|xtc)")


class DesignFolder:
    """A folder of designs.

    Args:
        path: where it is; made if need be.
        suffix: "pdb" or "cif".
        request: what decides the designs (see `describe_request`).
        n: how many designs the run is to have.

    Raises:
        UsageError: if the folder cannot be made or written to.
    """

    def __init__(self, path: Path, suffix: str, request: JSON, n: int) -> None:
        make_folder(path)
        self.path = path
        self.suffix = suffix
        self.request = request
        self.n = n
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
        old = sorted(entry for entry in self.path.iterdir() if _OURS.fullmatch(entry.name))
        if old and overwrite:
            self.stale = [*old, *(self.path / name for name in (RUN, FIXED, *DERIVED))]
        elif old and resume:
            self.check_same_request()
            self.records = self.read_records()
        elif old:
            raise UsageError(
                f"{self.path}: holds {len(old)} files of an earlier run; choose another --out, "
                "or add --resume to finish that run or --overwrite to replace it"
            )
        return [index for index in range(self.n) if index not in self.records]

    def check_same_request(self) -> None:
        """Raise UsageError unless the run in the folder was made with the same request."""
        try:
            before = read_json(self.path / RUN)["request"]
        except (DocumentError, KeyError):
            raise UsageError(
                f"{self.path / RUN}: missing or damaged, so the run cannot be resumed; "
                "choose another --out, or --overwrite"
            ) from None
        difference = first_difference(before, json.loads(json.dumps(self.request)))
        if difference:
            raise UsageError(f"{self.path}: cannot resume, that run had {difference}; give the same options")

    def read_records(self) -> dict[int, JSON]:
        """Records of the designs that are complete: record and files are what was written. Others are named."""
        found: dict[int, JSON] = {}
        for index in range(self.n):
            record = self.files(index)[1]
            if not record.exists():
                continue
            try:
                content = read_json(record)
                problem = self.damage(index, content)
            except DocumentError as error:
                content, problem = {}, str(error)
            if problem:
                warn(f"{record.stem}: {problem}; the design is made anew")
            else:
                found[index] = content
        return found

    def damage(self, index: int, record: JSON) -> str:
        """What is wrong with a design, in words; "" if its record and its files are what was written."""
        files = record.get("files")
        if not isinstance(files, dict) or self.files(index)[0].name not in files:
            return "its record has no checksum of the structure"
        if record.get("index") != index or not is_sealed(record):
            return "its record has other content than was written"
        return damage(self.path, files)

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
            for entry in self.stale:
                if entry.is_dir():
                    shutil.rmtree(entry)
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
        write_text(self.path / FIXED, json.dumps(held) + "\n")

    def write_run(self, status: str, **facts: object) -> None:
        """Write `run.json`: what was asked, how far it got ("running", "interrupted", "failed", "done")."""
        self.facts |= facts
        if self.stale:  # the folder still holds the old run, and its run.json refers to that
            return
        write_json(
            self.path / RUN,
            {
                "status": status,
                "version": protgen.__version__,
                "n": self.n,
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
