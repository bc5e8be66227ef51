"""`protgen sample --best K`: of N designs the K best, by a stated figure; all N stay where they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protgen.cli.console import progress
from protgen.errors import UsageError

if TYPE_CHECKING:
    from protgen.cli.design_folder import DesignFolder
    from protgen.evaluation.backbone_ranking import BackboneRanking
    from protgen.evaluation.ranking import Ranking

PANEL = "Which are kept"


@dataclass(frozen=True)
class BestOptions:
    """How many designs are the best, and by what."""

    best: Annotated[
        int | None,
        typer.Option(
            "--best",
            min=1,
            help="Copy the K best of the -n designs into DIR/best: good ones first, and among them by --rank-by. "
            "ranking.csv has all of them, and all stay in DIR.",
            metavar="K",
            rich_help_panel=PANEL,
        ),
    ] = None
    rank_by: Annotated[
        str | None,
        typer.Option(
            "--rank-by",
            help="A figure of `protgen evaluate`, or score (ProteinMPNN's, of the best of 8 sequences; extra design); "
            "by default hbond_score, bonded N-H and regular structure.",
            metavar="FIGURE",
            rich_help_panel=PANEL,
        ),
    ] = None

    def ranking(self, n: int, out: Path) -> "BackboneRanking | None":
        """By what designs are ranked, checked before any is made; None where they are not.

        Args:
            n: how many are made.
            out: folder of the run.

        Raises:
            UsageError: if more are to be kept than made, nothing is known of the figure, or `best/` is another's.
        """
        if self.best is None:
            if self.rank_by is not None:
                raise UsageError("--rank-by says what the best are; add --best K, or leave it out")
            return None
        if self.best > n:
            raise UsageError(f"--best {self.best} of -n {n}: make at least as many as are kept")
        from protgen.evaluation.backbone_ranking import DEFAULT, BackboneRanking
        from protgen.evaluation.ranking import check_best

        check_best(out)
        return BackboneRanking(self.rank_by or DEFAULT)


@dataclass(frozen=True)
class Kept:
    """Designs in order.

    Attributes:
        ranking: of all.
        indices: of the best, best first.
        folder: of their copies.
        by: the figure in words.
    """

    ranking: "Ranking"
    indices: Sequence[int]
    folder: Path
    by: str

    @property
    def values(self) -> dict[int, float]:
        """The figure of each design, by index, best first."""
        return {row["index"]: row["value"] for row in self.ranking.rows}

    def line(self) -> str:
        """What was kept, in words."""
        return f"The {len(self.indices)} best of {len(self.ranking.rows)}: good ones first, then by {self.by}."


def keep_best(folder: "DesignFolder", by: "BackboneRanking", keep: int) -> Kept:
    """Rank the designs of a folder, and write the ranking and copies of the best.

    Args:
        folder: with the designs.
        by: what they are ranked by.
        keep: how many are the best.
    """
    from protgen.cli.design_table import verdict
    from protgen.evaluation.backbone_ranking import write_backbone_ranking

    def row_of(index: int) -> dict[str, Any]:
        record = folder.records[index]
        problems = verdict(record)
        own = {"design": folder.files(index)[0].stem, "index": index, "candidate": record["candidate"]}
        return record["validity"] | own | {"good": not problems, "verdict": ", ".join(problems) or "good"}

    with progress("ranking") as show:
        rows = [row_of(index) for index in sorted(folder.records)]
        ranking = by.rank(rows, lambda row: folder.files(row["index"])[0], show)
    best = write_backbone_ranking(ranking, folder.path, keep, lambda row: folder.files_of_design(row["index"]))
    return Kept(ranking, [row["index"] for row in ranking.rows[:keep]], best, by.describe())
