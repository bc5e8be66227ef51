"""The record that `protgen sample` writes next to a design: `design_0003.json` beside `design_0003.pdb`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protgen.structure.reader import stem
from protgen.structure.residue_id import ResidueId
from protgen.types import JSON


def read_record(path: Path) -> JSON:
    """The record next to a structure file; empty where there is none."""
    try:
        found = json.loads((path.parent / f"{stem(path)}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def recorded_residue(entry: Mapping[str, Any]) -> ResidueId:
    """A residue that a record names; older records have no insertion codes."""
    return ResidueId(str(entry["chain"]), int(entry["residue"]), str(entry.get("insertion", "")))
