"""The plots of the report: what each shows, and when there is one."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from protgen.evaluation import plots
from protgen.evaluation.common_method import NAMES
from protgen.evaluation.laptop_refold import NATIVES
from protgen.evaluation.native_control import NativeControl
from protgen.evaluation.result import EvaluationResult
from protgen.evaluation.set_summary import ERROR
from protgen.structure.protein import Protein

Plots = dict[str, tuple[str, str, go.Figure]]  # by id: title, what it shows, and the figure


def report_figures(result: EvaluationResult, control: NativeControl | None = None) -> Plots:
    """Every plot of an evaluation by its id.

    Args:
        result: of the evaluation.
        control: natives at the lengths of the structures, if there are any.

    Returns:
        By id: title, what it shows, and the figure.
    """
    read = [k for k, row in enumerate(result.rows) if row["status"] != ERROR]
    rows, sets = [result.rows[k] for k in read], [result.sets[k] for k in read]
    proteins = [protein for protein in (result.proteins[k] for k in read) if protein is not None]
    return (
        _ramachandran(proteins, sets)
        | _of_structures(rows, sets)
        | _of_all(result, control)
        | _of_oracles(result, rows, sets)
    )


def _ramachandran(proteins: list[Protein], sets: list[str]) -> Plots:
    return {
        "ramachandran": (
            "Ramachandran plot",
            "Every residue with phi and psi; outlines: 98 % (line) and 99.95 % (dots) of the training natives, "
            "general class.",
            plots.ramachandran_plot(proteins, sets),
        )
    }


def _of_structures(rows: list[dict[str, Any]], sets: list[str]) -> Plots:
    """Plots that every evaluation has."""
    return {
        "compactness": (
            "Size by length",
            "Radius of gyration of the CA atoms; the lines are the median of natives and 15 % about it.",
            plots.compactness_plot(rows, sets),
        ),
        "structure": (
            "Secondary structure",
            f"By {NAMES[str(rows[0]['ss_method'])]}; one point a structure.",
            plots.structure_plot(rows, sets),
        ),
        "lengths": ("Lengths", "Residues.", plots.histogram(rows, sets, "length", "residues")),
        "favoured": (
            "Ramachandran favoured",
            "Fraction of residues with phi and psi inside the 98 % contour.",
            plots.histogram(rows, sets, "rama_favoured", "favoured, %", 100.0),
        ),
        "order": (
            "Contact order",
            "Relative contact order of CA contacts within 8 Å.",
            plots.histogram(rows, sets, "contact_order", "relative contact order"),
        ),
    }


def _of_all(result: EvaluationResult, control: NativeControl | None) -> Plots:
    """Plots of clusters, novelty and folds, where these were asked for."""
    figures: Plots = {}
    read = [k for k, row in enumerate(result.rows) if row["status"] != ERROR]
    if result.compared is not None and np.isfinite(result.compared.tm).all():
        figures["clusters"] = (
            "Cluster map",
            f"Near points have a high TM-score by the {result.compared.clustering.by} length; large ones are clusters.",
            plots.cluster_map(result.compared, result.rows, result.sets),
        )
    if any("max_tm" in result.rows[k] for k in read):
        figures["novelty"] = (
            "Nearest native",
            "Highest TM-score to the reference, by the length of the structure; below 0.5 the fold is another one.",
            plots.histogram([result.rows[k] for k in read], [result.sets[k] for k in read], "max_tm", "max TM"),
        )
    fractions = {name: entry.get("folds", {}).get("architectures") for name, entry in result.content["sets"].items()}
    if any(fractions.values()):
        natives = control.folds.get("architectures") if control is not None else None
        figures["folds"] = (
            "Architectures",
            "Mean probabilities of CATH architectures by the fold network; natives in grey.",
            plots.architecture_plot(fractions, natives),
        )
    return figures


def _of_oracles(result: EvaluationResult, rows: list[dict[str, Any]], sets: list[str]) -> Plots:
    """Plots of self-consistency and likelihood, where these were asked for."""
    figures: Plots = {}
    if any("sc_rmsd" in row for row in rows):
        figures["self_consistency"] = (
            "Self-consistency",
            "CA RMSD of each design and its best refold; below 2 Å it is designable.",
            plots.histogram(rows, sets, "sc_rmsd", "scRMSD, Å"),
        )
    if any("refold_tm" in row for row in rows):
        figures["laptop_refold"] = (
            "Laptop refold",
            f"TM-score of each design and its refold by a relative judge; natives have {NATIVES:.2f} on average.",
            plots.histogram(rows, sets, "refold_tm", "refold TM"),
        )
    if any("nats_per_residue" in row for row in rows):
        about = result.content["likelihood"]
        figures["likelihood"] = (
            "Likelihood",
            f"-log p per residue under {about['model']}, nats ({about['of_minus_log_p']}).",
            plots.histogram(rows, sets, "nats_per_residue", "nats per residue"),
        )
    return figures
