"""Whether a store's manifest and arrays are what such files can be, before they are used."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from protgen.data.fields import AATYPE, Field
from protgen.data.shards import checked_bounds, files_named
from protgen.errors import DataError
from protgen.integrity import is_sealed
from protgen.structure.residue_names import STANDARD
from protgen.types import JSON

FARTHEST = 100_000.0  # Å; of an atom
_BLOCK = 1 << 20  # rows that are looked at together
_LARGEST = {"labels": 2, AATYPE.name: len(STANDARD)}  # codes of the fields of every store


def check_manifest(manifest: JSON, version: int, where: str) -> None:
    """Check that a manifest has its entries, each of its kind, and, from version 3 on, that it is what was written.

    Args:
        manifest: of the store.
        version: of the store.
        where: path of the store, for messages.

    Raises:
        DataError: if not.
    """
    for name in ("kept", "dropped", "fields"):
        entries = manifest.get(name, None if name == "kept" else [])
        if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
            raise DataError(f"{where}: the manifest's {name!r} is damaged; build the store again")
    for number, entry in enumerate(manifest["kept"]):
        if not all(isinstance(entry.get(key), str) for key in ("id", "split", "cluster")):
            raise DataError(
                f"{where}: entry {number} of the manifest lacks id, split or cluster; build the store again"
            )
    if not all(isinstance(entry.get(key), str) for entry in manifest.get("dropped", []) for key in ("id", "reason")):
        raise DataError(f"{where}: a dropped structure lacks id or reason in the manifest; build the store again")
    if version < 3:
        return
    if not is_sealed(manifest):
        raise DataError(f"{where}: manifest.json has other content than was written; build the store again")
    bounds = checked_bounds(manifest, where)
    own = files_named(manifest.get("fields", []), len(bounds) - 1)
    name, files = manifest.get("arrays"), manifest.get("files")
    if (
        not isinstance(files, Mapping)
        or not isinstance(name, str)
        or "/" in name
        or not name.startswith("arrays-")
        or set(files) != own
    ):
        raise DataError(f"{where}: manifest.json names other arrays than its fields; build the store again")


def check_offsets(offsets: np.ndarray, n: int, where: str) -> None:
    """Check the places of chains: whole numbers that begin at 0 and rise, one more than there are chains.

    Raises:
        DataError: if they are not.
    """
    good = offsets.dtype == np.int64 and offsets.shape == (n + 1,)
    if not good or offsets[0] != 0 or not (np.diff(offsets) > 0).all():
        raise DataError(f"{where}: arrays and manifest disagree; build the store again")


def check_values(fields: Sequence[Field], arrays: Mapping[str, np.ndarray], where: str) -> None:
    """Check that values are such as their field can have: atoms with numbers, codes within their categories.

    Args:
        fields: the declarations.
        arrays: by name of the field.
        where: path of the store, for messages.

    Raises:
        DataError: if one is not.
    """
    for field in fields:
        array = arrays[field.name]
        low, high = bounds(field)
        for start in range(0, len(array) if low is not None else 0, _BLOCK):
            part = array[start : start + _BLOCK]
            if not ((part >= low) & (part <= high)).all():  # NaN is neither
                raise DataError(
                    f"{where}: {field.name} holds values outside {low:g} to {high:g}; build the store again"
                )


def bounds(field: Field) -> tuple[Any, Any]:
    """Least and largest value of a field; None where any will do."""
    if field.name == "atoms":
        return -FARTHEST, FARTHEST
    if field.name in _LARGEST:
        return 0, _LARGEST[field.name]
    return (None, None) if field.values is None else (-1, len(field.values) - 1)
