"""Files that conditions refer to: read once, and known again by a checksum of what was taken from them."""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path

import numpy as np

from protgen.conditions.base import Condition
from protgen.errors import UsageError
from protgen.structure.protein import Protein
from protgen.structure.read_warnings import REMARKABLE
from protgen.structure.reader import read_structure


@functools.lru_cache(maxsize=64)
def _read(path: str, _changed: int) -> Protein:
    return read_structure(path)


def structure_of(path: str) -> Protein:
    """The first model of a structure file; read anew only if the file has changed.

    Raises:
        UsageError: if there is no such file.
        StructureError: if it cannot be read truthfully.
    """
    try:
        changed = Path(path).stat().st_mtime_ns
    except OSError as error:
        raise UsageError(f"{path}: there is no such structure file; check the path") from error
    return _read(str(path), changed)


def file_cautions(name: str, path: str, but: Sequence[str] = ()) -> list[str]:
    """What the reader noticed in a structure file that may change what is taken from it, a line each.

    Args:
        name: of the condition.
        path: of the file.
        but: codes that are left out.
    """
    told = REMARKABLE.difference(but)
    return [f"{name}: {path}: {entry}" for entry in structure_of(path).warnings if entry.code in told]


def checksum(array: np.ndarray) -> str:
    """The first 16 digits of the SHA-256 of coordinates rounded to 0.001 Å."""
    thousandths = np.round(np.nan_to_num(array) * 1000).astype("<i8")
    return hashlib.sha256(thousandths.tobytes()).hexdigest()[:16]


def confirm(known: str, found: str, path: str) -> str:
    """The checksum found.

    Args:
        known: checksum from before, empty if there is none.
        found: checksum of the file now.
        path: of the file.

    Raises:
        UsageError: if another one is known from before: the file has changed.
    """
    if known and known != found:
        raise UsageError(f"{path}: has changed since the request was written; give the old file, or ask anew")
    return found


def files_of(condition: Condition) -> dict[str, str]:
    """The files that a condition names, by its fields `file` and `points`."""
    found = {name: getattr(condition, name, None) for name in ("file", "points")}
    return {name: value for name, value in found.items() if isinstance(value, str) and value}


def with_absolute_files(condition: Condition) -> Condition:
    """The same condition with absolute paths, for a process that runs in another folder."""
    moved = {name: str(Path(value).absolute()) for name, value in files_of(condition).items()}
    return replace(condition, **moved) if moved and is_dataclass(condition) else condition
