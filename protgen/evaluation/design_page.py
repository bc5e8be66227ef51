"""`designs.png` and `designs.html`: all designs of a run as a picture, and as a page that works offline."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protgen.evaluation.page_frame import framed, section
from protgen.evaluation.report_tables import show, table
from protgen.evaluation.structure_view import PALETTE, drawn, viewer
from protgen.evaluation.tables import write_text, writing
from protgen.structure.picture import draw_backbones
from protgen.structure.protein import Protein

MOST_DRAWN = 24  # designs in the picture
VIEW = "Drag to turn, scroll to come nearer. Helices red, strands blue, loops grey."
COLUMNS = (
    ("helix", "helix, %", True),
    ("strand", "strand, %", True),
    ("rg_chain_ratio", "Rg / natives'", False),
    ("packing", "packing / natives'", False),
    ("rama_favoured", "Ramachandran favoured, %", True),
)


@dataclass(frozen=True)
class Shown:
    """One design as it is shown.

    Attributes:
        name: short, such as "0007".
        file: name of its structure file.
        protein: what it holds.
        figures: numbers by column of `validity`.
        verdict: "good", or what is wrong.
        best: whether it is among those that were asked to be kept.
        value: of the figure they are ranked by; None without one.
    """

    name: str
    file: str
    protein: Protein
    figures: dict[str, Any]
    verdict: str
    best: bool = False
    value: float | None = None


def write_pictures(designs: Sequence[Shown], files: tuple[Path, Path], about: str, ranked_by: str = "") -> None:
    """Write the picture and the page.

    Args:
        designs: in the order in which they are shown.
        files: the picture and the page, in the folder of the designs.
        about: a line about the run, plain text.
        ranked_by: the figure that the order is by; "" where they are not ranked.
    """
    first = designs[:MOST_DRAWN]
    titles = [f"{one.name} {one.verdict.partition(',')[0]}" for one in first]
    picture, text = files
    with writing(picture):
        draw_backbones([one.protein for one in first], picture, titles=titles)
    write_text(text, page(designs, text.parent.resolve().name, about, ranked_by))


def page(designs: Sequence[Shown], title: str, about: str, ranked_by: str) -> str:
    """The whole page. Arguments as of `write_pictures`; `title` is its heading."""
    shown = drawn((one.protein, entry(one, title)) for one in designs)
    sections = [
        section("Structures", VIEW, viewer(shown, len(designs), "the folder"), "v"),
        section("Designs", "", designs_table(designs, ranked_by), "d"),
    ]
    data = {"figures": {}, "palette": PALETTE, "structures": shown}
    return framed(title, about, sections, data, "Made by protgen sample.")


def entry(one: Shown, folder: str) -> dict[str, Any]:
    """What the view says of a design."""
    kind = "best" if one.best else ""
    return {"file": one.file, "set": folder, "length": one.protein.length, "kind": kind, "reason": one.verdict}


def designs_table(designs: Sequence[Shown], ranked_by: str) -> str:
    """The table of the page."""
    heads = ["length", *(heading for _, heading, _ in COLUMNS), *([ranked_by] if ranked_by else [])]
    body = []
    for one in designs:
        cells = [f"<td>{one.protein.length}</td>"]
        cells += [f"<td>{show(one.figures.get(key), percent)}</td>" for key, _, percent in COLUMNS]
        cells += [f"<td>{show(one.value)}</td>"] if ranked_by else []
        cells.append(f'<td class="text">{html.escape(one.verdict)}</td>')
        body.append(f"<tr><td>{html.escape(one.file)}</td>{''.join(cells)}</tr>")
    head = "".join(f"<th>{html.escape(head)}</th>" for head in heads)
    return table(f'{head}<th class="text">verdict</th>', body)
