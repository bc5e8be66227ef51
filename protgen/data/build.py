"""Build a store from a folder of structure files: read, filter, crop, label, split; every drop has its reason.

Filters follow the field's practice (Yim et al. 2023, FrameDiff, appendix; Huguet et al. 2024, FoldFlow-2): no chain
breaks, no loopy chains, no extended ones. Splits go by cluster, so that no relative of a validation chain is trained
on: the index's own (column cluster40), else chains of one sequence or of nearly one backbone (`data/relatives.py`).
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from protgen.data.crops import compact_crops
from protgen.data.fields import AATYPE
from protgen.data.labels import LabelColumn, check_columns, encode_labels
from protgen.data.relatives import Chain, Relatives, relatives_of
from protgen.data.store import Item, write_store
from protgen.documents import number_in, read_table
from protgen.errors import AllFailedError, DataError, StructureError
from protgen.geometry.constants import RG_EXPONENT, RG_SCALE
from protgen.structure.dssp import dssp, to_labels
from protgen.structure.file_names import SUFFIXES, is_structure_name, skipped, skipped_in_words, stem
from protgen.structure.links import links
from protgen.structure.parts import models_of, read_part
from protgen.structure.protein import CA, Protein
from protgen.structure.residue_names import STANDARD
from protgen.structure.trace import radius_of_gyration
from protgen.types import JSON

UNKNOWN_RESOLUTIONS = (
    "", ".", "?", "-", "na", "n/a", "nan", "none", "null", "unknown", "not available", "not applicable",
    "nmr", "solution nmr", "solid-state nmr", "model", "predicted", "afdb", "alphafold",
)  # fmt: skip


SPLITS = ("train", "validation", "test")


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
    """A file to read, its row of the index in the same folder, and which of its models."""

    path: Path
    id: str
    facts: dict[str, str]
    model: int = 0

    @property
    def columns(self) -> list[str]:
        """Columns of the index."""
        return [name for name in self.facts if name]


def find_sources(folder: Path) -> list[Source]:
    """Structure files of a folder: those its `index.csv` lists (column `file`), or all below it.

    Raises:
        DataError: if the folder does not exist or holds no structure, or a resolution of the index cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give one with structure files")
    index = folder / "index.csv"
    if index.is_file():
        rows = read_table(index)
        if rows and "file" not in rows[0]:
            raise DataError(f"{index}: no column `file`; name the structure files in one")
        check_names(rows, index)
        for number, row in enumerate(rows, start=1):
            resolution_of(row.get("resolution"), f"{index}: row {number}, column resolution")
        sources = [Source(folder / row["file"], stem(Path(row["file"])), row) for row in rows]
    else:
        sources = [Source(path, stem(path), {}) for path in sorted(folder.rglob("*")) if is_structure_name(path)]
    if not sources:
        others = skipped_in_words(skipped_files(folder, []))
        raise DataError(
            f"{folder}: no structure files ({', '.join(SUFFIXES)}, also .gz){'; ' if others else ''}{others}"
        )
    return sources


def check_names(rows: Sequence[Mapping[str, str]], index: Path) -> None:
    """Check the files and splits that an index names.

    Raises:
        DataError: if a row names no file, or a split that is none of ours.
    """
    for number, row in enumerate(rows, start=1):
        if not row["file"].strip() or "\0" in row["file"]:
            raise DataError(f"{index}: row {number}: names no file; give one, or leave the row out")
        if row.get("split") and row["split"] not in SPLITS:
            raise DataError(f"{index}: row {number}: split {row['split']!r}; give {', '.join(SPLITS)}, or nothing")


def every_model(sources: Sequence[Source]) -> list[Source]:
    """A source for each model of each file; files that cannot be read stay as they are."""
    found = []
    for source in sources:
        n = models_of(source.path)
        found += [source] if n == 1 else [replace(source, id=f"{source.id}_model{k + 1}", model=k) for k in range(n)]
    return found


def skipped_files(folder: Path, sources: Sequence[Source]) -> Counter[str]:
    """How many files of a folder are not read, by suffix: no structures by their names, or not in its index."""
    files = [path for path in folder.rglob("*") if path.is_file() and path != folder / "index.csv"]
    found = skipped(files)
    if (folder / "index.csv").is_file():
        listed = {source.path.resolve() for source in sources}
        unlisted = sum(is_structure_name(path) and path.resolve() not in listed for path in files)
        found += Counter({"not in index.csv": unlisted})
    return found


def resolution_of(text: str | None, where: str) -> float | None:
    """A resolution of an index, Å; None for an empty field and for what stands for an unknown one, such as NMR.

    Args:
        text: of the field.
        where: file, row and column, for the message.

    Raises:
        DataError: for any other text.
    """
    bare = (text or "").strip()
    if bare.lower() in UNKNOWN_RESOLUTIONS:
        return None
    try:
        value = number_in(bare)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise DataError(f"{where}: {bare!r} is no resolution; give Å, or NMR, NA or nothing where there is none")
    return value


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
        return [], f"{len(protein.chains)} chains; give one chain a file, or name it (--chain)"
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


def placed(item: Item, source: Source, related: Relatives, filters: Filters) -> Item:
    """An item in the cluster of its relatives, and in that cluster's split."""
    cluster = related.cluster[source.id]
    return replace(item, cluster=cluster, split=split_of(source, cluster, filters.validation_fraction))


@dataclass
class Reading:
    """What came of the sources read so far.

    Attributes:
        items: kept.
        dropped: an entry with `id` and `reason` for each source that gave none.
        unreadable: number of files that could not be read.
        seen: source of each set of coordinates, by hash.
        sources: of each item.
        chains: of which items are, whole.
        warnings: in how many files the reader noticed what, by code.
        chain: name of the chain to take; "" for the only one.
        models: whether every model of a file is a source of its own.
    """

    chain: str = ""
    models: bool = False
    items: list[Item] = field(default_factory=list)
    dropped: list[JSON] = field(default_factory=list)
    unreadable: int = 0
    seen: dict[bytes, str] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)

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
            protein = read_part(source.path, model=source.model if self.models else None)
        except StructureError as error:
            self.unreadable += 1
            return self.drop(source, f"unreadable: {error}")
        self.warnings.update(warning.code for warning in protein.warnings)
        if self.chain:
            if self.chain not in protein.chains:
                return self.drop(source, f"no chain {self.chain}: it has {', '.join(protein.chains)}")
            protein = protein.select(protein.chain_ids == self.chain)
        resolution = resolution_of(source.facts.get("resolution"), source.id) or protein.resolution
        if resolution and resolution > filters.max_resolution:
            return self.drop(source, f"resolution {resolution} > {filters.max_resolution} Å")
        digest = hashlib.sha256(np.round(protein.backbone, 2).tobytes()).digest()
        if digest in self.seen:
            return self.drop(source, f"same coordinates as {self.seen[digest]}")
        self.seen[digest] = source.id
        found, reason = items_of(source, protein, filters)
        texts = {column.name: np.array(source.facts.get(column.column) or "") for column in columns}
        self.items += [replace(item, chain=texts) for item in found]
        self.sources += [source] * len(found)
        if found:
            whole = complete_residues(protein)
            ca = whole.backbone[:, CA].astype(np.float32)
            self.chains.append(Chain(source.id, ca, residue_types(whole.residue_names).tobytes()))
        return None if found else self.drop(source, reason)

    def settle(self, filters: Filters) -> None:
        """Drop copies, and give items without a cluster of the index the cluster and the split of their relatives."""
        related = relatives_of(self.chains)
        kept = []
        for item, source in zip(self.items, self.sources, strict=True):
            if source.id in related.copy_of:
                if not any(entry["id"] == source.id for entry in self.dropped):
                    self.drop(source, f"same backbone as {related.copy_of[source.id]}, moved")
                continue
            kept.append(item if source.facts.get("cluster40") else placed(item, source, related, filters))
        self.items = kept

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
    *,
    chain: str = "",
    models: bool = False,
) -> JSON:
    """Build a store from a folder.

    Args:
        folder: structure files, one chain a file, optionally with `index.csv` (file, split, cluster40, resolution, and
            columns of labels).
        out: folder of the store.
        filters: what to keep.
        progress: wraps the iteration, for a progress bar.
        columns: columns of the index that become fields of the store.
        chain: the chain to take of each file; "" for files of one chain.
        models: take every model of a file, not the first alone.

    Returns:
        Counts: read, kept, dropped and unreadable; files skipped, by suffix; reader warnings, by code; clusters that
        are in more than one split, as the index has it.

    Raises:
        AllFailedError: if no file could be read.
        DataError: if nothing is found or nothing is kept, or a label column is missing or holds nothing of use.
    """
    sources = find_sources(folder)
    check_columns(columns, sources[0].columns, str(folder / "index.csv"))
    passed_over = dict(skipped_files(folder, sources))
    sources = every_model(sources) if models else sources
    reading = Reading(chain, models)
    for source in progress(sources):
        reading.read(source, filters, columns)
    reading.require_items(folder, len(sources))
    reading.settle(filters)
    items, extended = drop_extended(reading.items, filters.rg_percentile)
    items, labels = encode_labels(items, columns)
    dropped = reading.dropped + extended
    noticed = {"skipped": passed_over, "warnings": dict(reading.warnings.most_common())}
    settings = {"filters": asdict(filters), "n_sources": len(sources), "chain": chain, "all_models": models, **noticed}
    write_store(out, items, dropped, settings, [AATYPE, *labels])
    counts = {"read": len(sources), "kept": len(items), "dropped": len(dropped), "unreadable": reading.unreadable}
    return {**counts, **noticed, "clusters_on_both_sides": clusters_on_both_sides(items)}


def clusters_on_both_sides(items: Sequence[Item]) -> int:
    """How many clusters have items in more than one split: relatives of held-out chains are trained on."""
    splits: dict[str, set[str]] = {}
    for item in items:
        splits.setdefault(item.cluster, set()).add(item.split)
    return sum(len(found) > 1 for found in splits.values())


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
