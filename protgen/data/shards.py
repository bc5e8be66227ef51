"""The files of a store's arrays: one for a field, or several of bounded size, each of whole items.

A field of residues lies in `atoms.npy`, or in `atoms.00000.npy`, `atoms.00001.npy`, ...: shard k holds the items from
the k-th to the next of `bounds`. Fields of chains are small, and lie in one file.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from protgen.data.fields import Field
from protgen.errors import DataError

VERSIONS = (5, 6)  # of stores in several files: two more than those of the same items in one
LARGEST = 1_000_000_000  # bytes of a file; the atoms of some 20 million residues


def bounds_of(offsets: np.ndarray, fields: Sequence[Field], most_bytes: int) -> list[int]:
    """First item of each shard, and the number of items at the end; [0, n] for one shard.

    An item that is larger than a file may be has one of its own.

    Args:
        offsets: (n + 1,) places of items, in residues.
        fields: declared.
        most_bytes: of a file.
    """
    wide = max(np.dtype(own.dtype).itemsize * int(np.prod(own.shape)) for own in fields if own.per == "residue")
    rows, n = most_bytes // wide, len(offsets) - 1
    bounds = [0]
    while bounds[-1] < n:
        stop = int(np.searchsorted(offsets, offsets[bounds[-1]] + rows, side="right")) - 1
        bounds.append(max(stop, bounds[-1] + 1))
    return bounds


def files_of(own: Field, shards: int) -> list[str]:
    """Names of the files of a field.

    Args:
        own: the field.
        shards: number of shards.
    """
    if shards == 1 or own.per == "chain":
        return [f"{own.name}.npy"]
    return [f"{own.name}.{k:05d}.npy" for k in range(shards)]


def checked_bounds(manifest: Mapping[str, Any], where: str) -> list[int]:
    """The bounds that a manifest holds, where the store has shards; else those of one shard.

    Args:
        manifest: of the store.
        where: path of the store, for messages.

    Raises:
        DataError: if they are no rising numbers from 0 to the number of items.
    """
    n = len(manifest["kept"])
    bounds: Any = manifest.get("shards") if manifest.get("version") in VERSIONS else [0, n]
    whole = isinstance(bounds, list) and all(type(x) is int for x in bounds)
    if not whole or bounds[:1] != [0] or bounds[-1] != n or any(a >= b for a, b in pairwise(bounds)):
        raise DataError(f"{where}: the manifest's 'shards' is damaged; build the store again")
    return bounds


def load(path: Path, *, mapped: bool = False) -> np.ndarray:
    """Read one array, or map it into memory.

    Raises:
        DataError: if it is missing or damaged.
    """
    try:
        if not path.is_file():
            raise FileNotFoundError(f"{path.name} is missing")
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, ValueError, EOFError, TypeError, SyntaxError, MemoryError, OverflowError) as error:
        # The header of an array is text, which NumPy reads as Python's literals.
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path.parent}: not a complete store ({reason or 'no array'}); make one with `protgen data build`"
        ) from error


class Array:
    """The array of a field, over its files; each is mapped into memory when it is first read.

    Args:
        own: the field.
        offsets: (n + 1,) places of items, in residues.
        bounds: of shards.
        folder: of the files.
        where: path of the store, for messages.
    """

    def __init__(self, own: Field, offsets: np.ndarray, bounds: Sequence[int], folder: Path, where: str) -> None:
        self.field, self.folder, self.where = own, folder, where
        self.names = files_of(own, len(bounds) - 1)
        self._offsets = offsets
        self._bounds = np.asarray(bounds if len(self.names) > 1 else [0, len(offsets) - 1])
        self._maps: dict[int, np.ndarray] = {}

    def shard(self, k: int) -> np.ndarray:
        """The array of one shard.

        Raises:
            DataError: if its file is missing, or of another shape or type than the manifest says.
        """
        if k not in self._maps:
            array = load(self.folder / self.names[k], mapped=True)
            first, stop = self._bounds[k : k + 2]
            rows = self._offsets[stop] - self._offsets[first] if self.field.per == "residue" else stop - first
            if array.shape != (rows, *self.field.shape) or array.dtype != np.dtype(self.field.dtype):
                raise DataError(f"{self.where}: {self.names[k]} and the manifest disagree; build the store again")
            self._maps[k] = array
        return self._maps[k]

    def __getitem__(self, index: int) -> np.ndarray:
        """The values of an item: (l, *shape), or (*shape) of a field of chains."""
        if self.field.per == "chain":
            return self.shard(0)[index]
        k = int(np.searchsorted(self._bounds, index, side="right")) - 1
        first = self._offsets[self._bounds[k]]
        return self.shard(k)[self._offsets[index] - first : self._offsets[index + 1] - first]


def files_named(fields: Sequence[Mapping[str, Any]], shards: int) -> set[str]:
    """Names of all files of a store, by the fields that its manifest declares.

    Args:
        fields: as the manifest has them.
        shards: number of shards.
    """
    found = {"offsets.npy"}
    for own in fields:
        per = "chain" if own.get("per") == "chain" else "residue"
        found |= set(files_of(Field(str(own.get("name")), per, "uint8"), shards))
    return found
