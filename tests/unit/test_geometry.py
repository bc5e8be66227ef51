"""Frames, rotations, angles and superposition against known answers."""

import math

import numpy as np
import pytest
import torch

from protgen.geometry import alignment, angles, frames, so3
from protgen.geometry import constants as ideal
from protgen.structure.ideal import ideal_helix, ideal_strand


@pytest.mark.parametrize("backbone", [ideal_helix(12), ideal_strand(12)])
def test_frames_give_the_backbone_back(backbone):
    """N, CA, C and all but the last O of an ideal chain, to 0.02 Å."""
    atoms = torch.from_numpy(np.asarray(backbone))
    rots, trans = frames.frames_from_backbone(atoms)
    again = frames.backbone_from_frames(rots, trans)
    assert (again[:, :3] - atoms[:, :3]).norm(dim=-1).max() < 0.02
    assert (again[:-1, 3] - atoms[:-1, 3]).norm(dim=-1).max() < 0.05


def test_frames_are_rotations_and_origin_is_ca():
    atoms = torch.from_numpy(np.asarray(ideal_helix(8)))
    rots, trans = frames.frames_from_backbone(atoms)
    assert torch.allclose(rots.transpose(-1, -2) @ rots, torch.eye(3, dtype=rots.dtype).expand(8, 3, 3), atol=1e-6)
    assert torch.allclose(torch.linalg.det(rots), torch.ones(8, dtype=rots.dtype), atol=1e-6)
    assert torch.equal(trans, atoms[:, 1])


def test_carbonyl_oxygen_is_planar_with_ideal_bond_and_angle():
    rots, trans = frames.frames_from_backbone(torch.from_numpy(np.asarray(ideal_strand(5))))
    n, ca, c, o = frames.backbone_from_frames(rots, trans).unbind(-2)
    assert torch.allclose((o - c).norm(dim=-1), torch.tensor(ideal.C_O, dtype=o.dtype), atol=1e-6)
    assert torch.allclose(angles.bond_angle(ca, c, o), torch.tensor(ideal.CA_C_O, dtype=o.dtype), atol=1e-6)
    omega_o = angles.dihedral(o[:-1], c[:-1], n[1:], ca[1:])
    assert omega_o.abs().max() < 0.1  # O and the next CA are cis across a trans peptide


def test_last_oxygen_has_an_extended_psi():
    rots, trans = frames.frames_from_backbone(torch.from_numpy(np.asarray(ideal_helix(4))))
    n, ca, c, o = frames.backbone_from_frames(rots, trans)[-1]
    psi = angles.dihedral(n, ca, c, o) - math.pi
    assert abs((psi - math.radians(140) + math.pi) % (2 * math.pi) - math.pi) < 0.02


@pytest.mark.parametrize("angle", [0.0, 1e-6, 1.0, math.pi - 1e-3])
def test_exp_and_log_are_inverse(angle):
    axis = torch.tensor([1.0, 2.0, -2.0], dtype=torch.float64) / 3
    vector = angle * axis
    assert torch.allclose(so3.log(so3.exp(vector)), vector, atol=1e-6)


@pytest.mark.parametrize("size", [0.0, 0.1, 1.0, 30.0])
def test_a_small_quaternion_turns_about_its_vector(size):
    """(1, b, c, d) is a turn by 2 atan |bcd| about bcd."""
    axis = torch.tensor([[1.0, 2.0, -2.0], [2.0, -1.0, 2.0]], dtype=torch.float64) / 3
    found = frames.rotation_from_small_quaternion(size * axis)
    assert torch.allclose(found, so3.exp(2 * math.atan(size) * axis), atol=1e-9)


def test_uniform_rotations_have_uniform_trace_moments(rng):
    """Under the Haar measure E[tr R] = 0 and E[(tr R)^2] = 1."""
    trace = so3.uniform(torch.randn(40_000, 4, generator=rng)).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert abs(trace.mean()) < 0.03
    assert abs(trace.square().mean() - 1) < 0.03


def test_chordal_distance_is_the_squared_angle_near_zero():
    rotation = so3.exp(torch.tensor([0.0, 0.01, 0.0], dtype=torch.float64))
    assert abs(so3.chordal_squared(rotation, torch.eye(3, dtype=torch.float64)) - 1e-4) < 1e-8


def test_dihedral_sign_is_iupac():
    points = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 1]])
    assert abs(angles.dihedral(*points) - math.pi / 2) < 1e-6 or abs(angles.dihedral(*points) + math.pi / 2) < 1e-6
    phi, psi, omega = angles.backbone_torsions(torch.from_numpy(np.asarray(ideal_helix(10))))
    assert abs(math.degrees(phi[5]) + 57) < 8
    assert abs(math.degrees(psi[5]) + 47) < 8
    assert abs(abs(math.degrees(omega[5])) - 180) < 5
    assert phi[0].isnan()
    assert psi[-1].isnan()


def test_superposition_undoes_a_motion_and_never_mirrors(rng):
    target = torch.randn(2, 20, 3, generator=rng)
    mask = torch.ones(2, 20, dtype=torch.bool)
    mask[1, 15:] = False
    rotation = so3.uniform(torch.randn(2, 4, generator=rng))
    mobile = target @ rotation.transpose(-1, -2) + 5.0
    mobile[1, 15:] = 100.0  # under the mask: must not count
    assert alignment.rmsd(mobile, target, mask).max() < 1e-4
    assert alignment.rmsd(target * torch.tensor([1.0, 1.0, -1.0]), target, mask).min() > 0.1
