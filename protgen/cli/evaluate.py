"""`protgen evaluate`: measure any folder of structures, ours or another generator's."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protgen.cli import evaluate_tables as tables
from protgen.cli.console import JsonOption, print_json, progress, say_error, stdout
from protgen.cli.evaluate_options import ComparedWith, Designability, LikelihoodModel, Output, Reading, evaluators_of
from protgen.cli.interruption import Interrupted
from protgen.cli.option_groups import grouped
from protgen.cli.options import Asked
from protgen.parallel import get_ready

if TYPE_CHECKING:
    from protgen.evaluation.native_control import NativeControl
    from protgen.evaluation.result import EvaluationResult
    from protgen.evaluation.settings import Settings

MOST_NAMED = 20  # failed files named on the screen; all of them are in structures.csv


@grouped
def evaluate(
    paths: Annotated[
        list[Path], typer.Argument(help="Folders of structures, each a set; files; or trajectories.", metavar="PATH...")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.", metavar="DIR")],
    asked: Asked,
    reading: Reading,
    against: ComparedWith,
    output: Output,
    refolded: Designability,
    model: LikelihoodModel,
    as_json: JsonOption = False,
) -> None:
    """Measure structures: validity, secondary structure, compactness, clusters, novelty; several sets side by side.

    With --refolds or --structure-predictor designability, with --likelihood how likely each structure is to a model.

    Exits with 3 if some files could not be read and 4 if none could; each is named.
    """
    get_ready("protgen.evaluation.runner", output.jobs)
    from protgen.evaluation.runner import Settings
    from protgen.evaluation.runner import evaluate as run

    settings = Settings(
        refolds=refolded.source(out, model.seed),
        likelihood=model.settings(),
        conditions=tuple(evaluators_of(asked)),
        reference=against.natives(output.jobs),
        tm=against.tm.value,
        clustering=against.clustering(),
        most_compared=against.most_compared,
        folds=against.folds,
        residues=output.residues,
        strict=reading.strict,
        chain=reading.chain,
        models=reading.models.value,
        jobs=output.jobs,
        metrics=tuple(against.metric or ()),
        top=against.top,
        resume=output.resume,
    )
    try:
        with progress("evaluating") as show:
            result = run([str(path) for path in paths], out, settings=settings, progress=show)
    except Interrupted as interruption:
        line = f"interrupted: the rows of finished files are in {out}; --resume measures the rest"
        raise Interrupted(interruption.exit_code, line) from None
    from protgen.evaluation.native_control import native_control

    control = native_control(result, settings.reference)
    files = write_pages(result, out, settings, output, control)
    if as_json:
        print_json(as_object(result, files))
    else:
        print_result(result, settings, files, control)
        tables.warn_of_reading(result, settings)
    name_failed(result)
    raise typer.Exit(result.exit_code)


def write_pages(
    result: "EvaluationResult", out: Path, settings: "Settings", output: Output, control: "NativeControl | None"
) -> dict[str, Path]:
    """Write the report and the figures that are asked for, and return every file by its kind."""
    files = {"table": result.csv, "summary": result.json}
    if result.n == result.n_failed:
        return files
    if output.report:
        from protgen.evaluation.report import write_report

        files["report"] = write_report(result, out, settings.reference, control)
    if output.figures:
        from protgen.evaluation.figures import write_figures

        files["figures"] = write_figures(result, out, settings.reference, control)
    return files


def as_object(result: "EvaluationResult", files: dict[str, Path]) -> dict[str, object]:
    """The result for scripts: counts, failed files, the files written, and the content of `summary.json`."""
    failed = [{"file": row["file"], "message": row["message"]} for row in result.rows if row["status"] == "error"]
    return {
        "exit_code": result.exit_code,
        "n": result.n,
        "n_failed": result.n_failed,
        "failed": failed,
        "files": files,
        "summary": result.content,
    }


def print_result(
    result: "EvaluationResult", settings: "Settings", files: dict[str, Path], control: "NativeControl | None" = None
) -> None:
    """Print the tables that the settings ask for, and the files that were written."""
    console = stdout()
    used = result.n - result.n_failed
    if used:
        print_tables(result, settings, control)
    for line in tables.counts_in_words(result):
        console.print(line, markup=False, soft_wrap=True)
    if used and "not_clustered" in result.content:
        console.print(f"{result.content['not_clustered'].capitalize()}.", markup=False, soft_wrap=True)
    if "ss_method_reason" in result.content:
        console.print(f"Secondary structure: {result.content['ss_method_reason']}.", markup=False, soft_wrap=True)
    notes = {"table": " (a row a file)", "figures": " (figures)"}
    listed = ", ".join(f"{path}{notes.get(kind, '')}" for kind, path in files.items())
    console.print(f"Files: {listed}", markup=False, soft_wrap=True)


def print_tables(result: "EvaluationResult", settings: "Settings", control: "NativeControl | None") -> None:
    """Print the summary, and a table for each further thing that was asked for."""
    console = stdout()
    console.print(tables.summary_table(result, control))
    if settings.conditions:
        console.print(tables.adherence_table(result, [evaluator.name for evaluator in settings.conditions]))
    if tables.has_set_table(result, settings):
        console.print(tables.set_table(result, settings))
    if settings.refolds is not None:
        console.print(tables.designability_table(result))
    for line in tables.missing_notes(result, settings):
        console.print(line, markup=False, soft_wrap=True)
    if settings.refolds is not None:
        tables.warn_of_missing(result)
    if settings.likelihood is not None:
        tables.say_likelihood(result)


def name_failed(result: "EvaluationResult") -> None:
    """Name the files that could not be read, each in one line of stderr."""
    failed = [row for row in result.rows if row["status"] == "error"]
    for row in failed[:MOST_NAMED]:
        message = str(row["message"])
        say_error(message if str(row["file"]) in message else f"{row['file']}: {message}")
    if len(failed) > MOST_NAMED:
        say_error(f"and {len(failed) - MOST_NAMED} more; see {result.csv}")
