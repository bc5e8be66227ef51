"""Internal coordinates against Cartesian ones: round trips, known chains, the scan against a plain loop."""

import math

import numpy as np
import pytest
import torch

from protgen.geometry import alignment, angles, internal, so3
from protgen.geometry import constants as ideal
from protgen.structure.ideal import ideal_helix


def random_internal(shape: tuple[int, ...], rng: torch.Generator, dtype=torch.float64):
    torsions = (torch.rand(*shape, 3, generator=rng, dtype=dtype) * 2 - 1) * math.pi
    std = torch.randn(*shape, 3, generator=rng, dtype=dtype)
    bend = torch.tensor(internal.IDEAL_ANGLES, dtype=dtype) + 0.1 * std
    bonds = torch.tensor(internal.IDEAL_BONDS, dtype=dtype) + 0.02 * torch.randn(*shape, 3, generator=rng, dtype=dtype)
    return torsions, bend, bonds


def circular(a, b):
    return (a - b + math.pi).remainder(2 * math.pi) - math.pi


def test_what_is_placed_measures_as_asked(rng):
    """Torsions, angles and bonds of placed atoms to 1e-9, all but those an end leaves undefined."""
    torsions, bend, bonds = random_internal((3, 60), rng)
    found = internal.internal_coordinates(internal.place(torsions, bend, bonds).atoms)
    assert circular(found.torsions[:, 1:, 0], torsions[:, 1:, 0]).abs().max() < 1e-9
    assert circular(found.torsions[:, :-1, 1:], torsions[:, :-1, 1:]).abs().max() < 1e-9
    assert (found.angles[:, :-1] - bend[:, :-1]).abs().max() < 1e-9
    assert (found.bonds[:, :-1] - bonds[:, :-1]).abs().max() < 1e-9
    assert (found.angles[:, -1, 0] - bend[:, -1, 0]).abs().max() < 1e-9
    assert (found.bonds[:, -1, 0] - bonds[:, -1, 0]).abs().max() < 1e-9


def test_atoms_come_back_up_to_a_motion(rng):
    """Cartesian -> internal -> Cartesian on a random chain of 200 residues, 1e-9 Å after superposition."""
    atoms = internal.place(*random_internal((2, 200), rng)).atoms
    moved = atoms @ so3.uniform(torch.randn(4, generator=rng, dtype=torch.float64)).T + 7.0
    measured = internal.internal_coordinates(moved)
    again = internal.place(measured.torsions, measured.angles, measured.bonds).atoms
    mask = torch.ones(2, 600, dtype=torch.bool)
    here, there = again[..., :3, :].flatten(1, 2), moved[..., :3, :].flatten(1, 2)
    # The first N-CA bond is not among the coordinates: it is ideal in both, as `place` made it.
    assert (alignment.superpose(here, there, mask) - there).norm(dim=-1).max() < 1e-9


def test_scan_equals_a_plain_loop(rng):
    for length in (1, 2, 7, 32):
        rots, trans = internal.placement(*(x[..., 0] for x in reversed(random_internal((2, length), rng))))
        scanned_rots, scanned_trans = internal.running_product(rots, trans)
        product = rots[:, 0], trans[:, 0]
        for i in range(1, length):
            product = internal.compose(product, (rots[:, i], trans[:, i]))
            assert (scanned_rots[:, i] - product[0]).abs().max() < 1e-12
            assert (scanned_trans[:, i] - product[1]).abs().max() < 1e-11


def test_helix_torsions_make_a_helix():
    """phi, psi = -57, -47 degrees: 1.5 Å rise a residue (Pauling), right-handed, as the ideal helix of the package."""
    reference = internal.internal_coordinates(torch.from_numpy(np.asarray(ideal_helix(18))).double())
    torsions = torch.tensor([-57.0, -47.0, 180.0], dtype=torch.float64).deg2rad().expand(18, 3)
    ca = internal.place(torsions, reference.angles).atoms[:, 1]
    assert abs((ca[14] - ca[0]).norm() / 14 - 1.5) < 0.1
    turn = angles.dihedral(ca[:-3], ca[1:-2], ca[2:-1], ca[3:])
    assert (turn.rad2deg() - 50).abs().max() < 6


def test_oxygen_is_planar(rng):
    atoms = internal.place(*random_internal((1, 20), rng)).atoms[0]
    n, ca, c, o = atoms.unbind(-2)
    assert ((o - c).norm(dim=-1) - ideal.C_O).abs().max() < 1e-6
    plane = angles.dihedral(ca[:-1], c[:-1], n[1:], o[:-1])
    assert (plane.abs() - math.pi).abs().max() < 1e-6


def test_frames_depend_on_residues_before_alone(rng):
    torsions, bend, bonds = random_internal((1, 12), rng)
    changed = torsions.clone()
    changed[:, 7] += 1.0
    before, after = internal.place(torsions, bend, bonds), internal.place(changed, bend, bonds)
    assert torch.equal(before.rots[:, :8], after.rots[:, :8])
    assert torch.equal(before.trans[:, :8], after.trans[:, :8])
    assert (before.trans[:, 8:] - after.trans[:, 8:]).abs().max() > 0.1
    assert (before.trans - before.atoms[..., 1, :]).abs().max() == 0


def test_gradients_agree_with_finite_differences(rng):
    torsions, bend, bonds = random_internal((1, 5), rng)
    assert torch.autograd.gradcheck(
        lambda *x: internal.place(*x).atoms,
        [x.requires_grad_() for x in (torsions, bend, bonds)],
        atol=1e-6,
    )


@pytest.mark.parametrize("length", [1, 2])
def test_shortest_chains(length):
    torsions = torch.zeros(1, length, 3)
    bend = torch.tensor(internal.IDEAL_ANGLES).expand(1, length, 3)
    atoms = internal.place(torsions, bend).atoms
    assert atoms.shape == (1, length, 4, 3)
    assert torch.isfinite(atoms).all()
    assert internal.internal_coordinates(atoms).torsions.shape == (1, length, 3)
