"""Judge any folder of structures: one row a file, one summary, and a bad file costs its own row alone."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from protgen.errors import ProtgenError
from protgen.evaluation.adherence import Judge, adherence_columns, adherence_row
from protgen.evaluation.collect import collect_files
from protgen.evaluation.tables import make_folder, write_csv, write_json
from protgen.evaluation.validity import structure_metrics, validity
from protgen.metrics.base import Summary, Value, summarise
from protgen.parallel import run
from protgen.structure.reader import read_structure

LEADING_COLUMNS = ("file", "status", "message", "length", "chains")
OK, WARNING, ERROR = "ok", "warning", "error"

Row = dict[str, Value]
Progress = Callable[[int, int], None]


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
    """

    rows: list[Row]
    summaries: dict[str, Summary]
    n: int
    n_failed: int
    csv: Path
    json: Path

    @property
    def exit_code(self) -> int:
        """0 if every file was read, 3 if some failed, 4 if all did."""
        if self.n_failed == 0:
            return 0
        return 4 if self.n_failed == self.n else 3


def evaluate(
    paths: Sequence[str | PathLike[str]],
    out: str | PathLike[str],
    *,
    jobs: int = 1,
    strict: bool = False,
    conditions: Sequence[Judge] = (),
    progress: Progress | None = None,
) -> EvaluationResult:
    """Measure every structure and write `structures.csv` and `summary.json`.

    Args:
        paths: structure files, and folders to be searched for them.
        out: folder for the results; made if need be.
        jobs: number of processes; the results do not depend on it.
        strict: make every reader's warning an error.
        conditions: requests y to hold every structure against; each adds columns asked, got, difference,
            satisfied.
        progress: called with (files done, files in all) as work proceeds.

    Raises:
        UsageError: if a path does not exist, a folder holds no structure, or `out` cannot be written. A
            file that cannot be read raises nothing: it is a row with status "error".
    """
    files = collect_files(paths)
    folder = Path(out)
    make_folder(folder)
    rows: list[Row] = [{} for _ in files]
    work = partial(evaluate_file, strict=strict, conditions=tuple(conditions))
    for done, outcome in enumerate(run(work, files, jobs=jobs), start=1):
        label, path = files[outcome.index]
        died = f"{path}: the process that read this file was killed (out of memory, or a crash)"
        rows[outcome.index] = outcome.result or _error_row(label, died)
        if progress is not None:
            progress(done, len(files))
    return _write(rows, folder, conditions)


def evaluate_file(labelled: tuple[str, Path], *, strict: bool = False, conditions: Sequence[Judge] = ()) -> Row:
    """The row of one file; it never raises for what the file holds.

    Args:
        labelled: what the file is called in the table, and where it is.
        strict: make every reader's warning an error.
        conditions: requests to hold it against.
    """
    label, path = labelled
    try:
        read = read_structure(path, strict=strict)
        row: Row = {
            "file": label,
            "status": WARNING if read.warnings else OK,
            "message": "; ".join(f"{warning.code} ({warning.count})" for warning in read.warnings),
            "chains": len(read.protein.chains),
        }
        with np.errstate(all="ignore"):
            return row | validity(read.protein) | adherence_row(read.protein, conditions)
    except (ProtgenError, OSError) as error:
        return _error_row(label, str(error))
    except MemoryError:
        return _error_row(label, f"{path}: not enough memory")
    except Exception as error:  # a bug of ours must not lose the other files
        return _error_row(label, f"{path}: internal error, please report: {type(error).__name__}: {error}")


def _error_row(label: str, message: str) -> Row:
    return {"file": label, "status": ERROR, "message": " ".join(message.split())}


def _write(rows: list[Row], folder: Path, conditions: Sequence[Judge]) -> EvaluationResult:
    quantities = [quantity for metric in structure_metrics() for quantity in metric.quantities]
    labels = [label for metric in structure_metrics() for label in metric.labels]
    asked, asked_labels = adherence_columns(conditions)
    quantities, labels = quantities + asked, labels + asked_labels
    read = [row for row in rows if row["status"] != ERROR]
    summaries = {
        name: summarise([float(row.get(name, np.nan)) for row in read])
        for name in ("length", *(quantity.name for quantity in quantities))
    }
    statuses = Counter(row["status"] for row in rows)
    content: dict[str, Any] = {
        "n": len(rows),
        "n_failed": statuses[ERROR],
        "n_warning": statuses[WARNING],
        "metrics": {name: asdict(summary) for name, summary in summaries.items()},
        "fold_classes": dict(sorted(Counter(str(row["fold_class"]) for row in read).items())),
        "definitions": {
            "length": {
                "unit": "residues",
                "better": None,
                "definition": "protein residues of the first model",
            },
            **{q.name: {"unit": q.unit, "better": q.better, "definition": q.definition} for q in quantities},
        },
        "interval": "95 % percentile bootstrap of the mean, 1000 resamples, seed 0",
    }
    table, summary = folder / "structures.csv", folder / "summary.json"
    write_csv(table, [*LEADING_COLUMNS, *(quantity.name for quantity in quantities), *labels], rows)
    write_json(summary, content)
    return EvaluationResult(rows, summaries, len(rows), statuses[ERROR], table, summary)
