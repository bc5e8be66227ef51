"""Why a figure is missing: a table has no dash without a line that says it."""

from collections.abc import Mapping, Sequence
from typing import Any

from protgen.evaluation.result import EvaluationResult
from protgen.evaluation.validity import structure_metrics

_ATOMS = {"ca": "CA", "backbone": "N, CA, C and O", "cb": "CB"}
_OWN = {
    "max_tm": "no structure could be compared with the reference: 5 residues with CA are needed on both sides",
    "max_tm_training": "the reference has no training chains",
    "sc_rmsd": "no structure has a refold",
    "nats_per_residue": "no structure has a likelihood; structures.csv says why",
    "motif_success": "no design has a record with a motif and a refold",
}
_ALIKE = {"novel": "max_tm", "memorised": "max_tm_training", "designable": "sc_rmsd", "sc_tm": "sc_rmsd"}


def needs() -> dict[str, str]:
    """What a structure must hold for each quantity that not every structure has, in words."""
    found = {}
    for metric in structure_metrics():
        atoms = [_ATOMS[part] for part in metric.requires if part in _ATOMS and part != "ca"]
        found |= {quantity.name: f"needs {' and '.join(atoms)}" for quantity in metric.quantities if atoms}
    return found


def why_missing(result: EvaluationResult, name: str, metric: str) -> str:
    """Why no structure of a set has a figure.

    Args:
        result: of the evaluation.
        name: of the set.
        metric: column.
    """
    content = result.content["sets"][name]
    if content["n"] == content["n_failed"]:
        return "no structure of the set could be read"
    key = _ALIKE.get(metric, metric)
    if key in _OWN:
        return _OWN[key]
    if metric == "sc_plddt":
        return "no refold says its pLDDT"
    wanted = needs().get(metric)
    if wanted is not None:
        return f"{wanted}, or more residues than the structures of the set have"
    return "no structure of the set has it"


def why_not_clustered(result: EvaluationResult, name: str) -> str:
    """Why a set has no clusters."""
    if "not_clustered" in result.content:
        return str(result.content["not_clustered"])
    if result.compared is None:
        return "clusters were not asked for (--tm)"
    return "no structure of the set has 5 residues with CA"


def why_no_interval(summary: Mapping[str, Any]) -> str:
    """Why a mean has no interval."""
    return "one value has no interval" if summary.get("n") == 1 else "too few values for an interval"


def notes(reasons: Sequence[tuple[str, str]]) -> list[str]:
    """Lines "- of A, B: reason", one a reason.

    Args:
        reasons: what is missing and why.
    """
    by_reason: dict[str, list[str]] = {}
    for what, why in reasons:
        by_reason.setdefault(why, []).append(what)
    return [f"-  {', '.join(dict.fromkeys(what))}: {why}." for why, what in by_reason.items()]
