"""The structures that a set is compared with: a store, or a folder of structure files."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protgen.data.fields import CHAIN_INDEX
from protgen.data.store import Item, Store
from protgen.documents import read_table
from protgen.errors import ProtgenError, UsageError
from protgen.evaluation.collect import collect_files, skipped_files
from protgen.metrics.tm import MIN_LENGTH, ca_trace
from protgen.parallel import run
from protgen.structure.file_names import skipped_in_words
from protgen.structure.protein import Protein
from protgen.structure.read_warnings import REMARKABLE, count_codes, noticed
from protgen.structure.reader import read_structure

SEARCHED = "PROTGEN_REFERENCES"  # environment variable: a folder whose sub-folders can be named without a path
TRAIN = "train"
CROP = re.compile(r":\d+-\d+$")


@dataclass(frozen=True)
class Reference:
    """Natives, or any structures that new ones are compared with.

    Attributes:
        name: for tables.
        ids: (n,) what each is called.
        splits: (n,) "train" or another split; "train" throughout where nothing says otherwise.
        proteins: the structures.
        n_given: how many there were, with those that could not be read or are too short.
        notes: what was skipped, left out, or noticed by the reader, a line each.
        training: whether it says itself which of its chains are training data, and some are.
    """

    name: str
    ids: Sequence[str]
    splits: Sequence[str]
    proteins: Sequence[Protein]
    n_given: int
    notes: tuple[str, ...] = ()
    training: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_crops(self) -> int:
        """How many are crops of longer chains, as a store names them: `1us0_A:33-132`."""
        return sum(CROP.search(name) is not None for name in self.ids)

    def traces(self) -> list[np.ndarray]:
        """(l, 3) Å of each."""
        return [ca_trace(protein) for protein in self.proteins]


def load_reference(name: str | os.PathLike[str], *, jobs: int = 1) -> Reference:
    """Open a reference.

    Args:
        name: a store made by `protgen data build`, whose longer chains are crops; a folder of whole chains (an
            `index.csv` with the columns file and split separates training from validation), a file, or the name of a
            folder in $PROTGEN_REFERENCES.
        jobs: number of processes that read files.

    Raises:
        UsageError: if there is no such thing, or nothing in it can be read.
    """
    path = _found(name)
    title = path.name or str(path)
    if (path / "manifest.json").exists():
        return _of_store(path, title)
    files = collect_files([path])
    named = _read_splits(path)
    found: list[Protein | None] = [None] * len(files)
    for outcome in run(_read_or_none, [file for _, file in files], jobs=jobs):
        found[outcome.index] = outcome.result
    kept = [(label, protein) for (label, _), protein in zip(files, found, strict=True) if protein is not None]
    if not kept:
        raise UsageError(f"--reference {path}: none of its {len(files)} files could be read")
    labels = [label for label, _ in kept]
    return Reference(
        title,
        labels,
        [named.get(label, TRAIN) for label in labels],
        [protein for _, protein in kept],
        len(files),
        _notes(path, len(files), [protein for _, protein in kept]),
        training=TRAIN in named.values() or (bool(named) and len(named) < len(labels)),
    )


def _found(name: str | os.PathLike[str]) -> Path:
    """The path of a reference, or of its name in $PROTGEN_REFERENCES."""
    path, home = Path(name), os.environ.get(SEARCHED)
    if not path.exists() and home and (Path(home) / path).exists():
        path = Path(home) / path
    if not path.exists():
        raise UsageError(
            f"--reference {name}: no such store, folder or file (names without a path are looked up in ${SEARCHED})"
        )
    return path


def _of_store(path: Path, title: str) -> Reference:
    store = Store(path)
    items = [store[i] for i in range(len(store))]
    proteins = [_protein(item) for item in items]
    splits = [item.split for item in items]
    return Reference(title, [item.id for item in items], splits, proteins, len(items), training=TRAIN in splits)


def _protein(item: Item) -> Protein:
    """The structure of an item; its parts, if it has several, are chains."""
    own = item.residue.get(CHAIN_INDEX.name)
    chains = None if own is None else np.array([f"{k + 1}" for k in own.tolist()])
    return Protein.from_backbone(np.array(item.atoms, dtype=float), name=item.id, chain_ids=chains)


def _notes(path: Path, n_files: int, proteins: Sequence[Protein]) -> tuple[str, ...]:
    """What of a reference was skipped, could not be used, or was noticed where it may change what is compared."""
    found = count_codes(protein.warnings for protein in proteins)
    lines = [skipped_in_words(skipped_files([path]))]
    if len(proteins) < n_files:
        lines.append(f"{n_files - len(proteins)} of {n_files} files could not be read or are too short")
    lines += [noticed(code, n) for code, n in found.items() if code in REMARKABLE]
    return tuple(line for line in lines if line)


def _read_or_none(path: Path) -> Protein | None:
    try:
        protein = read_structure(path)
    except (ProtgenError, OSError):
        return None
    return protein if len(ca_trace(protein)) >= MIN_LENGTH else None


def _read_splits(folder: Path) -> dict[str, str]:
    """Split of each file that an `index.csv` names."""
    index = folder / "index.csv"
    if not index.is_file():
        return {}
    return {row["file"]: row["split"] for row in read_table(index) if row.get("file") and row.get("split")}
