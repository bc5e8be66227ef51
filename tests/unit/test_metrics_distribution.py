"""Distances between sets on cases with known answers, and the descriptors they are taken on."""

import numpy as np
import pytest

from protgen.errors import UsageError
from protgen.evaluation.distributions import DEFINITIONS, describe_distribution
from protgen.evaluation.features import Features
from protgen.metrics.descriptors import NAMES, descriptors
from protgen.metrics.distribution import (
    classifier_two_sample,
    frechet_distance,
    jensen_shannon,
    length_matched,
    maximum_mean_discrepancy,
    neighbourhood,
    standardise,
)
from protgen.structure.ideal import ideal_helix, ideal_strand, mirror
from protgen.structure.protein import Protein
from protgen.structure.trace import gauss_integrals


def normal(n=300, d=4, shift=0.0, scale=1.0, seed=0):
    return shift + scale * np.random.default_rng(seed).normal(size=(n, d))


def test_frechet_of_gaussians():
    """The closed form for two Gaussians: squared shift plus the squared difference of deviations, each dimension."""
    first, second = normal(40_000, seed=1), normal(40_000, shift=2.0, scale=3.0, seed=2)
    assert frechet_distance(first, second) == pytest.approx(4 * (4 + 4), rel=0.03)
    assert frechet_distance(first, first) == pytest.approx(0.0, abs=1e-4)


def test_all_grow_with_a_shift():
    """Every distance is near its value for equal sets without a shift, and moves monotonically with one."""
    reference = normal(seed=0)
    moved = [normal(seed=5, shift=shift) for shift in (0.0, 0.7, 2.5)]
    for distance in (frechet_distance, maximum_mean_discrepancy, classifier_two_sample):
        values = [distance(reference, part) for part in moved]
        assert values == sorted(values)
    assert abs(maximum_mean_discrepancy(reference, moved[0])) < 0.01
    assert classifier_two_sample(reference, moved[0]) == pytest.approx(0.5, abs=0.08)
    assert classifier_two_sample(reference, moved[2]) > 0.95


def test_neighbourhood_tells_quality_from_coverage():
    """One mode of two: precise, half recalled. A wider set: recalled, less precise. Far away: nothing."""
    two_modes = np.concatenate([normal(150, seed=1), normal(150, shift=30.0, seed=2)])
    one = neighbourhood(two_modes, normal(300, seed=3))
    assert one.precision > 0.9
    assert one.recall == pytest.approx(0.5, abs=0.06)
    assert one.coverage == pytest.approx(0.5, abs=0.06)
    wide = neighbourhood(normal(seed=4), normal(scale=3.0, seed=5))
    assert wide.precision < 0.6
    assert wide.recall > 0.9
    far = neighbourhood(normal(seed=6), normal(shift=100.0, seed=7))
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)
    with pytest.raises(UsageError, match="neighbours"):
        neighbourhood(normal(4), normal(4))


def test_jensen_shannon_in_bits():
    """Alike 0, disjoint 1, symmetric, scale-free; no counts is no answer."""
    p, q = np.array([[1, 2], [3, 4]]), np.array([[4, 3], [2, 1]])
    assert jensen_shannon(p, 7 * p) == pytest.approx(0.0)
    assert jensen_shannon(p, q) == pytest.approx(jensen_shannon(q, p))
    assert np.isnan(jensen_shannon(p, 0 * q))


def test_lengths_are_matched():
    """Both sides have as many of each stratum, and what one lacks is left out."""
    first, second = np.array([50, 51, 52, 130]), np.array([45, 47, 300, 130, 131])
    a, b = length_matched(first, second)
    assert sorted(first[a] // 20) == sorted(second[b] // 20)
    assert (len(a), len(b)) == (3, 3)


def test_two_rows_are_enough():
    """Of (0, 1) and (2, 3): means 2 apart, equal variances."""
    assert frechet_distance(np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])) == pytest.approx(4.0, abs=1e-6)


def test_bad_features():
    """NaN is refused rather than averaged over."""
    with pytest.raises(UsageError, match="NaN"):
        frechet_distance(normal(), np.full((10, 4), np.nan))


def test_standardised_by_the_reference():
    """The reference has deviation 1 and mean 0; constant columns say nothing."""
    reference = np.column_stack([normal(d=2, shift=5.0, scale=7.0), np.ones(300)])
    scaled, other = standardise(reference, reference + 1.0)
    assert scaled[:, :2].std(axis=0) == pytest.approx([1, 1])
    assert (other[:, 2] == 0).all()


def test_writhe_changes_sign_in_the_mirror():
    """Gauss integrals of a helix are those of its mirror image with the other sign, and do not change by a motion."""
    ca = ideal_helix(30)[:, 1]
    upper = np.triu_indices(29, 2)
    writhe = gauss_integrals(ca)[upper].sum()
    assert abs(writhe) > 1.0
    assert gauss_integrals(mirror(ca))[upper].sum() == pytest.approx(-writhe)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    assert gauss_integrals(ca @ turn.T + 9.0)[upper].sum() == pytest.approx(writhe)


def test_descriptors():
    """A name for each column; helices and strands lie apart; too short is NaN."""
    values = descriptors([Protein.from_backbone(make(n)) for make in (ideal_helix, ideal_strand) for n in (30, 4)])
    assert values.shape == (4, len(NAMES))
    assert np.isfinite(values[[0, 2]]).all()
    assert np.isnan(values[[1, 3]]).all()
    assert values[0, NAMES.index("helix")] > 0.9 > 0.1 > values[2, NAMES.index("helix")]


@pytest.mark.slow
def test_a_set_against_natives():
    """Helices against helices are alike in every figure, strands against helices unlike; small sets are refused."""
    rng = np.random.default_rng(0)

    def noisy(make, n):
        backbones = [make(int(rng.integers(30, 40))) for _ in range(n)]
        return [Protein.from_backbone(xyz + 0.1 * rng.normal(size=xyz.shape)) for xyz in backbones]

    natives = Features(noisy(ideal_helix, 120))
    splits = ["train"] * 120
    alike, unlike = (
        describe_distribution(Features(noisy(make, 60)), natives, splits, "natives")
        for make in (ideal_helix, ideal_strand)
    )
    assert min(alike["n"], unlike["n"]) >= 20
    for name in ("js_phi_psi", "js_ss", "frechet", "mmd", "classifier_accuracy"):
        assert alike[name] < unlike[name]
    assert alike["js_ss"] < 0.01
    assert unlike["js_ss"] > 0.8  # a lone strand is coil to DSSP, as the two ends of a helix are
    assert alike["precision"] > 0.8 > 0.1 > unlike["precision"]
    few = {f"{name}_corrected" for name in ("frechet", "frechet_fold", "js_fold_a", "js_fold_t")}
    assert set(DEFINITIONS) - set(unlike) == few  # 60 structures are too few for 18 descriptors and as many classes
    assert "frechet" not in describe_distribution(Features(natives.proteins[:5]), natives, splits, "natives")
