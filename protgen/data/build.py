"""Build a store from a folder of structure files: read, filter, crop, label, split; every drop has its reason.

Filters follow the field's practice (Yim et al. 2023, FrameDiff, appendix; Huguet et al. 2024, FoldFlow-2): no chain
breaks, no loopy chains, no extended ones. Splits go by sequence cluster, so that no relative of a validation chain is
trained on.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from protgen.data.crops import compact_crops
from protgen.data.fields import AATYPE
from protgen.data.labels import LabelColumn, check_columns, encode_labels
from protgen.data.store import Item, write_store
from protgen.errors import AllFailedError, DataError, StructureError
from protgen.geometry.constants import RG_EXPONENT, RG_SCALE
from protgen.structure.dssp import dssp, to_labels
from protgen.structure.links import links
from protgen.structure.protein import CA, Protein
from protgen.structure.reader import SUFFIXES, read_structure, stem
from protgen.structure.residue_names import STANDARD
from protgen.structure.trace import radius_of_gyration
from protgen.types import JSON


@dataclass(frozen=True)
class Filters:
    """What a structure must be to be kept.

    Attributes:
        min_length, max_length: residues; longer chains are cropped.
        max_coil: largest fraction of residues that are neither helix nor strand.
        rg_percentile: chains above this percentile of Rg / l^0.38 are extended, and dropped.
        max_resolution: Å; chains of unknown resolution are kept.
        crops: compact crops taken from each longer chain at the most, 0 for none.
        validation_fraction: fraction of clusters held out where the input names no split.
    """

    min_length: int = 40
    max_length: int = 128
    max_coil: float = 0.5
    rg_percentile: float = 96.0
    max_resolution: float = 4.0
    crops: int = 3
    validation_fraction: float = 0.04


@dataclass(frozen=True)
class Source:
    """A file to read, and what an index beside it says."""

    path: Path
    id: str
    facts: dict[str, str]

    @property
    def columns(self) -> list[str]:
        """Columns of the index."""
        return [name for name in self.facts if name]


def find_sources(folder: Path) -> list[Source]:
    """Structure files of a folder: those its `index.csv` lists (column `file`), or all below it.

    Raises:
        DataError: if the folder does not exist or holds no structure.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give one with structure files")
    index = folder / "index.csv"
    if index.is_file():
        with index.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        if rows and "file" not in rows[0]:
            raise DataError(f"{index}: no column `file`; name the structure files in one")
        sources = [Source(folder / row["file"], stem(Path(row["file"])), row) for row in rows]
    else:
        found = sorted(p for p in folder.rglob("*") if p.name.lower().removesuffix(".gz").endswith(SUFFIXES))
        sources = [Source(path, stem(path), {}) for path in found]
    if not sources:
        raise DataError(f"{folder}: no structure files ({', '.join(SUFFIXES)}, also .gz)")
    return sources


def split_of(source: Source, cluster: str, fraction: float) -> str:
    """The split the index names, or one drawn by a hash of the cluster.

    Args:
        source: of the chain.
        cluster: of its sequence.
        fraction: of clusters that are for validation.
    """
    if source.facts.get("split"):
        return source.facts["split"]
    draw = int(hashlib.sha256(cluster.encode()).hexdigest()[:8], 16) / 2**32
    return "validation" if draw < fraction else "train"


def crop_lengths(name: str, filters: Filters) -> tuple[int, ...]:
    """Window lengths of a chain's crops, in an order drawn by its name so that all lengths are seen alike."""
    lengths = [n for n in range(56, filters.max_length + 1, 8) if n >= filters.min_length] or [filters.max_length]
    return tuple(sorted(lengths, key=lambda n: hashlib.sha256(f"{name} {n}".encode()).digest()))


def residue_types(names: np.ndarray) -> np.ndarray:
    """(l,) uint8 places of three-letter names in ARNDCQEGHILKMFPSTWYV; 20 for a name that is not among the standard."""
    places = {name: place for place, name in enumerate(STANDARD)}
    return np.array([places.get(str(name), len(STANDARD)) for name in names], dtype=np.uint8)


def items_of(source: Source, protein: Protein, filters: Filters) -> tuple[list[Item], str]:
    """Items one chain gives, and the reason where it gives none.

    Args:
        source: of the chain.
        protein: the chain as it was read.
        filters: what to keep.
    """
    windows, reason = windows_of(source, protein, filters)
    protein = complete_residues(protein)
    items = []
    for start, stop in windows:
        item = item_of(source, protein, start, stop, filters)
        coil = float((item.labels == 0).mean())
        if coil > filters.max_coil:
            reason = f"coil {coil:.2f} > {filters.max_coil}"
            continue
        items.append(item)
    return items, reason


def complete_residues(protein: Protein) -> Protein:
    """The residues that have all of N, CA, C and O."""
    complete = np.asarray(protein.mask[:, :4].all(axis=1))
    return protein if complete.all() else protein.select(complete)


def windows_of(source: Source, protein: Protein, filters: Filters) -> tuple[list[tuple[int, int]], str]:
    """The stretches (start, stop) of a chain's complete residues to keep, or none and the reason.

    A chain that is short enough is kept whole; a longer one gives compact crops.

    Args:
        source: of the chain.
        protein: the chain as it was read.
        filters: what to keep.
    """
    if protein.length < filters.min_length:
        return [], f"length {protein.length} < {filters.min_length}"
    protein = complete_residues(protein)
    backbone = protein.backbone.astype(np.float32)
    if len(backbone) < filters.min_length:
        return [], f"length {len(backbone)} < {filters.min_length} without incomplete residues"
    if len(protein.chains) > 1:
        return [], f"{len(protein.chains)} chains; give one chain a file"
    breaks = links(protein).broken
    if len(backbone) <= filters.max_length:
        return ([], f"{int(breaks.sum())} chain breaks") if breaks.any() else ([(0, len(backbone))], "")
    lengths = crop_lengths(source.id, filters)
    windows = compact_crops(backbone[:, CA], breaks, lengths, filters.crops) if filters.crops else []
    if windows:
        return windows, ""
    return [], f"length {len(backbone)} > {filters.max_length}" + (", no compact crop" if filters.crops else "")


def item_of(source: Source, protein: Protein, start: int, stop: int, filters: Filters) -> Item:
    """The item of a stretch of a chain.

    Args:
        source: of the chain.
        protein: the chain; all its residues are complete.
        start, stop: of the stretch.
        filters: for the split.
    """
    atoms = protein.backbone.astype(np.float32)[start:stop]
    labels = to_labels(np.array(list(dssp(protein.select(np.arange(start, stop))))))
    cluster = source.facts.get("cluster40") or source.id
    facts = {
        "length": int(stop - start),
        "rg": round(radius_of_gyration(atoms[:, CA]), 3),
        "helix": round(float((labels == 1).mean()), 3),
        "strand": round(float((labels == 2).mean()), 3),
        "resolution": protein.resolution,
    }
    return Item(
        id=source.id if stop - start == protein.length else f"{source.id}:{start + 1}-{stop}",
        atoms=atoms,
        labels=labels,
        numbers=protein.residue_numbers[start:stop].astype(np.int32),
        split=split_of(source, cluster, filters.validation_fraction),
        cluster=cluster,
        facts=facts,
        residue={AATYPE.name: residue_types(protein.residue_names[start:stop])},
    )


@dataclass
class Reading:
    """What came of the sources read so far.

    Attributes:
        items: kept.
        dropped: an entry with `id` and `reason` for each source that gave none.
        unreadable: number of files that could not be read.
        seen: source of each set of coordinates, by hash.
    """

    items: list[Item] = field(default_factory=list)
    dropped: list[JSON] = field(default_factory=list)
    unreadable: int = 0
    seen: dict[bytes, str] = field(default_factory=dict)

    def drop(self, source: Source, reason: str) -> None:
        """Note why a source gives nothing."""
        self.dropped.append({"id": source.id, "reason": reason})

    def read(self, source: Source, filters: Filters, columns: Sequence[LabelColumn]) -> None:
        """Read a source and keep what passes the filters.

        Args:
            source: to read.
            filters: what to keep.
            columns: labels whose texts the items get.
        """
        try:
            protein = read_structure(source.path)
        except StructureError as error:
            self.unreadable += 1
            return self.drop(source, f"unreadable: {error}")
        resolution = source.facts.get("resolution") or protein.resolution
        if resolution and float(resolution) > filters.max_resolution:
            return self.drop(source, f"resolution {resolution} > {filters.max_resolution} Å")
        digest = hashlib.sha256(np.round(protein.backbone, 2).tobytes()).digest()
        if digest in self.seen:
            return self.drop(source, f"same coordinates as {self.seen[digest]}")
        self.seen[digest] = source.id
        found, reason = items_of(source, protein, filters)
        texts = {column.name: np.array(source.facts.get(column.column) or "") for column in columns}
        self.items += [replace(item, chain=texts) for item in found]
        return None if found else self.drop(source, reason)

    def require_items(self, folder: Path, n_sources: int) -> None:
        """Check that something was kept.

        Raises:
            AllFailedError: if no file could be read.
            DataError: if nothing passed the filters.
        """
        if self.unreadable == n_sources:
            raise AllFailedError(f"{folder}: none of {n_sources} files could be read; {self.dropped[0]['reason']}")
        if not self.items:
            starts = Counter(str(entry["reason"]).partition(":")[0] for entry in self.dropped)
            reason, count = starts.most_common(1)[0]
            raise DataError(
                f"{folder}: no structure passed the filters; {count} of {n_sources}: {reason}; loosen the filters"
            )


def build(
    folder: Path,
    out: Path,
    filters: Filters,
    progress: Callable[[Iterable[Source]], Iterable[Source]] = iter,
    columns: Sequence[LabelColumn] = (),
) -> JSON:
    """Build a store from a folder.

    Args:
        folder: structure files, one chain a file, optionally with `index.csv` (file, split, cluster40, resolution, and
            columns of labels).
        out: folder of the store.
        filters: what to keep.
        progress: wraps the iteration, for a progress bar.
        columns: columns of the index that become fields of the store.

    Returns:
        Counts: read, kept, dropped and unreadable.

    Raises:
        AllFailedError: if no file could be read.
        DataError: if nothing is found or nothing is kept, or a label column is missing or holds nothing of use.
    """
    sources = find_sources(folder)
    check_columns(columns, sources[0].columns, str(folder / "index.csv"))
    reading = Reading()
    for source in progress(sources):
        reading.read(source, filters, columns)
    reading.require_items(folder, len(sources))
    items, extended = drop_extended(reading.items, filters.rg_percentile)
    items, labels = encode_labels(items, columns)
    dropped = reading.dropped + extended
    settings = {"filters": asdict(filters), "n_sources": len(sources)}
    write_store(out, items, dropped, settings, [AATYPE, *labels])
    return {"read": len(sources), "kept": len(items), "dropped": len(dropped), "unreadable": reading.unreadable}


def drop_extended(items: list[Item], percentile: float) -> tuple[list[Item], list[JSON]]:
    """Drop the items whose Rg is high for their length."""
    if not items:
        return items, []
    ratio = np.array([item.facts["rg"] / (RG_SCALE * item.facts["length"] ** RG_EXPONENT) for item in items])
    limit = float(np.percentile(ratio, percentile))
    dropped = [
        {"id": item.id, "reason": f"extended: Rg {r:.2f} times the typical, > {limit:.2f}"}
        for item, r in zip(items, ratio, strict=True)
        if r > limit
    ]
    return [item for item, r in zip(items, ratio, strict=True) if r <= limit], dropped
