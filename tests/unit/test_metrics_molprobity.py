"""CB deviations, hydrogens, clashscore, omega outliers and the Ramachandran scale of MolProbity.

Numbers of four residues of lysozyme (PDB 1AKI) come from cctbx-base 2025.11 (`cbetadev`) and `reduce` 4.15.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from protgen.errors import StructureError
from protgen.metrics.bonds import Bonds
from protgen.metrics.cb_deviation import GENERAL, OF_RESIDUE, CbDeviation, cb_deviations, ideal_cb
from protgen.metrics.clashscore import Clashscore, all_atoms, clashing_pairs, overlapping, sphere
from protgen.metrics.hydrogens import alpha_hydrogens, amide_hydrogens
from protgen.metrics.ramachandran_molprobity import CLASSES, RamachandranMolprobity, molprobity_classes
from protgen.metrics.reference_data import ramachandran_reference
from protgen.structure.ideal import build_from_torsions, ideal_helix, place_atom
from protgen.structure.links import backbone_torsions, links
from protgen.structure.protein import Protein

# N, CA, C, O, CB of residues 11 and 12, 24, 40, 69 and 70.
ALA_11 = [[39.227, 18.519, 1.385], [39.264, 19.982, 1.223], [38.491, 20.702, 2.321], [38.946, 21.658, 2.953]]
MET_12 = [[37.288, 20.214, 2.590], [36.398, 20.781, 3.612], [36.990, 20.715, 5.007], [36.906, 21.637, 5.840]]
SER_24 = [[29.029, 18.223, 11.810], [30.143, 17.347, 11.414], [30.359, 17.379, 9.895], [29.442, 17.687, 9.139]]
THR_40 = [[31.766, 22.492, -8.928], [32.139, 23.869, -8.657], [31.504, 24.890, -9.589], [31.316, 26.054, -9.213]]
PRO_70 = [[17.687, 41.741, -8.418], [16.953, 42.824, -7.733], [16.955, 42.520, -6.242], [16.739, 41.356, -5.886]]
CB = {
    "ALA": [38.869, 20.421, -0.175],
    "MET": [34.993, 20.213, 3.515],
    "SER": [29.922, 15.934, 11.907],
    "THR": [33.684, 24.103, -8.422],
    "PRO": [15.557, 42.749, -8.333],
}


def with_cb(backbone: list, names: list[str], numbers: list[int]) -> Protein:
    """A protein with the CB atoms above."""
    protein = Protein.from_backbone(
        np.array(backbone), residue_names=np.array(names), residue_numbers=np.array(numbers)
    )
    protein.atoms[:, 4] = [CB[name] for name in names]
    protein.mask[:, 4] = True
    return protein


def test_cb_deviations_are_those_of_cctbx():
    """Four residues of three kinds, to the last digit of their coordinates."""
    protein = with_cb([MET_12, SER_24, THR_40, PRO_70], ["MET", "SER", "THR", "PRO"], [12, 24, 40, 70])
    expected = [0.177998162858153, 0.04899562610335266, 0.31155507469791915, 0.03005958343861582]
    assert cb_deviations(protein) == pytest.approx(expected, abs=1e-9)
    row = CbDeviation().measure(protein)
    assert row == pytest.approx({"cb_deviation": np.mean(expected), "cb_outliers": 0.25, "cb_residues": 4})


@pytest.mark.parametrize("ideal", [GENERAL, *OF_RESIDUE.values()])
def test_both_constructions_of_cb_agree(ideal):
    """From N and from C to 0.012 Å, where a degree of an angle is 0.025 Å: the angles of a residue fit each other."""
    n, ca, c = ideal_helix(3)[1:2, :3].swapaxes(0, 1)
    first = place_atom(n, c, ca, ideal.bond, np.deg2rad(ideal.c_ca_cb), np.deg2rad(ideal.from_n))
    second = place_atom(c, n, ca, ideal.bond, np.deg2rad(ideal.n_ca_cb), np.deg2rad(ideal.from_c))
    assert np.linalg.norm(first - second) < 0.012
    assert 1.53 <= ideal.bond <= 1.54


def test_a_cb_moved_from_its_ideal_place_deviates_by_as_much():
    """A quarter of an Å is an outlier, less is none; without CB there is no number."""
    n, ca, c = np.array(MET_12)[:3, None]
    for moved, outliers in ((0.2501, 1), (0.2499, 0)):
        protein = with_cb([MET_12], ["MET"], [12])
        protein.atoms[:, 4] = ideal_cb(n, ca, c, GENERAL) + moved * np.array([0.6, 0.0, 0.8])
        row = CbDeviation().measure(protein)
        assert row["cb_deviation"] == pytest.approx(moved, abs=1e-9)
        assert row["cb_outliers"] == outliers
    assert np.isnan(CbDeviation().measure(Protein.from_backbone(ideal_helix(5)))["cb_outliers"])


def test_hydrogens_are_where_reduce_puts_them():
    """H and HA of a residue behind another, to the three digits of a file; prolines and first residues have no H."""
    protein = with_cb([ALA_11, MET_12], ["ALA", "MET"], [11, 12])
    assert amide_hydrogens(protein, links(protein))[1] == pytest.approx([36.955, 19.534, 2.182], abs=1.5e-3)
    assert np.isnan(amide_hydrogens(protein, links(protein))[0]).all()
    assert alpha_hydrogens(protein)[1] == pytest.approx([36.314, 21.729, 3.423], abs=1.5e-3)
    assert alpha_hydrogens(with_cb([THR_40], ["THR"], [40]))[0] == pytest.approx([31.735, 24.041, -7.792], abs=1.5e-3)
    proline = with_cb([ALA_11, MET_12], ["ALA", "PRO"], [11, 12])
    assert np.isnan(amide_hydrogens(proline, links(proline))).all()
    ours = alpha_hydrogens(with_cb([PRO_70], ["PRO"], [70]))[0]
    assert ours == pytest.approx([17.331, 43.710, -7.843], abs=1.5e-3)


@pytest.mark.parametrize(
    ("kinds", "limit"),
    [
        ((6, 6), 2 * 1.22 - 0.4),  # HA and HA
        ((1, 6), 1.70 + 1.22 - 0.4),  # CA and HA
        ((0, 2), 1.55 + 1.65 - 0.4),  # N and C
        ((4, 4), 2 * 1.70 - 0.4),  # CB and CB
        ((3, 5), 1.40 + 1.05 - 1.0),  # O and H: a hydrogen bond may overlap by 0.6 Å more
        ((5, 3), 1.05 + 1.40 - 1.0),
        ((3, 6), 1.40 + 1.22 - 0.4),  # O and HA
    ],
)
def test_overlaps_count_from_their_limit(kinds, limit, monkeypatch):
    """One atom each of two residues of two chains, just within and just beyond; the nearest dot is 3 degrees off."""
    for gap, clashes in ((limit - 0.02, 1), (limit + 1e-6, 0)):
        xyz = np.full((2, 7, 3), np.nan)
        xyz[0, kinds[0]], xyz[1, kinds[1]] = 0.0, [gap, 0.0, 0.0]
        monkeypatch.setattr("protgen.metrics.clashscore.all_atoms", lambda protein, joints, xyz=xyz: xyz)
        assert overlapping(Protein.from_backbone(ideal_helix(2), chain_ids=np.array(["A", "B"]))) == (clashes, 2)


def test_dots_cover_the_sphere():
    """Points of length 1 whose mean is 0 and whose mean square is a third in each direction, the first on its axis."""
    dots = sphere(400)
    assert np.linalg.norm(dots, axis=1) == pytest.approx(np.ones(400), abs=1e-12)
    assert dots.mean(axis=0) == pytest.approx(np.zeros(3), abs=2e-3)
    assert dots.T @ dots / 400 == pytest.approx(np.eye(3) / 3, abs=2e-3)
    assert dots[0] == pytest.approx([1.0, 0.0, 0.0], abs=0.08)


def test_bonds_are_counted_along_the_chain():
    """O(i) and CA(i + 1) are 3 bonds apart and do not clash however near; O(i) and C(i + 1) are 4 and do."""
    helix = Protein.from_backbone(ideal_helix(2))
    on_chain = (((0, 0), 0), ((1, 1), 0), ((2, 2), 0), ((0, 1), 1), ((1, 2), 1))  # N, CA, C: 3 bonds, then 4
    for kinds, clashes in (*on_chain, ((3, 1), 0), ((3, 2), 1), ((3, 6), 0), ((3, 4), 1), ((6, 5), 0), ((5, 6), 1)):
        xyz = np.full((2, 7, 3), np.nan)
        xyz[0, kinds[0]], xyz[1, kinds[1]] = 0.0, [1.0, 0.0, 0.0]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("protgen.metrics.clashscore.all_atoms", lambda protein, joints, xyz=xyz: xyz)
            assert overlapping(helix)[0] == clashes


def clashes_of(first, second):
    """Clashes of two residues of two chains with some of their atoms, each given by its place among the seven."""
    xyz = np.full((2, 7, 3), np.nan)
    for residue, atoms in enumerate((first, second)):
        for kind, point in atoms.items():
            xyz[residue, kind] = point
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("protgen.metrics.clashscore.all_atoms", lambda protein, joints: xyz)
        pairs, _ = clashing_pairs(Protein.from_backbone(ideal_helix(2), chain_ids=np.array(["A", "B"])))
    return {tuple(sorted(map(tuple, pair))) for pair in pairs.tolist()}


def test_a_hydrogen_between_takes_the_overlap():
    """N 2.3 Å from O overlaps by 0.65 Å, unless its H, 0.86 Å from it, points at O; an H on the other side does not."""
    oxygen, clash = {3: [0, 0, 0]}, {((0, 3), (1, 0))}
    assert clashes_of(oxygen, {0: [2.3, 0, 0]}) == clash
    assert clashes_of(oxygen, {0: [2.3, 0, 0], 5: [1.44 + 0.02, 0, 0]}) == set()
    assert clashes_of(oxygen, {0: [2.3, 0, 0], 5: [3.16, 0, 0]}) == clash
    assert clashes_of(oxygen, {0: [2.3, 0, 0], 5: [1.44 - 0.05, 0, 0]}) == {((0, 3), (1, 5))}  # H...O by 1.06 Å


def test_a_dot_belongs_to_the_atom_in_which_it_is_deepest():
    """C 2.5 Å behind a CA that O touches is too far in itself; 0.1 Å beside that CA, both are touched."""
    oxygen = {3: [0, 0, 0]}
    assert clashes_of(oxygen, {1: [2.0, 0, 0], 2: [2.6, 0, 0]}) == {((0, 3), (1, 1))}
    assert clashes_of(oxygen, {1: [2.0, 0, 0], 2: [0, 2.0, 0]}) == {((0, 3), (1, 1)), ((0, 3), (1, 2))}


def test_clashes_turn_with_the_structure():
    """The dots turn with the atoms: a helix pushed into another has the same pairs in any orientation."""
    helix = ideal_helix(20)
    both = np.concatenate([helix, helix + np.array([5.0, 1.0, 0.5])])
    rng = np.random.default_rng(0)
    found = []
    for _ in range(5):
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        turn *= np.linalg.det(turn)
        two = Protein.from_backbone(both @ turn.T + rng.normal(size=3), chain_ids=np.repeat(["A", "B"], 20))
        found.append({tuple(sorted(map(tuple, pair))) for pair in clashing_pairs(two)[0].tolist()})
    assert len(found[0]) > 20
    assert all(one == found[0] for one in found)


def test_clashscore_is_per_thousand_atoms():
    """An ideal helix has none; the same helix twice in one place is full of them."""
    helix = ideal_helix(20)
    assert Clashscore().measure(Protein.from_backbone(helix))["clashscore_h"] == 0
    two = Protein.from_backbone(np.concatenate([helix, helix + 0.1]), chain_ids=np.repeat(["A", "B"], 20))
    clashes, atoms = overlapping(two)
    assert atoms == 2 * (20 * 5 + 19) == np.isfinite(all_atoms(two, links(two))).all(-1).sum()
    assert Clashscore().measure(two)["clashscore_h"] == pytest.approx(1000 * clashes / atoms)
    assert clashes > atoms


def test_omega_outliers_are_twisted_bonds_and_cis_ones_before_other_residues():
    """Of eight bonds one is cis before a proline, one cis before alanine, one twisted by 90 degrees."""
    omega = np.full(9, np.pi)
    omega[[1, 4, 6]] = 0.0, 0.0, np.pi / 2
    names = np.array(["ALA"] * 9)
    names[2] = "PRO"
    backbone = build_from_torsions(np.full(9, -1.2), np.full(9, 2.4), omega)
    row = Bonds().measure(Protein.from_backbone(backbone, residue_names=names))
    assert row["omega_cis"] == pytest.approx(2 / 8)
    assert row["omega_twisted"] == pytest.approx(1 / 8)
    assert row["omega_outliers"] == pytest.approx(2 / 8)


def test_classes_of_molprobity():
    """Each of the six; a placeholder glycine is general, and a proline before a proline keeps its own class."""
    omega = np.full(9, np.pi)
    omega[4] = 0.0
    names = np.array(["ALA", "GLY", "ILE", "VAL", "ALA", "PRO", "PRO", "LEU", "ALA"])
    protein = Protein.from_backbone(build_from_torsions(np.full(9, -1.2), np.full(9, 2.4), omega), residue_names=names)
    joints = links(protein)
    found = molprobity_classes(protein, backbone_torsions(protein, joints)[2], joints)
    assert [CLASSES[k] for k in found] == [
        "general", "glycine", "isoleucine or valine", "isoleucine or valine", "pre-proline", "cis-proline",
        "trans-proline", "general", "general",
    ]  # fmt: skip
    blank = Protein.from_backbone(ideal_helix(6))
    assert (molprobity_classes(blank, np.full(6, np.nan), links(blank)) == 0).all()


def test_known_torsions_on_the_scale_of_molprobity():
    """Alpha is favoured; phi 60, psi -90 and phi 0, psi 0 are outliers (ramalyze: scores 0.00027 and 0)."""
    row = RamachandranMolprobity().measure(Protein.from_backbone(ideal_helix(12)))
    assert row == {"molprobity_favoured": 1.0, "molprobity_outliers": 0.0}
    for phi, psi in ((60, -90), (0, 0)):
        backbone = build_from_torsions(np.deg2rad(np.full(9, phi)), np.deg2rad(np.full(9, psi)))
        assert RamachandranMolprobity().measure(Protein.from_backbone(backbone))["molprobity_outliers"] == 1


def test_the_shipped_levels_agree_with_ramalyze_within_a_point():
    """As measured when they were fitted, on held-out natives and on designs."""
    reference = ramachandran_reference("ramachandran_molprobity")
    assert reference.log_density.shape == (6, 120, 120)
    assert (reference.favoured > reference.allowed).all()
    results = Path(__file__).parents[2] / "benchmarks" / "results" / "molprobity.json"
    for entry in json.loads(results.read_text(encoding="utf-8"))["agreement"].values():
        for name in ("favoured", "outliers", "whole_favoured", "whole_outliers"):
            assert abs(entry[name] - entry[f"{name}_molprobity"]) < 0.01


def test_a_collapsed_structure_is_refused():
    """Its pairs would fill the memory: 1,700 residues on one place have 36 million."""
    with pytest.raises(StructureError, match="on top of each other"):
        Clashscore().measure(Protein.from_backbone(np.repeat(ideal_helix(1), 1700, axis=0)))
