"""What was read, without its coordinates: the rows of a store to be, and the items of these rows.

The rows are held in memory, a few hundred bytes each; coordinates stay on the disk, and are read once more, in order,
when the store is written.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from protgen.data.fields import AATYPE, CHAIN_INDEX
from protgen.data.reading import Reading
from protgen.data.relatives import Chain
from protgen.data.spill import Spill
from protgen.data.store import Item
from protgen.structure.protein import CA
from protgen.types import JSON


@dataclass
class Row:
    """An item to be, without its coordinates.

    Attributes:
        unit: number of its unit, among those kept.
        source, piece, window: where it lies among the readings.
        start, stop: among the complete residues of the unit.
        id: its name.
        facts: for the manifest.
        cluster, split: where it belongs.
    """

    unit: int
    source: int
    piece: int
    window: int
    start: int
    stop: int
    id: str
    facts: JSON
    cluster: str = ""
    split: str = ""


@dataclass
class Gathered:
    """What the readings hold, without coordinates.

    Attributes:
        rows: the items.
        chains: the units they are of, whole; their CA atoms lie in a file.
        sources: number of the source of each unit.
        names: of the chain of each unit in its file.
        topologies: CATH codes C.A.T of each unit, as its boundaries say.
        dropped: an entry with `id` and `reason` for each unit that gave none.
        unreadable: number of files that could not be read.
        warnings: in how many files the reader noticed what, by code.
        conformer_of: id of the first unit that a unit is a conformer of, and the RMSD of CA atoms in Å, by id.
    """

    rows: list[Row] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    topologies: list[tuple[str, ...]] = field(default_factory=list)
    dropped: list[JSON] = field(default_factory=list)
    unreadable: int = 0
    warnings: Counter[str] = field(default_factory=Counter)
    conformer_of: dict[str, tuple[str, float]] = field(default_factory=dict)

    def drop(self, name: str, reason: str) -> None:
        """Note why something is left out."""
        self.dropped.append({"id": name, "reason": reason})


def gather(spill: Spill, n: int) -> Gathered:
    """What the readings of n sources hold; the CA atoms of units go into one file, of which the chains are views."""
    found, ids, seen, lengths = Gathered(), Counter(), {}, []
    path = spill.folder / "ca.f4"
    sequences = []
    with path.open("wb") as file:
        for source, reading in enumerate(spill.readings(n)):
            found.dropped += reading.dropped
            found.unreadable += reading.unreadable
            found.warnings.update(reading.warnings)
            for k, piece in enumerate(reading.pieces):
                ids[piece.id] += 1
                name = piece.id if ids[piece.id] == 1 else f"{piece.id}~{ids[piece.id]}"
                if piece.digest in seen:
                    found.drop(name, f"same coordinates as {seen[piece.digest]}")
                    continue
                seen[piece.digest] = name
                for w, window in enumerate(piece.windows):
                    whole = window.stop - window.start == len(piece.atoms)
                    own = name if whole else f"{name}:{window.start + 1}-{window.stop}"
                    found.rows.append(Row(len(lengths), source, k, w, window.start, window.stop, own, window.facts))
                found.sources.append(source)
                found.names.append(piece.chain)
                found.topologies.append(piece.topologies)
                lengths.append(len(piece.atoms))
                ends = np.flatnonzero(np.diff(piece.parts)) + 1 if "chains" in piece.windows[0].facts else ()
                sequences.append((name, piece.aatype.tobytes(), tuple(int(end) for end in ends)))
                file.write(piece.atoms[:, CA].tobytes())
    if lengths:
        ca = np.asarray(np.memmap(path, np.float32, "r")).reshape(-1, 3)
        ends = np.cumsum([0, *lengths]).tolist()
        found.chains = [
            Chain(name, ca[ends[k] : ends[k + 1]], text, inner) for k, (name, text, inner) in enumerate(sequences)
        ]
    return found


def clusters_on_both_sides(rows: Sequence[Row]) -> int:
    """How many clusters have items in more than one split: relatives of held-out chains are trained on."""
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row.cluster, set()).add(row.split)
    return sum(len(found) > 1 for found in splits.values())


def conformers(gathered: Gathered) -> list[JSON]:
    """An entry with `id`, `of` and `rmsd` (Å) for each unit that is a conformer of another, both with items."""
    held = {gathered.chains[row.unit].id for row in gathered.rows}
    return [
        {"id": name, "of": first, "rmsd": round(off, 3)}
        for name, (first, off) in gathered.conformer_of.items()
        if name in held and first in held
    ]


class Items:
    """The items of a store, read from the spill one after another, each time they are gone through.

    Args:
        spill: the readings.
        rows: what is kept, in order of their sources.
        values: fields of chains, a value for each row.
        n: number of sources.
    """

    def __init__(self, spill: Spill, rows: Sequence[Row], values: dict[str, list[np.ndarray]], n: int) -> None:
        self._spill, self._rows, self._values, self._n = spill, rows, values, n

    def __iter__(self) -> Iterator[Item]:
        of_source: dict[int, list[int]] = {}
        for k, row in enumerate(self._rows):
            of_source.setdefault(row.source, []).append(k)
        several = several_parts(self._rows)
        for source, reading in enumerate(self._spill.readings(self._n)):
            for k in of_source.get(source, []):
                chain = {name: values[k] for name, values in self._values.items()}
                yield replace(item_of(reading, self._rows[k], several), chain=chain)


def several_parts(rows: Sequence[Row]) -> bool:
    """Whether an item has several chains or segments."""
    return any("parts" in row.facts for row in rows)


def item_of(reading: Reading, row: Row, several: bool = False) -> Item:
    """The item of a row.

    Args:
        reading: of its source.
        row: where it lies there.
        several: whether the store says which part each residue is of.
    """
    piece = reading.pieces[row.piece]
    window = piece.windows[row.window]
    span = slice(window.start, window.stop)
    return Item(
        id=row.id,
        atoms=piece.atoms[span],
        labels=window.labels,
        numbers=piece.numbers[span],
        split=row.split,
        cluster=row.cluster,
        facts=row.facts,
        residue={AATYPE.name: piece.aatype[span]} | ({CHAIN_INDEX.name: piece.parts[span]} if several else {}),
    )
