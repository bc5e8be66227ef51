"""What notebooks show of proteins and designs: the drawing, the tables, and the scene for Mol*."""

import base64
import json
import sys
from html.parser import HTMLParser
from types import ModuleType

import gemmi
import numpy as np
import pytest

from protgen.conditions.length import Length
from protgen.conditions.radius_of_gyration import RadiusOfGyration
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.errors import UsageError
from protgen.generation.design import Design
from protgen.structure.ideal import ideal_helix
from protgen.structure.notebook import MOST_DRAWN, scene, stretches
from protgen.structure.picture import COLOURS
from protgen.structure.protein import Protein

HOSTILE = '<script>alert("x")</script>&'


class Page(HTMLParser):
    """The tags, images and table cells of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.images: list[dict] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.rows and self.open and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def two_chains(name: str = "two") -> Protein:
    """Two helices of 14 residues, 20 Å apart, the second without its first nitrogen."""
    helix = ideal_helix(14)
    backbone = np.concatenate([helix, helix + np.array([20.0, 0, 0])])
    backbone[14, 0] = np.nan
    return Protein.from_backbone(backbone, name=name, chain_ids=np.repeat(["A", "B"], 14))


def test_a_protein_is_a_drawing_and_a_table():
    """The image is a PNG; the table says what is there and what is missing."""
    page = Page(two_chains()._repr_html_())
    assert page.rows == [
        ["name", "two"],
        ["residues", "28"],
        ["chains", "A (14), B (14)"],
        ["incomplete", "1 residue without all of N, CA, C, O"],
    ]
    (image,) = page.images
    data = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(data) < 200_000
    assert image["alt"] == "ribbon drawing of two"


def test_names_are_escaped():
    """A name with markup in it is shown as it is, and makes no tag."""
    protein = two_chains(HOSTILE)
    page = Page(protein._repr_html_())
    assert "script" not in page.tags
    assert page.rows[0] == ["name", HOSTILE]
    assert page.images[0]["alt"] == f"ribbon drawing of {HOSTILE}"


def test_what_cannot_be_drawn_says_why():
    """Neither a chain of thousands nor CA atoms alone cost a drawing."""
    backbone = np.full((5, 4, 3), np.nan)
    backbone[:, 1] = ideal_helix(5)[:, 1]
    assert "nothing to draw" in Protein.from_backbone(backbone)._repr_html_()
    large = Protein.from_backbone(np.tile(ideal_helix(2), (MOST_DRAWN // 2 + 1, 1, 1)))
    assert "too large to draw here" in large._repr_html_()
    assert not Page(large._repr_html_()).images


def design() -> Design:
    protein = Protein.from_backbone(ideal_helix(20), name="design_0003")
    asked = (Length(24), RadiusOfGyration(9.0))
    return Design(3, protein, protein, asked, (SecondaryStructure.parse("H20"),), seed=7, candidate=1)


def test_a_design_shows_its_conditions_and_validity():
    """Asked and measured side by side. The radius of gyration is computed here by its formula, over CA."""
    page = Page(design()._repr_html_())
    assert page.rows[:4] == [["design", "3"], ["seed", "7"], ["candidate", "1"], ["residues", "20"]]
    ca = ideal_helix(20)[:, 1]
    rg = np.sqrt(((ca - ca.mean(0)) ** 2).sum(-1).mean())
    assert page.rows[4] == ["condition", "source", "wanted", "measured", "met"]
    assert page.rows[5] == ["length", "asked", "24", "20", "no"]
    assert page.rows[6][:3] == ["radius_of_gyration", "asked", "9"]
    assert float(page.rows[6][3]) == pytest.approx(rg, abs=0.0051)
    assert page.rows[7][:3] == ["secondary_structure", "drawn", "H" * 20]
    values = {row[0]: row[1:] for row in page.rows[9:]}
    assert values["chain_breaks"] == ["0", "count"]
    assert float(values["rg"][0]) == pytest.approx(rg, abs=0.001)
    assert repr(design()).startswith("<Design 3 of seed 7: 20 residues, asked Length(low=24, high=None) & Radius")


def test_the_scene_carries_the_structure():
    """An independent reader finds every atom in the data URI, and nothing points to the network."""
    found = scene(two_chains())
    assert "http" not in json.dumps(found)
    download = found["root"]["children"][0]
    text = base64.b64decode(download["params"]["url"].removeprefix("data:text/plain;base64,")).decode()
    structure = gemmi.make_structure_from_block(gemmi.cif.read_string(text).sole_block())
    atoms = np.array([atom.pos.tolist() for chain in structure[0] for residue in chain for atom in residue])
    protein = two_chains()
    assert np.abs(atoms - protein.atoms[protein.mask]).max() <= 0.0005 + 1e-9


def test_the_scene_is_coloured_by_secondary_structure():
    """Helices where mdtraj's DSSP has them, by position in the chain, also behind an incomplete residue."""
    import mdtraj

    from protgen.structure.adapters import to_mdtraj

    helix = Protein.from_backbone(ideal_helix(14))
    codes = mdtraj.compute_dssp(to_mdtraj(helix))[0]
    inside = np.flatnonzero(codes == "H") + 1
    assert stretches(helix) == {
        "H": [{"label_asym_id": "A", "beg_label_seq_id": inside[0], "end_label_seq_id": inside[-1]}]
    }
    found = stretches(two_chains())["H"]
    assert [entry["label_asym_id"] for entry in found] == ["A", "B"]
    assert found[1]["beg_label_seq_id"] > 1
    assert found[1]["end_label_seq_id"] == found[0]["end_label_seq_id"]
    cartoon = scene(helix)["root"]["children"][0]["children"][0]["children"][0]["children"][0]["children"][0]
    assert cartoon["params"] == {"type": "cartoon"}
    assert [node["params"]["color"] for node in cartoon["children"]] == [COLOURS["C"], COLOURS["H"]]


def test_show_needs_its_extra(monkeypatch):
    """Without ipymolstar: one line that says what to install."""
    monkeypatch.setitem(sys.modules, "ipymolstar", None)
    with pytest.raises(UsageError, match=r"pip install 'protgen\[notebook\]'"):
        design().show()


def test_show_gives_the_scene_to_the_widget(monkeypatch):
    """The widget that carries its own viewer, with the scene as text."""
    module = ModuleType("ipymolstar.molviewspec")
    module.MolViewSpec = lambda **given: given  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "ipymolstar", ModuleType("ipymolstar"))
    monkeypatch.setitem(sys.modules, "ipymolstar.molviewspec", module)
    shown = two_chains().show()
    assert json.loads(shown["msvj_data"]) == scene(two_chains())


def test_the_real_widget_takes_the_scene():
    """Where it is installed."""
    pytest.importorskip("ipymolstar")
    assert json.loads(design().show().msvj_data) == scene(design().protein)
