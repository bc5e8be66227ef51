"""Evaluate folders of structures: one row a file, one summary a set. A bad file costs its own row alone."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np

from protgen.errors import ProtgenError
from protgen.evaluation import comparison, per_residue
from protgen.evaluation.adherence import Evaluator, adherence_row
from protgen.evaluation.collect import collect_files, inner_paths, name_sets, skipped_files
from protgen.evaluation.common_method import unify
from protgen.evaluation.designability import designability, refold_folder, refolds_of
from protgen.evaluation.result import EvaluationResult, Measured
from protgen.evaluation.row_log import KeptRow, Place, RowLog, plain_row
from protgen.evaluation.set_summary import ERROR, OK, WARNING, Row
from protgen.evaluation.sets import FOLDSEEK, cluster_columns, compare_all, name_too_long, nearest_columns
from protgen.evaluation.settings import EvaluationSettings, Settings, measured_with
from protgen.evaluation.summary import columns_of, differences, features_by_set, summarise
from protgen.evaluation.tables import output_folder, write_csv, write_json
from protgen.evaluation.validity import measured as measure_all
from protgen.integrity import fingerprint_or_none
from protgen.metrics.base import Summary
from protgen.metrics.foldseek import foldseek_version
from protgen.parallel import run
from protgen.registry import complain
from protgen.structure.parts import every_model, read_part
from protgen.structure.protein import Protein
from protgen.structure.trajectory import unpacked
from protgen.types import JSON

__all__ = ["ERROR", "EvaluationResult", "EvaluationSettings", "FileResult", "Settings", "evaluate", "evaluate_file"]

LEADING_COLUMNS = ("file", "status", "message", "length", "chains", "set")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FileResult:
    """One file.

    Attributes:
        row: of the table.
        protein: what it holds, if it could be read.
        problems: errors of metrics of other packages, by metric.
        file: size and SHA-256 of the bytes that the row is of, where that was looked at.
    """

    row: Row
    protein: Protein | None = None
    problems: dict[str, str] = field(default_factory=dict)
    file: JSON | None = None


@dataclass(frozen=True)
class Source:
    """A model of a file that is to be measured.

    Attributes:
        label: what the file is called in the table.
        path: where it is.
        model: its number.
        known: its row of an earlier evaluation.
    """

    label: str
    path: Path
    model: int
    known: KeptRow | None = None

    @property
    def place(self) -> Place:
        """Of its row in the log."""
        return self.label, self.model


def evaluate(
    paths: str | PathLike[str] | Sequence[str | PathLike[str]],
    out: str | PathLike[str],
    *,
    jobs: int | None = None,
    strict: bool | None = None,
    conditions: Sequence[Evaluator] | None = None,
    settings: EvaluationSettings | None = None,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Measure every structure and write `structures.csv` and `summary.json`.

    Several folders are several sets: each gets its own summary, and `comparison.csv` has the differences.

    Args:
        paths: structure files, folders to be searched for them, and trajectories; one or several.
        out: folder for the results; made if need be.
        jobs: number of processes; the results do not depend on it. It replaces that of `settings`, as do the next two.
        strict: treat parser warnings as errors.
        conditions: requests y that every structure is compared with; each adds columns asked, got, difference,
            satisfied.
        settings: all of these and more.
        progress: called with (files done, files in all) as work proceeds.

    Raises:
        UsageError: if a path does not exist, a folder holds no structure, or `out` cannot be written. A
            file that cannot be read raises nothing: it is a row with status "error".
    """
    given = {"jobs": jobs, "strict": strict, "conditions": None if conditions is None else tuple(conditions)}
    given = {key: value for key, value in given.items() if value is not None}
    chosen = replace(settings or EvaluationSettings(), **given)
    with unpacked([paths] if isinstance(paths, str | PathLike) else paths, chosen.top) as found:
        return _evaluate(found, out, chosen, progress)


def _evaluate(
    paths: Sequence[str | PathLike[str]],
    out: str | PathLike[str],
    chosen: EvaluationSettings,
    progress: Progress | None,
) -> EvaluationResult:
    """`evaluate` with settings that are complete, on files and folders alone."""
    files = collect_files(paths, leave_out=[] if chosen.refolds is None else [refold_folder(chosen.refolds)])
    sets = name_sets(paths, files)
    places = [(inner, path) for inner, (_, path) in zip(inner_paths(paths, files), files, strict=True)]
    models = [0] * len(files)
    if chosen.models == "all":
        files, places, sets, models = every_model(files, places, sets)
    _check_tools(chosen, places, sets)
    folder = Path(out)
    with output_folder(folder, "protgen evaluate"):
        measured = _measure(files, models, sets, chosen, folder, progress)
        measured.skipped = dict(skipped_files(paths))
        unify(measured, chosen.reference)
        _compare(measured, chosen)
        _ask_oracles(measured, places, chosen, folder, progress)
        return _write(measured, folder, chosen)


def _check_tools(settings: EvaluationSettings, places: Sequence[tuple[str, Path]], sets: Sequence[str]) -> None:
    """Raise for names of refolds that do not fit, or a missing foldseek, before anything is computed."""
    if isinstance(settings.refolds, Path):
        refolds_of(settings.refolds, places, sets)
    if settings.tm == FOLDSEEK:
        foldseek_version()


def _measure(
    files: Sequence[tuple[str, Path]],
    models: Sequence[int],
    sets: Sequence[str],
    settings: EvaluationSettings,
    folder: Path,
    progress: Progress | None,
) -> Measured:
    """Read and measure every file by itself, each row written as it comes."""
    results: list[FileResult] = [FileResult({}) for _ in files]
    work = partial(_one, settings=replace(settings, reference=None, refolds=None, likelihood=None))
    sources = [Source(label, path, model) for (label, path), model in zip(files, models, strict=True)]
    wanted = [source.place for source in sources]
    with RowLog(folder, measured_with(settings), resume=settings.resume, wanted=wanted) as log:
        sources = [replace(source, known=log.known.get(source.place)) for source in sources]
        for done, outcome in enumerate(run(work, sources, jobs=settings.jobs), start=1):
            source = sources[outcome.index]
            died = f"{source.path}: the process that read this file was killed (out of memory, or a crash)"
            found = outcome.result or FileResult(plain_row(_error_row(source.label, died)))
            results[outcome.index] = found
            log.add(source.place, KeptRow(found.row, found.file, found.problems))
            if progress is not None:
                progress(done, len(files))
    for problem in {name: line for result in results for name, line in result.problems.items()}.values():
        complain(problem)
    rows = [result.row for result in results]
    for row, name in zip(rows, sets, strict=True):
        row["set"] = name
    return Measured(rows, [result.protein for result in results], list(sets))


def _compare(measured: Measured, settings: EvaluationSettings) -> None:
    """Cluster the structures and find their nearest natives, as far as the settings ask for it."""
    if settings.tm != "none" or settings.reference is not None:
        name_too_long(measured.proteins, measured.rows)
    if settings.tm != "none":
        measured.compared = compare_all(
            measured.proteins,
            measured.sets,
            effort=settings.tm,
            clustering=settings.clustering,
            jobs=settings.jobs,
            most=settings.most_compared,
        )
    if measured.compared is not None:
        cluster_columns(measured.compared, measured.sets, measured.rows)
    if settings.reference is not None:
        nearest_columns(measured.proteins, settings.reference, measured.rows, jobs=settings.jobs)


def _ask_oracles(
    measured: Measured,
    places: Sequence[tuple[str, Path]],
    settings: EvaluationSettings,
    folder: Path,
    progress: Progress | None,
) -> None:
    """Add designability and likelihood, as far as the settings ask for them."""
    rows, proteins = measured.rows, measured.proteins
    if settings.refolds is not None:
        measured.designability = designability(
            rows, proteins, places, settings.refolds, jobs=settings.jobs, progress=progress
        )
    if settings.likelihood is not None:
        from protgen.evaluation.likelihood import likelihood  # loads the families, which nothing else here needs

        measured.likelihood = likelihood(
            rows, proteins, settings.likelihood, progress, folder=folder, resume=settings.resume
        )


def _one(source: Source, settings: EvaluationSettings) -> FileResult:
    """`evaluate_file` of one model with the settings of an evaluation, or its row of an earlier one."""
    file, known = fingerprint_or_none(source.path), source.known
    model = source.model if settings.models == "all" else None
    if known is not None and file is not None and known.file == file:
        with contextlib.suppress(ProtgenError, OSError, MemoryError):
            protein = read_part(source.path, settings.chain, model, settings.strict)
            return FileResult(known.row, protein, known.problems, file)
    found = evaluate_file(
        (source.label, source.path),
        strict=settings.strict,
        conditions=tuple(settings.conditions),
        metrics=settings.metrics,
        chain=settings.chain,
        model=model,
    )
    return replace(found, row=plain_row(found.row), file=file)


def evaluate_file(
    labelled: tuple[str, Path],
    *,
    strict: bool = False,
    conditions: Sequence[Evaluator] = (),
    metrics: tuple[str, ...] = (),
    chain: str = "",
    model: int | None = None,
) -> FileResult:
    """The row of one file and its protein; it never raises for what the file holds.

    Args:
        labelled: what the file is called in the table, and where it is.
        strict: treat parser warnings as errors.
        conditions: requests that it is compared with.
        metrics: further metrics, as `module:Class`.
        chain: the chain to judge; "" for all.
        model: of several that are all judged; None for the first, with a warning that there are more.
    """
    label, path = labelled
    try:
        protein = read_part(path, chain, model, strict)
        row: Row = {
            "file": label,
            "status": WARNING if protein.warnings else OK,
            "message": "; ".join(f"{warning.code} ({warning.count})" for warning in protein.warnings),
            "chains": len(protein.chains),
        }
        with np.errstate(all="ignore"):
            values, problems = measure_all(protein, metrics)
            row |= values | adherence_row(protein, conditions)
            return FileResult(row, protein, problems)
    except (ProtgenError, OSError) as error:
        return FileResult(_error_row(label, str(error)))
    except MemoryError:
        return FileResult(_error_row(label, f"{path}: not enough memory"))
    except Exception as error:  # a bug of ours must not lose the other files
        return FileResult(_error_row(label, f"{path}: internal error, please report: {type(error).__name__}: {error}"))


def _error_row(label: str, message: str) -> Row:
    return {"file": label, "status": ERROR, "message": " ".join(message.split())}


def _write(measured: Measured, folder: Path, settings: EvaluationSettings) -> EvaluationResult:
    """Summarise, and write every file of the evaluation."""
    columns, features = columns_of(measured, settings), features_by_set(measured)
    content = summarise(measured, settings, columns, features)
    compared = differences(measured, settings, columns.summarised, features)
    clusters = ("cluster", "representative") if measured.compared is not None else ()
    table, summary = folder / "structures.csv", folder / "summary.json"
    write_csv(table, [*LEADING_COLUMNS, *clusters, *columns.names], measured.rows)
    if len(features) > 1:
        write_csv(folder / "comparison.csv", comparison.COLUMNS, compared)
    if settings.residues:
        write_csv(folder / "residues.csv", per_residue.COLUMNS, _residue_rows(measured))
    write_json(summary, content)
    return EvaluationResult(
        rows=measured.rows,
        summaries={name: Summary(**values) for name, values in content["metrics"].items()},
        n=len(measured.rows),
        n_failed=content["n_failed"],
        csv=table,
        json=summary,
        proteins=measured.proteins,
        sets=measured.sets,
        content=content,
        compared=measured.compared,
        differences=compared,
        quantities=columns.quantities,
    )


def _residue_rows(measured: Measured) -> Iterable[Row]:
    for row, protein in zip(measured.rows, measured.proteins, strict=True):
        if protein is not None:
            yield from per_residue.residue_rows(protein, str(row["file"]), measured.ss_method)
