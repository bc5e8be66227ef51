"""The counters of a checkpoint, `state.json`: which there are, and what they may be."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from protgen.errors import CheckpointError
from protgen.integrity import SEAL, is_sealed
from protgen.training.progress import Averages
from protgen.training.settings import MOST
from protgen.training.stopping import best_of
from protgen.types import JSON

FILE = "state.json"
KEYS = ("step", "ema_updates", "minutes", "averages", "stopping", "files", SEAL)


def check_state(state: JSON, folder: Path, step: int | None, files: Iterable[str]) -> None:
    """Check the seal of a checkpoint's counters, and each of them.

    Args:
        state: the content of `state.json`.
        folder: of the checkpoint.
        step: that its folder is named after, None for another name.
        files: names of its files, of all of which there must be a checksum.

    Raises:
        CheckpointError: if the counters are not what was written, one is missing, unknown or cannot be, or the step is
            not the folder's.
    """
    path = folder / FILE
    if SEAL in state or "files" in state:  # checkpoints of release 0.1 have neither
        if not is_sealed(state):
            raise CheckpointError(f"{path}: has other content than was written")
        known = state.get("files")
        if not isinstance(known, dict) or set(known) != set(files):
            raise CheckpointError(f"{path}: does not have the checksums of {', '.join(files)}, and of these alone")
    unknown = sorted(state.keys() - set(KEYS))
    if unknown:
        raise CheckpointError(f"{path}: {unknown[0][:40]!r} is no counter of a checkpoint")
    if not is_count(state.get("step")) or state["step"] != step:
        raise CheckpointError(f"{path}: is of step {shown(state.get('step'))}")
    if not is_count(state.get("ema_updates"), state["step"]):
        raise CheckpointError(f"{path}: ema_updates is {shown(state.get('ema_updates'))}")
    minutes = state.get("minutes", 0.0)
    if type(minutes) not in (int, float) or not 0 <= minutes <= MOST:
        raise CheckpointError(f"{path}: minutes is {shown(minutes)}")
    check_parts(state, path)


def check_parts(state: JSON, path: Path) -> None:
    """Check what a checkpoint says of averages and of early stopping, where it says something.

    Raises:
        CheckpointError: if that cannot be, by the step it is of.
    """
    try:
        count = Averages(state["averages"]).count if "averages" in state else 0
        _, best_step, waited = best_of(state["stopping"]) if "stopping" in state else (math.nan, 0, 0)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    for name, value in (("averages.count", count), ("best_step", best_step), ("waited", waited)):
        if not is_count(value, state["step"]):
            raise CheckpointError(f"{path}: {name} is {shown(value)}, of step {state['step']}")


def is_count(value: Any, most: int = 10**12) -> bool:
    """Whether a value is a whole number from 0 on."""
    return type(value) is int and 0 <= value <= most


def shown(value: Any) -> str:
    """A value in a message of one line."""
    return repr(value)[:40]
