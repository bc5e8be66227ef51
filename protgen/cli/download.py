"""`protgen data download`: entries of the PDB and of AlphaFold DB, checked, resumed, at a rate that services bear."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protgen.cli.console import JsonOption, print_json, progress, say_error, stdout
from protgen.cli.exit_codes import of_failures
from protgen.cli.option_groups import grouped
from protgen.errors import UsageError

if TYPE_CHECKING:
    from protgen.data.download import Result
    from protgen.data.download_ids import Id, Query

ASKED = "A query of the PDB"
MOST_NAMED = 20  # failed entries named on the screen; all are in failed.csv


@dataclass(frozen=True)
class QueryOptions:
    """What entries are looked for."""

    resolution: Annotated[
        float | None, typer.Option("--resolution", help="Å, at most.", min=0, rich_help_panel=ASKED)
    ] = None
    method: Annotated[str | None, typer.Option("--method", metavar="x-ray|em|nmr", rich_help_panel=ASKED)] = None
    min_length: Annotated[
        int | None, typer.Option("--min-length", help="Of a protein chain.", min=1, rich_help_panel=ASKED)
    ] = None
    max_length: Annotated[
        int | None, typer.Option("--max-length", help="Of a protein chain.", min=1, rich_help_panel=ASKED)
    ] = None
    chains: Annotated[
        int | None, typer.Option("--chains", help="Chains of an entry, at most.", min=1, rich_help_panel=ASKED)
    ] = None
    released_from: Annotated[
        str | None, typer.Option("--released-from", help="First date.", metavar="DATE", rich_help_panel=ASKED)
    ] = None
    released_until: Annotated[
        str | None, typer.Option("--released-until", help="Last date.", metavar="DATE", rich_help_panel=ASKED)
    ] = None
    organism: Annotated[
        str | None, typer.Option("--organism", help="Scientific name.", metavar="NAME", rich_help_panel=ASKED)
    ] = None
    most: Annotated[
        int | None, typer.Option("--most", help="Entries of the query, the first by ID.", min=1, rich_help_panel=ASKED)
    ] = None

    def query(self) -> "Query":
        """The query, which may be empty.

        Raises:
            UsageError: if a part of it cannot be read.
        """
        from protgen.data.download_ids import Query

        return Query(
            self.resolution,
            self.method,
            self.min_length,
            self.max_length,
            self.chains,
            self.released_from,
            self.released_until,
            self.organism,
        )


@dataclass(frozen=True)
class MannersOptions:
    """How services are asked."""

    rate: Annotated[float, typer.Option("--rate", help="Requests a second at the most.", min=0.01, max=20)] = 5.0
    tries: Annotated[int, typer.Option("--tries", help="Of each request.", min=1, max=20)] = 5
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait for an answer.", min=1)] = 30.0


@grouped
def download(
    out: Annotated[Path, typer.Option("--out", help="Folder of the files.", metavar="DIR")],
    query: QueryOptions,
    how: MannersOptions,
    ids: Annotated[
        list[str] | None, typer.Argument(help="PDB IDs, AlphaFold DB IDs or UniProt accessions.", metavar="[ID]...")
    ] = None,
    lists: Annotated[
        list[Path] | None,
        typer.Option("--list", help="File with an ID in each line; CATH, SCOPe and PISCES lists too.", metavar="FILE"),
    ] = None,
    plddt: Annotated[
        float, typer.Option("--plddt", help="Least mean pLDDT of AlphaFold DB entries.", min=0, max=100)
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Download structures: entries by ID, of lists, or of a query (extra `download`).

    protgen data download --resolution 2 --max-length 128 --most 500 --out pdb

    Begun again, it goes on: files that are there and whole are not fetched. Exits with 3 if some entries could not be
    had (failed.csv names them), 4 if none could.
    """
    from protgen.data.download import Found, Services, search
    from protgen.data.download import download as fetch
    from protgen.data.download_http import Asker, Manners
    from protgen.data.download_ids import distinct
    from protgen.evaluation.tables import output_folder

    named, asked = named_ids(ids or [], lists or []), query.query()
    if not named and asked.is_empty:
        raise UsageError("nothing to download: give IDs, --list FILE, or a query such as --resolution 2")
    manners, services = Manners(rate=how.rate, tries=how.tries, timeout=how.timeout), Services()
    with Asker(manners) as asker, output_folder(out, "protgen data download"):
        found = Found([], {}) if asked.is_empty else search(asker, asked, services, query.most)
        wanted = distinct([*named, *found.ids])
        with progress("downloading") as show:
            result = fetch(wanted, out, asker, services, plddt=plddt, refused=found.refused, progress=show)
    n = len(wanted) + len(found.refused)
    if as_json:
        print_json({"folder": out, "n": n, **vars(result)})
    else:
        report(result, out, n)
    raise typer.Exit(of_failures(len(result.failed), n))


def named_ids(ids: list[str], lists: list[Path]) -> "list[Id]":
    """The entries that are named outright and in lists.

    Raises:
        UsageError: if a text is no ID.
        DataError: if a list cannot be read.
    """
    from protgen.data.download_ids import parse_id, read_list

    found = []
    for text in ids:
        entry = parse_id(text)
        if entry is None:
            raise UsageError(f"{text[:40]!r} is no PDB or AlphaFold DB ID; write 1abc, AF-P00520-F1, or --list FILE")
        found.append(entry)
    return found + [entry for path in lists for entry in read_list(path)]


def report(result: "Result", out: Path, n: int) -> None:
    """Counts, and the entries that could not be had."""
    console = stdout()
    below = f", {len(result.below)} below the pLDDT floor" if result.below else ""
    line = (
        f"{n} entries: {len(result.made)} fetched, {len(result.kept)} were there{below}, {len(result.failed)} failed."
    )
    console.print(line, markup=False, soft_wrap=True)
    console.print(f"Files: {out}, checksums in SHA256SUMS", markup=False, soft_wrap=True)
    for name, reason in list(result.failed.items())[:MOST_NAMED]:
        say_error(f"{name}: {reason}")
    if len(result.failed) > MOST_NAMED:
        say_error(f"and {len(result.failed) - MOST_NAMED} more; see {out}/failed.csv")
