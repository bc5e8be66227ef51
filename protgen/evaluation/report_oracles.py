"""The sections of a report on oracles and likelihood models: designability and likelihood."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from protgen.evaluation.laptop_refold import MEASURED
from protgen.evaluation.report_tables import show, table

Content = Mapping[str, Any]


def designability_section(content: Content) -> tuple[str, str]:
    """The lead and the table: fraction of designable structures with every count it rests on, set by set."""
    about = content["designability"]
    if about.get("relative"):
        return refold_section(content)
    if "refolds" in about:
        lead = f"Refolds of {html.escape(about['refolds'])}: files made elsewhere, assigned by their names."
        if about["n_unassigned"]:
            lead += f" {about['n_unassigned']} files there belong to no design."
    else:
        lead = f"{about['sequences']} sequences for each design by {_tool(about['inverse_folder'])}, "
        lead += f"folded by {_tool(about['folder'])}."
    lead += " Best over the refolds of each design; a design without one has no value and is not counted as a failure."
    figures = (
        ("designable, %", "designable_fraction", True),
        ("mean scRMSD, Å", "mean_sc_rmsd", False),
        ("F1 of designability and diversity", "f1", False),
    )
    sets = [entry["designability"] for entry in content["sets"].values()]
    body = [_row(heading, sets, key, percent) for heading, key, percent in figures]
    best = "".join(f"<td>{_range(entry['best_of'])}</td>" for entry in sets)
    body.append(f"<tr><td>best of so many refolds</td>{best}</tr>")
    used = "".join(f"<td>{entry['refolds_used']} of {entry['refolds_given']}</td>" for entry in sets)
    body.append(f"<tr><td>refolds used of those given</td>{used}</tr>")
    return lead, table(_heads(content), body)


def refold_section(content: Content) -> tuple[str, str]:
    """The lead and the table of a relative judge, set by set."""
    about = content["designability"]
    made = f"Files in {html.escape(about['refolds'])}" if "refolds" in about else _tool(about["folder"])
    lead = (
        f"Laptop refold: {made}. A relative judge, lax on helices: compare designs with natives and decoys at equal "
        f"secondary structure ({MEASURED}). It "
        "is not designability, which wants a structure predictor of today and single sequences."
    )
    figures = (
        ("mean refold TM", "mean_refold_tm", False),
        ("mean refold CA RMSD, Å", "mean_refold_rmsd", False),
        ("refold RMSD below 3 Å, %", "below_3", True),
    )
    sets = [entry["designability"] for entry in content["sets"].values()]
    body = [_row(heading, sets, key, percent) for heading, key, percent in figures]
    return lead, table(_heads(content), body)


def likelihood_section(content: Content) -> tuple[str, str]:
    """The lead, which says what the number is, and the table."""
    about = content["likelihood"]
    given = about["given"] if isinstance(about["given"], str) else ", ".join(about["given"])
    kind = about["of_minus_log_p"] or "no structure has a likelihood"
    lead = (
        f"-log p(x | y) / l under {html.escape(about['model'])}: {kind}"
        f". p is a density with respect to {html.escape(about['volume'])}; y is {html.escape(given)}. "
        "Numbers of two models can be compared only if their spaces are the same."
    )
    sets = [entry["likelihood"] for entry in content["sets"].values()]
    said = f"{about['kind'] or 'no'} log p"
    body = [_row(f"{unit} per residue ({said})", sets, f"{unit}_per_residue") for unit in ("nats", "bits")]
    return lead, table(_heads(content), body)


def _row(heading: str, sets: Sequence[Mapping[str, Any]], key: str, percent: bool = False) -> str:
    """A figure of every set, with how many of its structures have it."""
    cells = "".join(
        f"<td>{show(entry[key], percent)}<small>n {entry['n']} of {entry['n_given']}</small></td>" for entry in sets
    )
    return f"<tr><td>{heading}</td>{cells}</tr>"


def _heads(content: Content) -> str:
    return "".join(f"<th>{html.escape(name)}</th>" for name in content["sets"])


def _tool(settings: str | Mapping[str, Any]) -> str:
    """A tool in words: its name and what decides its results."""
    if isinstance(settings, str):
        return html.escape(settings)
    rest = ", ".join(f"{key} {value}" for key, value in settings.items() if key != "name" and value is not None)
    return html.escape(f"{settings['name']} ({rest})" if rest else str(settings["name"]))


def _range(counts: list[int] | None) -> str:
    if counts is None:
        return "–"
    return str(counts[0]) if counts[0] == counts[1] else f"{counts[0]} to {counts[1]}"
