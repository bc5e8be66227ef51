"""`report.html`: an evaluation as one page without external files.

plotly.js is inlined once. Nothing is loaded from anywhere, so the page works from a mail or a cluster's disk.
"""

import html
import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from protgen.evaluation import plots
from protgen.evaluation.native_control import NativeControl, native_control
from protgen.evaluation.page_frame import Section, framed, section
from protgen.evaluation.reasons import why_missing
from protgen.evaluation.reference import Reference
from protgen.evaluation.report_figures import report_figures
from protgen.evaluation.report_missing import Missing
from protgen.evaluation.report_oracles import designability_section, likelihood_section
from protgen.evaluation.report_sets import differences_table, distributions_table, folds_section
from protgen.evaluation.report_tables import cell, show, table
from protgen.evaluation.report_viewer import viewed
from protgen.evaluation.result import EvaluationResult
from protgen.evaluation.set_summary import ERROR
from protgen.evaluation.sets import FOLDSEEK
from protgen.evaluation.structure_view import PALETTE, viewer
from protgen.evaluation.tables import write_text
from protgen.metrics.fold import LEVEL_NAMES
from protgen.structure.file_names import in_words
from protgen.structure.read_warnings import CODES

# The figures of the first table, in this order: column, heading, percent.
SHOWN = (
    ("length", "length", False),
    ("chain_breaks", "chain breaks", False),
    ("peptide_valid", "peptide bonds valid, %", True),
    ("clash_free", "free of clashes, %", True),
    ("rama_favoured", "Ramachandran favoured, %", True),
    ("rama_outliers", "Ramachandran outliers, %", True),
    ("molprobity_favoured", "favoured on MolProbity's scale, %", True),
    ("molprobity_outliers", "outliers on MolProbity's scale, %", True),
    ("left_handed_helices", "left-handed helices", False),
    ("geometry_outliers", "covalent outliers, %", True),
    ("helix", "helix, %", True),
    ("strand", "strand, %", True),
    ("coil", "coil, %", True),
    ("bonded", "bonded N-H, %", True),
    ("two_partners", "strand residues with two partners, %", True),
    ("right_handed_crossovers", "right-handed crossovers, %", True),
    ("rg_native_ratio", "Rg / native Rg", False),
    ("packing", "packing / natives'", False),
    ("sound", "sound folds, %", True),
    ("contact_order", "relative contact order", False),
    ("max_tm", "max TM to the reference", False),
    ("novel", "novel (max TM < 0.5), %", True),
    ("memorised", "copies of training chains, %", True),
    ("designable", "designable (scRMSD < 2 Å), %", True),
    ("sc_rmsd", "scRMSD, Å", False),
    ("sc_tm", "scTM", False),
    ("sc_plddt", "pLDDT of the best refold", False),
    ("motif_success", "motif kept and designable, %", True),
    ("refold_tm", "TM of the laptop refold", False),
    ("refold_rmsd", "RMSD of the laptop refold, Å", False),
    ("sequence_score", "-log p of designed sequences, nats", False),
    ("nats_per_residue", "-log p per residue, nats", False),
)
VIEW = "Drag to turn, scroll to come nearer. A click on a point of a plot shows its structure here."
MOST_NAMED = 200  # failed files listed


def write_report(
    result: EvaluationResult,
    out: str | PathLike[str],
    reference: Reference | None = None,
    control: NativeControl | None = None,
) -> Path:
    """Write `report.html`.

    Args:
        result: of an evaluation with at least one structure that could be read.
        out: folder of the page.
        reference: natives, for the control next to every figure.
        control: these natives measured, if that is done already.

    Returns:
        The page's path.

    Raises:
        UsageError: if it cannot be written.
    """
    path = Path(out) / "report.html"
    write_text(path, page(result, control or native_control(result, reference)))
    return path


def page(result: EvaluationResult, control: NativeControl | None) -> str:
    """The whole page."""
    figures = report_figures(result, control)
    shown = viewed(result)
    data = {
        "figures": {name: {"data": f["data"], "layout": _bare(f["layout"])} for name, f in _as_json(figures).items()},
        "palette": PALETTE,
        "structures": shown,
    }
    names = list(result.content["sets"])
    cards = "".join(_card(name, title, text, figure) for name, (title, text, figure) in figures.items())
    sections = [
        section("Summary", _lead(result, control), f"{_tiles(result, names)}{_summary(result, control, names)}", "s"),
        section("Structures", VIEW, viewer(shown, result.n - result.n_failed), "v"),
        section("Plots", "Click a set to hide or show it.", f'{_chips(names)}<div class="grid">{cards}</div>', "p"),
    ]
    sections += _sections_of_sets(result, control)
    if "designability" in result.content:
        sections.append(section("Designability", *designability_section(result), "o"))
    if "likelihood" in result.content:
        sections.append(section("Likelihood", *likelihood_section(result), "l"))
    if noticed := _noticed(result):
        sections.append(
            section("What the reader noticed", "In how many files; structures.csv names them.", noticed, "w")
        )
    if result.n_failed:
        sections.append(section("Files that could not be read", "", _failures(result), "f"))
    sections.append(section("Definitions", "Every figure and its definition.", _definitions(result), "m"))
    title = ", ".join(names[:4]) + (" and more" if len(names) > 4 else "")
    footer = (
        f"Made by protgen evaluate. Intervals are {html.escape(result.content['interval'])};\n"
        "n is the number of structures that have the figure, of those read."
    )
    return framed(title, _subtitle(result), sections, data, footer)


def _card(name: str, title: str, text: str, figure: go.Figure) -> str:
    """The place of a plot; one with panels for several sets is as wide as the page, and as high as it asks for."""
    height = figure.to_plotly_json()["layout"].get("height")
    wide = " wide" if name == "folds" or height else ""
    style = f' style="height:{int(height)}px"' if height else ""
    return (
        f'<div class="card{wide}"><h3>{html.escape(title)}</h3><p>{html.escape(text)}</p>'
        f'<div class="plot" id="{name}"{style}></div></div>'
    )


def _sections_of_sets(result: EvaluationResult, control: NativeControl | None) -> list[Section]:
    """Sets compared with each other and with natives, as far as there are figures."""
    content, sections = result.content, []
    if result.differences:
        text = (
            "Of each pair of sets, the second less the first; matched: length for length. p: Mann-Whitney test of each "
            "figure by itself; of fold scores a permutation test."
        )
        shown = {name: (heading, percent) for name, heading, percent in SHOWN if is_shown(result, name)} | {
            f"fold_score_{level}": (f"fold score, {name}", False) for level, name in LEVEL_NAMES.items()
        }
        sections.append(section("Differences", text, differences_table(result.differences, shown), "d"))
    if any("fold_score_c" in entry.get("folds", {}) for entry in content["sets"].values()):
        sections.append(section("Folds", *folds_section(content, control), "k"))
    against = {name: entry.get("distribution", {}) for name, entry in content["sets"].items()}
    if any("frechet" in entry for entry in against.values()):
        text = "Each set against as many natives of like length; point at a figure for its definition."
        sections.append(
            section("Distributions", text, distributions_table(against, content["distribution_definitions"]), "t")
        )
    between = {f"{entry['first']} : {entry['second']}": entry for entry in content.get("between", [])}
    if any("frechet" in entry for entry in between.values()):
        text = "Each set against each that was named after it, which takes the place of the natives, length for length."
        sections.append(
            section("Between sets", text, distributions_table(between, content["distribution_definitions"]), "b")
        )
    return sections


def _lead(result: EvaluationResult, control: NativeControl | None) -> str:
    text = "Mean, with its 95 % interval below and the number of structures used; point at a figure for its definition."
    if control is not None:
        text += (
            f" The last column is the native control: {control.n} natives of {html.escape(control.name)} at the "
            "lengths of the structures, through the same code."
        )
    if "not_clustered" in result.content:
        text += f" {html.escape(result.content['not_clustered'].capitalize())}."
    if result.compared is not None:
        effort = html.escape(result.compared.effort)
        by_foldseek = effort.startswith(FOLDSEEK)
        text += (
            f" Clusters by {effort}." if by_foldseek else f" All pairs were compared by the {effort} TM-score search."
        )
    return text


def _subtitle(result: EvaluationResult) -> str:
    """How many structures and chains were judged."""
    content = result.content
    several = content["several_chains"]
    chains = f", {content['chains_judged']} chains judged ({several} files have several)" if several else ""
    return f"{result.n - result.n_failed} of {result.n} structures read{chains}"


def _noticed(result: EvaluationResult) -> str:
    """What the reader noticed in the files, and which were skipped, as a table; empty if there is nothing."""
    content = result.content
    body = [
        f'<tr><td>{code}</td><td>{n}</td><td class="text">{html.escape(CODES.get(code, ""))}</td></tr>'
        for code, n in content["reader_warnings"].items()
    ]
    if content["skipped_by_name"]:
        n, what = sum(content["skipped_by_name"].values()), html.escape(in_words(content["skipped_by_name"]))
        body.append(f'<tr><td>skipped by name</td><td>{n}</td><td class="text">{what}</td></tr>')
    return table("<th>files</th><th></th>", body) if body else ""


def _chips(names: Sequence[str]) -> str:
    """The legend of all plots: a button a set."""
    colours = plots.colour_of(names)
    buttons = "".join(
        f'<button type="button" class="chip" aria-pressed="true" data-set="{html.escape(name, quote=True)}">'
        f'<span class="dot" style="background:{colours[name]}"></span>{html.escape(name)}</button>'
        for name in names
    )
    return f'<div class="chips">{buttons}</div>'


def _tiles(result: EvaluationResult, names: Sequence[str]) -> str:
    colours = plots.colour_of(names)
    tiles = []
    for name in names:
        content = result.content["sets"][name]
        facts = [("read", f"{content['n'] - content['n_failed']} of {content['n']}")]
        metrics = content["metrics"]
        facts.append(("Rama. favoured", show(metrics["rama_favoured"]["mean"], True, " %")))
        facts.append(("free of clashes", show(metrics["clash_free"]["mean"], True, " %")))
        if (crossovers := content["crossovers_right_handed"])["n"]:
            right = round(crossovers["mean"] * crossovers["n"])
            facts.append(("right-handed crossovers", f"{right} of {crossovers['n']}"))
        if "diversity" in content:
            clusters = content["diversity"]
            facts.append(
                (f"clusters / samples (TM by {clusters['tm_by']})", f"{clusters['clusters']} / {clusters['n']}")
            )
        if "novelty" in content:
            facts.append(("novel folds", show(content["novelty"]["novel_fraction"], True, " %")))
        listed = "".join(f"<dt>{label}</dt><dd>{value}</dd>" for label, value in facts)
        dot = f'<span class="dot" style="background:{colours[name]}"></span>'
        tiles.append(f'<div class="tile"><h3>{dot}{html.escape(name)}</h3><dl>{listed}</dl></div>')
    return f'<div class="tiles">{"".join(tiles)}</div><br>'


def _summary(result: EvaluationResult, control: NativeControl | None, names: Sequence[str]) -> str:
    definitions = result.content["definitions"]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    if control is not None:
        head += f"<th>natives<small>{html.escape(control.name)}, n {control.n}</small></th>"
    body, missing = [], Missing()
    for metric, heading, percent in SHOWN:
        if metric not in definitions or not is_shown(result, metric):
            continue
        cells, what = [], heading.partition(",")[0]
        for name in names:
            summary = result.content["sets"][name]["metrics"][metric]
            cells.append(
                cell(summary, percent)
                if summary["n"]
                else missing.dash(f"{what} of {name}", why_missing(result, name, metric))
            )
        if control is not None:
            own = control.metrics.get(metric, {})
            why = "it compares the designs themselves with the reference, or with refolds"
            cells.append(
                cell(own, percent, "native") if own.get("n") else missing.dash(f"{what} of natives", why, "native")
            )
        tip = html.escape(definitions[metric]["definition"], quote=True)
        body.append(f'<tr><td title="{tip}">{heading}</td>{"".join(cells)}</tr>')
    return table(head, body) + missing.listed()


def is_shown(result: EvaluationResult, metric: str) -> bool:
    """Whether a figure belongs into the tables: copies of training chains need a reference that is training data."""
    return metric not in ("memorised", "max_tm_training") or bool(result.content.get("reference_is_training_data"))


def _failures(result: EvaluationResult) -> str:
    failed = [row for row in result.rows if row["status"] == ERROR]
    body = "".join(
        f'<tr><td>{html.escape(str(row["file"]))}</td><td class="text">{html.escape(str(row["message"]))}</td></tr>'
        for row in failed[:MOST_NAMED]
    )
    more = f"<p>{len(failed) - MOST_NAMED} more are in structures.csv.</p>" if len(failed) > MOST_NAMED else ""
    return f'<div class="scroll"><table><tbody>{body}</tbody></table></div>{more}'


def _definitions(result: EvaluationResult) -> str:
    entries = [(name, entry["unit"], entry["definition"]) for name, entry in result.content["definitions"].items()]
    for part in ("fold_definitions", "distribution_definitions"):
        entries += [(name, "", text) for name, text in result.content.get(part, {}).items()]
    body = "".join(
        f"<tr><td>{name}</td><td>{html.escape(unit)}</td><td>{html.escape(text)}</td></tr>"
        for name, unit, text in entries
    )
    return (
        '<details class="defined"><summary>Show all</summary><div class="scroll"><table><tbody>'
        f"{body}</tbody></table></div></details>"
    )


def _as_json(figures: Mapping[str, tuple[str, str, go.Figure]]) -> dict[str, dict[str, Any]]:
    return {name: json.loads(figure.to_json()) for name, (_, _, figure) in figures.items()}  # type: ignore[arg-type]


def _bare(layout: dict[str, Any]) -> dict[str, Any]:
    """A layout without plotly's own template: the page sets colours by its theme."""
    return {key: value for key, value in layout.items() if key != "template"}
