"""Packing, pieces, ends and strands by value, and the words for what is beyond the limits of natives."""

import numpy as np
import pytest

from protgen.metrics import packing
from protgen.metrics.reference_data import soundness_reference, typical_radius_of_gyration
from protgen.metrics.soundness import FAULTS, Soundness, faults_of, measures, unpaired
from protgen.structure.ideal import add_cb, ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein


def one_by_one(backbone: np.ndarray) -> np.ndarray:
    """Neighbours before each side chain, in the words of the definition and without a cut."""
    cb, ca = add_cb(backbone), backbone[:, 1]
    counts = np.zeros(len(backbone))
    for i in range(len(backbone)):
        for j in range(len(backbone)):
            if i != j:
                u, v = cb[i] - ca[i], cb[j] - cb[i]
                d = np.linalg.norm(v)
                cosine = u @ v / (np.linalg.norm(u) * d)
                counts[i] += max(0.0, (cosine + 0.5) / 1.5) ** 2 / (1 + np.exp(d - 9.0))
    return counts


@pytest.mark.parametrize(
    ("apart", "expected"), [(9.0, 0.5), (5.0, 1 / (1 + np.exp(-4.0))), (15.0, 1 / (1 + np.exp(6)))]
)
def test_a_neighbour_straight_ahead_counts_by_distance_and_one_behind_not_at_all(apart, expected):
    """Closed form: cos a is 1 for the first of two parallel residues and -1 for the second."""
    first = ideal_helix(1)
    along = (add_cb(first) - first[:, 1])[0]
    protein = Protein.from_backbone(np.concatenate([first, first + apart * along / np.linalg.norm(along)]))
    assert packing.side_neighbours(protein) == pytest.approx([expected, 0.0], abs=1e-9)


def test_neighbours_of_a_chain_are_those_of_the_definition():
    """A hairpin, against two loops over its residues; what lies beyond 16 Å counts less than 0.001 each."""
    backbone = ideal_hairpin(24)
    found = packing.side_neighbours(Protein.from_backbone(backbone))
    assert np.abs(found - one_by_one(backbone)).max() < 2e-3


def test_missing_atoms_have_no_neighbours():
    """Residues without N are unknown, and the others do not see them."""
    backbone = ideal_helix(20)
    whole = packing.side_neighbours(Protein.from_backbone(backbone[:10]))
    backbone[10:, 0] = np.nan
    found = packing.side_neighbours(Protein.from_backbone(backbone))
    assert np.isnan(found[10:]).all()
    assert found[:10] == pytest.approx(whole)


def test_weakest_joint_is_the_least_over_all_cuts():
    """Random pairs, against counting at every cut."""
    rng = np.random.default_rng(0)
    pairs = np.sort(rng.integers(0, 50, size=(80, 2)), axis=1)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    cuts = range(12, 39)
    expected = min(((pairs[:, 0] < k) & (pairs[:, 1] >= k)).sum() / min(k, 50 - k) for k in cuts)
    assert packing.weakest_joint(pairs, 50, 12) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(packing.weakest_joint(pairs, 50, 26))


def test_elements_that_touch_are_one_piece():
    """Of three elements of 10, 6 and 4 residues, four pairs join two, and three do not."""
    elements = [(0, 10), (12, 18), (20, 24)]
    four = np.array([[0, 12], [1, 13], [2, 14], [3, 15]])
    three = np.array([[12, 20], [13, 21], [14, 22]])
    assert packing.share_apart(four, elements) == pytest.approx(4 / 20)
    assert packing.share_apart(np.concatenate([four, three]), elements) == pytest.approx(4 / 20)
    assert packing.share_apart(np.concatenate([four, three, [[15, 23]]]), elements) == 0
    assert packing.share_apart(three, elements) == pytest.approx(10 / 20)
    loop = np.array([[0, 10], [1, 11], [2, 10], [3, 11], [12, 10], [13, 11], [14, 10], [15, 11], [20, 10]])
    assert packing.share_apart(loop, elements) == pytest.approx(10 / 20)  # residues of no element join none
    assert packing.share_apart(np.empty((0, 2), int), []) == 0


def test_touching_pairs_are_within_ten_and_six_apart():
    """CA on a line 1.5 Å apart: 6 steps are 9 Å, 7 too many and 5 too near in sequence; chains need no gap."""
    backbone = np.zeros((8, 4, 3))
    backbone[:, :, 0] = 1.5 * np.arange(8)[:, None]
    pairs = {tuple(pair) for pair in packing.touching(Protein.from_backbone(backbone)).tolist()}
    assert pairs == {(0, 6), (1, 7)}
    chains = np.array(list("AAAABBBB"))
    pairs = {tuple(p) for p in packing.touching(Protein.from_backbone(backbone, chain_ids=chains)).tolist()}
    assert pairs == {(i, j) for i in range(4) for j in range(4, 8) if j - i <= 6}


def test_bare_ends():
    """The longer of the two ends counts."""
    assert packing.bare_end(np.array([0, 0, 1, 0, 1, 0, 0, 0], bool)) == 3
    assert packing.bare_end(np.array([1, 0, 1], bool)) == 0
    assert packing.bare_end(np.zeros(5, bool)) == 5


def test_strands_by_shape_that_have_no_partner():
    """One of five residues without any E, one with, one too short."""
    assert unpaired(np.array(list("CCCCCCCCCECCCCCCC")), np.array(list("EEEEECCEEEEECEEEE"))) == 1


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("length", [50, 100, 250])
def test_each_limit_has_its_word(fault, length):
    """A value at the limit is no fault; one beyond it is, in the direction that is wrong; none is unknown."""
    limit = soundness_reference().at(fault.column, length)
    assert faults_of({fault.column: limit}, length) == []
    assert faults_of({fault.column: limit + 1e-6 * fault.sign}, length) == [fault.word]
    assert faults_of({fault.column: limit - 1e-6 * fault.sign}, length) == []
    assert faults_of({fault.column: np.nan}, length) == []


def test_a_lone_helix_is_no_fold():
    """Sixty residues of helix: Rg is near 90 Å / sqrt(12), the ends are held by nothing but are no coil."""
    row = Soundness().measure(Protein.from_backbone(ideal_helix(60)))
    assert row["faults"] == "open, no core, in pieces"
    assert row["sound"] == 0
    assert row["coil_end"] == 1
    assert row["unpaired_strands"] == 0
    assert row["apart"] == 0
    ca = ideal_helix(60)[:, 1]
    radius = np.sqrt(np.square(ca[:, None] - ca).sum(-1).mean() / 2)
    assert radius == pytest.approx(90 / 12**0.5, rel=0.05)
    assert row["rg_chain_ratio"] == pytest.approx(radius / typical_radius_of_gyration(60))


def test_the_worst_chain_counts_and_other_chains_add_to_the_packing():
    """Two parallel helices 9 Å apart pack against each other; far apart each is as alone as one."""
    helix = ideal_helix(40)
    alone = measures(Protein.from_backbone(helix))
    chains = np.repeat(["A", "B"], 40)

    def pair(apart: float) -> dict[str, float]:
        return measures(
            Protein.from_backbone(np.concatenate([helix, helix + np.array([0.0, apart, 0.0])]), chain_ids=chains)
        )

    near, far = pair(9.0), pair(200.0)
    assert far["neighbours"] == pytest.approx(alone["neighbours"])
    assert near["neighbours"] > far["neighbours"] + 0.3
    counts = one_by_one(np.concatenate([helix, helix + np.array([0.0, 9.0, 0.0])]))
    assert near["neighbours"] == pytest.approx(counts.reshape(2, 40).mean(1).min(), abs=2e-3)
    assert near["rg_chain_ratio"] == pytest.approx(alone["rg_chain_ratio"])


def test_what_has_no_value():
    """Peptides are not judged; a CA trace has its size and joints alone."""
    peptide = Soundness().measure(Protein.from_backbone(ideal_helix(20)))
    assert peptide["faults"] == ""
    assert np.isnan(peptide["sound"])
    assert np.isnan(peptide["rg_chain_ratio"])
    backbone = ideal_helix(60)
    whole = Soundness().measure(Protein.from_backbone(backbone))
    backbone[:, [0, 2, 3]] = np.nan
    trace = Soundness().measure(Protein.from_backbone(backbone))
    assert np.isnan(trace["packing"])
    assert np.isnan(trace["sound"])
    assert np.isfinite(trace["rg_chain_ratio"])
    for name in ("rg_chain_ratio", "joint"):
        assert trace[name] == whole[name]
