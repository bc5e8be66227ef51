"""Designs against refolds whose distance is known, and pLDDT as files have it."""

import gzip

import numpy as np
import pytest

from protgen.errors import ProtgenError
from protgen.metrics.self_consistency import (
    LABELS,
    MOTIF_QUANTITIES,
    QUANTITIES,
    MotifTarget,
    RefoldScore,
    best_of,
    f1,
    score_refold,
)
from protgen.structure.b_factors import plddt_of, read_b_factors
from protgen.structure.ideal import ideal_hairpin, ideal_helix, mirror
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.writer import write_structure

TURN = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
TURN = TURN * np.sign(np.linalg.det(TURN))
NONE = np.full(200, np.nan)


def protein(xyz, name="refold"):
    return Protein.from_backbone(xyz, name=name)


def dimer_of_points():
    """Six CA on the axes, as a design; and a refold whose points are 1 Å further out in x, which no motion undoes."""
    corners = np.array([[5, 0, 0], [-5, 0, 0], [0, 5, 0], [0, -5, 0], [0, 0, 5], [0, 0, -5]], float)
    moved = corners + np.array([[1, 0, 0], [-1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]], float)
    return [np.where(np.arange(4)[:, None] == 1, points[:, None], np.nan) for points in (corners, moved)]


def test_rmsd_and_mean_distance_of_known_points():
    """Two of six points off by 1 Å: the RMSD is sqrt(2/6), the mean distance 2/6; turned and shifted all the same."""
    design, moved = dimer_of_points()
    score = score_refold(protein(design), protein(moved @ TURN.T + 40.0), NONE[:6])
    assert score.rmsd == pytest.approx((2 / 6) ** 0.5, abs=1e-6)
    assert score.mean_distance == pytest.approx(2 / 6, abs=1e-6)
    assert np.isnan(score.plddt)
    assert np.isnan(score.motif_rmsd)


def test_the_same_fold_and_another():
    """A noisy, moved copy is designable; a hairpin of that length and a mirror image are not."""
    hairpin = ideal_hairpin(40)
    design = protein(hairpin)
    noisy = hairpin + 0.3 * np.random.default_rng(0).normal(size=hairpin.shape)
    near = score_refold(design, protein(noisy @ TURN.T - 3.0), np.linspace(70, 90, 40))
    assert 0.3 < near.rmsd < 0.7
    assert near.mean_distance < near.rmsd
    assert near.tm > 0.9
    assert near.plddt == pytest.approx(80)
    helix = protein(ideal_helix(40))
    for first, other in ((design, ideal_helix(40)), (helix, mirror(ideal_helix(40)))):
        assert score_refold(first, protein(other), NONE[:40]).rmsd > 2.5


def test_other_lengths_are_refused_and_missing_atoms_left_out():
    """A refold of another length belongs to something else; residues without CA take no part."""
    design = protein(ideal_helix(30))
    with pytest.raises(ProtgenError, match="29 residues, and the design 30"):
        score_refold(design, protein(ideal_helix(29)), NONE[:29])
    xyz = ideal_helix(30)
    xyz[4] += 50.0
    assert score_refold(design, protein(xyz), NONE[:30]).rmsd > 5
    xyz[4] = np.nan
    assert score_refold(design, protein(xyz), NONE[:30]).rmsd == pytest.approx(0, abs=1e-6)


def test_motif_is_held_against_its_own_file():
    """A refold in which only the motif is as in its file keeps the motif, whatever the rest does; and the reverse."""
    helix, hairpin = ideal_helix(30), ideal_hairpin(30)
    target = MotifTarget(np.arange(5, 15), helix[5:15, :3] @ TURN.T + 9.0)
    assert score_refold(protein(hairpin), protein(helix), NONE[:30], target).motif_rmsd == pytest.approx(0, abs=1e-5)
    kept = score_refold(protein(helix), protein(helix), NONE[:30], target)
    lost = score_refold(protein(hairpin), protein(hairpin), NONE[:30], target)
    assert kept.motif_rmsd == pytest.approx(0, abs=1e-5)
    assert lost.motif_rmsd > 1.5
    assert best_of([kept], 1, motif=True)["motif_success"] == 1
    assert best_of([lost], 1, motif=True)["motif_success"] == 0


def score(name, rmsd, distance, tm, plddt, motif=np.nan):
    return RefoldScore(name, rmsd, distance, tm, plddt, motif)


def test_best_of_several():
    """Each figure is the best of its own, pLDDT that of the best RMSD, and both counts are there."""
    scores = [score("a", 3.0, 1.0, 0.7, 95.0), score("b", 1.9, 1.5, 0.4, 60.0), score("c", 2.5, 2.0, 0.3, 99.0)]
    row = best_of(scores, 5)
    assert row == {
        "n_refolds": 5,
        "n_refolds_used": 3,
        "sc_rmsd": 1.9,
        "sc_mean_distance": 1.0,
        "sc_tm": 0.7,
        "sc_plddt": 60.0,
        "designable": 1.0,
        "designable_tm": 1.0,
        "designable_confident": 0.0,  # no one refold has both
        "best_refold": "b",
    }
    assert best_of([score("a", 2.0, 1.0, 0.5, 95.0)], 1)["designable"] == 0  # below, not at
    assert best_of([score("a", 2.0, 1.0, 0.5, 95.0)], 1)["designable_tm"] == 0
    assert best_of([score("a", 1.0, 1.0, 0.5, 70.0)], 1)["designable_confident"] == 1


def test_nothing_is_made_up_where_there_is_nothing():
    """No refold: counts and nothing else. No pLDDT: no verdict that rests on it, unless RMSD decides."""
    assert best_of([], 4) == {"n_refolds": 4, "n_refolds_used": 0}
    assert "designable_confident" not in best_of([score("a", 1.0, 1.0, 0.9, np.nan)], 1)
    assert best_of([score("a", 3.0, 1.0, 0.9, np.nan)], 1)["designable_confident"] == 0
    assert "motif_success" not in best_of([score("a", 1.0, 1.0, 0.9, 90.0)], 1, motif=True)


def test_every_column_is_defined_once():
    """What `best_of` writes has a definition or is a label, and no name comes twice."""
    names = [quantity.name for quantity in QUANTITIES + MOTIF_QUANTITIES]
    written = best_of([score("a", 1.0, 0.8, 0.9, 90.0, 0.5)], 1, motif=True)
    assert set(written) <= {*names, *LABELS}
    assert set(names) <= set(written)
    assert len(set(names)) == len(names)


def test_f1():
    """Genie 2's: the harmonic mean, and 0 where nothing is designable."""
    assert f1(0.5, 1.0) == pytest.approx(2 / 3)
    assert f1(0.0, 0.0) == f1(0.0, 1.0) == 0


@pytest.mark.parametrize("name", ["a.pdb", "a.cif", "a.pdb.gz"])
def test_b_factors_come_back_residue_by_residue(tmp_path, name):
    """As written, to the two decimals of the formats, in the order of the protein."""
    helix, values = protein(ideal_helix(12)), np.linspace(31.5, 97.25, 12)
    write_structure(helix, tmp_path / name, b_factors=values)
    read = read_structure(tmp_path / name)
    assert np.allclose(read_b_factors(tmp_path / name, read), values, atol=0.006)


def test_b_factor_is_that_of_the_ca_and_missing_ones_are_missing(tmp_path):
    """Other atoms have others; blank columns and words are no numbers, and are not 0."""
    path = tmp_path / "a.pdb"
    write_structure(protein(ideal_helix(6)), path, b_factors=np.full(6, 50.0))
    lines = path.read_text().splitlines(keepends=True)
    ca = [k for k, line in enumerate(lines) if line[12:16] == " CA "]
    for k, text in zip(ca, [" 91.00", "      ", "******", "  0.00", " -1.00", " 1e-01"], strict=True):
        lines[k] = lines[k][:60] + text + lines[k][66:]
    path.write_text("".join(lines))
    found = read_b_factors(path, read_structure(path))
    assert np.allclose(found, [91.0, np.nan, np.nan, 0.0, -1.0, 0.1], equal_nan=True)


def test_scales_of_plddt_are_told_apart():
    """0 to 1 becomes 0 to 100; placeholders and what is outside are nothing."""
    assert plddt_of(np.array([0.3, 0.95])).tolist() == [30.0, 95.0]
    assert plddt_of(np.array([30.0, 95.0])).tolist() == [30.0, 95.0]
    assert plddt_of(np.array([0.9, 1.1])).tolist() == [0.9, 1.1]
    assert np.array_equal(plddt_of(np.array([0.5, np.nan])), [50.0, np.nan], equal_nan=True)
    for none in ([0.0, 0.0], [1.0, 1.0], [20.0, 130.0], [-2.0, 50.0], [np.nan, np.nan]):
        assert np.isnan(plddt_of(np.array(none))).all()


def test_gzip_of_text_is_read_by_content(tmp_path):
    """The name does not tell the format."""
    path = tmp_path / "a.pdb"
    write_structure(protein(ideal_helix(5)), path, b_factors=np.full(5, 44.0))
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert np.allclose(read_b_factors(path, read_structure(path)), 44.0)
