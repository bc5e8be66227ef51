"""Ribbon pictures: they are written, show what is there, and never mirror a fold."""

import io

import numpy as np
import pytest
from PIL import Image

from protgen.errors import UsageError
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.picture import COLOURS, draw_backbones, ribbon, tidy, view
from protgen.structure.protein import CA, Protein
from protgen.structure.raster import save_png
from protgen.structure.shaded import CELL, DPI, Grid, Shaded


def rgb(code: str) -> np.ndarray:
    return np.array([int(COLOURS[code][i : i + 2], 16) / 255 for i in (1, 3, 5)])


def fraction_of(code: str, protein: Protein) -> float:
    return float((np.abs(ribbon(protein).colours - rgb(code)) < 1e-6).all(axis=1).mean())


def test_a_picture_is_written(tmp_path):
    """PNG bytes, wider for more columns."""
    proteins = [Protein.from_backbone(ideal_helix(12)), Protein.from_backbone(ideal_hairpin(12))]
    draw_backbones(proteins, tmp_path / "two.png", titles=["a", "b"])
    assert (tmp_path / "two.png").read_bytes().startswith(b"\x89PNG")


def test_colours_are_those_of_the_secondary_structure():
    """A helix is mostly red, a hairpin mostly blue."""
    assert fraction_of("H", Protein.from_backbone(ideal_helix(24))) > 0.7
    hairpin = Protein.from_backbone(ideal_hairpin(20))
    assert fraction_of("E", hairpin) > 0.5
    assert fraction_of("H", hairpin) == 0


def test_the_view_turns_and_never_mirrors():
    """Distances stay, and so does the sign of a volume of four atoms; the longest axis lies across."""
    helix = ideal_helix(30)
    seen = view(helix)

    def volume(x: np.ndarray) -> float:
        return float(np.linalg.det(x[1:4, CA] - x[0, CA]))

    assert volume(seen) == pytest.approx(volume(helix))
    std = seen[:, CA].std(axis=0)
    assert std[0] > std[1] > std[2]


def test_gaps_are_not_bridged():
    """Two helices far apart are two pieces: no facet is long."""
    two = np.concatenate([ideal_helix(10), ideal_helix(10) + 40.0])
    corners = ribbon(Protein.from_backbone(two)).corners
    assert np.linalg.norm(corners.max(axis=1) - corners.min(axis=1), axis=-1).max() < 5


def test_odd_inputs(tmp_path):
    """Nothing to draw is an error, a single residue an empty drawing, short runs become loop."""
    with pytest.raises(UsageError):
        draw_backbones([], tmp_path / "none.png")
    with pytest.raises(UsageError):
        draw_backbones([Protein.from_backbone(ideal_helix(5))], tmp_path / "x.png", titles=["a", "b"])
    draw_backbones([Protein.from_backbone(ideal_helix(1))], tmp_path / "one.png")
    assert tidy("CHHHCECEEHHHH") == "CCCCCCCEEHHHH"


def square(half: float) -> Shaded:
    """A red square about the middle, without outline."""
    corners = half * np.array([[[-1.0, -1], [1, -1], [1, 1], [-1, 1]]])
    return Shaded(corners, np.array([[1.0, 0, 0]]), np.zeros(1), np.zeros((0, 2)))


def pixels(drawings: list[Shaded], grid: Grid) -> np.ndarray:
    file = io.BytesIO()
    save_png(drawings, grid, file)
    return np.asarray(Image.open(file).convert("RGB"))


def test_a_png_has_each_facet_where_it_is():
    """A square of 2 Å in a cell of 8 x 4 Å covers an eighth, in the middle; a title moves it down."""
    found = pixels([square(1.0)], Grid(1, 1, 4.0, 2.0, None))
    height, width = found.shape[:2]
    assert (width, height) == (round(CELL * DPI), round(CELL * DPI / 2))
    red = (found == [255, 0, 0]).all(-1)
    assert red.mean() == pytest.approx(1 / 8, rel=0.03)
    assert np.argwhere(red).mean(0) == pytest.approx([height / 2, width / 2], abs=1.5)
    titled = pixels([square(1.0), square(1.0)], Grid(2, 1, 4.0, 2.0, ["", ""]))
    rows = np.argwhere((titled == [255, 0, 0]).all(-1))[:, 0]
    first, second = rows[rows < rows.mean()], rows[rows > rows.mean()]
    assert first.mean() == pytest.approx(height / 2 + 0.25 * DPI, abs=2)
    assert second.mean() - first.mean() == pytest.approx(height + 0.25 * DPI, abs=2)


def test_near_facets_hide_far_ones_and_up_is_up():
    """Of two squares the one painted last is seen; a square above the middle is in the upper half."""
    both = Shaded(
        np.concatenate([square(1.0).corners, square(0.5).corners + np.array([0.0, 1.0])]),
        np.array([[1.0, 0, 0], [0, 0, 1.0]]),
        np.zeros(2),
        np.zeros((0, 2)),
    )
    found = pixels([both], Grid(1, 1, 4.0, 2.0, None))
    blue, red = ((found == colour).all(-1) for colour in ([0, 0, 255], [255, 0, 0]))
    assert blue.mean() == pytest.approx(1 / 32, rel=0.05)
    assert red.mean() == pytest.approx(1 / 8 - 1 / 64, rel=0.04)
    assert np.argwhere(blue)[:, 0].mean() == pytest.approx(found.shape[0] / 4, abs=2)


def test_pictures_for_print_are_vector_files(tmp_path):
    draw_backbones([Protein.from_backbone(ideal_helix(8))], tmp_path / "one.svg", titles=["a"])
    draw_backbones([Protein.from_backbone(ideal_helix(8))], tmp_path / "one.pdf")
    assert "<svg" in (tmp_path / "one.svg").read_text()
    assert (tmp_path / "one.pdf").read_bytes().startswith(b"%PDF")
