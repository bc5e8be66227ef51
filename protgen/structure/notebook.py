"""How structures show themselves in a notebook: a ribbon drawing beside a table, and Mol* to turn them.

Mol* is the widget `MolViewSpec` of ipymolstar, whose wheel carries the whole viewer. The structure travels inside the
scene as a data URI, so nothing is fetched from the network.
"""

import base64
import io
import json
from collections.abc import Mapping
from html import escape
from itertools import groupby
from typing import Any

import numpy as np

from protgen.errors import UsageError
from protgen.structure.dssp import dssp
from protgen.structure.picture import COLOURS, draw_backbones, tidy
from protgen.structure.protein import Protein, counted
from protgen.structure.writer import cif_text

MOST_DRAWN = 1500  # residues; a drawing of these takes about 3 s
MOST_WARNINGS = 5  # shown of a file's
WIDTH = 260  # pixels of a drawing
HEIGHT = "420px"  # of the viewer
# Other extensions of Mol* ask servers as soon as they are loaded.
VIEWER = {"layoutIsExpanded": False, "layoutShowControls": False, "extensions": ["mvs", "model-export", "mp4-export"]}
CELL_STYLE = "text-align:left;vertical-align:top;padding:2px 8px"
LONG = 30  # characters; longer cells may be broken anywhere, shorter ones nowhere


def protein_html(protein: Protein) -> str:
    """HTML of a protein: its drawing, and what is known of it."""
    sizes = [f"{chain} ({int((protein.chain_ids == chain).sum())})" for chain in protein.chains]
    facts = {"name": protein.name, "residues": str(protein.length), "chains": ", ".join(sizes)}
    if protein.resolution is not None:
        facts["resolution"] = f"{protein.resolution:g} Å"
    lacking = int((~protein.mask[:, :4].all(axis=1)).sum())
    if lacking:
        facts["incomplete"] = f"{counted(lacking, 'residue')} without all of N, CA, C, O"
    shown = [str(warning) for warning in protein.warnings[:MOST_WARNINGS]]
    if shown:
        more = len(protein.warnings) - len(shown)
        facts["reader warnings"] = "; ".join([*shown, f"and {more} more"] if more else shown)
    return beside(protein, facts_table(facts))


def beside(protein: Protein, table: str) -> str:
    """HTML of a drawing with a table to its right.

    Args:
        protein: to draw.
        table: HTML.
    """
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start">'
        f'{drawing(protein)}<div style="max-width:640px">{table}</div></div>'
    )


def drawing(protein: Protein) -> str:
    """An HTML image of the ribbon; a sentence where there is nothing to draw, or too much."""
    if protein.length > MOST_DRAWN:
        return f"<p>More than {MOST_DRAWN:,} residues: too large to draw here.</p>"
    if int(protein.mask[:, :4].all(axis=1).sum()) < 2:
        return "<p>No two residues have all of N, CA, C, O: nothing to draw.</p>"
    file = io.BytesIO()
    draw_backbones([protein], file)
    data = base64.b64encode(file.getvalue()).decode()
    alt = escape(f"ribbon drawing of {protein.name}")
    return f'<img alt="{alt}" width="{WIDTH}" src="data:image/png;base64,{data}">'


def facts_table(facts: Mapping[str, str]) -> str:
    """An HTML table of names and values; both are escaped."""
    return table([[f"<b>{escape(name)}</b>", escape(value)] for name, value in facts.items()])


def table(rows: list[list[str]], head: list[str] | None = None) -> str:
    """An HTML table.

    Args:
        rows: cells as HTML; text must be escaped already.
        head: of the columns, as text.
    """
    lines = [] if head is None else ["".join(f'<th style="{CELL_STYLE}">{escape(cell)}</th>' for cell in head)]
    for row in rows:
        wraps = ["overflow-wrap:anywhere" if len(cell) > LONG else "white-space:nowrap" for cell in row]
        cells = [f'<td style="{CELL_STYLE};{wrap}">{cell}</td>' for cell, wrap in zip(row, wraps, strict=True)]
        lines.append("".join(cells))
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def viewer(protein: Protein) -> Any:
    """A Mol* widget that shows a protein as a cartoon, in the colours of the drawings.

    Args:
        protein: what to show.

    Raises:
        UsageError: if ipymolstar is not installed.
        StructureError: if mmCIF cannot hold the protein.
    """
    try:
        # From its own module: the package's name of it asks for a second package, which only builds scenes.
        from ipymolstar.molviewspec import MolViewSpec  # pyright: ignore[reportMissingImports] # an extra
    except ImportError:
        raise UsageError("show() needs ipymolstar, which carries Mol*; run pip install 'protgen[notebook]'") from None
    return MolViewSpec(msvj_data=json.dumps(scene(protein)), height=HEIGHT, viewer_options=VIEWER)


def scene(protein: Protein) -> dict[str, Any]:
    """A MolViewSpec scene (version 1) of a protein: a cartoon, coloured by secondary structure.

    References:
        Bittrich et al., MolViewSpec, Nucleic Acids Research 53, W408 (2025).
    """
    data = base64.b64encode(cif_text(protein).encode()).decode()
    colours = [node("color", {"color": COLOURS["C"]})]
    colours += [
        node("color", {"color": COLOURS[code], "selector": selected}) for code, selected in stretches(protein).items()
    ]
    cartoon = node("representation", {"type": "cartoon"}, colours)
    component = node("component", {"selector": "polymer"}, [cartoon])
    structure = node("structure", {"type": "model"}, [component])
    parsed = node("parse", {"format": "mmcif"}, [structure])
    download = node("download", {"url": f"data:text/plain;base64,{data}"}, [parsed])
    metadata = {"version": "1", "timestamp": "1970-01-01T00:00:00Z", "title": protein.name}
    return {"metadata": metadata, "root": node("root", {}, [download])}


def node(kind: str, params: Mapping[str, Any], children: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """A node of a scene.

    Args:
        kind: of the node, a word of MolViewSpec.
        params: of the node; none where empty.
        children: nodes below it.
    """
    found: dict[str, Any] = {"kind": kind}
    found |= {"params": dict(params)} if params else {}
    return found | ({"children": children} if children else {})


def stretches(protein: Protein) -> dict[str, list[dict[str, Any]]]:
    """Selectors of the helices ("H") and strands ("E"), by chain and position in it; those that there are."""
    complete = np.flatnonzero(protein.mask[:, :4].all(axis=1))
    codes = np.full(protein.length, "C")
    if len(complete):
        codes[complete] = list(tidy(dssp(protein.select(complete))))
    found: dict[str, list[dict[str, Any]]] = {}
    for chain in protein.chains:
        own = codes[protein.chain_ids == chain].tolist()
        start = 1
        for code, group in groupby(own):
            end = start + len(list(group)) - 1
            if code in ("H", "E"):
                selector = {"label_asym_id": chain, "beg_label_seq_id": start, "end_label_seq_id": end}
                found.setdefault(code, []).append(selector)
            start = end + 1
    return found
