"""Metrics of other packages: which are used, and what one costs that fails."""

from collections.abc import Mapping, Sequence

import numpy as np

from protgen import registry
from protgen.errors import ConfigError
from protgen.metrics.base import Metric, Quantity, Value
from protgen.structure.protein import Protein

# Columns that an evaluation writes in addition to those of the metrics of a structure.
TAKEN = (
    "file", "status", "message", "length", "chains", "set", "cluster", "representative", "nearest", "max_tm", "novel",
    "max_tm_training", "memorised", "sc_rmsd", "sc_mean_distance", "sc_tm", "sc_plddt", "designable",
    "designable_confident", "designable_tm", "n_refolds", "n_refolds_used", "motif_sc_rmsd", "motif_success",
    "refold_rmsd", "refold_mean_distance", "refold_tm", "refold_confidence", "motif_refold_rmsd", "sequence_score",
    "refold_message", "nats_per_residue", "bits_per_residue", "likelihood_message",
)  # fmt: skip


def admitted(own: Sequence[Metric], more: Sequence[str]) -> list[Metric]:
    """Instances of the metrics of other packages.

    Args:
        own: those of protgen, whose columns are taken.
        more: further ones, as `module:Class` or by name.

    Raises:
        ConfigError: if one of `more` cannot be used. An entry point that cannot be used is left out with a warning.
    """
    mine = registry.own_plugins("metrics")
    names = [name for name in registry.classes("metrics") if name not in mine]
    columns = {*TAKEN, *(column for metric in own for column in columns_of(metric))}
    found: list[Metric] = []
    for name in [*names, *more]:
        if any(type(metric) is registry.find("metrics", name) for metric in [*own, *found]):
            continue
        try:
            metric = registry.build("metrics", name)
            check_columns(metric, name, columns)
        except ConfigError as error:
            if name in more:
                raise
            registry.complain(f"left out: {error}")
            continue
        columns |= set(columns_of(metric))
        found.append(metric)
    return found


def columns_of(metric: Metric) -> list[str]:
    """Names of its columns."""
    return [*(quantity.name for quantity in metric.quantities), *metric.labels]


def check_columns(metric: Metric, name: str, taken: set[str]) -> None:
    """Refuse a metric that does not say what it reports, or whose columns are another's.

    Raises:
        ConfigError: naming the metric.
    """
    declared = getattr(metric, "quantities", None)
    if not isinstance(declared, tuple) or not all(isinstance(each, Quantity) for each in declared):
        raise ConfigError(f"metrics {name!r} declares no quantities; give it a tuple of Quantity")
    columns = columns_of(metric)
    clash = [column for k, column in enumerate(columns) if column in taken or column in columns[:k]]
    if clash:
        raise ConfigError(f"metrics {name!r} has a column {clash[0]!r}, which there is already; rename it there")


def measure(metric: Metric, protein: Protein) -> tuple[Mapping[str, Value], str]:
    """The values of a metric, and one line on what is wrong with them.

    A metric of another package that fails, or leaves a value out, costs its own values alone: they are NaN or "".
    """
    if not registry.is_foreign(type(metric)):
        return metric.measure(protein), ""
    row: dict[str, Value] = dict.fromkeys((quantity.name for quantity in metric.quantities), np.nan)
    row |= dict.fromkeys(metric.labels, "")
    try:
        found = metric.measure(protein)
        row |= {quantity.name: float(found[quantity.name]) for quantity in metric.quantities}
        row |= {label: str(found[label]) for label in metric.labels}
    except Exception as error:  # whatever is wrong there must not lose the rest of the row
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return row, f"metric {metric.name} of {type(metric).__module__} failed: {reason}"
    return row, ""
