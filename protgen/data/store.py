"""The store: every kept structure in a few flat arrays with offsets, mapped into memory, and a manifest.

A folder of `.npy` files. `offsets` (n + 1,) are the places of the chains; every field is a file of its own, or several
where it is large (`data/shards.py`), with an entry for each residue (`atoms`, `labels`, `numbers`, `aatype`) or for
each chain (labels of a laboratory). Reading an item is slicing: microseconds, and processes share the pages.
`manifest.json` declares the fields (`data/fields.py`), names every structure kept, why the others were dropped, the
settings of the build, and the folder of the arrays, whose name is their checksum. So a rebuild writes new arrays beside
the old ones, and the store changes at once, with the manifest.
"""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np

from protgen.atomic import move_folder, replacing, sync, write_text
from protgen.data.fields import CHAIN_INDEX, STRUCTURE, Field
from protgen.data.shards import LARGEST, VERSIONS, Array, bounds_of, checked_bounds, files_of, load
from protgen.data.store_checks import check_manifest, check_offsets, check_values
from protgen.documents import finite, read_json
from protgen.errors import DataError
from protgen.integrity import damage, fingerprints, sealed
from protgen.types import JSON

VERSION = 3
OF_PARTS = 4  # of stores with items of several chains or segments, which code of version 3 would take for one chain
SHARDED = 2  # more, of stores whose fields lie in several files
READABLE = (
    1,
    2,
    3,
    4,
    5,
    6,
)  # 1 declares no fields: theirs are those of every structure; neither 1 nor 2 has checksums
MANIFEST = "manifest.json"
MOST_BYTES = 2_000_000_000  # of a manifest: one of 200,000 chains takes 50 MB


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
    folder: Path,
    items: Iterable[Item],
    dropped: Sequence[JSON],
    settings: JSON,
    fields: Sequence[Field] = (),
    report: JSON | None = None,
    most_bytes: int = LARGEST,
) -> None:
    """Write a store, in place of one that is there; if that fails, the old one is as it was.

    Items are looked at one after another, and twice, so that a set of any size can be written.

    Args:
        folder: of the store.
        items: the structures kept; gives the same ones in the same order each time it is gone through.
        dropped: an entry with `id` and `reason` for each other one.
        settings: of the build, for the manifest.
        fields: declarations of the further fields of items.
        report: further entries of the manifest, such as what was found across the split.
        most_bytes: of a file; a field that takes more is divided among several.

    Raises:
        DataError: if there is nothing to write, an item lacks a field or has a value that its field cannot have, or
            the folder cannot be written.
    """
    declared = [*STRUCTURE, *fields]
    kept, lengths = [], []
    for item in items:
        kept.append({"id": item.id, "split": item.split, "cluster": item.cluster, **item.facts})
        lengths.append(len(item.atoms))
    if not kept:
        raise DataError(f"{folder}: no structure passed the filters; see the reasons, or loosen them")
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        bounds = bounds_of(offsets, declared, most_bytes)
        name, files = write_arrays(folder, items, declared, offsets, bounds)
        of_parts, sharded = CHAIN_INDEX in declared, len(bounds) > 2
        manifest = {
            "version": VERSIONS[of_parts] if sharded else (VERSION, OF_PARTS)[of_parts],
            "arrays": name,
            **({"shards": bounds} if sharded else {}),
            "settings": settings,
            "fields": [own.to_json() for own in declared],
            "n_kept": len(kept),
            "n_dropped": len(dropped),
            **(report or {}),
            "kept": kept,
            "dropped": list(dropped),
            "files": files,
        }
        write_text(folder / MANIFEST, json.dumps(sealed(finite(manifest)), indent=1))
        remove_others(folder, name, declared)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot write the store ({error.strerror}); choose a folder you can write"
        ) from error


def write_arrays(
    folder: Path, items: Iterable[Item], declared: Sequence[Field], offsets: np.ndarray, bounds: Sequence[int]
) -> tuple[str, JSON]:
    """Write the arrays of items into a folder of their own in that of the store, named after what they hold.

    Returns:
        Its name, and size and SHA-256 of each file.

    Raises:
        DataError: if an item lacks a field, or has a value that its field cannot have.
    """
    temporary = folder / f".arrays-{uuid.uuid4().hex}.tmp"
    temporary.mkdir()
    try:
        fill_arrays(temporary, items, declared, offsets, bounds)
        save(temporary / "offsets.npy", offsets)
        names = [name for own in declared for name in files_of(own, len(bounds) - 1)]
        files = fingerprints(temporary, [*names, "offsets.npy"])
        name = f"arrays-{hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]}"
        if not (folder / name).is_dir() or damage(folder / name, files):
            shutil.rmtree(folder / name, ignore_errors=True)
            move_folder(temporary, folder / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return name, files


def fill_arrays(
    folder: Path, items: Iterable[Item], declared: Sequence[Field], offsets: np.ndarray, bounds: Sequence[int]
) -> None:
    """Write the arrays of each field, item by item: (residues, *shape), or (n, *shape) for a field of chains.

    Not through a map of the file: on a full disk that ends the process without a word.
    """
    stream = iter(items)
    with contextlib.ExitStack() as chains:
        rows = len(offsets) - 1
        of_chains = {own.name: begun(chains, folder, own, 0, rows) for own in declared if own.per == "chain"}
        for k, (first, stop) in enumerate(pairwise(bounds)):
            with contextlib.ExitStack() as shard:
                rows, n = int(offsets[stop] - offsets[first]), len(bounds) - 1
                residues = [own for own in declared if own.per == "residue"]
                of_residues = {own.name: begun(shard, folder, own, k, rows, n) for own in residues}
                for item in itertools.islice(stream, stop - first):
                    values = {own.name: value_of(own, item) for own in declared}
                    check_values(declared, values, item.id)
                    for name, file in (of_residues | of_chains).items():
                        file.write(values[name].tobytes())
    for own in declared:
        for name in files_of(own, len(bounds) - 1):
            sync(folder / name)


def begun(stack: contextlib.ExitStack, folder: Path, own: Field, k: int, rows: int, shards: int = 1) -> BinaryIO:
    """The file of an array with its header, to be filled.

    Args:
        stack: that closes it.
        folder: of the file.
        own: the field.
        k: number of the shard.
        rows: of the array.
        shards: how many there are.
    """
    file = stack.enter_context((folder / files_of(own, shards)[k]).open("xb"))
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(own.dtype)), "fortran_order": False}
    np.lib.format.write_array_header_1_0(file, {**header, "shape": (rows, *own.shape)})
    return file


def remove_others(folder: Path, name: str, declared: Sequence[Field]) -> None:
    """Remove the arrays of former builds, finished or not; other files stay."""
    for other in [*folder.glob("arrays-*"), *folder.glob(".arrays-*.tmp")]:
        if other.name != name and other.is_dir():
            shutil.rmtree(other, ignore_errors=True)
    for former in ["offsets", *(own.name for own in declared)]:  # stores of version 1 and 2 had them here
        (folder / f"{former}.npy").unlink(missing_ok=True)


def value_of(own: Field, item: Item) -> np.ndarray:
    """The value of a field for an item: (l, *shape), or (1, *shape) for a field of chains.

    Raises:
        DataError: if the item lacks the field, or has it in another shape.
    """
    held = item.per_residue if own.per == "residue" else item.chain
    if own.name not in held:
        raise DataError(f"{item.id}: no field {own.name}, which the store declares; give it to every item")
    part = np.asarray(held[own.name])
    shape = (len(item.atoms), *own.shape) if own.per == "residue" else own.shape
    if part.shape != shape:
        raise DataError(f"{item.id}: field {own.name} has shape {part.shape}; the store declares {shape}")
    return (part if own.per == "residue" else part[None]).astype(own.dtype)


def save(path: Path, array: np.ndarray) -> None:
    """Write one array atomically."""
    with replacing(path) as temporary, temporary.open("xb") as file:
        np.save(file, array, allow_pickle=False)


class Store:
    """A store opened for reading.

    Args:
        folder: where `write_store` left it.
        verify: whether to compare the arrays with their checksums, which reads them once.

    Attributes:
        fields: the declared fields by name.
        bounds: first item of each shard, and the number of items at the end; [0, n] where fields are of one file.

    Raises:
        DataError: if it is missing, of another version, or not what was written.
    """

    def __init__(self, folder: str | os.PathLike[str], *, verify: bool = True) -> None:
        self.folder = Path(folder)
        try:
            self.manifest = read_json(self.folder / MANIFEST, MOST_BYTES)
        except DataError as error:
            raise DataError(
                f"{self.folder}: not a complete store ({error}); make one with `protgen data build`"
            ) from error
        version = self.manifest.get("version")
        if version not in READABLE:
            raise DataError(
                f"{self.folder}: store version {version}, this code reads 1 to {READABLE[-1]}; build the store again"
            )
        check_manifest(self.manifest, version, str(self.folder))
        declared = [Field.from_json(plain, str(folder)) for plain in self.manifest.get("fields", [])] or STRUCTURE
        self.fields = {own.name: own for own in declared}
        place = self.folder / self.manifest["arrays"] if version >= 3 else self.folder
        problem = damage(place, self.manifest["files"]) if verify and version >= 3 else ""
        if problem:
            raise DataError(f"{self.folder}: {problem}; build the store again")
        self.offsets = load(place / "offsets.npy")
        check_offsets(self.offsets, len(self.manifest["kept"]), str(self.folder))
        self.bounds = checked_bounds(self.manifest, str(self.folder))
        self._arrays = {
            name: Array(own, self.offsets, self.bounds, place, str(self.folder)) for name, own in self.fields.items()
        }
        if version < 3:
            check_values(declared, {name: array.shard(0) for name, array in self._arrays.items()}, str(self.folder))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """(n,) residues of each item."""
        return np.diff(self.offsets)

    @property
    def of_parts(self) -> bool:
        """Whether items have several chains or segments: field `chain_index`."""
        parts = (OF_PARTS, VERSIONS[1])
        return CHAIN_INDEX.name in self.fields and self.manifest.get("version") in parts

    def indices(self, split: str) -> np.ndarray:
        """Indices of the items of a split."""
        return np.array([i for i, entry in enumerate(self.manifest["kept"]) if entry["split"] == split], dtype=int)

    def __getitem__(self, index: int) -> Item:
        entry = dict(self.manifest["kept"][index])
        held = {name: array[index] for name, array in self._arrays.items()}
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
