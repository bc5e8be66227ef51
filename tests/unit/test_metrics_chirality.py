"""Handedness is found by every kind of evidence."""

import numpy as np
import pytest

from protgen.metrics.chirality import Chirality, helical_turns, is_mirror_image, virtual_chirality
from protgen.structure.ideal import add_cb, build_from_torsions, ideal_helix, ideal_strand, mirror
from protgen.structure.protein import CB, Protein


def with_cb(backbone):
    protein = Protein.from_backbone(backbone)
    protein.atoms[:, CB] = add_cb(backbone)
    protein.mask[:, CB] = True
    return protein


def ca_only(backbone):
    xyz = backbone.copy()
    xyz[:, [0, 2, 3]] = np.nan
    return Protein.from_backbone(xyz)


def test_cb_gives_the_hand_of_a_residue():
    """L residues are +1, the mirror image -1, and residues without CB 0."""
    protein = with_cb(ideal_helix(10))
    assert (virtual_chirality(protein) == 1).all()
    assert Chirality().measure(protein)["d_residues"] == 0
    flipped = Protein(**{**protein.__dict__, "atoms": mirror(protein.atoms)})
    assert (virtual_chirality(flipped) == -1).all()
    assert is_mirror_image(flipped) is True
    assert np.isnan(Chirality().measure(Protein.from_backbone(ideal_helix(10)))["d_residues"])


@pytest.mark.parametrize("view", [Protein.from_backbone, ca_only])
@pytest.mark.parametrize("n", [12, 30])
def test_helix_and_its_mirror_image(view, n):
    """With and without N, C, O: one right-handed helix, and one left-handed when mirrored."""
    right = Chirality().measure(view(ideal_helix(n)))
    left = Chirality().measure(view(mirror(ideal_helix(n))))
    assert (right["right_handed_helices"], right["left_handed_helices"], right["mirror_image"]) == (1, 0, 0)
    assert (left["right_handed_helices"], left["left_handed_helices"], left["mirror_image"]) == (0, 1, 1)
    assert left["left_handed_turns"] == 1


def test_strand_has_no_helices_but_a_hand():
    """A strand has no helical turn; phi still distinguishes its mirror image."""
    strand = Protein.from_backbone(ideal_strand(20))
    assert not helical_turns(strand).any()
    assert is_mirror_image(strand) is False
    assert is_mirror_image(Protein.from_backbone(mirror(ideal_strand(20)))) is True
    assert is_mirror_image(ca_only(ideal_strand(20))) is None


def test_short_left_turn_is_no_helix():
    """Six residues make three left-handed turns, one fewer than a helix needs."""
    row = Chirality().measure(Protein.from_backbone(mirror(ideal_helix(6))))
    assert row["left_handed_helices"] == 0
    assert row["left_handed_turns"] == 1


def test_two_helices_with_a_break_are_two():
    """A break ends a run."""
    xyz = ideal_helix(24)
    xyz[12:] += 30.0
    assert Chirality().measure(Protein.from_backbone(xyz))["right_handed_helices"] == 2


@pytest.mark.parametrize(("phi", "mirrored"), [(-50.0, False), (50.0, True)])
def test_the_hand_is_told_by_the_sign_of_phi(phi, mirrored):
    """Also of less than a radian, and by no more than eight angles."""
    angles = np.full(9, np.radians(phi))
    chain = Protein.from_backbone(build_from_torsions(angles, -2.6 * angles))
    assert not helical_turns(chain).any()
    assert is_mirror_image(chain) is mirrored
    shorter = Protein.from_backbone(build_from_torsions(angles[:8], -2.6 * angles[:8]))
    assert is_mirror_image(shorter) is None
