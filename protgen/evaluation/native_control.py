"""Real structures through the same code: what a perfect generator would score."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from protgen.evaluation.common_method import unify_row
from protgen.evaluation.features import Features
from protgen.evaluation.folds import describe_folds
from protgen.evaluation.reference import TRAIN, Reference
from protgen.evaluation.result import EvaluationResult
from protgen.evaluation.set_summary import ERROR
from protgen.evaluation.validity import validity
from protgen.metrics.base import summarise
from protgen.metrics.secondary_structure import DSSP

MOST = 200  # natives measured


@dataclass(frozen=True)
class NativeControl:
    """Summaries of natives.

    Attributes:
        name: of the reference.
        n: natives measured.
        metrics: by column, as in `summary.json`.
        folds: fold scores, as in `summary.json`; empty where folds were not classified.
    """

    name: str
    n: int
    metrics: Mapping[str, Mapping[str, Any]]
    folds: Mapping[str, Any] = field(default_factory=dict)


def native_control(result: EvaluationResult, reference: Reference | None) -> NativeControl | None:
    """Measure natives of the lengths of the structures: held-out ones if there are any; evenly chosen, at most 200.

    Args:
        result: of an evaluation.
        reference: where the natives come from.

    Returns:
        None without a reference, or if none of its chains has a length between the shortest and the longest structure.
    """
    if reference is None:
        return None
    lengths = [int(row["length"]) for row in result.rows if row["status"] != ERROR]
    if not lengths:
        return None
    low, high = min(lengths), max(lengths)
    fits = [k for k, protein in enumerate(reference.proteins) if low <= protein.length <= high]
    held_out = [k for k in fits if reference.splits[k] != TRAIN]
    chosen = held_out or fits
    if not chosen:
        return None
    even = np.unique(np.linspace(0, len(chosen) - 1, min(MOST, len(chosen))).astype(int))
    picked = [reference.proteins[chosen[i]] for i in even]
    with np.errstate(all="ignore"):
        rows = [validity(protein) for protein in picked]
        for row, protein in zip(rows, picked, strict=True):
            unify_row(row, protein, str(result.content.get("ss_method", DSSP)))
    names = [name for name, value in rows[0].items() if isinstance(value, int | float)]
    metrics = {name: asdict(summarise([float(row[name]) for row in rows])) for name in names}
    folds = describe_folds(Features(picked)) if "fold_network" in result.content else {}
    return NativeControl(reference.name, len(rows), metrics, folds)
