"""Statistics and limits by value: each number here changes if a constant, an index or a sign in its definition does."""

import numpy as np
import pytest

from protgen.errors import UsageError
from protgen.metrics.clashes import Clashes
from protgen.metrics.distribution import (
    classifier_two_sample,
    frechet_distance,
    jensen_shannon,
    maximum_mean_discrepancy,
    neighbourhood,
)
from protgen.metrics.ramachandran import ramachandran
from protgen.metrics.reference_data import RAMACHANDRAN_CLASSES, ramachandran_reference
from protgen.structure import dssp as dssp_module
from protgen.structure.ideal import build_from_torsions, ideal_helix
from protgen.structure.protein import Protein


def column(*values):
    return np.array(values, dtype=float)[:, None]


def test_mmd_is_the_unbiased_estimate():
    """Equation 3 of Gretton et al. 2012 by loops: pairs of one set without the diagonal, n (n - 1) of them."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 2)), 0.7 + rng.normal(size=(7, 2))
    both = np.concatenate([x, y])
    width = np.median([((both[i] - both[j]) ** 2).sum() for i in range(12) for j in range(i)])

    def kernel(a, b):
        return np.exp(-((a - b) ** 2).sum() / width)

    own_x = np.mean([kernel(x[i], x[j]) for i in range(5) for j in range(5) if i != j])
    own_y = np.mean([kernel(y[i], y[j]) for i in range(7) for j in range(7) if i != j])
    across = np.mean([kernel(a, b) for a in x for b in y])
    assert maximum_mean_discrepancy(x, y) == pytest.approx(own_x + own_y - 2 * across, rel=1e-12)


def test_mmd_of_one_distribution_is_zero_in_the_mean():
    """Over 200 pairs of sets of 8 the mean is 0 within three standard errors; the biased one would be near 0.15."""
    rng = np.random.default_rng(0)
    values = [maximum_mean_discrepancy(*rng.normal(size=(2, 8, 2))) for _ in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 200**0.5


def test_balls_reach_to_the_kth_nearest_other():
    """On a line with k = 2: references at 0, 1, 3, 7 have radii 3, 2, 3, 6; each count is made by hand.

    Samples at -2, 4.5, 5, 20 have radii 7, 6.5, 7, 15.5. -2 is in the ball of 0 alone; 4.5 and 5 in those of 3 and 7,
    and no other; 20 in none. 3 and 7 hold samples, and so does 0. All references are in balls of samples.
    """
    found = neighbourhood(column(0, 1, 3, 7), column(-2, 4.5, 5, 20), k=2)
    assert found.precision == 3 / 4
    assert found.density == 5 / (2 * 4)
    assert found.coverage == 3 / 4
    assert found.recall == 1.0
    far = neighbourhood(column(0, 1, 3, 30), column(-2, 4.5, 5, 9), k=2)  # radii of samples: 7, 4.5, 4, 4.5
    assert far.recall == 3 / 4


def test_balls_have_five_neighbours_and_folds_five_members():
    """Without k it is 5, so that sets have six members or more; a classifier needs five of each."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 2)), rng.normal(size=(20, 2))
    assert neighbourhood(x, y) == neighbourhood(x, y, k=5) != neighbourhood(x, y, k=4)
    with pytest.raises(UsageError, match="5 neighbours; give more than 5"):
        neighbourhood(x[:5], y)
    assert 0.0 <= classifier_two_sample(x[:5], y[:5]) <= 1.0
    with pytest.raises(UsageError, match="too small"):
        classifier_two_sample(x[:4], y)


def test_frechet_distance_of_a_set_to_itself_is_zero():
    """To rounding: what is added to one covariance is added to the other."""
    x = np.random.default_rng(0).normal(size=(30, 3))
    assert frechet_distance(x, x) == pytest.approx(0.0, abs=1e-10)


def test_frechet_distance_of_known_moments():
    """Diagonal sample covariances (divisor n - 1) and a shift: the closed form, exactly."""
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=float)
    first, second = signs * (1.0, 2.0), 3.0 + signs * (4.0, 2.0)
    expected = 2 * 9 + 4 / 3 * ((4 - 1) ** 2 + 0)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-4)


def test_jensen_shannon_of_two_histograms():
    """(3/4, 1/4) and (1/4, 3/4) about (1/2, 1/2): 1 - H(1/4) = 0.188722 bits."""
    assert jensen_shannon(np.array([3, 1]), np.array([2, 6])) == pytest.approx(0.1887219, abs=1e-7)


def test_a_classifier_tells_spread_from_spread():
    """Squares are among its features: deviations of 1 and 4 about one mean are told apart, sets of one law are not."""
    rng = np.random.default_rng(0)
    assert classifier_two_sample(rng.normal(size=(80, 2)), 4 * rng.normal(size=(80, 2))) > 0.8
    assert classifier_two_sample(rng.normal(size=(80, 2)), rng.normal(size=(80, 2))) == pytest.approx(0.5, abs=0.1)


def pair_of_atoms(first: int, second: int, distance: float) -> Protein:
    """Two residues of two chains, each with CA, N, C and O far apart but for one atom of either."""
    xyz = 100.0 * np.arange(8)[:, None] * np.ones((8, 3))
    xyz = xyz.reshape(2, 4, 3)
    xyz[1, second] = xyz[0, first] + (distance, 0.0, 0.0)
    return Protein.from_backbone(xyz, chain_ids=np.array(["A", "B"]))


@pytest.mark.parametrize(
    ("first", "second", "limit"),
    [
        (1, 1, 1.70 + 1.70 - 0.4),  # CA, CA
        (0, 0, 1.55 + 1.55 - 0.4),  # N, N: polar, but no pair that attracts
        (2, 3, 1.70 + 1.52 - 0.4),  # C, O
        (3, 3, 1.52 + 1.52 - 0.4),  # O, O
        (0, 3, 1.55 + 1.52 - 0.8),  # N, O and O, N: 0.4 Å more, as hydrogen bonds are that short
        (3, 0, 1.55 + 1.52 - 0.8),
    ],
)
def test_spheres_overlap_from_their_limit_on(first, second, limit):
    """Of each kind of pair a clash begins at the sum of Bondi's radii less 0.4 Å, for N and O alone less 0.8 Å."""
    scores = [Clashes().measure(pair_of_atoms(first, second, limit + off))["vdw_clash_score"] for off in (-0.01, 0.01)]
    assert scores == [1000 / 8, 0]


def test_each_class_has_its_own_contours():
    """A residue whose density lies between the limits of two classes gets the verdict of its own."""
    reference = ramachandran_reference()
    kinds = {"general": "ALA", "glycine": "GLY", "proline": "PRO", "pre_proline": "ALA"}
    n, seen = 7, set()
    grid = np.deg2rad(np.arange(-175, 180, 10))
    for index, name in enumerate(RAMACHANDRAN_CLASSES):
        for own, others in ((reference.favoured, 2), (reference.allowed, 1)):
            place = _between(reference.log_density[index], own, index, grid)
            if place is None:
                continue
            phi, psi, above = place
            torsions = np.deg2rad(np.array([(-63.0, -43.0)] * n))
            torsions[3] = phi, psi
            names = np.array(["ALA"] * n, dtype="U3")
            names[3] = kinds[name]
            if name == "pre_proline":
                names[4] = "PRO"
            verdict = ramachandran(Protein.from_backbone(build_from_torsions(*torsions.T), residue_names=names))[3]
            assert (verdict >= others) == above
            seen.add(name)
    assert len(seen) >= 3


def _between(density: np.ndarray, limits: np.ndarray, index: int, grid: np.ndarray):
    """Torsions on the grid of 10 degrees whose density another class's limit would judge otherwise, and our verdict."""
    from protgen.metrics.ramachandran import log_density

    phi, psi = (part.reshape(-1) for part in np.meshgrid(grid, grid, indexing="ij"))
    values = log_density(phi, psi, np.zeros(len(phi), int), density[None])
    other = limits[0] if index else limits[1]
    low, high = sorted((limits[index], other))
    inside = np.flatnonzero((values > low + 0.02 * (high - low)) & (values < high - 0.02 * (high - low)))
    if not len(inside):
        return None
    k = int(inside[0])
    return float(phi[k]), float(psi[k]), bool(values[k] >= limits[index])


def test_dssp_cuts_a_chain_where_dssp_does(monkeypatch):
    """C-N of 2.49 Å is one segment, and of 2.51 Å two."""
    seen = []
    whole = dssp_module._topology

    def recorded(segments: bytes, prolines: bytes):
        seen.append(int(np.frombuffer(segments, np.int64).max()) + 1)
        return whole(segments, prolines)

    monkeypatch.setattr(dssp_module, "_topology", recorded)
    for length in (2.49, 2.51):
        xyz = ideal_helix(12)
        bond = xyz[6, 0] - xyz[5, 2]
        xyz[6:] += (length / np.linalg.norm(bond) - 1.0) * bond
        dssp_module.dssp(Protein.from_backbone(xyz))
    assert seen == [1, 2]
