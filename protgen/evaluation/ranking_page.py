"""`best.html`: the best designs with their refolds laid onto them, and their table; one file that works offline."""

import html
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from protgen.errors import ProtgenError
from protgen.evaluation.ranking import Ranking, Row, is_number
from protgen.evaluation.report_tables import show
from protgen.evaluation.ribbon_mesh import UNIT, triangles_of
from protgen.evaluation.tables import write_text
from protgen.geometry.superposition import superpose
from protgen.structure.picture import ribbon
from protgen.structure.protein import CA, Protein
from protgen.structure.reader import read_structure

DESIGN, REFOLD = "#2f6db5", "#d2723c"
MOST = 20  # shown
TABLE = (
    ("rank", "place"), ("design", "design"), ("length", "length"), ("refold_tm", "refold TM"),
    ("refold_rmsd", "refold RMSD, Å"), ("sc_rmsd", "scRMSD, Å"), ("sc_plddt", "pLDDT"), ("score", "sequence score"),
    ("confidence", "confidence"), ("rama_favoured", "Rama. favoured"), ("liabilities", "liabilities"),
    ("sequence", "sequence"),
)  # fmt: skip


def write_ranking_page(ranking: Ranking, kept: Sequence[Row], out: Path, backbones: Path, refolds: Path) -> None:
    """Write `best.html`.

    Args:
        ranking: of all designs.
        kept: the rows of the best.
        out: folder of the run.
        backbones: folder of the designs.
        refolds: folder of the refolds.
    """
    pairs = [(row, *structures_of(row, backbones, refolds)) for row in kept[:MOST]]
    write_text(out / "best.html", page(ranking, kept, figure([pair for pair in pairs if pair[1] is not None])))


def structures_of(row: Row, backbones: Path, refolds: Path) -> tuple[Protein | None, Protein | None]:
    """A design, and its best refold laid onto it; None where there is none that can be read."""
    try:
        design = read_structure(backbones / str(row["file"]))
    except (ProtgenError, OSError):
        return None, None
    try:
        return design, laid_onto(read_structure(refolds / str(row["best_refold"])), design)
    except (ProtgenError, OSError, KeyError):
        return design, None


def laid_onto(refold: Protein, design: Protein) -> Protein:
    """The refold after the rigid motion of least CA RMSD to the design."""
    both = design.mask[:, CA] & refold.mask[:, CA]
    mobile, target = (protein.atoms[both, CA].T[:, :, None] for protein in (refold, design))
    motion = superpose(mobile, target, np.ones((int(both.sum()), 1)))
    moved = motion.apply(refold.atoms.reshape(-1, 3).T[:, :, None])[:, :, 0].T.reshape(refold.atoms.shape)
    return replace(refold, atoms=np.where(refold.mask[..., None], moved, np.nan))


def figure(pairs: Sequence[tuple[Row, Protein | None, Protein | None]]) -> go.Figure:
    """One scene with a menu of the designs; each shows design and refold."""
    shown = go.Figure()
    owners: list[int] = []
    for k, (_, design, refold) in enumerate(pairs):
        for protein, colour, name in ((design, DESIGN, "design"), (refold, REFOLD, "refold")):
            if protein is not None:
                shown.add_trace(mesh(protein, colour, name, visible=k == 0))
                owners.append(k)
    buttons = [
        {
            "label": f"{row['rank']}. {row['design']}",
            "method": "restyle",
            "args": [{"visible": [owner == k for owner in owners]}],
        }
        for k, (row, _, _) in enumerate(pairs)
    ]
    axis = {"visible": False}
    shown.update_layout(
        scene={"xaxis": axis, "yaxis": axis, "zaxis": axis, "aspectmode": "data"},
        margin={"l": 0, "r": 0, "t": 40, "b": 0},
        height=560,
        updatemenus=[{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.08}] if buttons else [],
    )
    return shown


def mesh(protein: Protein, colour: str, name: str, *, visible: bool) -> go.Mesh3d:
    """The ribbon of a protein in one colour, where its coordinates are."""
    points, triangles = triangles_of(ribbon(protein, per_residue=4, around=6, turned=False))
    x, y, z = (points * UNIT).astype(np.float32).T
    i, j, k = triangles.T
    return go.Mesh3d(
        x=x, y=y, z=z, i=i, j=j, k=k, color=colour, name=name, visible=visible, showlegend=True, hoverinfo="name"
    )


def page(ranking: Ranking, kept: Sequence[Row], shown: go.Figure) -> str:
    """The whole page."""
    columns = [(key, head) for key, head in TABLE if any(row.get(key) not in (None, "") for row in kept)]
    head = "".join(f"<th>{html.escape(title)}</th>" for _, title in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell(row.get(key))}</td>' for key, _ in columns)}</tr>" for row in kept)
    n = len(ranking.rows)
    lead = (
        f"The {len(kept)} best of {n} designs by {html.escape(ranking.by)} ({ranking.better} is better). Blue: the "
        "design; orange: the structure predicted for its sequence, laid onto it."
    )
    return _PAGE.format(
        lead=lead, head=head, body=body, figure=shown.to_html(full_html=False, include_plotlyjs=True, div_id="view")
    )


def cell(value: object) -> str:
    """A value as it is read."""
    if is_number(value):
        return str(value) if isinstance(value, int) else show(value)
    return html.escape("–" if value in (None, "") else str(value))


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob:;
 style-src 'unsafe-inline'; img-src data: blob:; worker-src blob:">
<title>protgen: the best designs</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1c2430; }}
table {{ border-collapse: collapse; font-size: 13px; }} .scroll {{ overflow-x: auto; }}
td, th {{ padding: .25rem .6rem; text-align: left; border-bottom: 1px solid #d9dee5; white-space: nowrap; }}
td:last-child {{ font-family: ui-monospace, monospace; }}
</style>
</head>
<body>
<h1>The best designs</h1>
<p>{lead}</p>
{figure}
<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>
</body>
</html>
"""
