"""The sections of a report on oracles and likelihood models: designability and likelihood."""

import html
from collections.abc import Callable, Mapping
from typing import Any

from protgen.evaluation.laptop_refold import MEASURED
from protgen.evaluation.reasons import why_missing, why_no_f1
from protgen.evaluation.report_missing import Missing
from protgen.evaluation.report_tables import DASH, show, table
from protgen.evaluation.result import EvaluationResult


def designability_section(result: EvaluationResult) -> tuple[str, str]:
    """The lead and the table: fraction of designable structures with every count it rests on, set by set."""
    about = result.content["designability"]
    if about.get("relative"):
        return refold_section(result)
    if "refolds" in about:
        lead = f"Refolds of {html.escape(about['refolds'])}: files made elsewhere, assigned by their names."
        if about["n_unassigned"]:
            lead += f" {about['n_unassigned']} files there belong to no design."
    else:
        lead = f"{about['sequences']} sequences for each design by {_tool(about['inverse_folder'])}, "
        lead += f"folded by {_tool(about['folder'])}."
    lead += " Best over the refolds of each design; a design without one has no value and is not counted as a failure."
    rows, missing = _Rows(result, "designability"), Missing()
    body = [
        rows.row("designable, %", "designable_fraction", missing, percent=True),
        rows.row("mean scRMSD, Å", "mean_sc_rmsd", missing),
        rows.row("F1 of designability and diversity", "f1", missing, why=why_no_f1),
    ]
    best = "".join(
        missing.dash(f"best of {name}", why_missing(result, name, "designable"))
        if entry["best_of"] is None
        else f"<td>{_range(entry['best_of'])}</td>"
        for name, entry in rows.entries.items()
    )
    body.append(f"<tr><td>best of so many refolds</td>{best}</tr>")
    used = "".join(f"<td>{entry['refolds_used']} of {entry['refolds_given']}</td>" for entry in rows.entries.values())
    body.append(f"<tr><td>refolds used of those given</td>{used}</tr>")
    return lead, table(rows.heads, body) + missing.listed()


def refold_section(result: EvaluationResult) -> tuple[str, str]:
    """The lead and the table of a relative judge, set by set."""
    about = result.content["designability"]
    made = f"Files in {html.escape(about['refolds'])}" if "refolds" in about else _tool(about["folder"])
    lead = (
        f"Laptop refold: {made}. A relative judge, lax on helices: compare designs with natives and decoys at equal "
        f"secondary structure ({MEASURED}). It "
        "is not designability, which wants a structure predictor of today and single sequences."
    )
    rows, missing = _Rows(result, "designability"), Missing()
    body = [
        rows.row("mean refold TM", "mean_refold_tm", missing),
        rows.row("mean refold CA RMSD, Å", "mean_refold_rmsd", missing),
        rows.row("refold RMSD below 3 Å, %", "below_3", missing, percent=True),
    ]
    return lead, table(rows.heads, body) + missing.listed()


def likelihood_section(result: EvaluationResult) -> tuple[str, str]:
    """The lead, which says what the number is, and the table."""
    about = result.content["likelihood"]
    given = about["given"] if isinstance(about["given"], str) else ", ".join(about["given"])
    kind = about["of_minus_log_p"] or "no structure has a likelihood"
    lead = (
        f"-log p(x | y) / l under {html.escape(about['model'])}: {kind}"
        f". p is a density with respect to {html.escape(about['volume'])}; y is {html.escape(given)}. "
        "Numbers of two models can be compared only if their spaces are the same."
    )
    rows, missing = _Rows(result, "likelihood"), Missing()
    said = f"{about['kind'] or 'no'} log p"
    body = [rows.row(f"{unit} per residue ({said})", f"{unit}_per_residue", missing) for unit in ("nats", "bits")]
    return lead, table(rows.heads, body) + missing.listed()


class _Rows:
    """Rows of a part of `summary.json`, with a column a set.

    Args:
        result: of the evaluation.
        part: "designability" or "likelihood".
    """

    def __init__(self, result: EvaluationResult, part: str) -> None:
        self.result = result
        self.metric = {"designability": "sc_rmsd", "likelihood": "nats_per_residue"}[part]
        self.entries: dict[str, Mapping[str, Any]] = {
            name: entry[part] for name, entry in result.content["sets"].items()
        }
        self.heads = "".join(f"<th>{html.escape(name)}</th>" for name in self.entries)

    def row(
        self,
        heading: str,
        key: str,
        missing: Missing,
        percent: bool = False,
        why: Callable[[EvaluationResult, str], str] | None = None,
    ) -> str:
        """A figure of every set, with how many of its structures have it.

        Args:
            heading: of the row.
            key: of the figure.
            missing: takes the dashes.
            percent: show percent.
            why: a set has none, of result and set; by default no structure of it has the figure.
        """
        cells = []
        for name, entry in self.entries.items():
            value = show(entry[key], percent)
            if value == DASH:
                reason = why_missing(self.result, name, self.metric) if why is None else why(self.result, name)
                cells.append(missing.dash(f"{heading.partition(',')[0]} of {name}", reason))
            else:
                cells.append(f"<td>{value}<small>n {entry['n']} of {entry['n_given']}</small></td>")
        return f"<tr><td>{heading}</td>{''.join(cells)}</tr>"


def _tool(settings: str | Mapping[str, Any]) -> str:
    """A tool in words: its name and what decides its results."""
    if isinstance(settings, str):
        return html.escape(settings)
    rest = ", ".join(f"{key} {value}" for key, value in settings.items() if key != "name" and value is not None)
    return html.escape(f"{settings['name']} ({rest})" if rest else str(settings["name"]))


def _range(counts: list[int]) -> str:
    return str(counts[0]) if counts[0] == counts[1] else f"{counts[0]} to {counts[1]}"
