"""`protgen data`: make a training store from structure files, and look at one."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protgen.cli.console import progress, stdout, table
from protgen.cli.exit_codes import of_failures

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console
    from rich.table import Table

    from protgen.data.build import Source
    from protgen.data.store import Store

app = typer.Typer(help="Make and inspect training data.", no_args_is_help=True)


@app.command("build")
def build(
    folder: Annotated[Path, typer.Argument(help="Structure files, one chain a file.", metavar="DIR")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the store.", metavar="STORE")],
    min_length: Annotated[int, typer.Option(min=3, help="Fewest residues.")] = 40,
    max_length: Annotated[int, typer.Option(min=3, help="Most residues; longer chains are cropped.")] = 128,
    max_coil: Annotated[float, typer.Option(min=0, max=1, help="Largest fraction of coil.")] = 0.5,
    rg_percentile: Annotated[float, typer.Option(min=0, max=100, help="Drop chains more extended than this.")] = 96.0,
    max_resolution: Annotated[float, typer.Option(min=0, help="Å; unknown resolutions are kept.")] = 4.0,
    crops: Annotated[int, typer.Option(min=0, help="Compact crops of each longer chain; 0 for none.")] = 3,
    validation_fraction: Annotated[
        float, typer.Option(min=0, max=1, help="Fraction of clusters held out where no split is given.")
    ] = 0.04,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="Column of index.csv that is a category, as a field.", metavar="COLUMN[=NAME]"),
    ] = None,
    quantity: Annotated[
        list[str] | None,
        typer.Option("--quantity", help="Column of index.csv that is a number, as a field.", metavar="COLUMN[=NAME]"),
    ] = None,
) -> None:
    """Read, filter, crop, label and split structures into a store for `protgen train`.

    An `index.csv` in DIR may list the files (columns file, split, cluster40, resolution). Its other columns become
    fields of the store by --label and --quantity, and `protgen train conditions.names=[length,label:NAME]` makes
    conditions of them.
    """
    from protgen.data.build import Filters, find_sources
    from protgen.data.build import build as build_store
    from protgen.data.labels import LabelColumn, check_columns
    from protgen.errors import UsageError
    from protgen.evaluation.tables import make_folder

    if min_length > max_length:
        raise UsageError(f"--min-length {min_length} is above --max-length {max_length}; swap them")
    filters = Filters(min_length, max_length, max_coil, rg_percentile, max_resolution, crops, validation_fraction)
    columns = [LabelColumn.parse(text) for text in label or []]
    columns += [LabelColumn.parse(text, "number") for text in quantity or []]
    # An empty folder or a missing column is told before an output folder is made.
    check_columns(columns, find_sources(folder)[0].columns, str(folder / "index.csv"))
    make_folder(out)
    with progress("reading") as show:
        counts = build_store(folder, out, filters, lambda sources: watched(sources, show), columns)
    console = stdout()
    print_store(out, console)
    if counts["unreadable"]:
        console.print(f"{counts['unreadable']} of {counts['read']} files could not be read; manifest.json names them.")
    raise typer.Exit(of_failures(counts["unreadable"], counts["read"]))


def watched(sources: "Iterable[Source]", show: "Callable[..., None]") -> "Iterator[Source]":
    """Sources, each shown as it is read."""
    listed = list(sources)
    for done, source in enumerate(listed):
        show(done, len(listed), source.id)
        yield source
    show(len(listed), len(listed))


@app.command("info")
def info(store: Annotated[Path, typer.Argument(help="Folder of a store.", metavar="STORE")]) -> None:
    """Show what a store holds and why the rest was dropped."""
    print_store(store, stdout())


def print_store(folder: Path, console: "Console") -> None:
    """What was kept by split, which fields there are, and what was dropped by reason."""
    from protgen.data.store import Store

    store = Store(folder)
    console.print(kept_table(store))
    console.print(fields_table(store))
    dropped = store.manifest["dropped"]
    if dropped:
        reasons = table("<dropped because", "structures")
        for reason, count in Counter(reason_kind(entry["reason"]) for entry in dropped).most_common():
            reasons.add_row(reason, f"{count:,}")
        console.print(reasons)
    console.print(f"Store: {folder} (manifest.json names every structure)", markup=False, soft_wrap=True)


def kept_table(store: "Store") -> "Table":
    """A row for each split."""
    import numpy as np

    kept = table("<split", "structures", "clusters", "residues", "lengths", "helix %", "strand %")
    for split in sorted({entry["split"] for entry in store.manifest["kept"]}, reverse=False):
        entries = [entry for entry in store.manifest["kept"] if entry["split"] == split]
        lengths = np.array([entry["length"] for entry in entries])
        weights = lengths / lengths.sum()
        fractions = [100 * float(np.dot(weights, [entry[kind] for entry in entries])) for kind in ("helix", "strand")]
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
