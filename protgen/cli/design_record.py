"""The record of each design: the request, the measured result, and how to reproduce the design."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import protgen
from protgen.conditions.base import Adherence, Condition
from protgen.conditions.language import to_document, to_plain
from protgen.conditions.measure import evaluators
from protgen.errors import ProtgenError
from protgen.evaluation.validity import validity
from protgen.generation.design import Design, ResolvedSettings
from protgen.generation.job import Job
from protgen.generation.numbering import fixed_positions
from protgen.structure.residue_id import ResidueId, residue_id
from protgen.types import JSON

if TYPE_CHECKING:
    from protgen.structure.protein import Protein

MACHINE_SETTINGS = ("batch_size", "device")  # of speed and memory; on a GPU they change rounding


def describe(condition: Condition) -> JSON:
    """A condition as JSON: its name and its fields."""
    return to_plain(condition)


def describe_model(name: str, folder: Path) -> JSON:
    """Which weights these were: the name asked for, and the SHA-256 of the file, and of that of a guide."""
    from protgen.models.model import GUIDE_WEIGHTS, WEIGHTS

    files = {"sha256": folder / WEIGHTS, "guide_sha256": folder / GUIDE_WEIGHTS}
    found = {key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in files.items() if path.is_file()}
    return {"name": name} | found


def describe_request(model: JSON, job: Job, seed: int, file_format: str) -> JSON:
    """All that decides what design i will be; two runs with the same request can be one run, resumed.

    Args:
        model: which weights these are (`describe_model`).
        job: conditions, their mechanisms, and settings.
        seed: of the run.
        file_format: of the designs.
    """
    kept = {key: value for key, value in asdict(job.settings).items() if key not in MACHINE_SETTINGS}
    return {
        "model": model,
        "conditions": to_document(job.conditions),
        "seed": seed,
        "settings": kept,
        "format": file_format,
        "assignments": [entry.to_json() for entry in job.assignments],
    }


def measure(protein: "Protein", conditions: Sequence[Condition]) -> list[JSON]:
    """How well a protein meets each condition; one that cannot be measured on it is not met, and says why."""
    rows = []
    for evaluator in evaluators(conditions):
        try:
            rows.append(asdict(evaluator.adherence(protein)))
        except ProtgenError as error:
            rows.append(asdict(Adherence(evaluator.name, "", str(error), math.nan, False, math.nan)))
    return rows


def mapping(design: Design) -> list[JSON]:
    """Which residue of the design's file is which of the motif's: chain, residue number, insertion code of both."""
    return [
        {
            "design": as_json(residue_id(design.protein, entry.index)),
            "motif": as_json(ResidueId(entry.chain, entry.number, entry.insertion)),
        }
        for entry in design.motif
    ]


def as_json(residue: ResidueId) -> JSON:
    """A residue as records have it."""
    return {"chain": residue.chain, "residue": residue.number, "insertion": residue.insertion}


def record_of(design: Design, file: str, model: JSON, settings: ResolvedSettings) -> JSON:
    """The record of one design, as `design_0000.json` holds it.

    Args:
        design: what was made.
        file: name of its structure file.
        model: which weights these are (`describe_model`).
        settings: of the run.
    """
    return {
        "index": design.index,
        "file": file,
        "seed": design.seed,
        "model": model,
        "version": protgen.__version__,
        "settings": asdict(settings),
        "requested": [describe(condition) for condition in design.asked],
        "drawn": [describe(condition) for condition in design.drawn],
        "candidate": design.candidate,
        "motif": mapping(design),
        "fixed_positions": fixed_positions(design.protein, design.motif) if design.motif else {},
        "measured": measure(design.protein, [*design.asked, *design.drawn]),
        "validity": validity(design.protein),
    }
