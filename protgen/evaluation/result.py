"""What an evaluation found: the rows of all files, and what was computed from all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protgen.evaluation.designability import DesignabilityResult, describe_designability
from protgen.evaluation.set_summary import ERROR, Row
from protgen.evaluation.sets import Compared
from protgen.metrics.base import Quantity, Summary
from protgen.structure.protein import Protein
from protgen.structure.read_warnings import count_codes

if TYPE_CHECKING:
    from protgen.evaluation.likelihood import LikelihoodResult


@dataclass
class Measured:
    """Every structure measured, before anything is summarised or written.

    Attributes:
        rows: one a file, in the order of the files.
        proteins: one a row; None where the file could not be read.
        sets: the set of each row.
        compared: all pairs of structures compared, if that was asked for.
        designability: the source and columns of the refolds, if there are any.
        likelihood: the kind and columns of the likelihood, if a model was named.
        skipped: how many files of the folders are no structures by their names, by suffix.
        ss_method: how the secondary structure of all of them was read, "dssp" or "p-sea".
    """

    rows: list[Row]
    proteins: list[Protein | None]
    sets: list[str]
    compared: Compared | None = None
    designability: DesignabilityResult | None = None
    likelihood: "LikelihoodResult | None" = None
    skipped: dict[str, int] = field(default_factory=dict)
    ss_method: str = "dssp"

    @property
    def extras(self) -> "list[DesignabilityResult | LikelihoodResult]":
        """The results with columns of their own, in the order of these columns."""
        return [part for part in (self.designability, self.likelihood) if part is not None]

    @property
    def read(self) -> list[int]:
        """The rows whose file could be read."""
        return [k for k, row in enumerate(self.rows) if row["status"] != ERROR]

    def describe_reading(self) -> dict[str, Any]:
        """What was read, for `summary.json`: chains judged, reader warnings by code, files skipped by suffix."""
        proteins = [protein for protein in self.proteins if protein is not None]
        return {
            "chains_judged": sum(len(protein.chains) for protein in proteins),
            "several_chains": sum(len(protein.chains) > 1 for protein in proteins),
            "reader_warnings": dict(count_codes(protein.warnings for protein in proteins)),
            "skipped_by_name": self.skipped,
        }

    def describe_extras(self, read: Sequence[Row], about: dict[str, Any]) -> dict[str, Any]:
        """Designability and likelihood of one set, for `summary.json`.

        Args:
            read: the rows of the set that could be read.
            about: what is known of the set already.
        """
        content: dict[str, Any] = {}
        if self.designability is not None:
            relative = bool(self.designability.source["relative"])
            content["designability"] = describe_designability(read, about.get("diversity", {}), relative)
        if self.likelihood is not None:
            content["likelihood"] = self.likelihood.describe(read)
        return content


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
        compared: all pairs of structures compared, if that was asked for.
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
