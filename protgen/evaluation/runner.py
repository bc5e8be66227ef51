"""Judge any folders of structures: one row a file, one summary a set, and a bad file costs its own row alone."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from protgen.errors import ProtgenError
from protgen.evaluation import comparison, per_residue
from protgen.evaluation.adherence import Evaluator, adherence_columns, adherence_row
from protgen.evaluation.collect import collect_files, inner_paths, name_sets
from protgen.evaluation.designability import (
    DesignabilityResult,
    describe_designability,
    designability,
    refold_folder,
    refolds_of,
)
from protgen.evaluation.distributions import DEFINITIONS
from protgen.evaluation.features import Features
from protgen.evaluation.folds import compare_folds
from protgen.evaluation.reference import Reference
from protgen.evaluation.refolding import Refolder
from protgen.evaluation.set_summary import (
    ERROR,
    OK,
    WARNING,
    Row,
    describe_folds_of_all,
    describe_rows,
    describe_set,
)
from protgen.evaluation.sets import (
    FOLDSEEK,
    LABELS,
    MOST_COMPARED,
    QUANTITIES,
    Compared,
    cluster_columns,
    cluster_definition,
    compare_all,
    nearest_columns,
    why_not_compared,
)
from protgen.evaluation.tables import make_folder, write_csv, write_json
from protgen.evaluation.validity import measured, structure_metrics
from protgen.metrics.base import Quantity, Summary
from protgen.metrics.foldseek import foldseek_version
from protgen.parallel import run
from protgen.registry import complain
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure

if TYPE_CHECKING:
    from protgen.evaluation.likelihood import LikelihoodResult, LikelihoodSettings

LEADING_COLUMNS = ("file", "status", "message", "length", "chains", "set")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class EvaluationSettings:
    """What an evaluation does beyond the validity of each structure.

    Attributes:
        conditions: requests y to hold every structure against; each adds columns asked, got, difference, satisfied.
        reference: structures to compare with: novelty, nearest native, memorisation, native control.
        refolds: where refolds of the structures come from, for designability: a folder of files, or tools.
        likelihood: the model that judges, and how.
        tm: "quick" or "full" search of all pairs, or "foldseek" for clusters by it; "none" leaves out clusters and
            pairwise TM.
        most_compared: structures that are clustered at most; of more the summary says "not_clustered" and why.
        folds: read folds by the fold network where a set has enough structures, and hold sets against one another.
        residues: write `residues.csv`, a row a residue.
        strict: make every reader's warning an error.
        jobs: number of processes; the results do not depend on it.
        metrics: of other packages, as `module:Class`, beside those that packages have registered.
    """

    conditions: Sequence[Evaluator] = ()
    reference: Reference | None = None
    refolds: Path | Refolder | None = None
    likelihood: "LikelihoodSettings | None" = None
    tm: str = "none"
    most_compared: int = MOST_COMPARED
    folds: bool = False
    residues: bool = False
    strict: bool = False
    jobs: int = 1
    metrics: tuple[str, ...] = ()


Settings = EvaluationSettings  # its name in 0.1


@dataclass(frozen=True)
class FileResult:
    """One file: its row, the protein if it could be read, and what metrics of other packages failed at."""

    row: Row
    protein: Protein | None = None
    problems: dict[str, str] = field(default_factory=dict)


@dataclass
class Extra:
    """What was asked for beyond the structures themselves: columns of their own, and what they are."""

    designability: DesignabilityResult | None = None
    likelihood: "LikelihoodResult | None" = None

    @property
    def parts(self) -> "list[DesignabilityResult | LikelihoodResult]":
        """Those there are, in the order of their columns."""
        return [part for part in (self.designability, self.likelihood) if part is not None]

    def describe(self, read: Sequence[Row], about: dict[str, Any]) -> dict[str, Any]:
        """What they say of a set, for `summary.json`.

        Args:
            read: the rows of the set that could be read.
            about: what is known of the set already.
        """
        result: dict[str, Any] = {}
        if self.designability is not None:
            result["designability"] = describe_designability(read, about.get("diversity", {}))
        if self.likelihood is not None:
            result["likelihood"] = self.likelihood.describe(read)
        return result


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found.

    Attributes:
        rows: one a file, in the order of the files; keys are the columns of `structures.csv`.
        summaries: by metric name, over the files that could be read.
        n: number of files.
        n_failed: number of files with status "error".
        csv: path of the table.
        json: path of the summary.
        proteins: one a row; None where the file could not be read.
        sets: the set of each row.
        content: of the summary.
        compared: all structures compared with one another, if that was asked for.
        differences: between sets, one row a metric and pair of sets.
        quantities: the numbers of the table, with their definitions.
    """

    rows: list[Row]
    summaries: dict[str, Summary]
    n: int
    n_failed: int
    csv: Path
    json: Path
    proteins: list[Protein | None] = field(default_factory=list)
    sets: list[str] = field(default_factory=list)
    content: dict[str, Any] = field(default_factory=dict)
    compared: Compared | None = None
    differences: list[Row] = field(default_factory=list)
    quantities: list[Quantity] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 if every file was read, 3 if some failed, 4 if all did."""
        if self.n_failed == 0:
            return 0
        return 4 if self.n_failed == self.n else 3


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

    Several folders are several sets: each gets its own summary, and `comparison.csv` says how they differ.

    Args:
        paths: structure files, and folders to be searched for them; one or several.
        out: folder for the results; made if need be.
        jobs: number of processes; the results do not depend on it.
        strict: treat reader warnings as errors.
        conditions: requests y to compare every structure with; each adds columns asked, got, difference,
            satisfied.
        settings: all of these and more. The three arguments above replace what it says where they are given.
        progress: called with (files done, files in all) as work proceeds.

    Raises:
        UsageError: if a path does not exist, a folder holds no structure, or `out` cannot be written. A
            file that cannot be read raises nothing: it is a row with status "error".
    """
    given = {"jobs": jobs, "strict": strict, "conditions": None if conditions is None else tuple(conditions)}
    given = {key: value for key, value in given.items() if value is not None}
    chosen = replace(settings or EvaluationSettings(), **given)
    paths = [paths] if isinstance(paths, str | PathLike) else paths
    files = collect_files(paths, leave_out=[] if chosen.refolds is None else [refold_folder(chosen.refolds)])
    sets = name_sets(paths, files)
    places = [(inner, path) for inner, (_, path) in zip(inner_paths(paths, files), files, strict=True)]
    if isinstance(chosen.refolds, Path):
        refolds_of(chosen.refolds, places, sets)  # names that do not fit are told before anything is computed
    if chosen.tm == FOLDSEEK:
        foldseek_version()  # told now, if it is missing
    structure_metrics(chosen.metrics)  # likewise a metric that cannot be used
    folder = Path(out)
    make_folder(folder)
    results: list[FileResult] = [FileResult({}) for _ in files]
    work = partial(evaluate_file, strict=chosen.strict, conditions=tuple(chosen.conditions), metrics=chosen.metrics)
    for done, outcome in enumerate(run(work, files, jobs=chosen.jobs), start=1):
        label, path = files[outcome.index]
        died = f"{path}: the process that read this file was killed (out of memory, or a crash)"
        results[outcome.index] = outcome.result or FileResult(_error_row(label, died))
        if progress is not None:
            progress(done, len(files))
    for problem in {name: line for result in results for name, line in result.problems.items()}.values():
        complain(problem)
    rows = [result.row for result in results]
    for row, name in zip(rows, sets, strict=True):
        row["set"] = name
    proteins = [result.protein for result in results]
    compared = None
    if chosen.tm != "none":
        compared = compare_all(proteins, sets, effort=chosen.tm, jobs=chosen.jobs, most=chosen.most_compared)
    if compared is not None:
        cluster_columns(compared, sets, rows)
    if chosen.reference is not None:
        nearest_columns(proteins, chosen.reference, rows, jobs=chosen.jobs)
    extra = Extra()
    if chosen.refolds is not None:
        extra.designability = designability(rows, proteins, places, chosen.refolds, jobs=chosen.jobs, progress=progress)
    if chosen.likelihood is not None:
        from protgen.evaluation.likelihood import likelihood  # the families, which nothing else here needs

        extra.likelihood = likelihood(rows, proteins, chosen.likelihood, progress)
    return _write(rows, proteins, sets, folder, chosen, compared, extra)


def evaluate_file(
    labelled: tuple[str, Path],
    *,
    strict: bool = False,
    conditions: Sequence[Evaluator] = (),
    metrics: tuple[str, ...] = (),
) -> FileResult:
    """The row of one file and its protein; it never raises for what the file holds.

    Args:
        labelled: what the file is called in the table, and where it is.
        strict: make every reader's warning an error.
        conditions: requests to hold it against.
        metrics: further ones, as `module:Class`.
    """
    label, path = labelled
    try:
        protein = read_structure(path, strict=strict)
        row: Row = {
            "file": label,
            "status": WARNING if protein.warnings else OK,
            "message": "; ".join(f"{warning.code} ({warning.count})" for warning in protein.warnings),
            "chains": len(protein.chains),
        }
        with np.errstate(all="ignore"):
            values, problems = measured(protein, metrics)
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


def _write(
    rows: list[Row],
    proteins: list[Protein | None],
    sets: list[str],
    folder: Path,
    settings: EvaluationSettings,
    compared: Compared | None,
    extra: Extra,
) -> EvaluationResult:
    quantities = [quantity for metric in structure_metrics(settings.metrics) for quantity in metric.quantities]
    labels = [label for metric in structure_metrics(settings.metrics) for label in metric.labels]
    asked, asked_labels = adherence_columns(settings.conditions)
    quantities, labels = quantities + asked, labels + asked_labels
    if settings.reference is not None:
        quantities, labels = [*quantities, *QUANTITIES], [*labels, *LABELS]
    quantities += [quantity for part in extra.parts for quantity in part.quantities]
    labels += [label for part in extra.parts for label in part.labels]
    columns = [quantity.name for quantity in quantities] + labels
    names = ["length", *(quantity.name for quantity in quantities)]
    if compared is not None:
        columns = ["cluster", "representative", *columns]
    content = describe_rows(rows, names)
    features = {
        name: Features([p for p, own in zip(proteins, sets, strict=True) if own == name and p is not None])
        for name in dict.fromkeys(sets)
    }
    natives = None if settings.reference is None else Features(settings.reference.proteins)
    content["sets"] = {}
    for name in features:
        mine = [row for row in rows if row["set"] == name]
        about = describe_rows(mine, names) | describe_set(
            mine, features[name], name, compared=compared, reference=settings.reference, natives=natives,
            folds=settings.folds,
        )  # fmt: skip
        content["sets"][name] = about | extra.describe([row for row in mine if row["status"] != ERROR], about)
    content["definitions"] = {
        "length": {"unit": "residues", "better": None, "definition": "protein residues of the first model"},
        **{q.name: {"unit": q.unit, "better": q.better, "definition": q.definition} for q in quantities},
    }
    content |= describe_folds_of_all(features) if settings.folds else {}
    if settings.reference is not None or "between" in content:
        content["distribution_definitions"] = DEFINITIONS
    if extra.designability is not None:
        content["designability"] = extra.designability.source
    if extra.likelihood is not None:
        content["likelihood"] = extra.likelihood.about
    if compared is not None:
        content["cluster_definition"] = cluster_definition(compared)
    elif settings.tm != "none":
        content["not_clustered"] = why_not_compared(proteins, settings.most_compared)
    content["interval"] = "95 % percentile bootstrap of the mean, 1000 resamples, seed 0"
    table, summary = folder / "structures.csv", folder / "summary.json"
    write_csv(table, [*LEADING_COLUMNS, *columns], rows)
    read = [k for k, row in enumerate(rows) if row["status"] != ERROR]
    differences: list[Row] = []
    if len(content["sets"]) > 1:
        differences = comparison.compare_sets([rows[k] for k in read], [sets[k] for k in read], names)
        if settings.folds:
            differences += compare_folds(features, comparison.STRATUM)
        write_csv(folder / "comparison.csv", comparison.COLUMNS, differences)
    if settings.residues:
        write_csv(folder / "residues.csv", per_residue.COLUMNS, _residue_rows(rows, proteins))
    write_json(summary, content)
    return EvaluationResult(
        rows,
        {name: Summary(**values) for name, values in content["metrics"].items()},
        len(rows),
        content["n_failed"],
        table,
        summary,
        proteins,
        sets,
        content,
        compared,
        differences,
        quantities,
    )


def _residue_rows(rows: Sequence[Row], proteins: Sequence[Protein | None]) -> Iterable[Row]:
    for row, protein in zip(rows, proteins, strict=True):
        if protein is not None:
            yield from per_residue.residue_rows(protein, str(row["file"]))
