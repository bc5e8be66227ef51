"""The store: every kept structure in a few flat arrays with offsets, mapped into memory, and a manifest.

A folder of `.npy` files. `offsets` (n + 1,) are the places of the chains; every field is a file of its own, with an
entry for each residue (`atoms`, `labels`, `numbers`, `aatype`) or for each chain (labels of a laboratory). Reading an
item is slicing: microseconds, and processes share the pages. `manifest.json` declares the fields (`data/fields.py`),
names every structure kept, why the others were dropped, and the settings of the build.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from protgen.atomic import replacing, write_text
from protgen.data.fields import STRUCTURE, Field
from protgen.errors import DataError
from protgen.types import JSON

VERSION = 2
READABLE = (1, 2)  # stores of version 1 declare no fields: theirs are those of every structure


@dataclass(frozen=True)
class Item:
    """One structure as it goes into a store.

    Attributes:
        id: unique name; a crop of a longer chain carries its range, `1us0_A:33-132`.
        atoms: (l, 4, 3) float32 Å; N, CA, C, O.
        labels: (l,) uint8 secondary structure; 0 coil, 1 helix, 2 strand.
        numbers: (l,) int32 residue numbers.
        split: "train" or "validation".
        cluster: sequence cluster, by which the split was made.
        facts: further entries of the manifest (length, rg, helix, strand, resolution, ...).
        residue: further fields of each residue, (l, ...) by name.
        chain: further fields of the whole chain by name.
    """

    id: str
    atoms: np.ndarray
    labels: np.ndarray
    numbers: np.ndarray
    split: str
    cluster: str
    facts: JSON = field(default_factory=dict)
    residue: Mapping[str, np.ndarray] = field(default_factory=dict)
    chain: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def per_residue(self) -> dict[str, np.ndarray]:
        """All fields of each residue, those of the structure first."""
        return {"atoms": self.atoms, "labels": self.labels, "numbers": self.numbers, **self.residue}


def write_store(
    folder: Path, items: Sequence[Item], dropped: Sequence[JSON], settings: JSON, fields: Sequence[Field] = ()
) -> None:
    """Write a store; the manifest comes last, so a store without one is known to be half-written.

    Args:
        folder: of the store.
        items: the structures kept.
        dropped: an entry with `id` and `reason` for each other one.
        settings: of the build, for the manifest.
        fields: declarations of the fields that items have beside those of every structure.

    Raises:
        DataError: if there is nothing to write, an item lacks a field, or the folder cannot be written.
    """
    if not items:
        raise DataError(f"{folder}: no structure passed the filters; see the reasons, or loosen them")
    declared = [*STRUCTURE, *fields]
    arrays = {own.name: column(own, items) for own in declared}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").unlink(missing_ok=True)
        offsets = np.cumsum([0] + [len(item.atoms) for item in items])
        save(folder / "offsets.npy", offsets.astype(np.int64))
        for name, array in arrays.items():
            save(folder / f"{name}.npy", array)
        manifest = {
            "version": VERSION,
            "settings": settings,
            "fields": [own.to_json() for own in declared],
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


def column(own: Field, items: Sequence[Item]) -> np.ndarray:
    """The values of a field over all items: (residues, *shape), or (n, *shape) for a field of chains.

    Raises:
        DataError: if an item lacks the field, or has it in another shape.
    """
    parts = []
    for item in items:
        held = item.per_residue if own.per == "residue" else item.chain
        if own.name not in held:
            raise DataError(f"{item.id}: no field {own.name}, which the store declares; give it to every item")
        part = np.asarray(held[own.name])
        shape = (len(item.atoms), *own.shape) if own.per == "residue" else own.shape
        if part.shape != shape:
            raise DataError(f"{item.id}: field {own.name} has shape {part.shape}; the store declares {shape}")
        parts.append(part)
    joined = np.concatenate(parts) if own.per == "residue" else np.stack(parts)
    return joined.astype(own.dtype)


def save(path: Path, array: np.ndarray) -> None:
    """Write one array atomically."""
    with replacing(path) as temporary, temporary.open("xb") as file:
        np.save(file, array, allow_pickle=False)


class Store:
    """A store opened for reading.

    Args:
        folder: where `write_store` left it.

    Attributes:
        fields: the declared fields by name.

    Raises:
        DataError: if it is missing, half-written, of another version, or its arrays disagree.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        try:
            self.manifest = json.loads((self.folder / "manifest.json").read_text())
            self.offsets = np.load(self.folder / "offsets.npy", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.folder}: not a complete store ({error}); make one with `protgen data build`"
            ) from error
        version = self.manifest.get("version")
        if version not in READABLE:
            raise DataError(f"{self.folder}: store version {version}, this code reads 1 and 2; build the store again")
        declared = [Field.from_json(plain, str(folder)) for plain in self.manifest.get("fields", [])] or STRUCTURE
        self.fields = {own.name: own for own in declared}
        self.arrays = {name: self._load(own) for name, own in self.fields.items()}
        if len(self.offsets) != len(self.manifest["kept"]) + 1:
            raise DataError(f"{self.folder}: arrays and manifest disagree; build the store again")

    def _load(self, own: Field) -> np.ndarray:
        """The array of a field, mapped into memory."""
        try:
            array = np.load(self.folder / f"{own.name}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.folder}: not a complete store ({error}); make one with `protgen data build`"
            ) from error
        rows = self.offsets[-1] if own.per == "residue" else len(self.offsets) - 1
        if array.shape != (rows, *own.shape) or array.dtype != np.dtype(own.dtype):
            raise DataError(f"{self.folder}: {own.name} and the manifest disagree; build the store again")
        return array

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
        held = {
            name: array[start:stop] if self.fields[name].per == "residue" else array[index]
            for name, array in self.arrays.items()
        }
        per_chain = {name: held.pop(name) for name in list(held) if self.fields[name].per == "chain"}
        return Item(
            id=entry.pop("id"),
            split=entry.pop("split"),
            cluster=entry.pop("cluster"),
            facts=entry,
            **{own.name: held.pop(own.name) for own in STRUCTURE},
            residue=held,
            chain=per_chain,
        )
