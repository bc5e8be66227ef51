"""`summary.json`: every set summarised, and the definition of every number in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from protgen.evaluation import comparison
from protgen.evaluation.adherence import adherence_columns
from protgen.evaluation.common_method import describe_method, named
from protgen.evaluation.distributions import DEFINITIONS
from protgen.evaluation.features import Features
from protgen.evaluation.folds import compare_folds
from protgen.evaluation.result import Measured
from protgen.evaluation.set_summary import ERROR, Row, describe_folds_of_all, describe_rows, describe_set
from protgen.evaluation.sets import LABELS, QUANTITIES, cluster_definition, why_not_compared
from protgen.evaluation.settings import EvaluationSettings
from protgen.evaluation.validity import structure_metrics
from protgen.metrics.base import INTERVAL, Quantity

LENGTH = {"unit": "residues", "better": None, "definition": "protein residues of the model that was read"}


@dataclass(frozen=True)
class Columns:
    """The columns of `structures.csv` behind the leading ones.

    Attributes:
        quantities: numbers, with their definitions.
        labels: text columns.
    """

    quantities: list[Quantity]
    labels: list[str]

    @property
    def names(self) -> list[str]:
        """All of them, numbers first."""
        return [quantity.name for quantity in self.quantities] + self.labels

    @property
    def summarised(self) -> list[str]:
        """The columns that are summarised."""
        return ["length", *(quantity.name for quantity in self.quantities)]


def columns_of(measured: Measured, settings: EvaluationSettings) -> Columns:
    """The columns that the settings ask for: metrics, conditions, novelty, designability, likelihood."""
    metrics = structure_metrics(settings.metrics)
    quantities = [quantity for metric in metrics for quantity in metric.quantities]
    labels = [label for metric in metrics for label in metric.labels]
    asked, asked_labels = adherence_columns(settings.conditions)
    quantities, labels = quantities + asked, labels + asked_labels
    if settings.reference is not None:
        quantities, labels = [*quantities, *QUANTITIES], [*labels, *LABELS]
    for part in measured.extras:
        quantities, labels = [*quantities, *part.quantities], [*labels, *part.labels]
    return Columns(quantities, labels)


def features_by_set(measured: Measured) -> dict[str, Features]:
    """The structures of each set that could be read, with what is computed of them once."""
    return {
        name: Features(
            [p for p, own in zip(measured.proteins, measured.sets, strict=True) if own == name and p is not None],
            measured.ss_method,
        )
        for name in dict.fromkeys(measured.sets)
    }


def summarise(
    measured: Measured, settings: EvaluationSettings, columns: Columns, features: dict[str, Features]
) -> dict[str, Any]:
    """The content of `summary.json`.

    Args:
        measured: every structure.
        settings: of the evaluation.
        columns: of the table.
        features: see `features_by_set`.
    """
    content = describe_rows(measured.rows, columns.summarised)
    content |= measured.describe_reading()
    content["sets"] = describe_sets(measured, settings, columns, features)
    content["definitions"] = {
        "length": LENGTH,
        **{q.name: {"unit": q.unit, "better": q.better, "definition": q.definition} for q in columns.quantities},
    }
    content |= describe_folds_of_all(features) if settings.folds else {}
    if settings.reference is not None or "between" in content:
        content["distribution_definitions"] = DEFINITIONS
    if measured.designability is not None:
        content["designability"] = measured.designability.source
    if measured.likelihood is not None:
        content["likelihood"] = measured.likelihood.about
    if measured.compared is not None:
        content["cluster_definition"] = cluster_definition(measured.compared)
    elif settings.tm != "none":
        content["not_clustered"] = why_not_compared(measured.proteins, settings.most_compared)
    if settings.reference is not None:
        content["reference_is_training_data"] = settings.reference.training
    content |= describe_method(measured)
    for name, text in named(columns.quantities, measured.ss_method).items():
        content["definitions"][name]["definition"] = text
    content["interval"] = INTERVAL
    if len(features) > 1:
        content["difference_interval"] = comparison.INTERVAL
    return content


def describe_sets(
    measured: Measured, settings: EvaluationSettings, columns: Columns, features: dict[str, Features]
) -> dict[str, dict[str, Any]]:
    """The summary of each set, by its name.

    Args:
        measured: every structure.
        settings: of the evaluation.
        columns: of the table.
        features: see `features_by_set`.
    """
    natives = None if settings.reference is None else Features(settings.reference.proteins, measured.ss_method)
    content = {}
    for name, own in features.items():
        rows = [row for row in measured.rows if row["set"] == name]
        about = describe_rows(rows, columns.summarised) | describe_set(
            rows, own, name, compared=measured.compared, reference=settings.reference, natives=natives,
            folds=settings.folds,
        )  # fmt: skip
        read = [row for row in rows if row["status"] != ERROR]
        content[name] = about | measured.describe_extras(read, about)
    return content


def differences(
    measured: Measured, settings: EvaluationSettings, names: Sequence[str], features: dict[str, Features]
) -> list[Row]:
    """One row a metric and pair of sets; none for one set.

    Args:
        measured: every structure.
        settings: of the evaluation.
        names: columns to compare.
        features: see `features_by_set`.
    """
    if len(features) < 2:
        return []
    read = measured.read
    rows = comparison.compare_sets([measured.rows[k] for k in read], [measured.sets[k] for k in read], names)
    return rows + compare_folds(features, comparison.STRATUM) if settings.folds else rows
