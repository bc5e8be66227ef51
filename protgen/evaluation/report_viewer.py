"""The 3D view of a report: chosen structures first, then every other that was read, set by set.

The chosen and as many others as fit the budget are ribbons; further ones are lines through CA, coloured the same way.
"""

import html
import json
from collections.abc import Sequence
from typing import Any

from protgen.evaluation.result import EvaluationResult
from protgen.evaluation.ribbon_mesh import ca_line, ribbon_mesh
from protgen.evaluation.set_summary import ERROR
from protgen.evaluation.showcase import choose, describe

MESH_BUDGET = 6_000_000  # characters of ribbons in a page
LINE_BUDGET = 300_000  # residues drawn as lines; structures beyond are listed in structures.csv alone
KINDS = {"best": "Best", "worst": "Worst", "cluster": "Representatives of clusters", "": "All"}


def viewed(result: EvaluationResult) -> list[dict[str, Any]]:
    """Every structure of the view: its file, set, kind, a line about it, and its drawing."""
    chosen = choose(result.rows, result.sets)
    seen = {one.row for one in chosen}
    entries = [(one.row, one.kind, one.reason) for one in chosen]
    order = {name: place for place, name in enumerate(dict.fromkeys(result.sets))}
    rest = [k for k, row in enumerate(result.rows) if row["status"] != ERROR and k not in seen]
    entries += [(k, "", describe(result.rows[k])) for k in sorted(rest, key=lambda k: (order[result.sets[k]], k))]
    found, spent, residues = [], 0, 0
    for k, kind, reason in entries:
        protein = result.proteins[k]
        if protein is None or residues > LINE_BUDGET:
            continue
        if spent < MESH_BUDGET:
            mesh = ribbon_mesh(protein)
            spent += len(json.dumps(mesh))
        else:
            mesh = ca_line(protein)
            residues += protein.length
        row = result.rows[k]
        about = {"file": str(row["file"]), "set": result.sets[k], "length": int(row["length"])}
        found.append({"mesh": mesh, "kind": kind, "reason": reason, **about})
    return found


def viewer(shown: Sequence[dict[str, Any]], n_read: int) -> str:
    """The card with the view and its controls.

    Args:
        shown: as `viewed` gives them.
        n_read: structures that could be read.
    """
    groups: dict[str, list[str]] = {}
    several = len({one["set"] for one in shown}) > 1
    for place, one in enumerate(shown):
        text = html.escape(f"{one['file']} ({one['length']} residues)")
        title = f"{one['set']}: {KINDS[one['kind']].lower()}" if several else KINDS[one["kind"]]
        groups.setdefault(title, []).append(f'<option value="{place}">{text}</option>')
    options = "".join(
        f'<optgroup label="{html.escape(title, quote=True)}">{"".join(own)}</optgroup>' for title, own in groups.items()
    )
    files = len({(one["set"], one["file"]) for one in shown})
    left = f"<p>{n_read - files} more are in structures.csv.</p>" if files < n_read else ""
    return (
        '<div class="card"><div class="bar">'
        '<button type="button" id="before" aria-label="structure before">&#8249;</button>'
        f'<select id="which" aria-label="structure">{options}</select>'
        '<button type="button" id="after" aria-label="next structure">&#8250;</button>'
        '<input id="find" type="search" placeholder="find a file" aria-label="find a file">'
        '<select id="colouring" aria-label="colouring"><option value="structure">by secondary structure</option>'
        '<option value="chain">along the chain</option></select>'
        '<span class="tag" id="kind"></span><span class="reason" id="reason"></span></div>'
        f'<div class="view" id="view"></div>{left}</div>'
    )
