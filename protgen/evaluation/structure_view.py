"""The 3D view of a page: ribbons while they fit the budget, then lines through CA, coloured the same way."""

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

from protgen.evaluation.ribbon_mesh import CODES, ca_line, ribbon_mesh
from protgen.structure.picture import COLOURS
from protgen.structure.protein import Protein

MESH_BUDGET = 6_000_000  # characters of ribbons in a page
LINE_BUDGET = 300_000  # residues drawn as lines; structures beyond are left out
KINDS = {"best": "Best", "worst": "Worst", "cluster": "Representatives of clusters", "": "All"}
PALETTE = [COLOURS[code] for code in CODES]


def drawn(entries: Iterable[tuple[Protein, dict[str, Any]]]) -> list[dict[str, Any]]:
    """The structures of a view with their drawings, as the page's script reads them.

    Args:
        entries: structures, each with its `file`, `set`, `length`, `kind` (see `KINDS`) and `reason`, a line about it.
    """
    found, spent, residues = [], 0, 0
    for protein, about in entries:
        if residues > LINE_BUDGET:
            break
        if spent < MESH_BUDGET:
            mesh = ribbon_mesh(protein)
            spent += len(json.dumps(mesh))
        else:
            mesh = ca_line(protein)
            residues += protein.length
        found.append({"mesh": mesh} | about)
    return found


def viewer(shown: Sequence[dict[str, Any]], n_read: int, rest: str = "structures.csv") -> str:
    """The card with the view and its controls.

    Args:
        shown: as `drawn` gives them.
        n_read: structures that could be read.
        rest: where those are that do not fit.
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
    left = f"<p>{n_read - files} more are in {rest}.</p>" if files < n_read else ""
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
