"""`protgen evaluate`: judge any folder of structures, ours or another generator's."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protgen.cli.console import progress, say_error, stdout, table
from protgen.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from protgen.conditions.measure import Judgement
    from protgen.evaluation.runner import EvaluationResult

# What the table shows, in this order; everything else is in the files. (name, heading, percent?)
SHOWN = (
    ("length", "length", False),
    ("chain_breaks", "chain breaks", False),
    ("peptide_valid", "peptide bonds valid %", True),
    ("n_clashes", "clashes", False),
    ("rama_favoured", "Ramachandran favoured %", True),
    ("left_handed_helices", "left-handed helices", False),
    ("helix", "helix %", True),
    ("strand", "strand %", True),
    ("coil", "coil %", True),
    ("rg", "Rg Å", False),
    ("rg_ratio", "Rg / 2.2 L^0.38", False),
)
MOST_NAMED = 20  # failed files named on the screen; all of them are in structures.csv


def evaluate(
    paths: Annotated[list[Path], typer.Argument(help="Structure files, or folders of them.", metavar="PATH...")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.", metavar="DIR")],
    conditions: Annotated[
        Path | None,
        typer.Option("--conditions", help="YAML file of conditions to hold every file against.", metavar="FILE"),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes.")] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="A reader's warning counts as a failure.")] = False,
) -> None:
    """Measure structures: validity, secondary structure, compactness.

    Exits with 3 if some files could not be read and 4 if none could; each is named.
    """
    from protgen.evaluation.runner import evaluate as run

    asked = [] if conditions is None else held_against(conditions)
    with progress("evaluating") as show:
        result = run([str(path) for path in paths], out, jobs=jobs, strict=strict, conditions=asked, progress=show)
    console = stdout()
    used = result.n - result.n_failed
    if used:
        console.print(summary_table(result))
        if asked:
            console.print(adherence_table(result, [judge.name for judge in asked]))
    console.print(f"{used} of {result.n} structures used.", markup=False)
    console.print(f"Files: {result.csv} (a row a file) and {result.json}", markup=False, soft_wrap=True)
    failed = [row for row in result.rows if row["status"] == "error"]
    for row in failed[:MOST_NAMED]:
        message = str(row["message"])
        say_error(message if str(row["file"]) in message else f"{row['file']}: {message}")
    if len(failed) > MOST_NAMED:
        say_error(f"and {len(failed) - MOST_NAMED} more; see {result.csv}")
    raise typer.Exit(result.exit_code)


def held_against(path: Path) -> "list[Judgement]":
    """The measuring faces of a file's conditions, each once."""
    from protgen.conditions.language import read_conditions
    from protgen.conditions.measure import judges

    found = judges(read_conditions(path))
    names = [judge.name for judge in found]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{path}: {name} is given twice, and the table has one column for it; give it once")
    return found


def adherence_table(result: "EvaluationResult", names: list[str]) -> "Table":
    """For each condition, in how many structures it is met, and the mean difference from what was asked."""
    shown = table("<condition", "met %", "95 % interval", "mean difference", "n")
    for name in names:
        met, off = result.summaries[f"{name}_satisfied"], result.summaries[f"{name}_difference"]
        ends = [show_number(100 * end) for end in (met.ci_low, met.ci_high)]
        interval = "-" if "-" in ends else " to ".join(ends)
        shown.add_row(name, show_number(100 * met.mean), interval, show_number(off.mean), str(met.n))
    return shown


def summary_table(result: "EvaluationResult") -> "Table":
    """Mean, 95 % interval, median and number of values of the main figures."""
    shown = table("<figure", "mean", "95 % interval", "median", "n")
    for name, heading, is_share in SHOWN:
        summary = result.summaries.get(name)
        if summary is None:
            continue
        scale = 100 if is_share else 1
        ends = [show_number(scale * end) for end in (summary.ci_low, summary.ci_high)]
        interval = "-" if "-" in ends else " to ".join(ends)
        mean, median = show_number(scale * summary.mean), show_number(scale * summary.median)
        shown.add_row(heading, mean, interval, median, str(summary.n))
    return shown


def show_number(value: float) -> str:
    """Two decimals below 10, one above; a dash where there is no number."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
