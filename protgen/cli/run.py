"""`protgen run`: from a request to ranked sequences: backbones, validity, sequences, refolds, ranking, report.

    OUT/backbones/      as `protgen sample` writes them
    OUT/sequences/      as `protgen design-sequences` writes them
    OUT/refolds/        structures named after designs
    OUT/evaluation/     as `protgen evaluate` writes it
    OUT/ranking.csv, order.csv, best.html, best/

Each stage reads the files of the one before, keeps what is there, and can be run alone or replaced by another tool.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protgen.cli.console import JsonOption, print_json, progress, stdout, table, warn
from protgen.cli.interruption import Interrupted
from protgen.cli.option_groups import grouped
from protgen.cli.options import Asked, RunOptions, SettingsOptions
from protgen.cli.sample import FileFormat, check_restart, make, plan
from protgen.cli.sequence_options import SequenceOptions, agreement_of, check_unchanged, say_agreement
from protgen.errors import AllFailedError, DocumentError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from protgen.cli.design_folder import DesignFolder
    from protgen.evaluation.ranking import Ranking
    from protgen.evaluation.result import EvaluationResult
    from protgen.evaluation.sequence_design import SequenceSettings
    from protgen.folding.base import StructurePredictor
    from protgen.inverse_folding.base import InverseFolder, SequenceModel

NONE = "none"
JUDGE = "Refolds and ranking"
BEST = "auto"


@dataclass(frozen=True)
class RankingOptions:
    """Who folds the sequences, and which designs are the best."""

    structure_predictor: Annotated[
        str,
        typer.Option(
            "--structure-predictor",
            help="auto: esmfold where its weights are on this disk, else trrosetta where installed, else none. Also "
            "command:TEMPLATE, or module:Class. trrosetta is a relative judge, for laptops.",
            metavar="TOOL",
            rich_help_panel=JUDGE,
        ),
    ] = BEST
    keep: Annotated[
        int, typer.Option("--keep", "--best", min=1, help="How many are the best.", metavar="K", rich_help_panel=JUDGE)
    ] = 10
    rank_by: Annotated[
        str | None,
        typer.Option(
            "--rank-by",
            help="A figure of evaluation/structures.csv, or score; by default refold_tm or sc_rmsd, without refolds "
            "hbond_score.",
            metavar="FIGURE",
            rich_help_panel=JUDGE,
        ),
    ] = None
    dna: Annotated[bool, typer.Option("--dna", help="Add DNA to order.csv.", rich_help_panel=JUDGE)] = False
    no_filter: Annotated[
        bool,
        typer.Option("--no-filter", help="Design sequences for faulty backbones too.", rich_help_panel=JUDGE),
    ] = False

    def predictor(self, before: Path | None, chains: int) -> "StructurePredictor | None":
        """The structure predictor, checked; None for no refolds, which is said where it was not asked for.

        Args:
            before: folder of refolds that are to be completed, by the same tool; None where there are none.
            chains: how many each design will have.

        Raises:
            UsageError: if it cannot work here.
        """
        from protgen.evaluation.refolding import build_tool

        named = self.structure_predictor
        if named == BEST:
            named = earlier_choice(before) or best_at_hand()
        if named == NONE:
            return None
        tool = build_tool("folding", named)
        if chains > 1 and not tool.several_chains:
            by = self.rank_by or "hbond_score"
            warn(
                f"{tool.name} folds single chains, and designs will have {chains}: no refolds, they are ranked by {by}"
            )
            return None
        try:
            tool.prepare()
        except UsageError as error:
            raise UsageError(f"{error}, or --structure-predictor none to rank without refolds") from None
        return tool


def check_figure(rank_by: str | None) -> None:
    """Raise UsageError if designs are to be ranked by a figure of refolds, of which there will be none."""
    from protgen.evaluation import laptop_refold
    from protgen.metrics import self_consistency

    parts = (laptop_refold, self_consistency)
    of_refolds = {each.name for part in parts for each in (*part.QUANTITIES, *part.MOTIF_QUANTITIES)}
    if rank_by in of_refolds:
        raise UsageError(f"--rank-by {rank_by}: there will be no refolds; choose another figure, such as hbond_score")


def best_at_hand() -> str:
    """Name of the best structure predictor that works with what is on this disk; "none" is said to be so."""
    from protgen.folding.best_installed import best_installed

    found = best_installed()
    if found is None:
        warn("no structure predictor is installed: no refolds; pip install 'protgen[refold]' adds a relative judge")
    return found or NONE


def earlier_choice(refolds: Path | None) -> str | None:
    """Name of the predictor that made the refolds of a folder, if it is one that is taken where none is named."""
    from protgen.documents import read_json
    from protgen.evaluation.collect import CACHE_MARKER
    from protgen.folding.best_installed import CHOICES

    if refolds is None or not (refolds / CACHE_MARKER).is_file():
        return None
    try:
        about = read_json(refolds / CACHE_MARKER)
    except DocumentError:
        return None  # another tool's files, which are kept
    tool = about.get("folder") if isinstance(about, dict) else None
    name = tool.get("name") if isinstance(tool, dict) else None
    return name if name in CHOICES else None


def chains_of(asked: Asked) -> int:
    """How many chains a design has that is made as asked.

    Raises:
        UsageError: if a condition cannot be read, or is out of range.
    """
    from protgen.conditions.roles import Assembly

    return max((len(each.operations()) for each in asked.conditions() if isinstance(each, Assembly)), default=1)


@dataclass(frozen=True)
class Stages:
    """What the stages after sampling share.

    Attributes:
        out: folder of the run.
        tool: designs sequences.
        settings: how.
        predictor: folds them; None for no refolds.
        backbones: folder of structures made elsewhere; None for those of the run.
        second: another designer that scores the sequences too; None for none.
    """

    out: Path
    tool: "InverseFolder"
    settings: "SequenceSettings"
    predictor: "StructurePredictor | None"
    backbones: Path | None = None
    second: "SequenceModel | None" = None

    @property
    def folders(self) -> tuple[Path, Path, Path]:
        """Of backbones, sequences and refolds."""
        return self.backbones or self.out / "backbones", self.out / "sequences", self.out / "refolds"


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
        typer.Option("--backbones", help="Structures made elsewhere, in place of sampling.", metavar="DIR"),
    ] = None,
    file_format: Annotated[FileFormat, typer.Option("--format", help="File format.")] = FileFormat.PDB,
    resume: Annotated[bool, typer.Option("--resume", help="Finish a run that was interrupted.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the folder.")] = False,
    as_json: JsonOption = False,
) -> None:
    """From a request to ranked sequences: sample, keep the valid, design sequences, refold, rank.

    protgen run --ss L2H16L4H16L4H16L2 -n 20 --keep 5 --out run
    """
    from protgen.evaluation.tables import output_folder

    check_restart(resume=resume, overwrite=overwrite)
    begun = time.monotonic()
    predictor = ranked.predictor(out / "refolds" if resume else None, chains_of(asked) if backbones is None else 1)
    if predictor is None:
        check_figure(ranked.rank_by)
    settings = sequences.settings(sampled.seed, file_format.value)
    tool = sequences.tool()
    stages = Stages(out, tool, settings, predictor, backbones, sequences.second(tool))
    with output_folder(out, "protgen run"):
        if resume:
            check_unchanged(stages.folders[1], stages.tool, stages.settings, resume=True)
        if backbones is None:
            folder = sample_backbones(stages, (sampled, asked, how), file_format, resume=resume, overwrite=overwrite)
            n, files = folder.n, passing(folder, no_filter=ranked.no_filter)
        else:
            files = made_elsewhere(stages, asked, resume=resume, overwrite=overwrite)
            n = len(files)
        try:
            result, rows = judge(stages, files)
        except Interrupted as interruption:
            line = f"interrupted: what is made is in {out}; --resume makes the rest"
            raise Interrupted(interruption.exit_code, line) from None
        finish(stages, result, rows, ranked, (n, time.monotonic() - begun), as_json=as_json)


def made_elsewhere(stages: Stages, asked: Asked, *, resume: bool, overwrite: bool) -> list[Path]:
    """Structure files of the folder that was given.

    Args:
        stages: of the run.
        asked: conditions, of which there are to be none.
        resume: whether to finish an earlier run.
        overwrite: whether to replace it.

    Raises:
        UsageError: if it is no folder of structures in its top, conditions were given, or an earlier run is there.
    """
    from protgen.evaluation.collect import collect_files

    folder = stages.folders[0]
    if asked.values or asked.file is not None:
        raise UsageError("--backbones are made already; leave out the conditions, or --backbones")
    if not folder.is_dir():
        raise UsageError(f"--backbones {folder}: no such folder")
    if overwrite:
        remove_results(stages)
    else:
        check_unchanged(stages.folders[1], stages.tool, stages.settings, resume=resume)
    files = [path for _, path in collect_files([folder], leave_out=[stages.out]) if path.parent == folder]
    if not files:
        raise UsageError(f"--backbones {folder}: its structures are in folders below it; name one of these")
    return files


def remove_results(stages: Stages) -> None:
    """Remove what stages after the backbones have made."""
    for other in (*stages.folders[1:], stages.out / "evaluation"):
        shutil.rmtree(other, ignore_errors=True)


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


def passing(folder: "DesignFolder", *, no_filter: bool) -> list[Path]:
    """Structure files of the designs without a fault.

    Raises:
        AllFailedError: if there is none.
    """
    from protgen.cli.design_table import verdict

    records = [folder.records[index] for index in sorted(folder.records)]
    good = [record for record in records if no_filter or not verdict(record)]
    if not good:
        raise AllFailedError(
            f"none of {len(records)} backbones is valid and as asked; ask for more (-n), or add --no-filter"
        )
    return [folder.files(record["index"])[0] for record in good]


def judge(stages: Stages, files: Sequence[Path]) -> "tuple[EvaluationResult, list[dict[str, Any]]]":
    """Sequences, refolds and figures of backbones; returns the evaluation and the rows of sequences."""
    from protgen.evaluation.report import write_report
    from protgen.evaluation.runner import Settings, evaluate
    from protgen.evaluation.sequence_design import design_folder
    from protgen.evaluation.sequence_refolds import refold_folder

    _, sequences, refolds = stages.folders
    with progress("designing sequences") as show:
        rows = design_folder(files, sequences, stages.tool, stages.settings, show, stages.second)
    for row in (row for row in rows if "message" in row):
        warn(f"{row['design']}: {row['message']}")
    source = None
    if stages.predictor is not None:
        with progress("refolding") as show:
            writer = stages.tool, stages.settings
            problems = refold_folder(files, sequences, refolds, stages.predictor, writer, show)
        for name, line in problems.items():
            warn(f"{name}: {line}")
        source = refolds if len(problems) < len(files) else None
    with progress("evaluating") as show:
        settings = Settings(refolds=source, tm="quick", folds=True)
        result = evaluate(list(files), stages.out / "evaluation", settings=settings, progress=show)
    write_report(result, stages.out / "evaluation")
    return result, rows


def finish(
    stages: Stages,
    result: "EvaluationResult",
    rows: Sequence[dict[str, Any]],
    ranked: RankingOptions,
    about: tuple[int, float],
    *,
    as_json: bool,
) -> None:
    """Rank, write the best, and say so.

    Args:
        stages: of the run.
        result: evaluation of the backbones.
        rows: of sequences.
        ranked: by what, and how many are kept.
        about: number of backbones, and the seconds all took.
        as_json: whether to print JSON.
    """
    from protgen.evaluation.ranking import rank, write_ranking
    from protgen.evaluation.ranking_page import write_ranking_page

    n, seconds = about
    ranking = rank(result, rows, ranked.rank_by)
    kept = write_ranking(ranking, stages.out, ranked.keep, stages.folders, dna=ranked.dna)
    write_ranking_page(ranking, kept, stages.out, stages.folders[0], stages.folders[2])
    if as_json:
        counts = {"n": n, "n_judged": result.n, "n_kept": len(kept), "wall_seconds": round(seconds, 2)}
        tools = {"inverse_folder": stages.tool.name, "structure_predictor": stages.predictor and stages.predictor.name}
        order = {"ranked_by": ranking.by, "better": ranking.better}
        agreed = agreement_of(rows, stages.tool, stages.second)
        print_json({"folder": stages.out, **tools, **order, **counts, **agreed, "best": kept})
        return
    console = stdout()
    console.print(best_table(ranking, kept))
    predictor = stages.predictor
    lines = [
        f"{n} backbones, {result.n} judged, {len(kept)} kept by {ranking.by} ({ranking.better} is better), "
        f"{seconds:.0f} s in all.",
        f"Files: {stages.out}/order.csv, ranking.csv, best.html, best/, evaluation/report.html",
    ]
    if predictor is not None and predictor.relative:
        from protgen.evaluation.laptop_refold import MEASURED

        lines.append(f"Refolds by {predictor.name}. refold TM is a relative judge's, lax on helices: {MEASURED}.")
    elif predictor is not None:
        lines.append(f"Refolds by {predictor.name}.")
    if ranked.rank_by is None and ranking.by == "hbond_score":
        lines.append("No refold: ranked by hbond_score, bonded N-H with what strands leave open made up for.")
    say_agreement(rows, stages.tool, stages.second)
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


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
