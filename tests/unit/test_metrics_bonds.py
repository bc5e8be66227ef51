"""Connectivity and covalent geometry on structures with one known defect each."""

import numpy as np
import pytest

from protgen.metrics.bonds import TARGETS, Bonds
from protgen.structure.angles import dihedral
from protgen.structure.ideal import build_from_torsions, ideal_helix, ideal_strand
from protgen.structure.links import backbone_torsions, links
from protgen.structure.protein import Protein


def measure(backbone, **keywords):
    return Bonds().measure(Protein.from_backbone(backbone, **keywords))


def test_ideal_helix_is_flawless():
    """No break, every peptide bond right and trans, and z-scores of ideal geometry near zero."""
    row = measure(ideal_helix(20))
    assert row["chain_breaks"] == row["chain_breaks_cn"] == row["missing_segments"] == 0
    assert row["peptide_valid"] == row["omega_trans"] == row["ca_ca_valid"] == 1
    assert row["geometry_outliers"] == 0
    assert all(row[f"z_{name}"] < 0.5 for name in TARGETS)


def test_break_is_counted_by_both_readings():
    """Ten residues moved 10 Å away leave one break, and no torsion across it."""
    xyz = ideal_strand(20)
    xyz[10:] += 10.0
    protein = Protein.from_backbone(xyz)
    row = Bonds().measure(protein)
    assert row["chain_breaks"] == row["chain_breaks_cn"] == 1
    assert row["missing_segments"] == 0
    assert row["peptide_valid"] == pytest.approx(18 / 19)
    phi, psi, omega = backbone_torsions(protein)
    assert np.isnan([phi[10], psi[9], omega[9]]).all()


def test_gap_in_the_numbering_is_no_break():
    """The same gap announced by the numbering is a missing segment; a bare jump of the numbers is nothing."""
    xyz, numbers = ideal_strand(20), np.r_[1:11, 21:31]
    assert measure(xyz, residue_numbers=numbers)["missing_segments"] == 0
    xyz[10:] += 10.0
    row = measure(xyz, residue_numbers=numbers)
    assert (row["chain_breaks"], row["missing_segments"], row["peptide_valid"]) == (0, 1, 1)


def test_chains_are_not_joined():
    """Two chains far apart have no break between them."""
    xyz = ideal_helix(20)
    xyz[10:] += 50.0
    assert measure(xyz, chain_ids=np.repeat(["A", "B"], 10))["chain_breaks"] == 0


def test_missing_atom_is_not_a_valid_bond():
    """A residue without N takes its bond out of the count; it does not pass as right."""
    xyz = ideal_helix(10)
    xyz[5, 0] = np.nan
    protein = Protein.from_backbone(xyz)
    assert not links(protein).bonded[4]
    assert Bonds().measure(protein)["peptide_valid"] == 1.0


def test_cis_and_twisted_peptides():
    """One cis and one twisted omega among nine are found; the cis CA-CA is near its own ideal."""
    omega = np.full(10, np.pi)
    omega[3], omega[6] = 0.0, np.pi / 2
    row = measure(build_from_torsions(np.full(10, -2.1), np.full(10, 2.3), omega))
    assert row["omega_cis"] == row["omega_twisted"] == pytest.approx(1 / 9)
    straight = measure(build_from_torsions(np.full(10, -2.1), np.full(10, 2.3), np.where(omega == 0, 0, np.pi)))
    assert straight["ca_ca_deviation"] < 0.05
    assert straight["chain_breaks"] == 0
    assert straight["chain_breaks_rfdiffusion3"] == 1


def test_ca_only_structure_gets_no_invented_numbers():
    """Without N, C and O, only what CA atoms say is reported."""
    xyz = ideal_helix(12)
    xyz[:, [0, 2, 3]] = np.nan
    row = measure(xyz)
    assert row["chain_breaks"] == 0
    assert np.isnan([row["peptide_valid"], row["chain_breaks_cn"], row["z_c_n"], row["omega_trans"]]).all()


def test_stretched_bond_gives_its_z_score():
    """Every C-O lengthened by two sigma has z_c_o of exactly two."""
    xyz = ideal_helix(12)
    direction = xyz[:, 3] - xyz[:, 2]
    unit = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    xyz[:, 3] = xyz[:, 2] + unit * (TARGETS["c_o"].ideal + 2 * TARGETS["c_o"].sigma)
    assert measure(xyz)["z_c_o"] == pytest.approx(2.0)


def test_targets_are_those_of_their_source():
    """Engh and Huber 1991: Å and degrees, with their standard deviations."""
    found = {name: (target.ideal, target.sigma) for name, target in TARGETS.items()}
    assert found == {
        "c_n": (1.329, 0.014), "n_ca": (1.458, 0.019), "ca_c": (1.525, 0.021), "c_o": (1.231, 0.020),
        "n_ca_c": (111.0, 2.8), "ca_c_n": (116.6, 2.0), "c_n_ca": (121.4, 1.8),
    }  # fmt: skip


def test_dihedral_sign():
    """IUPAC: looking along b-c, a clockwise turn from a to d is positive."""
    a, b, c = np.array([[0.0, 1, 0], [0, 0, 0], [1, 0, 0]])
    assert np.rad2deg(dihedral(a, b, c, np.array([1.0, 0, 1]))) == pytest.approx(90.0)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_chains(n):
    """One, two or three residues do not fail."""
    assert Bonds().measure(Protein.from_backbone(ideal_helix(n)))["missing_segments"] == 0
