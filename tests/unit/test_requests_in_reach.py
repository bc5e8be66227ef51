"""What a request is told before anything is made: radii that no chain, or no native, has; fractions out of reach."""

import numpy as np
import pytest

from protgen.conditions.fractions import Fractions
from protgen.conditions.length import Length
from protgen.conditions.radius_of_gyration import RadiusOfGyration
from protgen.errors import ConflictError
from protgen.generation import reach
from protgen.geometry.constants import EXTENDED_RISE
from protgen.models.blueprints import BlueprintPrior
from protgen.structure.ideal import build_from_torsions

STRETCHED = build_from_torsions(np.full(40, np.pi), np.full(40, np.pi))[:, 1]


def test_no_chain_is_longer_than_one_with_all_torsions_at_180_degrees():
    """CA-CA along it, and its radius of gyration: the largest that can be asked for."""
    assert np.linalg.norm(STRETCHED[-1] - STRETCHED[0]) / 39 == pytest.approx(EXTENDED_RISE, abs=5e-4)
    radius = float(np.sqrt(np.square(STRETCHED - STRETCHED.mean(0)).sum(-1).mean()))
    RadiusOfGyration(radius * 0.9995).check_length(40)
    with pytest.raises(ConflictError):
        RadiusOfGyration(radius * 1.0015).check_length(40)


@pytest.mark.parametrize(
    ("radius", "said"), [(8.8, "0.84 times"), (8.9, None), (10.4, None), (15.6, None), (15.8, "1.5 times")]
)
def test_a_radius_that_no_native_has_is_said(radius, said):
    """Natives of 60 residues have 2.2 60^0.38 = 10.43 Å; 0.85 to 1.5 times that, 8.86 to 15.64 Å, is usual."""
    lines = RadiusOfGyration(radius).cautions([60])
    assert bool(lines) == (said is not None)
    assert all(f"is {said} that of natives of 60 residues (10.4 Å)" in line for line in lines)
    assert all("8.9 to 15.6 Å is usual" in line for line in lines)


def test_a_radius_is_compared_with_the_length_that_suits_it_best():
    """18 Å is 1.7 times that of 60 residues and 1.02 times that of 240."""
    assert RadiusOfGyration(18.0).cautions([60])
    assert RadiusOfGyration(18.0).cautions([60, 240]) == []


def test_fractions_that_no_blueprint_has_are_said_with_the_nearest(monkeypatch):
    """Blueprints with 20 helical residues: 0.5 of 50 is 0.1 off, which will do, and of 80 0.25 off; 0.7 is neither."""
    monkeypatch.setattr(reach, "_drawn", lambda conditions, length, *_: "H" * 20 + "L" * (length - 20))
    prior = BlueprintPrior({}, {}, {})

    def lines(asked: Fractions, lengths: list[int]) -> tuple[str, ...]:
        return reach.fractions_out_of_reach([Length(lengths[0], lengths[-1]), asked], lengths, prior, None)

    assert lines(Fractions(helix=0.5), [50, 80]) == ()
    assert lines(Fractions(helix=0.5), [80]) != ()
    (line,) = lines(Fractions(helix=0.7, strand=0.2), [50, 80])
    assert "of 50 residues come is helix 0.40 (asked 0.70), strand 0.00 (asked 0.20), and 0.1 off will do" in line
    assert reach.fractions_out_of_reach([Fractions(helix=0.7)], [50], None, None) == ()
