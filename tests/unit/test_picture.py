"""Ribbon pictures: they are written, show what is there, and never mirror a fold."""

import numpy as np
import pytest

from protgen.errors import UsageError
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.picture import COLOURS, draw_backbones, ribbon, tidy, view
from protgen.structure.protein import CA, Protein


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
    spread = seen[:, CA].std(axis=0)
    assert spread[0] > spread[1] > spread[2]


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
