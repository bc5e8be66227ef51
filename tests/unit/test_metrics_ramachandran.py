"""Ramachandran verdicts on known torsions, and the placeholder rule."""

import numpy as np
import pytest

from protgen.metrics.ramachandran import (
    GENERAL,
    GLYCINE,
    PRE_PROLINE,
    PROLINE,
    Ramachandran,
    log_density,
    ramachandran,
    residue_classes,
)
from protgen.metrics.reference_data import native_statistics, ramachandran_reference
from protgen.structure.ideal import build_from_torsions
from protgen.structure.protein import Protein


def chain(phi, psi, name="ALA", n=12):
    backbone = build_from_torsions(np.full(n, np.deg2rad(phi)), np.full(n, np.deg2rad(psi)))
    return Protein.from_backbone(backbone, residue_names=np.full(n, name))


@pytest.mark.parametrize(("phi", "psi"), [(-63, -43), (-120, 130), (-70, 145), (57, 40)])
def test_textbook_regions_are_favoured(phi, psi):
    """Alpha, beta, polyproline and left-handed alpha are favoured by the general density."""
    row = Ramachandran().measure(chain(phi, psi))
    assert row["rama_favoured"] == 1
    assert row["rama_residues"] == 10


@pytest.mark.parametrize(("phi", "psi"), [(0, 0), (0, -150), (120, -60)])
def test_forbidden_regions_are_outliers(phi, psi):
    """Where atoms overlap, residues are outliers."""
    row = Ramachandran().measure(chain(phi, psi))
    assert row["rama_outliers"] == 1


def test_glycine_may_do_what_others_may_not():
    """phi 85, psi 180 is glycine's alone, and counts as such when the glycine is real."""
    n = 12
    names = np.array(["ALA", "GLY"] + ["ALA"] * 10)
    torsions = np.full((2, n), np.deg2rad([[-63], [-43]]))
    torsions[:, 1] = np.deg2rad([85, 178])
    real = Protein.from_backbone(build_from_torsions(*torsions), residue_names=names)
    placeholder = Protein.from_backbone(build_from_torsions(*torsions))
    assert residue_classes(real)[1] == GLYCINE
    assert ramachandran(real)[1] == 2
    assert ramachandran(placeholder)[1] < 2


def test_placeholder_chains_count_as_general():
    """All glycine in one chain means undesigned there, and only there."""
    xyz = np.concatenate([chain(-63, -43).backbone, chain(-63, -43).backbone + 60])
    names = np.array(["GLY"] * 12 + ["ALA", "GLY", "PRO", "GLY"] + ["LEU"] * 8)
    protein = Protein.from_backbone(xyz, residue_names=names, chain_ids=np.repeat(["A", "B"], 12))
    classes = residue_classes(protein)
    assert (classes[:12] == GENERAL).all()
    assert classes[12:16].tolist() == [GENERAL, GLYCINE, PROLINE, GLYCINE]


@pytest.mark.parametrize(("n_glycine", "kind"), [(6, GENERAL), (5, GLYCINE)])
def test_half_of_a_chain_is_placeholders(n_glycine, kind):
    protein = Protein.from_backbone(
        chain(-63, -43).backbone, residue_names=np.repeat(["GLY", "ALA"], [n_glycine, 12 - n_glycine])
    )
    assert (residue_classes(protein)[:n_glycine] == kind).all()


def test_pre_proline_class():
    """The residue before a proline has its own class, across no chain end."""
    names = np.array(["ALA", "PRO", "LEU"] * 4)
    protein = Protein.from_backbone(
        chain(-63, -43).backbone, residue_names=names, chain_ids=np.repeat(["A", "B"], [4, 8])
    )
    classes = residue_classes(protein)
    assert classes[0] == classes[6] == PRE_PROLINE
    assert classes[3] == GENERAL  # the proline after it begins another chain
    assert classes[2] == GENERAL


def test_interpolation_is_periodic_and_exact_on_the_grid():
    """Grid values come back at grid points, and ±180 degrees are the same place."""
    grid = np.random.default_rng(0).normal(size=(1, 8, 8))
    centres = -np.pi + np.arange(8) * 2 * np.pi / 8
    phi, psi = (a.ravel() for a in np.meshgrid(centres, centres, indexing="ij"))
    assert log_density(phi, psi, np.zeros(64, int), grid) == pytest.approx(grid.ravel())
    # Between them a product of two lines, which bilinear interpolation gives back.
    i, j = np.meshgrid(np.arange(8.0), np.arange(8.0), indexing="ij")
    x, y = np.array([1.25, 3.5, 5.75]), np.array([2.75, 0.5, 6.125])
    lines = (1.0 + 2.0 * i - 3.0 * j + 0.5 * i * j)[None]
    found = log_density(x * np.pi / 4 - np.pi, y * np.pi / 4 - np.pi, np.zeros(3, int), lines)
    assert found == pytest.approx(1.0 + 2.0 * x - 3.0 * y + 0.5 * x * y)
    pair = log_density(np.array([np.pi, -np.pi]), np.array([0.3, 0.3]), np.zeros(2, int), grid)
    assert pair[0] == pytest.approx(pair[1])


def test_shipped_reference_is_a_density():
    """Each class sums to one, its contours are in order, and the fit's figures are what they claim."""
    reference = ramachandran_reference()
    assert np.exp(reference.log_density).sum(axis=(1, 2)) == pytest.approx(np.ones(4), rel=0.01)
    assert (reference.allowed < reference.favoured).all()
    figures = native_statistics()["ramachandran"]
    assert figures["train"]["favoured"] == pytest.approx(0.98, abs=0.001)
    assert figures["validation"]["favoured"] >= 0.97


def test_nothing_to_judge():
    """Two residues have no residue with both torsions: NaN, and a count of zero."""
    row = Ramachandran().measure(chain(-63, -43, n=2))
    assert np.isnan(row["rama_favoured"])
    assert row["rama_residues"] == 0
