"""`protgen data`: make a training store from structure files, and look at one."""

import re
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protgen.cli.console import JsonOption, print_json, progress, stdout, table, warn, warnings_in_words
from protgen.cli.exit_codes import SOME_FAILED, of_failures
from protgen.cli.reading import Models

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from protgen.data.store import Store
    from protgen.types import JSON


class Clusters(StrEnum):
    """What finds sequences that are alike."""

    AUTO = "auto"
    MMSEQS = "mmseqs"
    BUILTIN = "builtin"


class SplitBy(StrEnum):
    """What held-out items are drawn by."""

    CLUSTER = "cluster"
    TOPOLOGY = "topology"
    DATE = "date"


class Units(StrEnum):
    """What becomes an item of a store."""

    CHAIN = "chain"
    FILE = "file"
    DOMAIN = "domain"
    COMPLEX = "complex"
    ASSEMBLY = "assembly"


MOST_CONFORMERS = 3  # that are named; manifest.json has all
MOST_CHANGED = 10  # lines of what an archive has changed that are printed

app = typer.Typer(help="Make and inspect training data.", no_args_is_help=True)


@app.command("build")
def build(
    folder: Annotated[Path, typer.Argument(help="Structure files.", metavar="DIR")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the store.", metavar="STORE")],
    min_length: Annotated[int, typer.Option(min=3, help="Fewest residues.")] = 40,
    max_length: Annotated[int, typer.Option(min=3, help="Most residues; longer chains are cropped.")] = 128,
    max_coil: Annotated[float, typer.Option(min=0, max=1, help="Largest fraction of coil.")] = 0.5,
    rg_percentile: Annotated[
        float, typer.Option(min=50, max=100, help="Of the Rg of natives; drop what is larger.")
    ] = 96.0,
    max_resolution: Annotated[float, typer.Option(min=0, help="Å; unknown resolutions are kept.")] = 4.0,
    crops: Annotated[int, typer.Option(min=0, max=1000, help="Compact crops of each longer chain; 0 for none.")] = 3,
    validation_fraction: Annotated[
        float,
        typer.Option(
            "--validation-fraction",
            "--validation-share",
            min=0,
            max=1,
            help="Fraction of clusters held out where no split is given.",
        ),
    ] = 0.04,
    units: Annotated[Units, typer.Option("--units", help="What becomes an item.")] = Units.CHAIN,
    domains: Annotated[
        Path | None,
        typer.Option("--domains", help="CATH's domain boundaries or choppings, for --units domain.", metavar="FILE"),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", help="Public IDs to rebuild a set from, in place of filters.", metavar="FILE"),
    ] = None,
    identity: Annotated[
        float, typer.Option("--identity", min=0.3, max=1, help="Of sequences that are one cluster, at the least.")
    ] = 0.4,
    coverage: Annotated[
        float, typer.Option("--coverage", min=0.5, max=1, help="Of the shorter of them, at the least.")
    ] = 0.8,
    clusters: Annotated[
        Clusters, typer.Option("--clusters", help="Program that finds them; auto takes mmseqs where it is installed.")
    ] = Clusters.AUTO,
    split_by: Annotated[SplitBy, typer.Option("--split-by", help="What the held-out items are drawn by.")] = (
        SplitBy.CLUSTER
    ),
    date_cutoff: Annotated[
        str, typer.Option("--date-cutoff", help="First date held out, for --split-by date.", metavar="YYYY-MM-DD")
    ] = "",
    cath: Annotated[
        Path | None,
        typer.Option("--cath", help="CATH's list of domains, for topologies.", metavar="FILE"),
    ] = None,
    searched: Annotated[
        int,
        typer.Option("--leakage-folds", min=0, help="Held-out items whose nearest training fold is searched."),
    ] = 50,
    topologies: Annotated[
        bool, typer.Option("--topologies", help="Keep CATH topologies as the field cath, for the condition cath.")
    ] = False,
    chain: Annotated[str, typer.Option("--chain", help="The one chain to take of each file.", metavar="CHAIN")] = "",
    models: Annotated[Models, typer.Option("--models", help="Models of a file to take.")] = Models.FIRST,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="Column of index.csv that is a category, as a field.", metavar="COLUMN[=NAME]"),
    ] = None,
    quantity: Annotated[
        list[str] | None,
        typer.Option("--quantity", help="Column of index.csv that is a number, as a field.", metavar="COLUMN[=NAME]"),
    ] = None,
    cluster: Annotated[
        str, typer.Option("--cluster", help="Dask scheduler whose workers read the files.", metavar="tcp://HOST:PORT")
    ] = "",
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=1000, help="Processes; the store is the same.")] = 1,
    shard_mb: Annotated[
        int, typer.Option("--shard-mb", min=1, help="Largest file of arrays, MB; larger fields lie in several.")
    ] = 1_000,
    as_json: JsonOption = False,
) -> None:
    r"""Read, filter, crop, label and split structures into a store for `protgen train`.

    Every protein chain of a file becomes an item, or crops of it; of copies in one file the first sound one. A build
    that was interrupted goes on when the same command is given again.

    An `index.csv` in DIR may list the files (columns file, split, cluster40, resolution). Its other columns become
    fields of the store by --label and --quantity, and `protgen train conditions.names=\[length,label:NAME]` makes
    conditions of them. With --topologies the column cath does, for `conditions.names=\[length,cath]`.
    """
    from protgen.data.build import BuildOptions
    from protgen.data.build import build as build_store
    from protgen.data.clusters import Clustering
    from protgen.data.labels import LabelColumn, check_columns
    from protgen.data.reading import ReadingOptions
    from protgen.data.sources import find_sources
    from protgen.data.splits import SplitRule
    from protgen.data.windows import Filters
    from protgen.errors import UsageError
    from protgen.evaluation.tables import output_folder
    from protgen.metrics.novelty import novelty

    if min_length > max_length:
        raise UsageError(f"--min-length {min_length} is above --max-length {max_length}; swap them")
    if domains is not None and units is not Units.DOMAIN:
        raise UsageError("--domains is of --units domain; give both")
    if manifest is not None and (domains is not None or units is not Units.CHAIN):
        raise UsageError("--manifest names the items itself; leave out --units and --domains")
    if cath is not None and split_by is not SplitBy.TOPOLOGY and not topologies:
        raise UsageError("--cath is of --split-by topology or --topologies; give one of them")
    filters = Filters(min_length, max_length, max_coil, rg_percentile, max_resolution, crops, validation_fraction)
    columns = [LabelColumn.parse(text) for text in label or []]
    columns += [LabelColumn.parse(text, "number") for text in quantity or []]
    # Report an empty folder or a missing column before making an output folder.
    check_columns(columns, find_sources(folder)[0].columns, str(folder / "index.csv"))
    options = BuildOptions(
        ReadingOptions(units.value, chain, models is Models.ALL),
        domains,
        Clustering(identity, coverage, clusters.value),
        SplitRule(split_by.value, date_cutoff),
        cath,
        lambda samples, references: novelty(samples, references, jobs=jobs),
        searched,
        jobs,
        cluster,
        manifest,
        topologies,
        shard_mb * 1_000_000,
    )
    with output_folder(out, "protgen data build"), progress("reading") as show:
        counts = build_store(folder, out, filters, options, columns=columns, progress=show)
    console = stdout()
    if as_json:
        print_json(describe_store(out) | counts)
    else:
        print_store(out, console)
        by_date = "that the date makes" if split_by is SplitBy.DATE else "of the index"
        say_noticed(counts, by_date if manifest is None else "of the manifest")
    if counts["unreadable"] and not as_json:
        console.print(f"{counts['unreadable']} of {counts['read']} files could not be read; manifest.json names them.")
    changed = say_changed(counts.get("archive"), as_json=as_json)
    raise typer.Exit(of_failures(counts["unreadable"], counts["read"]) or (SOME_FAILED if changed else 0))


def say_changed(archive: "JSON | None", *, as_json: bool) -> bool:
    """Say what of a manifest of public IDs the files have otherwise; returns whether there is anything."""
    if archive is None:
        return False
    changed, n = archive["changed"], archive["entries"]
    if not as_json:
        console = stdout()
        console.print(f"{n - len(changed)} of {n} items of {archive['manifest']} are as it has them.", markup=False)
        for line in changed[:MOST_CHANGED]:
            console.print(f"  {line}", markup=False, soft_wrap=True)
        if len(changed) > MOST_CHANGED:
            console.print(f"  and {len(changed) - MOST_CHANGED} more, in manifest.json under archive", markup=False)
    return bool(changed)


def say_noticed(counts: "JSON", splits: str) -> None:
    """Name what was skipped, what the reader noticed, and clusters that are in several splits.

    Args:
        counts: of a build.
        splits: what made them, in words.
    """
    from protgen.structure.file_names import skipped_in_words

    console = stdout()
    if counts["skipped"]:
        console.print(f"{skipped_in_words(counts['skipped'])}.", markup=False, soft_wrap=True)
    if counts["warnings"]:
        warn(f"the reader noticed {warnings_in_words(counts['warnings'])}")
    if counts["clusters_on_both_sides"]:
        warn(
            f"{counts['clusters_on_both_sides']} clusters have chains in more than one split {splits}; "
            "relatives of held-out chains are trained on"
        )


@app.command("info")
def info(
    store: Annotated[Path, typer.Argument(help="Folder of a store.", metavar="STORE")],
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Write the distributions as a picture too.", metavar="FILE")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a store holds, how it is distributed, why the rest was dropped, and what is on both sides."""
    from protgen.cli.data_plots import draw
    from protgen.data.distributions import distributions
    from protgen.data.store import Store

    if plot is not None:
        draw(distributions(Store(store).manifest["kept"]), plot)
    if as_json:
        print_json(describe_store(store))
    else:
        print_store(store, stdout(), distributed=True)


def describe_store(folder: Path) -> "JSON":
    """What `--json` prints of a store: structures and residues of each split, fields, and reasons of dropping."""
    from dataclasses import asdict

    from protgen.data.distributions import distributions
    from protgen.data.store import Store

    store = Store(folder)
    kept, splits = store.manifest["kept"], {}
    for split in sorted({entry["split"] for entry in kept}):
        own = [entry for entry in kept if entry["split"] == split]
        lengths = store.lengths[store.indices(split)].tolist()
        clusters = len({entry["cluster"] for entry in own})
        splits[split] = {"structures": len(own), "clusters": clusters, "residues": sum(lengths)}
        splits[split] |= {"shortest": min(lengths), "longest": max(lengths)}
    reasons = Counter(reason_kind(entry["reason"]) for entry in store.manifest["dropped"])
    fields = {name: asdict(field) for name, field in store.fields.items()}
    found = {
        "store": folder,
        "splits": splits,
        "shards": len(store.bounds) - 1,
        "fields": fields,
        "dropped_by_reason": dict(reasons.most_common()),
    }
    found["distributions"] = {own.name: own.to_json() for own in distributions(kept)}
    near = store.manifest.get("conformers", [])
    found["conformers"] = {"count": len(near), "first": near[:MOST_CONFORMERS]}
    return found | {"leakage": store.manifest.get("leakage", {})}


def print_store(folder: Path, console: "Console", *, distributed: bool = False) -> None:
    """What was kept by split, which fields there are, what was dropped by reason, and what is on both sides."""
    from protgen.cli.data_plots import bars
    from protgen.data.distributions import distributions
    from protgen.data.leakage import in_words
    from protgen.data.store import Store

    store = Store(folder)
    console.print(kept_table(store))
    console.print(fields_table(store))
    if len(store.bounds) > 2:
        console.print(f"Each field of residues lies in {len(store.bounds) - 1} files.")
    for own in distributions(store.manifest["kept"]) if distributed else []:
        for line in [*bars(own), ""]:
            console.print(line, markup=False, soft_wrap=True)
    dropped = store.manifest["dropped"]
    if dropped:
        reasons = table("<dropped because", "structures")
        for reason, count in Counter(reason_kind(entry["reason"]) for entry in dropped).most_common():
            reasons.add_row(reason, f"{count:,}")
        console.print(reasons)
    near = conformers_in_words(store.manifest.get("conformers", []))
    for line in [*near, *in_words(store.manifest.get("leakage", {}))]:
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"Store: {folder} (manifest.json names every structure)", markup=False, soft_wrap=True)


def conformers_in_words(entries: "Sequence[JSON]") -> list[str]:
    """A line that counts the conformers of a store and names the first ones; none if there are none."""
    if not entries:
        return []
    first = [f"{own['id']} of {own['of']} ({own['rmsd']:.2f} Å)" for own in entries[:MOST_CONFORMERS]]
    more = f"; {len(entries) - MOST_CONFORMERS:,} more in manifest.json" if len(entries) > MOST_CONFORMERS else ""
    return [f"Conformers of others, one sequence and CA within 1 Å: {len(entries):,}; {', '.join(first)}{more}."]


def kept_table(store: "Store") -> "Table":
    """A row for each split."""
    import numpy as np

    kept = table("<split", "structures", "clusters", "residues", "lengths", "helix %", "strand %")
    for split in sorted({entry["split"] for entry in store.manifest["kept"]}, reverse=False):
        entries = [entry for entry in store.manifest["kept"] if entry["split"] == split]
        lengths = store.lengths[store.indices(split)]
        labels = np.concatenate([store[int(i)].labels for i in store.indices(split)])
        fractions = [100 * float((labels == code).mean()) for code in (1, 2)]
        kept.add_row(
            split,
            f"{len(entries):,}",
            f"{len({entry['cluster'] for entry in entries}):,}",
            f"{lengths.sum():,}",
            f"{lengths.min()}-{lengths.max()}",
            *(f"{fraction:.0f}" for fraction in fractions),
        )
    return kept


def fields_table(store: "Store") -> "Table":
    """A row for each field, with the categories or the scale of labels."""
    from rich.markup import escape

    shown = table("<field", "<for each", "<type", "<what")
    for own in store.fields.values():
        kind = own.dtype + ("" if not own.shape else " x " + " x ".join(str(n) for n in own.shape))
        about = own.about
        if own.values is not None:
            some = ", ".join(own.values[:6]) + (", ..." if len(own.values) > 6 else "")
            about = f"{len(own.values)} categories: {some}"
        elif own.mean is not None and own.std is not None:
            about = f"mean {own.mean:.4g}, standard deviation {own.std:.4g}"
        shown.add_row(own.name, own.per, kind, escape(about))
    return shown


def reason_kind(reason: str) -> str:
    """A reason without its particulars, so that like ones count together."""
    starts = {
        "unreadable": "cannot be read",
        "same coordinates": "same coordinates as another",
        "same backbone": "same coordinates as another",
        "no chain": "no chain of that name",
        "copy of": "copy of a chain of the same file",
        "no protein: water": "no protein: ligand",
        "peptide": "peptide (fewer than 20 residues)",
        "no domain": "no domain in the boundaries file",
        "not in assembly": "not in the assembly",
        "assembly not made": "assembly not made",
        "extended": "extended (Rg high for the length)",
        "coil": "too much coil",
        "resolution": "resolution too low",
    }
    for start, kind in starts.items():
        if reason.startswith(start):
            return kind
    if reason.startswith("length"):
        return "too short" if "<" in reason else "too long" + reason.partition(",")[2].replace(" no ", ", no ")
    return re.sub(r"^\d+ ", "", reason).partition(";")[0]
