"""DSSP and P-SEA on ideal elements, with atoms missing, and against the packages they come from."""

import mdtraj
import numpy as np
import pytest

from protgen.metrics import secondary_structure as ss
from protgen.metrics.secondary_structure import (
    SecondaryStructure,
    dssp,
    fold_class,
    fractions,
    longest_run,
    p_sea,
    secondary_structure,
)
from protgen.structure.ideal import build_from_torsions, ideal_helix, ideal_strand
from protgen.structure.protein import Protein

HAIRPIN = np.deg2rad([(-125, 140)] * 7 + [(60, 30), (95, 10)] + [(-125, 140)] * 7)


def hairpin():
    return build_from_torsions(HAIRPIN[:, 0], HAIRPIN[:, 1])


def ca_only(backbone):
    xyz = backbone.copy()
    xyz[:, [0, 2, 3]] = np.nan
    return Protein.from_backbone(xyz)


def test_helix_hairpin_and_lone_strand():
    """A helix is H but for its ends, a hairpin has two strands around a turn, a lone strand is coil."""
    assert dssp(Protein.from_backbone(ideal_helix(20))) == "C" + "H" * 18 + "C"
    assert dssp(Protein.from_backbone(hairpin())) == "CCEEEEECCEEEEECC"
    assert dssp(Protein.from_backbone(ideal_strand(20))) == "C" * 20


def test_far_from_the_origin():
    """Ten thousand Å away float32 would have lost the hydrogen bonds."""
    protein = Protein.from_backbone(ideal_helix(20) + 9_000.0)
    assert dssp(protein) == "C" + "H" * 18 + "C"


def test_missing_atoms_are_not_guessed():
    """A residue without O is unassigned and is left out of the fractions."""
    xyz = ideal_helix(20)
    xyz[10, 3] = np.nan
    codes = dssp(Protein.from_backbone(xyz))
    assert codes[10] == "-"
    assert codes.count("-") == 1
    assert sum(fractions(codes).values()) == pytest.approx(1.0)


def test_break_ends_a_helix():
    """No helix runs on through a gap of 30 Å."""
    xyz = ideal_helix(24)
    xyz[12:] += 30.0
    codes = dssp(Protein.from_backbone(xyz))
    assert codes[11:13] == "CC"
    assert longest_run(codes) == 10


def test_agrees_with_mdtraj_on_its_own_topology():
    """Our cached topology and centring change nothing."""
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for _ in range(16):
        residue = topology.add_residue("ALA", chain)
        for name in ("N", "CA", "C", "O"):
            topology.add_atom(name, mdtraj.element.get_by_symbol(name[0]), residue)
    trajectory = mdtraj.Trajectory(hairpin().reshape(1, -1, 3) / 10, topology)
    assert dssp(Protein.from_backbone(hairpin())) == "".join(mdtraj.compute_dssp(trajectory)[0])


@pytest.mark.parametrize("n", range(6))
def test_tiny_chains(n):
    """No residues to five: a string of the right length and no failure."""
    assert len(secondary_structure(Protein.from_backbone(ideal_helix(20)[:n]))) == n


def test_p_sea_reads_ca_traces():
    """Helix and strand from CA alone; a break is respected; the method is named."""
    assert p_sea(ca_only(ideal_helix(20))).count("H") >= 17
    assert p_sea(ca_only(ideal_strand(20))).count("E") >= 15
    row = SecondaryStructure().measure(ca_only(ideal_helix(20)))
    assert (row["ss_method"], row["fold_class"]) == ("p-sea", "alpha")


def test_ranges_of_p_sea():
    """Table 1 of Labesse et al. 1997: Å and degrees, mean and tolerance; ends count, and 180 and -180 are one angle."""
    assert (ss._HELIX_D3, ss._HELIX_D4, ss._HELIX_ANGLE, ss._HELIX_DIHEDRAL) == (
        (5.3, 0.5), (6.4, 0.6), (89.0, 12.0), (50.0, 20.0),
    )  # fmt: skip
    assert (ss._STRAND_D2, ss._STRAND_D3, ss._STRAND_D4) == ((6.7, 0.6), (9.9, 0.9), (12.4, 1.1))
    assert (ss._STRAND_ANGLE, ss._STRAND_DIHEDRAL) == ((124.0, 14.0), (-170.0, 45.0))
    turns = np.array([29.0, 30.0, 50.0, 70.0, 71.0, np.nan])
    assert ss._within(turns, (50.0, 20.0)).tolist() == [False, True, True, True, False, False]
    assert ss._within(np.array([145.0, 144.0, 180.0, -125.0, -124.0]), (-170.0, 45.0)).tolist() == [1, 0, 1, 1, 0]


def test_p_sea_agrees_with_biotite():
    """The same states as biotite's implementation, but for strands of three that it accepts by contacts."""
    structure = pytest.importorskip("biotite.structure")
    protein = ca_only(np.concatenate([ideal_helix(18), hairpin() + 40.0, ideal_strand(9) - 40.0]))
    array = structure.AtomArray(protein.length)
    array.coord = protein.atoms[:, 1]
    array.res_id = protein.residue_numbers + 10 * np.repeat([0, 1, 2], [18, 16, 9])  # it sees breaks by numbers
    array.atom_name[:] = "CA"
    array.res_name[:] = "ALA"
    array.chain_id[:] = "A"
    theirs = "".join(structure.annotate_sse(array)).translate(str.maketrans("abc", "HEC"))
    assert p_sea(protein) == theirs


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ("H" * 50 + "C" * 50, "alpha"),
        ("E" * 30 + "C" * 70, "beta"),
        ("H" * 20 + "E" * 20 + "C" * 60, "mixed"),
        ("C" * 100, "irregular"),
        ("-" * 10, "irregular"),
    ],
)
def test_fold_class(codes, expected):
    """The classes of Nakashima et al."""
    assert fold_class(codes) == expected
