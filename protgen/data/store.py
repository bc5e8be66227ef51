"""The store: every kept structure in a few flat arrays with offsets, mapped into memory, and a manifest.

A folder of `.npy` files: `offsets` (n + 1,), `atoms` (residues, 4, 3) float32 Å, `labels` (residues,) uint8 secondary
structure, `numbers` (residues,) int32 residue numbers. Reading an item is slicing: microseconds, and processes share
the pages. `manifest.json` names every structure kept, why the others were dropped, and the settings of the build.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from protgen.atomic import replacing, write_text
from protgen.errors import DataError
from protgen.types import JSON

VERSION = 1
ARRAYS = {"offsets": np.int64, "atoms": np.float32, "labels": np.uint8, "numbers": np.int32}


@dataclass(frozen=True)
class Item:
    """One structure as it goes into a store.

    Attributes:
        id: unique name; a crop of a longer chain carries its range, `1us0_A:33-132`.
        atoms: (l, 4, 3) float32 Å; N, CA, C, O.
        labels: (l,) uint8; 0 coil, 1 helix, 2 strand.
        numbers: (l,) int32 residue numbers.
        split: "train" or "validation".
        cluster: sequence cluster, by which the split was made.
        facts: what the manifest tells of it (length, rg, helix, strand, resolution, ...).
    """

    id: str
    atoms: np.ndarray
    labels: np.ndarray
    numbers: np.ndarray
    split: str
    cluster: str
    facts: JSON = field(default_factory=dict)


def write_store(folder: Path, items: Sequence[Item], dropped: Sequence[JSON], settings: JSON) -> None:
    """Write a store; the manifest comes last, so a store without one is known to be half-written.

    Raises:
        DataError: if there is nothing to write or the folder cannot be written.
    """
    if not items:
        raise DataError(f"{folder}: no structure passed the filters; see the reasons, or loosen them")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").unlink(missing_ok=True)
        offsets = np.cumsum([0] + [len(item.atoms) for item in items])
        save(folder / "offsets.npy", offsets.astype(ARRAYS["offsets"]))
        for name in ("atoms", "labels", "numbers"):
            save(
                folder / f"{name}.npy",
                np.concatenate([getattr(item, name) for item in items]).astype(ARRAYS[name]),
            )
        manifest = {
            "version": VERSION,
            "settings": settings,
            "n_kept": len(items),
            "n_dropped": len(dropped),
            "kept": [{"id": i.id, "split": i.split, "cluster": i.cluster, **i.facts} for i in items],
            "dropped": list(dropped),
        }
        write_text(folder / "manifest.json", json.dumps(manifest, indent=1))
    except OSError as error:
        raise DataError(
            f"{folder}: cannot write the store ({error.strerror}); choose a folder you can write"
        ) from error


def save(path: Path, array: np.ndarray) -> None:
    """Write one array atomically."""
    with replacing(path) as temporary, temporary.open("xb") as file:
        np.save(file, array, allow_pickle=False)


class Store:
    """A store opened for reading.

    Args:
        folder: where `write_store` left it.

    Raises:
        DataError: if it is missing, half-written, of another version, or its arrays disagree.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        try:
            self.manifest = json.loads((self.folder / "manifest.json").read_text())
            self.arrays = {
                name: np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS
            }
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.folder}: not a complete store ({error}); make one with `protgen data build`"
            ) from error
        if self.manifest.get("version") != VERSION:
            raise DataError(f"{self.folder}: store version {self.manifest.get('version')}, this code reads {VERSION}")
        self.offsets = np.asarray(self.arrays["offsets"])
        kept = self.manifest["kept"]
        if len(self.offsets) != len(kept) + 1 or any(
            len(self.arrays[name]) != self.offsets[-1] for name in ("atoms", "labels", "numbers")
        ):
            raise DataError(f"{self.folder}: arrays and manifest disagree; build the store again")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """(n,) residues of each item."""
        return np.diff(self.offsets)

    def indices(self, split: str) -> np.ndarray:
        """Indices of the items of a split."""
        return np.array([i for i, entry in enumerate(self.manifest["kept"]) if entry["split"] == split], dtype=int)

    def __getitem__(self, index: int) -> Item:
        start, stop = self.offsets[index], self.offsets[index + 1]
        entry = dict(self.manifest["kept"][index])
        return Item(
            id=entry.pop("id"),
            split=entry.pop("split"),
            cluster=entry.pop("cluster"),
            facts=entry,
            **{name: self.arrays[name][start:stop] for name in ("atoms", "labels", "numbers")},
        )
