"""What `protgen evaluate` prints: tables of the results, and a line for what is missing."""

import math
from typing import TYPE_CHECKING

from protgen.cli.console import escape, number_of, stdout, table, warn, warnings_in_words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rich.table import Table

    from protgen.evaluation.native_control import NativeControl
    from protgen.evaluation.result import EvaluationResult
    from protgen.evaluation.settings import Settings

# What the table shows, in this order; everything else is in the files. (name, heading, percent?)
SHOWN = (
    ("length", "length", False),
    ("chain_breaks", "chain breaks", False),
    ("peptide_valid", "peptide bonds valid %", True),
    ("n_clashes", "clashes", False),
    ("rama_favoured", "Ramachandran favoured %", True),
    ("molprobity_favoured", "the same, MolProbity's scale %", True),
    ("left_handed_helices", "left-handed helices", False),
    ("helix", "helix %", True),
    ("strand", "strand %", True),
    ("coil", "coil %", True),
    ("bonded", "bonded N-H %", True),
    ("right_handed_crossovers", "right-handed crossovers %", True),
    ("rg", "Rg Å", False),
    ("rg_ratio", "Rg / 2.2 L^0.38", False),
    ("packing", "packing / natives'", False),
    ("sound", "sound folds %", True),
)


def counts_in_words(result: "EvaluationResult") -> list[str]:
    """How many structures and chains were judged, and which files were skipped."""
    from protgen.structure.file_names import skipped_in_words

    used, content = result.n - result.n_failed, result.content
    several = content["several_chains"]
    chains = f" Chains judged: {content['chains_judged']}; {several} files have several." if several else ""
    skipped = skipped_in_words(content["skipped_by_name"])
    return [f"{used} of {result.n} structures used.{chains}", *([f"{skipped}."] if skipped else [])]


def warn_of_reading(result: "EvaluationResult", settings: "Settings") -> None:
    """Warn of what the reader noticed in the structures, and in the reference."""
    noticed = result.content["reader_warnings"]
    if noticed:
        warn(f"the reader noticed {warnings_in_words(noticed)}; structures.csv names the files, --strict refuses them")
    if settings.reference is not None:
        for line in settings.reference.notes:
            warn(f"--reference {settings.reference.name}: {line}")


def adherence_table(result: "EvaluationResult", names: list[str]) -> "Table":
    """For each condition and set, in how many structures it is met, and the mean difference from what was asked."""
    sets = result.content["sets"]
    several = len(sets) > 1
    shown = table(*(["<set"] if several else []), "<condition", "met %", "95 % interval", "mean difference", "n")
    for own, content in sets.items():
        for name in names:
            met, off = content["metrics"][f"{name}_satisfied"], content["metrics"][f"{name}_difference"]
            interval = interval_of(met, 100) or "-"
            numbers = show_number(100 * met["mean"]), interval, show_number(off["mean"]), str(met["n"])
            shown.add_row(*([escape(own)] if several else []), name, *numbers)
    return shown


def interval_of(summary: "Mapping[str, Any]", scale: float) -> str:
    """The ends of an interval; empty where there is none."""
    ends = [show_number(scale * number_of(summary.get(end))) for end in ("ci_low", "ci_high")]
    return "" if "-" in ends else " to ".join(ends)


def designability_table(result: "EvaluationResult") -> "Table":
    """One row a set: how many structures are designable, and the means over their refolds."""
    if result.content["designability"].get("relative"):
        return refold_table(result)
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


def refold_table(result: "EvaluationResult") -> "Table":
    """One row a set, of a relative judge: means over the refolds."""
    shown = table("<set", "refold TM", "n", "refold RMSD", "< 3 Å %", "sequence score", "refolds")
    for name, content in result.content["sets"].items():
        found, score = content["designability"], content["metrics"].get("sequence_score", {})
        shown.add_row(
            escape(name),
            show_number(found["mean_refold_tm"]),
            f"{found['n']} of {found['n_given']}",
            show_number(found["mean_refold_rmsd"]),
            show_number(math.nan if found["below_3"] is None else 100 * found["below_3"]),
            show_number(score.get("mean", math.nan)),
            f"{found['refolds_used']} of {found['refolds_given']}",
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


def set_table(result: "EvaluationResult", settings: "Settings") -> "Table":
    """One row a set: counts, clusters, novelty and the main figures; of what was asked for."""
    clustered, compared = settings.tm != "none", settings.reference is not None
    heads = ["n", "failed", *(["clusters", "per n", "mean TM"] if clustered else [])]
    shown = table("<set", *heads, *(["max TM", "novel %"] if compared else []), "Rama. %")
    shown.columns[0].min_width = 12
    for name, content in result.content["sets"].items():
        diversity, novelty = content.get("diversity", {}), content.get("novelty", {})
        cells = [str(content["n"]), str(content["n_failed"])]
        if clustered:
            values = [number_of(diversity.get(key)) for key in ("clusters_per_sample", "mean_pairwise_tm")]
            cells += [str(diversity.get("clusters", "-")), *(show_number(value) for value in values)]
        if compared:
            values = [number_of(novelty.get("mean_max_tm")), 100 * number_of(novelty.get("novel_fraction"))]
            cells += [show_number(value) for value in values]
        cells.append(show_number(100 * number_of(content["metrics"]["rama_favoured"]["mean"])))
        shown.add_row(escape(name), *cells)
    shown.caption = escape("; ".join(_set_notes(result.content))) or None
    return shown


def _set_notes(content: "Mapping[str, Any]") -> "list[str]":
    """What clusters, mean TM and novelty are, in as few words as they take."""
    notes = []
    if content["sets"]:
        first = next(iter(content["sets"].values()))
        if "diversity" in first:
            rule = content["cluster_definition"].split(";")[0].removeprefix("cluster of its set").lstrip(": ")
            notes.append(f"clusters and mean TM: {rule}")
        if "novelty" in first:
            about = first["novelty"]
            notes.append(f"max TM, novel: to {about['n_reference']:,} references, by the structure's length")
            if about["n_crops"]:
                notes.append(f"{about['n_crops']:,} of them are crops: give the folder of whole chains to find pieces")
    return notes


def summary_table(result: "EvaluationResult", control: "NativeControl | None" = None) -> "Table":
    """The main figures, a column a set: of one set mean, interval, median and n, of several mean over interval.

    Args:
        result: of the evaluation.
        control: natives measured, the last column.
    """
    sets = {name: content["metrics"] for name, content in result.content["sets"].items()}
    alone = next(iter(sets.values())) if len(sets) == 1 else None
    native = [] if control is None else [f"natives\n{escape(control.name)}, n {control.n}"]
    if alone is not None:
        shown = table("<figure", "mean", "95 % interval", "median", "n", *native)
    else:
        shown = table("<mean, 95 % interval", *(escape(name) for name in sets), *native)
    for name, heading, is_fraction in SHOWN:
        scale = 100 if is_fraction else 1
        columns = [metrics[name] for metrics in sets.values() if name in metrics]
        if not columns:
            continue
        cells = [over_interval(entry, scale) for entry in columns]
        if alone is not None:
            entry = columns[0]
            mean, median = (show_number(scale * number_of(entry[key])) for key in ("mean", "median"))
            cells = [mean, interval_of(entry, scale) or "-", median, str(entry["n"])]
        natives = [] if control is None else [show_number(scale * number_of(control.metrics[name]["mean"]))]
        shown.add_row(heading, *cells, *natives)
    return shown


def over_interval(summary: "Mapping[str, Any]", scale: float) -> str:
    """A mean, and its interval on a line below."""
    mean, interval = show_number(scale * number_of(summary["mean"])), interval_of(summary, scale)
    return f"{mean}\n{interval}" if interval else mean


def missing_notes(result: "EvaluationResult", settings: "Settings") -> list[str]:
    """Why there is a dash, a line each reason, for all tables."""
    from protgen.evaluation.reasons import notes

    found: list[tuple[str, str]] = []
    several = len(result.content["sets"]) > 1
    names = [f"{one.name}_{part}" for one in settings.conditions for part in ("satisfied", "difference")]
    shown = {name: heading for name, heading, _ in SHOWN} | {name: name.replace("_", " ") for name in names}
    for own in result.content["sets"]:
        missing = _missing_means(result, own, shown)
        if has_set_table(result, settings):
            missing += _missing_of_sets(result, own, settings)
        if settings.refolds is not None:
            missing += _missing_refolds(result, own)
        found += [(f"{what} of {own}" if several else what, why) for what, why in missing]
    return notes(found)


def _missing_means(result: "EvaluationResult", own: str, shown: "Mapping[str, str]") -> "list[tuple[str, str]]":
    """The means and intervals that a set lacks, of the columns shown, with the reasons."""
    from protgen.evaluation.reasons import why_missing, why_no_interval

    found = []
    for name, heading in shown.items():
        entry = result.content["sets"][own]["metrics"].get(name)
        if entry is not None and not entry["n"]:
            found.append((heading, why_missing(result, own, name)))
        elif entry is not None and not interval_of(entry, 1):
            found.append(("intervals", why_no_interval(entry)))
    return found


def _missing_of_sets(result: "EvaluationResult", own: str, settings: "Settings") -> "list[tuple[str, str]]":
    """What a set lacks in the table of sets, with the reasons."""
    from protgen.evaluation.reasons import why_missing, why_not_clustered

    content, found = result.content["sets"][own], []
    if settings.tm != "none" and "diversity" not in content:
        found.append(("clusters", why_not_clustered(result, own)))
    elif "diversity" in content and not math.isfinite(number_of(content["diversity"]["mean_pairwise_tm"])):
        why = "foldseek gives no scores of all pairs" if settings.tm == "foldseek" else "one structure has no pairs"
        found.append(("mean TM", why))
    if settings.reference is not None and not content["novelty"]["n"]:
        found.append(("max TM", why_missing(result, own, "max_tm")))
    return found


def _missing_refolds(result: "EvaluationResult", own: str) -> "list[tuple[str, str]]":
    """What a set lacks in the table of designability, with the reasons."""
    from protgen.evaluation.reasons import why_missing, why_no_f1

    content = result.content["sets"][own]
    found, metrics = content["designability"], content["metrics"]
    relative = bool(result.content["designability"].get("relative"))
    shown = {"refold_tm": "refold TM", "refold_rmsd": "refold RMSD", "sequence_score": "sequence score"}
    if not relative:
        shown = {"designable": "designable", "sc_rmsd": "scRMSD", "sc_tm": "scTM", "sc_plddt": "pLDDT"}
    missing = [
        (heading, why_missing(result, own, name))
        for name, heading in shown.items()
        if not metrics.get(name, {}).get("n")
    ]
    if not relative and found["f1"] is None:
        missing.append(("F1", why_no_f1(result, own)))
    return missing


def has_set_table(result: "EvaluationResult", settings: "Settings") -> bool:
    """Whether the table of sets is shown."""
    return len(result.content["sets"]) > 1 or result.compared is not None or settings.reference is not None


def show_number(value: float) -> str:
    """Two decimals below 10, one above; a dash where there is no number."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
