"""Auxiliary losses of frames against their definitions in plain loops over residues and atoms."""

import itertools

import numpy as np
import pytest
import torch

from protgen.spaces.backbone import Backbone, joint_error, overlap_error, pair_distance_error
from protgen.spaces.hydrogen_bond_loss import hydrogen_bond_error
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.types import Batch

N, CA, C, OXYGEN = range(4)
LENGTHS = (16, 11)  # a hairpin, and a shorter helix whose row is padded
WHOLE = torch.arange(16) < torch.tensor(LENGTHS)[:, None]


def shaken(size: float, seed: int) -> torch.Tensor:
    """Both chains with normal noise of that size (Å); what lies under padding is noise too, and may not be read."""
    rng = np.random.default_rng(seed)
    atoms = 3 * rng.normal(size=(2, 16, 4, 3))
    for row, chain in enumerate((ideal_hairpin(16), ideal_helix(11))):
        atoms[row, : len(chain)] = chain + size * rng.normal(size=chain.shape)
    return torch.from_numpy(atoms)


def broken() -> torch.Tensor:
    """The real chains; the first is broken before residue 9, where C-N is far beyond 2 Å."""
    real = shaken(0.03, 0)
    real[0, 9:] += 4.0
    return real


def gap(x: np.ndarray, i: int, first: int, j: int, second: int) -> float:
    return float(np.linalg.norm(x[i, first] - x[j, second]))


def smooth(error: float, beta: float) -> float:
    """Huber's loss over beta: quadratic below beta, slope one above."""
    error = abs(error)
    return error**2 / (2 * beta) if error < beta else error - beta / 2


def pairs_in_loops(x: np.ndarray, y: np.ndarray) -> float:
    """CA-CA below 14 Å but for a residue with itself, and O-N below 7 Å with its own N too."""
    ca = [(i, j) for i, j in itertools.product(range(len(y)), repeat=2) if i != j and gap(y, i, CA, j, CA) < 14]
    o_n = [(i, j) for i, j in itertools.product(range(len(y)), repeat=2) if gap(y, i, OXYGEN, j, N) < 7]
    return sum(
        float(np.mean([smooth(gap(x, i, a, j, b) - gap(y, i, a, j, b), 0.5) for i, j in chosen]))
        for chosen, a, b in ((ca, CA, CA), (o_n, OXYGEN, N))
    )


def joints_in_loops(x: np.ndarray, y: np.ndarray) -> float:
    """Six distances of each joint that is whole in the data; C-N, CA-N and C-CA aim at their ideal values."""
    ideal = {(C, N): 1.329, (CA, N): 2.43817, (C, CA): 2.43483}
    whole = [i for i in range(len(y) - 1) if gap(y, i, C, i + 1, N) < 2]
    terms = [
        smooth(gap(x, i, a, i + 1, b) - ideal.get((a, b), gap(y, i, a, i + 1, b)), 0.1) / 0.1
        for i in whole
        for a, b in ((C, N), (CA, N), (C, CA), (CA, CA), (N, N), (C, C))
    ]
    return float(np.mean(terms))


def overlaps_in_loops(x: np.ndarray) -> float:
    """What lies below 2.65 Å between atoms of residues two or more apart, over the number of residues."""
    atoms = itertools.product(range(len(x)), range(4), repeat=2)
    return sum(max(2.65 - gap(x, i, a, j, b), 0.0) for i, a, j, b in atoms if j - i >= 2) / len(x)


@pytest.mark.parametrize(
    ("loss", "in_loops"),
    [(pair_distance_error, pairs_in_loops), (joint_error, joints_in_loops)],
    ids=["pairs", "joints"],
)
@pytest.mark.parametrize("size", [0.1, 0.8])
def test_distances_err_as_defined(loss, in_loops, size):
    real, predicted = broken(), shaken(size, 1)
    found = loss(predicted, real, WHOLE)
    for row, length in enumerate(LENGTHS):
        expected = in_loops(predicted[row, :length].numpy(), real[row, :length].numpy())
        assert float(found[row]) == pytest.approx(expected, rel=1e-4)


def test_overlaps_are_counted_as_defined():
    predicted = 0.5 * shaken(0.8, 1)
    found = overlap_error(predicted, WHOLE)
    for row, length in enumerate(LENGTHS):
        expected = overlaps_in_loops(predicted[row, :length].numpy())
        assert float(found[row]) == pytest.approx(expected, rel=1e-5)
        assert expected > 1


def test_losses_have_their_weights_near_the_data_and_none_at_noise():
    """(1 - t)^2 times the weight of each: 0.5625 for the first chain at t = 0.25, none for the second at t = 1."""
    space = Backbone(distance_weight=2.0, bond_weight=3.0, overlap_weight=5.0, hydrogen_bond_weight=7.0)
    target, prediction = (space.encode(Batch({"atoms": x.float()}, WHOLE)) for x in (broken(), shaken(0.8, 1)))
    found = space.auxiliary(prediction, target, torch.tensor([0.25, 1.0]))
    predicted, real = space.observe(prediction), space.observe(target)
    expected = {
        "distances": 2 * pair_distance_error(predicted, real, WHOLE),
        "bonds": 3 * joint_error(predicted, real, WHOLE),
        "overlaps": 5 * overlap_error(predicted, WHOLE),
        "hydrogen_bonds": 7 * hydrogen_bond_error(predicted, real, WHOLE),
    }
    assert found.keys() == expected.keys()
    for name, values in found.items():
        assert float(values[0]) == pytest.approx(0.5625 * float(expected[name][0]), rel=1e-5)
        assert float(expected[name][0]) > 0.01
        assert float(values[1]) == 0.0


def test_a_gap_of_half_an_angstrom_beyond_a_bond_is_no_joint():
    """C and N of the data 2.5 Å apart: whatever is predicted across that gap costs nothing."""
    real = torch.from_numpy(ideal_helix(12))[None]
    along = torch.nn.functional.normalize(real[0, 6, N] - real[0, 5, C], dim=0)
    predicted = real.clone()
    real[0, 6:] += along * (2.5 - (real[0, 6, N] - real[0, 5, C]).norm())
    predicted[0, 6:] += 5.0
    mask = torch.ones(1, 12, dtype=torch.bool)
    assert float(joint_error(predicted, real, mask)) < 2e-3
    whole = torch.from_numpy(ideal_helix(12))[None]
    assert float(joint_error(predicted, whole, mask)) > 1.0
