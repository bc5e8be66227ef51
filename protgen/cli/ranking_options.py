"""Options of `protgen run`: who folds the sequences, and which designs are the best."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protgen.cli.console import warn
from protgen.errors import DocumentError, UsageError

if TYPE_CHECKING:
    from protgen.folding.base import StructurePredictor
    from protgen.inverse_folding.base import SequenceModel

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


def check_figure(rank_by: str | None, predictor: "StructurePredictor | None", second: "SequenceModel | None") -> None:
    """Check the figure that designs are to be ranked by, before anything is made.

    Args:
        rank_by: its name; None where it is left open.
        predictor: that folds; None for no refolds.
        second: another designer that scores the sequences; None for none.

    Raises:
        UsageError: if there will be none of that name, or nothing says which way is better.
    """
    from protgen.evaluation import laptop_refold
    from protgen.evaluation.ranking import OF_SEQUENCES, better_of
    from protgen.evaluation.second_opinion import QUANTITY
    from protgen.evaluation.validity import structure_metrics
    from protgen.metrics import self_consistency

    if rank_by is None:
        return
    relative, absolute = ((*part.QUANTITIES, *part.MOTIF_QUANTITIES) for part in (laptop_refold, self_consistency))
    of_refolds = () if predictor is None else relative if predictor.relative else absolute
    if rank_by in {each.name for each in (*relative, *absolute)} - {each.name for each in of_refolds}:
        refolds = "no refolds" if predictor is None else f"refolds by {predictor.name} alone, which have no such figure"
        other = "hbond_score" if predictor is None else "refold_tm" if predictor.relative else "sc_rmsd"
        raise UsageError(f"--rank-by {rank_by}: there will be {refolds}; choose another figure, such as {other}")
    of_structures = [quantity for metric in structure_metrics() for quantity in metric.quantities]
    better_of(rank_by, [*of_structures, *OF_SEQUENCES, *of_refolds, *([QUANTITY] if second else [])])


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
