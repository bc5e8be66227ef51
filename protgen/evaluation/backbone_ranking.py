"""Rank the backbones of `protgen sample`: those without a fault first, and among them by one figure.

The figure is `hbond_score`, bonded N-H and regular structure; or `score`, ProteinMPNN's of the best of eight
sequences (extra `design`), or any figure of a structure that has a better end. Among natives and designs of the flows
ProteinMPNN's score does not tell which refold (`docs/refolds.md`).
"""

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from protgen.errors import ProtgenError, UsageError
from protgen.evaluation.ranking import OF_SEQUENCES, Ranking, Row, better_of, fresh_best, ordered
from protgen.evaluation.sequence_design import SequenceSettings, designed, task_of
from protgen.evaluation.tables import write_csv
from protgen.evaluation.validity import structure_metrics, validity
from protgen.inverse_folding.base import InverseFolder
from protgen.metrics.base import number_of
from protgen.registry import build
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure

DESIGNER = "proteinmpnn"
SCORE = OF_SEQUENCES[0]
DEFAULT = "hbond_score"  # the column of metric `sheets`
SOUND = "good"  # the column of the verdict: True where there is no fault
COLUMNS = ("rank", "design", "verdict", "ranked_by", "value", "candidate", "length", "helix", "strand", "packing")


class BackboneRanking:
    """By which figure backbones are ranked, checked before any is made.

    Args:
        by: its name.

    Raises:
        UsageError: if there is no such figure, neither end of it is better, or it needs a tool that is not there.
    """

    def __init__(self, by: str = DEFAULT) -> None:
        self.tool: InverseFolder | None = build("inverse_folding", DESIGNER) if by == SCORE.name else None
        if self.tool is not None:
            self.tool.prepare()
        self.by = by
        of_structures = [quantity for metric in structure_metrics() for quantity in metric.quantities]
        self.better = better_of(self.by, [*of_structures, SCORE])

    def describe(self) -> str:
        """The figure in words."""
        words = {SCORE.name: "ProteinMPNN score", DEFAULT: "hbond_score, bonded N-H and regular structure"}
        return f"{words.get(self.by, self.by)} ({self.better} is better)"

    def rank(
        self, rows: Iterable[Row], path_of: Callable[[Row], Path], progress: Callable[[int, int], None] | None = None
    ) -> Ranking:
        """The designs from the best on.

        Args:
            rows: a row a design: `design`, its name; `good`, whether it has no fault; and figures of its structure.
            path_of: the structure file of a row.
            progress: called with (designs done, designs in all).
        """
        valued = list(rows)
        for done, row in enumerate(valued, start=1):
            if self.by not in row:
                row[self.by] = self.value(path_of(row))
            if progress is not None:
                progress(done, len(valued))
        return Ranking(self.by, self.better, ordered(valued, self.by, self.better, first=SOUND))

    def value(self, path: Path) -> float:
        """The figure of a structure that its record does not hold; NaN where it has none."""
        try:
            protein = read_structure(path)
            if self.tool is not None:
                return self.score(path, protein, self.tool)
            return number_of(validity(protein).get(self.by))
        except UsageError:
            raise
        except ProtgenError:
            return float("nan")

    def score(self, path: Path, protein: Protein, tool: InverseFolder) -> float:
        """Least score of eight sequences: the ones that `protgen design-sequences` writes by default."""
        settings = SequenceSettings()
        return min(each.score for each in designed(protein, tool, settings, task_of(path, protein, settings)))


def write_backbone_ranking(ranking: Ranking, out: Path, keep: int, files_of: Callable[[Row], Sequence[Path]]) -> Path:
    """Write `ranking.csv` of all designs, and copies of the best into `best/`, their names after their places.

    Args:
        ranking: of all designs.
        out: folder of the designs.
        keep: how many are the best.
        files_of: the files of a row's design.

    Returns:
        The folder of the copies.
    """
    columns = [*COLUMNS, *([ranking.by] if ranking.by not in COLUMNS else [])]
    write_csv(out / "ranking.csv", columns, ranking.rows)
    files = [(path, f"{row['rank']:03d}_{path.name}") for row in ranking.rows[:keep] for path in files_of(row)]
    files = [(path, name) for path, name in files if path.is_file()]
    best = fresh_best(out, ranking, min(keep, len(ranking.rows)), [name for _, name in files])
    for path, name in files:
        shutil.copyfile(path, best / name)
    return best
