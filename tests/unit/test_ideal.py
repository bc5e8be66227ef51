"""Ideal backbones have the geometry they are built from, and DSSP calls them what they are."""

import numpy as np
import pytest

from protgen.errors import UsageError
from protgen.structure import ideal
from protgen.structure.adapters import to_mdtraj
from protgen.structure.angles import dihedral
from protgen.structure.protein import Protein


def dssp(backbone: np.ndarray) -> str:
    import mdtraj

    return "".join(mdtraj.compute_dssp(to_mdtraj(Protein.from_backbone(backbone)))[0])


def angle(a, b, c):
    u, v = a - b, c - b
    cosine = (u * v).sum(-1) / np.linalg.norm(u, axis=-1) / np.linalg.norm(v, axis=-1)
    return np.arccos(cosine)


def test_bonds_angles_and_torsions_come_back():
    rng = np.random.default_rng(3)
    phi, psi, omega = rng.uniform(-np.pi, np.pi, (3, 15))
    x = ideal.build_from_torsions(phi, psi, omega)
    n, ca, c, o = (x[:, k] for k in range(4))
    for a, b, length in (
        (n, ca, ideal.N_CA),
        (ca, c, ideal.CA_C),
        (c[:-1], n[1:], ideal.C_N),
        (c, o, ideal.C_O),
    ):
        assert np.allclose(np.linalg.norm(a - b, axis=-1), length)
    assert np.allclose(angle(n, ca, c), ideal.N_CA_C)
    assert np.allclose(angle(ca[:-1], c[:-1], n[1:]), ideal.CA_C_N)
    assert np.allclose(angle(c[:-1], n[1:], ca[1:]), ideal.C_N_CA)
    assert np.allclose(dihedral(c[:-1], n[1:], ca[1:], c[1:]), phi[1:])
    assert np.allclose(dihedral(n[:-1], ca[:-1], c[:-1], n[1:]), psi[:-1])
    assert np.allclose(dihedral(ca[:-1], c[:-1], n[1:], ca[1:]), omega[:-1])


def test_helix():
    x = ideal.ideal_helix(20)
    assert dssp(x) == "C" + "H" * 18 + "C"
    rise = np.linalg.norm(x[18, 1] - x[0, 1]) / 18
    assert rise == pytest.approx(1.5, abs=0.06)
    assert np.allclose(np.linalg.norm(np.diff(x[:, 1], axis=0), axis=-1), 3.80, atol=0.02)


@pytest.mark.parametrize("n", [8, 13, 16, 30])
def test_hairpin_is_two_strands_without_clashes(n):
    x = ideal.ideal_hairpin(n)
    assert dssp(x).count("E") >= n - 6
    flat, residue = x.reshape(-1, 3), np.arange(4 * n) // 4
    distance = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    assert distance[np.abs(residue[:, None] - residue[None]) > 1].min() > 2.7


def test_strand_is_extended():
    x = ideal.ideal_strand(10)
    assert np.linalg.norm(x[9, 1] - x[0, 1]) / 9 == pytest.approx(3.3, abs=0.15)


def test_mirror_and_cb():
    x = ideal.ideal_helix(8)
    mirrored = dihedral(*(ideal.mirror(x)[:, k] for k in range(4)))
    assert np.allclose(mirrored, -dihedral(*(x[:, k] for k in range(4))))
    assert np.allclose(np.linalg.norm(ideal.add_cb(x) - x[:, 1], axis=-1), 1.53, atol=0.01)


def test_single_residue_and_bad_lengths():
    assert ideal.build_from_torsions(np.zeros(1), np.zeros(1)).shape == (1, 4, 3)
    with pytest.raises(UsageError, match="3, 2 and 3"):
        ideal.build_from_torsions(np.zeros(3), np.zeros(2))
    with pytest.raises(UsageError, match="at least 8"):
        ideal.ideal_hairpin(7)
