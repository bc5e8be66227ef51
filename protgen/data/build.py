"""Build a store from a folder of structure files: read, filter, crop, label, split; every drop has its reason.

Filters follow the field's practice (Yim et al. 2023, FrameDiff, appendix; Huguet et al. 2024, FoldFlow-2): no chain
breaks, no loopy chains, no extended ones. Splits go by cluster, so that no relative of a validation chain is trained
on: the index's own (column cluster40), else chains of one sequence or of nearly one backbone (`data/relatives.py`).

What is read goes to the disk at once (`data/spill.py`), and from there into the store: coordinates are never in memory
together, whatever the number of files, and a build that was killed goes on where it was. Files are read in any order by
any number of processes, and taken in their own order, so that the store does not depend on it.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from protgen import __version__
from protgen.data.domains import pdb_id_of, read_domains
from protgen.data.fields import AATYPE
from protgen.data.labels import LabelColumn, check_columns, encode_labels
from protgen.data.reading import Reading, ReadingOptions, Task, read_source
from protgen.data.relatives import Chain, relatives_of
from protgen.data.sources import Source, every_model, find_sources, skipped_files
from protgen.data.spill import FOLDER, Spill
from protgen.data.splits import by_cluster
from protgen.data.store import Item, write_store
from protgen.data.windows import Filters
from protgen.errors import AllFailedError, DataError, ProtgenError
from protgen.geometry.constants import RG_EXPONENT, RG_SCALE
from protgen.parallel import run
from protgen.structure.protein import CA
from protgen.types import JSON

CODE = 1  # of what `read_source` gives: another number makes an unfinished build of former code begin anew

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class BuildOptions:
    """How a store is built, beside its filters.

    Attributes:
        reading: what of each file is read.
        domains: CATH's boundaries, for units that are domains.
        jobs: processes that read files; the store does not depend on it.
    """

    reading: ReadingOptions = field(default_factory=ReadingOptions)
    domains: Path | None = None
    jobs: int = 1


@dataclass
class Row:
    """An item to be, without its coordinates.

    Attributes:
        unit: number of its unit, among those kept.
        source, piece, window: where it lies among the readings.
        id: its name.
        facts: for the manifest.
        cluster, split: where it belongs.
    """

    unit: int
    source: int
    piece: int
    window: int
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
        topologies: CATH codes of each unit.
        dropped: an entry with `id` and `reason` for each unit that gave none.
        unreadable: number of files that could not be read.
        warnings: in how many files the reader noticed what, by code.
    """

    rows: list[Row] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    topologies: list[tuple[str, ...]] = field(default_factory=list)
    dropped: list[JSON] = field(default_factory=list)
    unreadable: int = 0
    warnings: Counter[str] = field(default_factory=Counter)

    def drop(self, name: str, reason: str) -> None:
        """Note why something is left out."""
        self.dropped.append({"id": name, "reason": reason})


def build(
    folder: Path,
    out: Path,
    filters: Filters,
    options: BuildOptions | None = None,
    *,
    columns: Sequence[LabelColumn] = (),
    progress: Progress | None = None,
) -> JSON:
    """Build a store from a folder.

    Args:
        folder: structure files, optionally with `index.csv` (file, split, cluster40, resolution, columns of labels).
        out: folder of the store.
        filters: what to keep.
        options: how to build it.
        columns: columns of the index that become fields of the store.
        progress: called with the number of files done, that of all, and a name.

    Returns:
        Counts: files read and unreadable, items kept, units dropped; files skipped, by suffix; reader warnings, by
        code; clusters that are in more than one split, as the index has it.

    Raises:
        AllFailedError: if no file could be read.
        DataError: if nothing is found or nothing is kept, or a label column is missing or holds nothing of use.
    """
    options = options or BuildOptions()
    sources = find_sources(folder)
    check_columns(columns, sources[0].columns, str(folder / "index.csv"))
    passed_over = dict(skipped_files(folder, sources))
    sources = every_model(sources) if options.reading.models else sources
    tasks = tasks_of(sources, filters, options)
    try:
        spill = Spill(out / FOLDER, request_of(tasks))
        read_all(tasks, spill, options, progress)
        counts = _assemble(folder, out, sources, spill, filters, options, columns, passed_over)
    except ProtgenError:
        shutil.rmtree(out / FOLDER, ignore_errors=True)  # no second try can use it
        raise
    except OSError as error:
        raise DataError(f"{out}: cannot build the store ({error.strerror or error}); run it again to go on") from error
    spill.remove()
    return counts


def tasks_of(sources: Sequence[Source], filters: Filters, options: BuildOptions) -> list[Task]:
    """What there is to read.

    Raises:
        DataError: if the file of domains cannot be read, or a file has no PDB ID to look its domains up by.
    """
    if options.domains is None:
        if options.reading.units == "domain":
            raise DataError("--units domain: no boundaries; give CATH's file by --domains FILE")
        return [Task(source, filters, options.reading) for source in sources]
    domains = read_domains(options.domains)
    tasks = []
    for source in sources:
        pdb = (source.facts.get("pdb") or pdb_id_of(source.id)).lower()
        if not pdb:
            raise DataError(f"{source.path}: no PDB ID for its domains; begin its name with one, or give a column pdb")
        tasks.append(Task(source, filters, options.reading, pdb, tuple(domains.get(pdb, ()))))
    return tasks


def request_of(tasks: Sequence[Task]) -> JSON:
    """What decides the readings: an unfinished build goes on only if this is the same."""
    digest = hashlib.sha256()
    for task in tasks:
        try:
            state = task.source.path.stat()
            file = [state.st_size, state.st_mtime_ns]
        except (OSError, ValueError):
            file = []
        entry = [str(task.source.path), task.source.id, task.source.model, task.source.facts.get("resolution"), file]
        digest.update(repr([*entry, task.pdb, task.domains]).encode())
    asked = {"filters": asdict(tasks[0].filters), "options": asdict(tasks[0].options)}
    return {"protgen": __version__, "code": CODE, "n": len(tasks), "sources": digest.hexdigest(), **asked}


def read_all(tasks: Sequence[Task], spill: Spill, options: BuildOptions, progress: Progress | None) -> None:
    """Read what has not been read yet."""
    waiting = [k for k in range(len(tasks)) if k not in spill]
    done = len(tasks) - len(waiting)
    try:
        for outcome in run(read_source, [tasks[k] for k in waiting], jobs=options.jobs):
            index = waiting[outcome.index]
            spill.add(index, outcome.result or _killed(tasks[index].source))
            done += 1
            if progress is not None:
                progress(done, len(tasks), tasks[index].source.id)
    finally:
        spill.flush()


def _killed(source: Source) -> Reading:
    reason = "unreadable: the process that read it was killed; is it too large for the memory?"
    return Reading((), ({"id": source.id, "reason": reason},), unreadable=True)


def _assemble(
    folder: Path,
    out: Path,
    sources: Sequence[Source],
    spill: Spill,
    filters: Filters,
    options: BuildOptions,
    columns: Sequence[LabelColumn],
    passed_over: JSON,
) -> JSON:
    """Make the store of what was read."""
    gathered = gather(spill, len(sources))
    require_items(gathered, folder, len(sources))
    facts = [sources[k].facts for k in gathered.sources]
    settle(gathered, facts, filters)
    drop_extended(gathered, filters.rg_percentile)
    rows = gathered.rows
    fields, values = encode_labels(
        columns, [facts[row.unit] for row in rows], [row.id for row in rows], [row.split for row in rows]
    )
    noticed = {"skipped": passed_over, "warnings": dict(gathered.warnings.most_common())}
    settings = {"filters": asdict(filters), "n_sources": len(sources), **asdict(options.reading), **noticed}
    settings["domains"] = options.domains.name if options.domains else None
    write_store(out, Items(spill, rows, values, len(sources)), gathered.dropped, settings, [AATYPE, *fields])
    counts = {"read": len(sources), "kept": len(rows), "dropped": len(gathered.dropped)}
    counts |= {"unreadable": gathered.unreadable, **noticed}
    return {**counts, "clusters_on_both_sides": clusters_on_both_sides(rows)}


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
                    found.rows.append(Row(len(lengths), source, k, w, own, window.facts))
                found.sources.append(source)
                found.topologies.append(piece.topologies)
                lengths.append(len(piece.atoms))
                sequences.append((name, piece.aatype.tobytes()))
                file.write(piece.atoms[:, CA].tobytes())
    if lengths:
        ca = np.asarray(np.memmap(path, np.float32, "r")).reshape(-1, 3)
        ends = np.cumsum([0, *lengths]).tolist()
        found.chains = [Chain(name, ca[ends[k] : ends[k + 1]], text) for k, (name, text) in enumerate(sequences)]
    return found


def require_items(gathered: Gathered, folder: Path, n_sources: int) -> None:
    """Check that something was kept.

    Raises:
        AllFailedError: if no file could be read.
        DataError: if nothing passed the filters.
    """
    if gathered.unreadable == n_sources:
        raise AllFailedError(f"{folder}: none of {n_sources} files could be read; {gathered.dropped[0]['reason']}")
    if not gathered.rows:
        starts = Counter(str(entry["reason"]).partition(":")[0] for entry in gathered.dropped)
        reason, count = starts.most_common(1)[0]
        raise DataError(
            f"{folder}: no structure passed the filters; {count} of {len(gathered.dropped)}: {reason}; "
            "loosen the filters"
        )


def settle(gathered: Gathered, facts: Sequence[dict[str, str]], filters: Filters) -> None:
    """Drop copies, and give each item its cluster and its split.

    A chain that the index gives a cluster keeps it. The others take that of their relatives: the index's, if one of
    these has one, else the name of the first of them.

    Args:
        gathered: changed in place.
        facts: row of the index of each unit.
        filters: for the fraction that is held out.
    """
    related = relatives_of(gathered.chains)
    labels = related.groups.labels().tolist()
    known: dict[int, int] = {}  # the first of each group that has a cluster of the index
    for k, label in enumerate(labels):
        if facts[k].get("cluster40"):
            known.setdefault(label, k)
    of_index = [facts[k] if facts[k].get("cluster40") else facts[known.get(labels[k], k)] for k in range(len(labels))]
    clusters = [row.get("cluster40") or gathered.chains[labels[k]].id for k, row in enumerate(of_index)]
    splits = by_cluster(clusters, of_index, filters.validation_fraction)
    kept = []
    for row in gathered.rows:
        name = gathered.chains[row.unit].id
        if name not in related.copy_of:
            row.cluster, row.split = clusters[row.unit], splits[row.unit]
            kept.append(row)
    for name, original in related.copy_of.items():
        gathered.drop(name, f"same backbone as {original}, moved")
    gathered.rows = kept


def drop_extended(gathered: Gathered, percentile: float) -> None:
    """Drop the items whose Rg is high for their length."""
    if not gathered.rows:
        return
    ratio = np.array([row.facts["rg"] / (RG_SCALE * row.facts["length"] ** RG_EXPONENT) for row in gathered.rows])
    limit = float(np.percentile(ratio, percentile))
    for row, r in zip(gathered.rows, ratio, strict=True):
        if r > limit:
            gathered.drop(row.id, f"extended: Rg {r:.2f} times the typical, > {limit:.2f}")
    gathered.rows = [row for row, r in zip(gathered.rows, ratio, strict=True) if r <= limit]


def clusters_on_both_sides(rows: Sequence[Row]) -> int:
    """How many clusters have items in more than one split: relatives of held-out chains are trained on."""
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row.cluster, set()).add(row.split)
    return sum(len(found) > 1 for found in splits.values())


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
        for source, reading in enumerate(self._spill.readings(self._n)):
            for k in of_source.get(source, []):
                chain = {name: values[k] for name, values in self._values.items()}
                yield replace(item_of(reading, self._rows[k]), chain=chain)


def item_of(reading: Reading, row: Row) -> Item:
    """The item of a row."""
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
        residue={AATYPE.name: piece.aatype[span]},
    )
