"""`protgen run`: from a request to ranked sequences: backbones, validity, sequences, refolds, ranking, report.

    OUT/backbones/      as `protgen sample` writes them
    OUT/sequences/      as `protgen design-sequences` writes them
    OUT/refolds/        structures named after designs
    OUT/evaluation/     as `protgen evaluate` writes it
    OUT/ranking.csv, order.csv, best.html, best/
    OUT/source.json     where the backbones are from

Each stage reads the files of the one before, keeps what is there, and can be run alone or replaced by another tool:
backbones by --backbones, sequences and refolds by files under the same names.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protgen.cli.console import JsonOption, print_json, progress, stdout, table, warn
from protgen.cli.exit_codes import of_failures
from protgen.cli.interruption import Interrupted
from protgen.cli.option_groups import grouped
from protgen.cli.options import Asked, RunOptions, SettingsOptions
from protgen.cli.ranking_options import RankingOptions, check_figure
from protgen.cli.run_stages import (
    SOURCE,
    Stages,
    check_same_run,
    check_unused,
    made_elsewhere,
    remove_results,
    source_of,
)
from protgen.cli.sample import FileFormat, check_restart, make, plan
from protgen.cli.sequence_options import SequenceOptions, agreement_of, say_agreement
from protgen.errors import AllFailedError

if TYPE_CHECKING:
    from rich.table import Table

    from protgen.cli.design_folder import DesignFolder
    from protgen.evaluation.ranking import Ranking
    from protgen.evaluation.result import EvaluationResult
    from protgen.folding.base import StructurePredictor

MOST_NAMED = 5  # backbones left out that are named on the screen


def chains_of(asked: Asked) -> int:
    """How many chains a design has that is made as asked.

    Raises:
        UsageError: if a condition cannot be read, or is out of range.
    """
    from protgen.conditions.roles import Assembly

    return max((len(each.operations()) for each in asked.conditions() if isinstance(each, Assembly)), default=1)


@grouped
def run(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything.", metavar="DIR")],
    sampled: RunOptions,
    asked: Asked,
    how: SettingsOptions,
    sequences: SequenceOptions,
    ranked: RankingOptions,
    backbones: Annotated[
        Path | None,
        typer.Option(
            "--backbones",
            help="Structures made elsewhere, in place of sampling; all of them are judged, whatever their faults.",
            metavar="DIR",
        ),
    ] = None,
    file_format: Annotated[FileFormat, typer.Option("--format", help="File format.")] = FileFormat.PDB,
    resume: Annotated[bool, typer.Option("--resume", help="Finish a run that was interrupted.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the folder.")] = False,
    as_json: JsonOption = False,
) -> None:
    """From a request to ranked sequences: sample, keep the valid, design sequences, refold, rank.

    protgen run --ss L2H16L4H16L4H16L2 -n 20 --keep 5 --out run
    """
    from protgen.evaluation.ranking import check_best
    from protgen.evaluation.tables import output_folder, write_json

    check_restart(resume=resume, overwrite=overwrite)
    begun = time.monotonic()
    check_best(out)
    if backbones is not None:
        check_unused(sampled, asked, how, no_filter=ranked.no_filter)
    predictor = ranked.predictor(out / "refolds" if resume else None, chains_of(asked) if backbones is None else 1)
    settings = sequences.settings(sampled.seed, file_format.value)
    tool = sequences.tool()
    stages = Stages(out, tool, settings, predictor, backbones, sequences.second(tool))
    check_figure(ranked.rank_by, predictor, stages.second)
    with output_folder(out, "protgen run"):
        if resume:
            check_same_run(stages)
        if backbones is None:
            folder = sample_backbones(stages, (sampled, asked, how), file_format, resume=resume, overwrite=overwrite)
            files, left_out = passing(folder, no_filter=ranked.no_filter)
        else:
            files, left_out = made_elsewhere(stages, resume=resume, overwrite=overwrite), {}
        write_json(out / SOURCE, source_of(stages))
        try:
            judged = judge(stages, files)
        except Interrupted as interruption:
            line = f"interrupted: what is made is in {out}; --resume makes the rest"
            raise Interrupted(interruption.exit_code, line) from None
        finish(stages, judged, ranked, (left_out, time.monotonic() - begun), as_json=as_json)
    raise typer.Exit(judged.exit_code)


def sample_backbones(
    stages: Stages,
    request: tuple[RunOptions, Asked, SettingsOptions],
    file_format: FileFormat,
    *,
    resume: bool,
    overwrite: bool,
) -> "DesignFolder":
    """Make the backbones that are missing, as `protgen sample` does.

    Args:
        stages: of the run.
        request: options of the sampling.
        file_format: of the designs.
        resume: whether to finish an earlier run.
        overwrite: whether to replace it.
    """
    planned = plan(stages.folders[0], *request, file_format)
    if overwrite:
        remove_results(stages)
    make(planned, resume=resume, overwrite=overwrite)
    return planned.folder


def passing(folder: "DesignFolder", *, no_filter: bool) -> tuple[list[Path], dict[str, str]]:
    """Structure files of the designs without a fault, and what is wrong with each of the others, by name.

    Raises:
        AllFailedError: if there is none.
    """
    from protgen.cli.design_table import verdict

    files, left_out = [], {}
    for index in sorted(folder.records):
        path, faults = folder.files(index)[0], verdict(folder.records[index])
        if faults and not no_filter:
            left_out[path.stem] = ", ".join(faults)
        else:
            files.append(path)
    if not files:
        raise AllFailedError(
            f"none of {len(left_out)} backbones is valid and as asked ({in_words(left_out)}); ask for more (-n), or "
            "add --no-filter"
        )
    return files, left_out


def in_words(left_out: Mapping[str, str]) -> str:
    """The first few designs that were left out, each with what is wrong with it."""
    named = [f"{name}: {faults}" for name, faults in left_out.items()]
    more = len(named) - MOST_NAMED
    return "; ".join(named[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class Judged:
    """What is known of the backbones.

    Attributes:
        result: of the evaluation.
        rows: of sequences.
        n: backbones that were to be judged.
        without: names of those that got no sequence.
        problems: what else went wrong, by name.
        kept_refolds: of other tools.
        refolded: whether there are refolds.
    """

    result: "EvaluationResult"
    rows: "list[dict[str, Any]]"
    n: int
    without: list[str]
    problems: Mapping[str, str]
    kept_refolds: list[str]
    refolded: bool

    @property
    def exit_code(self) -> int:
        """All failed if none has a sequence, some if anything went wrong with one."""
        return max(of_failures(len(self.without), self.n), of_failures(len(self.problems), self.n + 1))


def judge(stages: Stages, files: Sequence[Path]) -> Judged:
    """Sequences, refolds and figures of backbones."""
    from protgen.evaluation.made_files import MadeFiles
    from protgen.evaluation.report import write_report
    from protgen.evaluation.runner import Settings, evaluate
    from protgen.evaluation.sequence_design import design_folder
    from protgen.evaluation.sequence_refolds import Refolds, refold_folder
    from protgen.structure.reader import stem

    _, sequences, refolds = stages.folders
    with progress("designing sequences") as show:
        rows = design_folder(files, sequences, stages.tool, stages.settings, show, stages.second)
    failed = {str(row["name"]): row["message"] for row in rows if "message" in row}
    for name, line in failed.items():
        warn(f"{name}: {line}")
    source, problems, others = None, {}, []
    if stages.predictor is not None:
        designed = [path for path in files if stem(path) not in failed]
        with progress("refolding") as show:
            writer = stages.tool, stages.settings
            problems = refold_folder(designed, sequences, refolds, stages.predictor, writer, show)
        for name, line in problems.items():
            warn(f"{name}: {line}")
        source = refolds if len(problems) < len(designed) else None
        others = Refolds(refolds, MadeFiles(refolds)).others()
    with progress("evaluating") as show:
        settings = Settings(refolds=source, tm="quick", folds=True)
        result = evaluate(list(files), stages.out / "evaluation", settings=settings, progress=show)
    write_report(result, stages.out / "evaluation")
    return Judged(result, rows, len(files), list(failed), failed | problems, others, source is not None)


def finish(
    stages: Stages,
    judged: Judged,
    ranked: RankingOptions,
    about: tuple[Mapping[str, str], float],
    *,
    as_json: bool,
) -> None:
    """Rank, write the best, and say so.

    Args:
        stages: of the run.
        judged: what is known of the backbones.
        ranked: by what, and how many are kept.
        about: backbones that were left out, and the seconds all took.
        as_json: whether to print JSON.
    """
    from protgen.evaluation.ranking import rank, write_ranking
    from protgen.evaluation.ranking_page import write_ranking_page

    left_out, seconds = about
    n, rows = judged.n + len(left_out), judged.rows
    ranking = rank(judged.result, rows, ranked.rank_by, judged.problems)
    kept = write_ranking(ranking, stages.out, ranked.keep, stages.folders, dna=ranked.dna)
    write_ranking_page(ranking, kept, stages.out, stages.folders[0], stages.folders[2])
    if as_json:
        counts = {"n": n, "n_judged": len(ranking.rows), "n_kept": len(kept), "wall_seconds": round(seconds, 2)}
        tools = {"inverse_folder": stages.tool.name, "structure_predictor": stages.predictor and stages.predictor.name}
        order = {"ranked_by": ranking.by, "better": ranking.better}
        faults = {"left_out": dict(left_out), "problems": dict(judged.problems), "exit_code": judged.exit_code}
        agreed = agreement_of(rows, stages.tool, stages.second)
        print_json({"folder": stages.out, **tools, **order, **counts, **faults, **agreed, "best": kept})
        return
    console = stdout()
    console.print(best_table(ranking, kept))
    lines = [
        f"{n} backbones, {len(ranking.rows)} judged, {len(kept)} kept by {ranking.by} ({ranking.better} is better), "
        f"{seconds:.0f} s in all.",
        *([f"Left out: {in_words(left_out)} (--no-filter judges them too)."] if left_out else []),
        f"Files: {stages.out}/order.csv, ranking.csv, best.html, best/, evaluation/report.html",
        *([of_refolds(stages.predictor, judged.kept_refolds)] if stages.predictor and judged.refolded else []),
    ]
    if ranked.rank_by is None and ranking.by == "hbond_score":
        lines.append("No refold: ranked by hbond_score, bonded N-H and regular structure.")
    say_agreement(rows, stages.tool, stages.second)
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def of_refolds(predictor: "StructurePredictor", others: Sequence[str]) -> str:
    """Who made the refolds, and what natives and decoys have by that judge where it is a relative one."""
    from protgen.evaluation.laptop_refold import measured_by

    line = f"Refolds by {predictor.name}"
    if others:
        line += f", and {len(others)} of another tool, kept as they were ({others[0]}{', ...' if others[1:] else ''})"
    if not predictor.relative:
        return f"{line}."
    return f"{line}. refold TM is a relative judge's, lax on helices: {measured_by(predictor)}."


def best_table(ranking: "Ranking", kept: Sequence[dict[str, Any]]) -> "Table":
    """One line a kept design."""
    figures = [
        (key, head)
        for key, head in (
            ("refold_tm", "refold TM"),
            ("refold_rmsd", "RMSD"),
            ("sc_rmsd", "scRMSD"),
            ("score", "score"),
        )
        if any(key in row for row in kept)
    ]
    extra = [] if ranking.by in [key for key, _ in figures] else [(ranking.by, ranking.by)]
    shown = table("rank", "<design", "len", *(head for _, head in figures + extra), "<liabilities", "<sequence")
    for row in kept:
        numbers = [f"{row[key]:.2f}" if key in row else "-" for key, _ in figures + extra]
        shown.add_row(
            str(row["rank"]), row["design"], str(row["length"]), *numbers, row["liabilities"], row["sequence"]
        )
    return shown
