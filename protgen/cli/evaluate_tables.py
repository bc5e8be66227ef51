"""What `protgen evaluate` prints: tables of the results, and a line for what is missing."""

import math
from typing import TYPE_CHECKING

from protgen.cli.console import escape, stdout, table, warn

if TYPE_CHECKING:
    from rich.table import Table

    from protgen.evaluation.result import EvaluationResult

# What the table shows, in this order; everything else is in the files. (name, heading, percent?)
SHOWN = (
    ("length", "length", False),
    ("chain_breaks", "chain breaks", False),
    ("peptide_valid", "peptide bonds valid %", True),
    ("n_clashes", "clashes", False),
    ("rama_favoured", "Ramachandran favoured %", True),
    ("left_handed_helices", "left-handed helices", False),
    ("helix", "helix %", True),
    ("strand", "strand %", True),
    ("coil", "coil %", True),
    ("rg", "Rg Å", False),
    ("rg_ratio", "Rg / 2.2 L^0.38", False),
)


def adherence_table(result: "EvaluationResult", names: list[str]) -> "Table":
    """For each condition, in how many structures it is met, and the mean difference from what was asked."""
    shown = table("<condition", "met %", "95 % interval", "mean difference", "n")
    for name in names:
        met, off = result.summaries[f"{name}_satisfied"], result.summaries[f"{name}_difference"]
        ends = [show_number(100 * end) for end in (met.ci_low, met.ci_high)]
        interval = "-" if "-" in ends else " to ".join(ends)
        shown.add_row(name, show_number(100 * met.mean), interval, show_number(off.mean), str(met.n))
    return shown


def designability_table(result: "EvaluationResult") -> "Table":
    """One row a set: how many structures are designable, and the means over their refolds."""
    shown = table("<set", "designable %", "n", "scRMSD", "scTM", "pLDDT", "best of", "refolds", "F1")
    shown.columns[0].min_width = 12
    for name, content in result.content["sets"].items():
        found, metrics = content["designability"], content["metrics"]
        counts = found["best_of"] or ["-"]
        shown.add_row(
            escape(name),
            show_number(100 * found["designable_fraction"]),
            f"{found['n']} of {found['n_given']}",
            *(show_number(metrics[key]["mean"]) for key in ("sc_rmsd", "sc_tm", "sc_plddt")),
            "-".join(str(count) for count in dict.fromkeys(counts)),
            f"{found['refolds_used']} of {found['refolds_given']}",
            show_number(math.nan if found["f1"] is None else found["f1"]),
        )
    return shown


def warn_of_missing(result: "EvaluationResult") -> None:
    """Warn of refolds without a design and of designs without refolds, a line each."""
    about = result.content["designability"]
    if about.get("n_unassigned"):
        n, first = about["n_unassigned"], about["unassigned"][0]
        warn(f"{n} refolds belong to no design by their names, the first is {first}")
    lacking = [row for row in result.rows if row.get("refold_message")]
    if lacking:
        warn(
            f"{len(lacking)} structures lack refolds or use but some (refold_message in {result.csv.name}); "
            f"the first is {lacking[0]['file']}: {lacking[0]['refold_message']}"
        )


def say_likelihood(result: "EvaluationResult") -> None:
    """One line a set: nats and bits per residue, their kind, and how many structures have them."""
    console, about = stdout(), result.content["likelihood"]
    for name, content in result.content["sets"].items():
        found = content["likelihood"]
        error = found["nats_per_residue_error"]
        scatter = "" if error is None else f" ± {show_number(error)} (standard error)"
        console.print(
            f"{name}: {show_number(found['nats_per_residue'])}{scatter} nats, "
            f"{show_number(found['bits_per_residue'])} bits per residue "
            f"({about['of_minus_log_p'] or 'no structure has one'}; {about['model']}; {found['n']} of "
            f"{found['n_given']}), density with respect to {about['volume']}.",
            markup=False,
            soft_wrap=True,
        )
    failed = [row for row in result.rows if row.get("likelihood_message") and "nats_per_residue" not in row]
    if failed:
        warn(f"{len(failed)} structures have no likelihood; {failed[0]['file']}: {failed[0]['likelihood_message']}")


def set_table(result: "EvaluationResult") -> "Table":
    """One row a set: counts, clusters, novelty and the main figures."""
    shown = table("<set", "n", "failed", "clusters", "per n", "mean TM", "max TM", "novel %", "Rama. %")
    shown.columns[0].min_width = 12
    for name, content in result.content["sets"].items():
        diversity, novelty = content.get("diversity", {}), content.get("novelty", {})
        favoured = content["metrics"]["rama_favoured"]["mean"]
        numbers = [
            diversity.get("clusters_per_sample", math.nan),
            diversity.get("mean_pairwise_tm", math.nan),
            novelty.get("mean_max_tm", math.nan),
            100 * novelty.get("novel_fraction", math.nan),
            100 * favoured,
        ]
        clusters = str(diversity.get("clusters", "-"))
        counts = str(content["n"]), str(content["n_failed"])
        shown.add_row(escape(name), *counts, clusters, *(show_number(value) for value in numbers))
    return shown


def summary_table(result: "EvaluationResult") -> "Table":
    """Mean, 95 % interval, median and number of values of the main figures."""
    shown = table("<figure", "mean", "95 % interval", "median", "n")
    for name, heading, is_fraction in SHOWN:
        summary = result.summaries.get(name)
        if summary is None:
            continue
        scale = 100 if is_fraction else 1
        ends = [show_number(scale * end) for end in (summary.ci_low, summary.ci_high)]
        interval = "-" if "-" in ends else " to ".join(ends)
        mean, median = show_number(scale * summary.mean), show_number(scale * summary.median)
        shown.add_row(heading, mean, interval, median, str(summary.n))
    return shown


def show_number(value: float) -> str:
    """Two decimals below 10, one above; a dash where there is no number."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
