"""Why a figure is missing: a table has no dash without a line that says it."""

from collections.abc import Mapping, Sequence
from typing import Any

from protgen.evaluation.comparison import STRATUM
from protgen.evaluation.distributions import FEWEST
from protgen.evaluation.folds import FEWEST_EMBEDDED, FEWEST_SCORED
from protgen.evaluation.result import EvaluationResult
from protgen.evaluation.validity import structure_metrics
from protgen.metrics.base import Value
from protgen.metrics.descriptors import NAMES
from protgen.metrics.distribution import FEWEST_A_COLUMN
from protgen.metrics.fold import LEVELS, MIN_LENGTH, class_names, fold_network_card

_ATOMS = {"ca": "CA", "backbone": "N, CA, C and O", "cb": "CB"}
_OWN = {
    "max_tm": "no structure could be compared with the reference: 5 to 5,000 residues with CA are needed on both sides",
    "max_tm_training": "the reference has no training chains",
    "two_partners": "no structure with N, CA, C and O has a strand",
    "right_handed_crossovers": "no structure with N, CA, C and O has a crossover",
    "sc_rmsd": "no structure has a refold",
    "sequence_score": "the refolds have no scores of their sequences",
    "nats_per_residue": "no structure has a likelihood; structures.csv says why",
    "motif_success": "no design has a record with a motif and a refold",
}
_ALIKE = {"novel": "max_tm", "memorised": "max_tm_training"}
_ALIKE |= dict.fromkeys(("designable", "sc_tm", "refold_tm", "refold_rmsd"), "sc_rmsd")


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
    if metric.endswith("_difference"):
        return f"it could not be measured; {metric.removesuffix('_difference')}_got in structures.csv says why"
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
    return "no structure of the set has 5 to 5,000 residues with CA"


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


def why_no_distance(entry: Mapping[str, Any], figure: str) -> str:
    """Why a set has no figure of its distribution.

    Args:
        entry: of the set against natives or another set, as in `summary.json`.
        figure: of `distributions.DEFINITIONS`.
    """
    n = entry.get("n", 0)
    if n < FEWEST:
        return f"{FEWEST} structures of like length are needed on either side, and there are {n}"
    if "frechet" not in entry:
        return f"{FEWEST} structures of {MIN_LENGTH} residues with CA are needed on either side"
    if figure.endswith("_natives"):
        fewest = FEWEST_EMBEDDED if "fold" in figure else FEWEST
        return f"{fewest} further natives of these lengths are needed on either side"
    base = figure.removesuffix("_corrected")
    if base not in entry:
        return f"{FEWEST_EMBEDDED} structures that the fold network can read are needed on either side, of {n}"
    if base == figure:
        return "it is no number for these structures"
    columns = _columns(base)
    return f"{FEWEST_A_COLUMN * columns} structures are needed on either side, {FEWEST_A_COLUMN} a column, of {n}"


def _columns(figure: str) -> int:
    """Features, or classes of folds, that a figure rests on."""
    if figure == "frechet":
        return len(NAMES)
    if figure == "frechet_fold":
        return int(fold_network_card()["settings"]["width"])
    return len(class_names(figure[-1]))


def why_no_fold_score(entry: Mapping[str, Any], figure: str) -> str:
    """Why a set has no fold score.

    Args:
        entry: folds of the set, as in `summary.json`.
        figure: of `folds.DEFINITIONS`.
    """
    base = figure.removesuffix("_corrected")
    if base not in entry:
        given = entry.get("n_given", 0)
        return f"{FEWEST_SCORED} structures of {MIN_LENGTH} residues with CA are needed, of {given}"
    if base == figure:
        return "it is no number for these structures"
    fewest = FEWEST_A_COLUMN * _columns(base)
    return f"{fewest} structures are needed, {FEWEST_A_COLUMN} a class, and {entry['n']} were read"


def why_no_f1(result: EvaluationResult, name: str) -> str:
    """Why a set has no F1 of designability and diversity."""
    content = result.content["sets"][name]
    found = content["designability"]
    if not found["n"]:
        return why_missing(result, name, "designable")
    if found["n"] < found["n_given"]:
        return f"it is of all structures, and {found['n_given'] - found['n']} have no refold"
    if "diversity" not in content:
        return why_not_clustered(result, name)
    return "it is of all structures, and some have no cluster"


def why_not_matched(row: Mapping[str, Value]) -> str:
    """Why the difference of two sets is not matched by length.

    Args:
        row: of `comparison.csv`.
    """
    if str(row["metric"]) in {f"fold_score_{level}" for level in LEVELS}:
        return f"{FEWEST_SCORED} structures of like length are needed in either set"
    return f"no {STRATUM} residues of length have structures of both sets"
