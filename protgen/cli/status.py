"""`protgen status`: how far a run of designs is, also one that is divided over folders."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protgen.cli.console import JsonOption, print_json, stderr, stdout, table, warn

if TYPE_CHECKING:
    from protgen.evaluation.run_progress import FolderProgress, RunProgress
    from protgen.types import JSON

MOST_NAMED = 10  # damaged designs named on the screen


def status(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of `protgen sample`, of one run together.", metavar="DIR...")
    ],
    as_json: JsonOption = False,
) -> None:
    """How far a run of designs is: made, missing, damaged, by whom in use.

    protgen status designs

    Compares every design with its checksums and changes nothing. Folders of parts of one run are counted together.
    """
    from protgen.evaluation.run_progress import progress_of

    with stderr().status("looking"):
        found = progress_of(folders)
    if as_json:
        print_json(as_object(found))
        return
    report(found)


def report(found: "RunProgress") -> None:
    """A row a folder, and the run in a few lines."""
    from protgen.cli.console import escape
    from protgen.evaluation.run_progress import in_ranges

    console = stdout()
    shown = table("<folder", "<designs", "made", "missing", "damaged", "<state")
    for one in found.folders:
        asked = sorted(one.asked)
        missing = len(one.asked - one.made.keys() - one.damaged.keys())
        cells = (str(len(one.made)), str(missing), str(len(one.damaged)), one.state)
        shown.add_row(escape(str(one.path)), in_ranges(asked, 3), *cells)
    console.print(shown)
    lines = [f"{len(found.made):,} of {found.n:,} designs made, {found.n - len(found.made):,} to be made."]
    if found.missing:
        lines.append(f"Missing: {in_ranges(found.missing)}.")
    lines += [f"In use: {owner_line(one)}" for one in found.folders if one.owners]
    if found.twice:
        lines.append(f"In several folders: {in_ranges(found.twice)}.")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    if found.unlike:
        warn(f"designs {in_ranges(found.unlike)} differ between folders; the machines may round differently")
    named = list(found.damaged.items())
    for index, why in named[:MOST_NAMED]:
        warn(f"design_{index:04d} in {why}; --resume makes it anew")
    if len(named) > MOST_NAMED:
        warn(f"and {len(named) - MOST_NAMED} more damaged designs (--json names all)")


def owner_line(one: "FolderProgress") -> str:
    """Who uses a folder."""
    return f"{one.path} by {'; '.join(owner.in_words() for owner in one.owners)}."


def as_object(found: "RunProgress") -> "JSON":
    """What `--json` prints."""
    from dataclasses import asdict

    return {
        "n": found.n,
        "n_made": len(found.made),
        "complete": len(found.made) == found.n,
        "missing": found.missing,
        "damaged": {f"design_{index:04d}": why for index, why in found.damaged.items()},
        "in_several_folders": found.twice,
        "unlike": found.unlike,
        "request": found.request,
        "folders": [
            {
                "folder": one.path,
                "state": one.state,
                "runs": [
                    {"record": run.path.name, "status": run.status, "n": run.n, "part": run.part and asdict(run.part)}
                    for run in one.runs
                ],
                "n_made": len(one.made),
                "missing": sorted(one.asked - one.made.keys() - one.damaged.keys()),
                "damaged": sorted(one.damaged),
                "in_use_by": [owner.in_words() for owner in one.owners],
            }
            for one in found.folders
        ],
    }
