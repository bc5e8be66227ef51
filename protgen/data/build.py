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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from protgen import __version__
from protgen.dask_cluster import require_workers
from protgen.data.clusters import Clustering, program_of
from protgen.data.domains import Domain, pdb_id_of, read_domains, read_topologies
from protgen.data.fields import AATYPE, CATH, CHAIN_INDEX
from protgen.data.folds import encode_folds, name_folds
from protgen.data.gathering import Gathered, Items, clusters_on_both_sides, conformers, gather, several_parts
from protgen.data.labels import LabelColumn, check_columns, encode_labels
from protgen.data.leakage import SEARCHED, FoldSearch, LeakageOptions, leakage
from protgen.data.manifest import Entry, differences, domains_of, entry_of, read_manifest
from protgen.data.reading import Reading, ReadingOptions, Task, read_source
from protgen.data.settling import drop_extended, settle, split_items
from protgen.data.shards import LARGEST
from protgen.data.sources import Source, every_model, find_sources, skipped_files
from protgen.data.spill import FOLDER, Spill
from protgen.data.splits import SplitRule, by_date, topologies_in
from protgen.data.store import write_store
from protgen.data.windows import Filters
from protgen.errors import AllFailedError, DataError, ProtgenError, ToolError
from protgen.parallel import run
from protgen.types import JSON

ANY_LENGTH, ANY_RESOLUTION = 1_000_000, 1e6  # residues, Å
CODE = 2  # of what `read_source` gives: another number makes an unfinished build of former code begin anew

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class BuildOptions:
    """How a store is built, beside its filters.

    Attributes:
        reading: what of each file is read.
        domains: CATH's boundaries, for units that are domains.
        manifest: of public IDs, whose items alone are built, without filters; in place of `domains`.
        clustering: when two sequences are of one cluster.
        split: how the split is made.
        topologies: CATH's list of domains, for a split by topology, or to keep them.
        folds: the search for the nearest fold across the split (`protgen.metrics.novelty`); None to leave it out.
        searched: held-out items whose folds are searched at the most.
        jobs: processes that read files and compare sequences; the store does not depend on it.
        cluster: address of a Dask scheduler whose workers read the files; "" for processes here.
        keep_topologies: whether CATH codes become the field `cath`.
        most_bytes: of a file of arrays; a larger field is divided among several, with the same items.
    """

    reading: ReadingOptions = field(default_factory=ReadingOptions)
    domains: Path | None = None
    clustering: Clustering = field(default_factory=Clustering)
    split: SplitRule = field(default_factory=SplitRule)
    topologies: Path | None = None
    folds: FoldSearch | None = None
    searched: int = SEARCHED
    jobs: int = 1
    cluster: str = ""
    manifest: Path | None = None
    keep_topologies: bool = False
    most_bytes: int = LARGEST


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
    entries = {} if options.manifest is None else read_manifest(options.manifest)
    if entries:
        filters, options = as_listed(filters, options)
    sources = find_sources(folder)
    check_columns(columns, sources[0].columns, str(folder / "index.csv"), [CATH] if options.keep_topologies else [])
    check_options(sources, options)
    passed_over = dict(skipped_files(folder, sources))
    sources = every_model(sources) if options.reading.models else sources
    if entries:
        sources = listed_sources(sources, entries, folder)
    tasks = tasks_of(sources, filters, options)
    try:
        spill = Spill(out / FOLDER, request_of(tasks))
        read_all(tasks, spill, options, progress)
        counts = _assemble(folder, out, sources, spill, filters, options, columns, passed_over)
    except ToolError:
        raise  # another try goes on from what was read
    except ProtgenError:
        shutil.rmtree(out / FOLDER, ignore_errors=True)
        raise
    except OSError as error:
        raise DataError(f"{out}: cannot build the store ({error.strerror or error}); run it again to go on") from error
    spill.remove()
    return counts


def check_options(sources: Sequence[Source], options: BuildOptions) -> None:
    """Check what can be known before hours of reading: the program for clusters, and what the split goes by.

    Raises:
        ConfigError: if MMseqs2 is asked for and not installed.
        DataError: if a date or a CATH code cannot be read.
    """
    program_of(options.clustering)
    if options.split.by == "date":
        by_date([source.facts for source in sources], options.split.cutoff)
    if options.split.by == "topology" or options.keep_topologies:
        for source in sources:
            topologies_in(source.facts.get("cath") or "", f"index.csv: column cath of {source.id}")
        if options.topologies is not None:
            read_topologies(options.topologies)


def tasks_of(sources: Sequence[Source], filters: Filters, options: BuildOptions) -> list[Task]:
    """What there is to read.

    Raises:
        DataError: if the file of domains cannot be read, or a file has no PDB ID to look its domains up by.
    """
    if options.domains is None and options.manifest is None:
        if options.reading.units == "domain":
            raise DataError("--units domain: no boundaries; give CATH's file by --domains FILE")
        return [Task(source, filters, options.reading) for source in sources]
    domains = boundaries_of(options)
    tasks = []
    for source in sources:
        pdb = (source.facts.get("pdb") or pdb_id_of(source.id)).lower()
        if not pdb:
            raise DataError(f"{source.path}: no PDB ID for its domains; begin its name with one, or give a column pdb")
        tasks.append(Task(source, filters, options.reading, pdb, tuple(domains.get(pdb, ()))))
    return tasks


def boundaries_of(options: BuildOptions) -> dict[str, list[Domain]]:
    """Domains by PDB ID: of a manifest of public IDs, or of a boundaries file."""
    if options.manifest is not None:
        return domains_of(read_manifest(options.manifest).values())
    assert options.domains is not None
    return read_domains(options.domains)


def as_listed(filters: Filters, options: BuildOptions) -> tuple[Filters, BuildOptions]:
    """Filters and options by which the residues that a manifest lists become items as they are."""
    alone = replace(filters, min_length=3, max_length=ANY_LENGTH, max_coil=1.0, rg_percentile=100.0, crops=0)
    alone = replace(alone, max_resolution=ANY_RESOLUTION)
    return alone, replace(options, reading=replace(options.reading, units="domain"))


def listed_sources(sources: Sequence[Source], entries: Mapping[str, Entry], folder: Path) -> list[Source]:
    """The files of the PDB entries that a manifest lists.

    Raises:
        DataError: if there is none.
    """
    wanted = {entry.domain.pdb for entry in entries.values()}
    found = [source for source in sources if (source.facts.get("pdb") or pdb_id_of(source.id)).lower() in wanted]
    if not found:
        raise DataError(f"{folder}: has no file of the manifest's {len(wanted)} PDB entries; download them first")
    return found


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
    work = [tasks[k] for k in waiting]
    if options.cluster:
        require_workers(options.cluster, [tasks[0].source.path.parent.absolute()], {"protgen": __version__})
        work = [replace(task, base=Path.cwd()) for task in work]
    try:
        for outcome in run(read_source, work, jobs=options.jobs, cluster=options.cluster):
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
    clusters = settle(gathered, facts, options.clustering, options.jobs)
    split_items(gathered, sources, filters.validation_fraction, options.split, options.topologies)
    drop_extended(gathered, filters.rg_percentile)
    rows = gathered.rows
    entries = {} if options.manifest is None else read_manifest(options.manifest)
    for row in rows:
        entry = entry_of(row.id, entries)
        row.split, row.cluster = (entry and entry.split) or row.split, (entry and entry.cluster) or row.cluster
    splits = [row.split for row in rows]
    fields, values = encode_labels(columns, [facts[row.unit] for row in rows], [row.id for row in rows], splits)
    if options.keep_topologies:
        field, values[CATH] = encode_folds(name_folds(gathered, sources, options.topologies), splits)
        fields.append(field)
    noticed = {"skipped": passed_over, "warnings": dict(gathered.warnings.most_common())}
    settings = {"filters": asdict(filters), "n_sources": len(sources), **asdict(options.reading), **noticed}
    settings["domains"] = options.domains.name if options.domains else None
    settings |= {"clusters": clusters, "split": asdict(options.split)}
    own = options.clustering
    looked_for = LeakageOptions(
        own.identity, own.coverage, folds=options.folds, searched=options.searched, mmseqs=program_of(own)
    )
    report: JSON = {"leakage": leakage(gathered, looked_for, options.jobs)}
    if named := conformers(gathered):
        report["conformers"] = named
    items = Items(spill, rows, values, len(sources))
    if options.manifest is not None:
        changed = differences(entries, items, gathered.dropped)
        report["archive"] = {"manifest": options.manifest.name, "entries": len(entries), "changed": changed}
    more = [CHAIN_INDEX] if several_parts(rows) else []
    write_store(out, items, gathered.dropped, settings, [AATYPE, *more, *fields], report, options.most_bytes)
    counts = {"read": len(sources), "kept": len(rows), "dropped": len(gathered.dropped)}
    counts |= {"unreadable": gathered.unreadable, **noticed}
    counts |= {"archive": report["archive"]} if "archive" in report else {}
    return {**counts, "clusters_on_both_sides": clusters_on_both_sides(rows)}


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
