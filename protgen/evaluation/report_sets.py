"""The sections of a report that compare sets: differences, folds, distributions."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from protgen.evaluation.native_control import NativeControl
from protgen.evaluation.reasons import why_no_distance, why_no_fold_score, why_not_matched
from protgen.evaluation.report_missing import Missing
from protgen.evaluation.report_tables import DASH, show, table
from protgen.metrics.base import Value, number_of
from protgen.metrics.fold import LEVEL_NAMES, LEVELS

Content = Mapping[str, Any]
HEADINGS = {
    "n": "structures compared",
    "js_phi_psi": "JS of phi and psi, bits",
    "js_ss": "JS of secondary structure, bits",
    "js_rg": "JS of Rg / 2.2 L^0.38, bits",
    "js_contact_order": "JS of contact order, bits",
    "js_fold_c": "JS of folds, class, bits",
    "js_fold_c_corrected": "JS of folds, class, corrected",
    "js_fold_a": "JS of folds, architecture, bits",
    "js_fold_a_corrected": "JS of folds, architecture, corrected",
    "js_fold_t": "JS of folds, topology, bits",
    "js_fold_t_corrected": "JS of folds, topology, corrected",
    "frechet": "Fréchet, descriptors",
    "frechet_corrected": "Fréchet, descriptors, corrected",
    "frechet_natives": "the same, natives against natives",
    "frechet_fold": "Fréchet, fold features",
    "frechet_fold_corrected": "Fréchet, fold features, corrected",
    "frechet_fold_natives": "the same, natives against natives",
    "mmd": "MMD² × 1000",
    "classifier_accuracy": "classifier accuracy",
}


def differences_table(differences: Sequence[Mapping[str, Value]], shown: Mapping[str, tuple[str, bool]]) -> str:
    """Rows of `comparison.csv`, for the figures that the page shows: a table for each pair of sets, the first one open.

    Args:
        differences: the rows.
        shown: heading of each metric, and whether it is a fraction shown in percent.
    """
    pairs: dict[tuple[str, str], tuple[list[str], Missing]] = {}
    for row in differences:
        if row["metric"] not in shown:
            continue
        heading, percent = shown[str(row["metric"])]
        body, missing = pairs.setdefault((str(row["first"]), str(row["second"])), ([], Missing()))
        body.append(f"<tr><td>{html.escape(heading)}</td>{_difference_cells(row, heading, percent, missing)}</tr>")
    head = "".join(f"<th>{text}</th>" for text in ("difference", "matched by length", "p", "n"))
    return "".join(
        f"<details{' open' if place == 0 else ''}><summary>{html.escape(second)} less {html.escape(first)}</summary>"
        f"{table(head, body)}{missing.listed()}</details>"
        for place, ((first, second), (body, missing)) in enumerate(pairs.items())
    )


def _difference_cells(row: Mapping[str, Value], heading: str, percent: bool, missing: Missing) -> str:
    """A difference, the same matched by length, its p-value and the counts."""
    cells = []
    for stem in ("", "matched_"):
        value, low, high = (show(row.get(f"{stem}{key}"), percent) for key in ("difference", "ci_low", "ci_high"))
        ends = "" if DASH in (low, high) else f"<small>{low} to {high}</small>"
        what = f"{heading.partition(',')[0]}, matched"
        cells.append(missing.dash(what, why_not_matched(row)) if value == DASH else f"<td>{value}{ends}</td>")
    cells.append(f"<td>{show_p(float(row['p_value']))}</td><td>{row['n_first']}, {row['n_second']}</td>")
    return "".join(cells)


def folds_section(content: Content, control: NativeControl | None) -> tuple[str, str]:
    """The lead, with the fold network and its accuracy, and the fold scores of each set."""
    network = content["fold_network"]
    right = ", ".join(
        f"{LEVEL_NAMES[level]} {show(network['validation'][level]['accuracy'], True)} %" for level in LEVELS
    )
    n = network["validation"]["c"]["n"]
    lead = (
        f"CATH classes by {html.escape(network['name'])}, a network of this package that sees CA atoms. Right for "
        f"{n} held-out native domains: {right}. Fold score: 1 if all folds are alike. These figures compare with one "
        "another, not with those of other networks."
    )
    entries = [(name, entry["folds"]) for name, entry in content["sets"].items()]
    if control is not None and control.folds:
        entries.append(("natives", control.folds))
    heads = [f"<th>{html.escape(name)}</th>" for name, _ in entries]
    body, missing = [], Missing()
    for level in LEVELS:
        headings = {f"fold_score_{level}": f"fold score, {LEVEL_NAMES[level]}"}
        headings[f"fold_score_{level}_corrected"] = f"fold score, {LEVEL_NAMES[level]}, corrected"
        for name, heading in headings.items():
            if not any(name in entry for _, entry in entries):
                continue
            cells = "".join(
                _with_ends(entry, name) or missing.dash(f"{heading} of {own}", why_no_fold_score(entry, name))
                for own, entry in entries
            )
            tip = html.escape(content["fold_definitions"][name], quote=True)
            body.append(f'<tr><td title="{tip}">{heading}</td>{cells}</tr>')
    used = "".join(f"<td>{entry['n']} of {entry['n_given']}</td>" for _, entry in entries)
    body.append(f"<tr><td>structures read</td>{used}</tr>")
    return lead, table("".join(heads), body) + missing.listed()


def distributions_table(entries: Mapping[str, Content], definitions: Mapping[str, str]) -> str:
    """One column for each comparison, one row a figure.

    Args:
        entries: figures by heading of the column.
        definitions: of the figures, in their order.
    """
    body, missing = [], Missing()
    for figure, definition in definitions.items():
        if figure == "n_natives" or not any(figure in entry for entry in entries.values()):
            continue
        heading, cells = HEADINGS.get(figure, figure), []
        for name, entry in entries.items():
            why = why_no_distance(entry, figure)
            cells.append(_distance(entry, figure) or missing.dash(f"{_short(figure)} of {name}", why))
        tip = html.escape(definition, quote=True)
        body.append(f'<tr><td title="{tip}">{heading}</td>{"".join(cells)}</tr>')
    return table("".join(f"<th>{html.escape(name)}</th>" for name in entries), body) + missing.listed()


def _distance(entry: Content, figure: str) -> str:
    """A figure of a distribution as `<td>`; empty where there is none."""
    if figure == "n" and figure in entry:
        return f"<td>{entry['n']} of {entry['n_given']}</td>"
    if figure.endswith("_natives") and figure in entry:
        return f"<td>{show(entry[figure])}<small>n {entry['n_natives']}</small></td>"
    return _with_ends(entry, figure, 1000.0 if figure == "mmd" else 1.0)


def _short(figure: str) -> str:
    """The heading of a figure, without "the same" and units."""
    if figure.endswith("_natives"):
        return f"{_short(figure.removesuffix('_natives'))} of natives against natives"
    return HEADINGS.get(figure, figure).removesuffix(", bits")


def show_p(value: float) -> str:
    """A p-value as it is read."""
    return "&lt; 0.001" if value < 0.001 else f"{value:.3f}"


def _with_ends(entry: Content, name: str, scale: float = 1.0) -> str:
    """A number over its interval, where it has one, as `<td>`; empty where there is no number."""
    number = show(scale * number_of(entry.get(name)))
    if number == DASH:
        return ""
    if f"{name}_ci_low" not in entry:
        return f"<td>{number}</td>"
    ends = " to ".join(show(entry[f"{name}_ci_{end}"]) for end in ("low", "high"))
    return f"<td>{number}<small>{ends}</small></td>"
