"""trRosetta: what its network reads, the energy of its distributions, the descent, and the published code."""

import importlib.metadata
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from protgen.errors import ConfigError, ToolError
from protgen.folding.base import CHAIN
from protgen.folding.pair_potential import FIRST, STEP, TURN, PairPotential, Table, bend
from protgen.folding.torsion_descent import DescentSettings, build, descend, start
from protgen.folding.trrosetta import TrRosetta, expected_lddt, numbers_of
from protgen.folding.trrosetta_network import (
    LETTERS,
    SHRINKAGE,
    Distributions,
    TrRosettaNetwork,
    covariance,
    features,
    weights_of,
)
from protgen.geometry.angles import dihedral
from protgen.geometry.frames import virtual_cb
from protgen.metrics.self_consistency import score_refold
from protgen.structure.ideal import build_from_torsions
from protgen.structure.protein import Protein

pytestmark = pytest.mark.slow


def is_installed(name):
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False


published = pytest.mark.skipif(
    not is_installed("tr-rosetta-pytorch"), reason="needs the extra: pip install 'protgen[refold]'"
)


def three_helices():
    """A bundle of three helices by its torsions: 50 residues whose ends meet."""
    loop = [(-60, -30), (-90, 0), (60, 40), (-100, 150)]
    torsions = [(-62, -42)] * 14 + loop + [(-62, -42)] * 14 + loop + [(-62, -42)] * 14
    phi, psi = np.radians(torsions).T
    return build_from_torsions(phi, psi)


def distributions_of(backbone, sharpness=0.7):
    """Distributions about the geometry of a known structure, as a good prediction would have them."""
    xyz = torch.from_numpy(backbone).float()
    n, ca, c = xyz[:, 0], xyz[:, 1], xyz[:, 2]
    cb = virtual_cb(n, ca, c)
    length = len(xyz)
    i, j = torch.meshgrid(torch.arange(length), torch.arange(length), indexing="ij")
    distance = torch.cdist(cb, cb)
    far = (distance >= 20).float()[..., None]

    def spread(value, middles, width, wraps):
        off = value[..., None] - middles
        off = (off + math.pi) % (2 * math.pi) - math.pi if wraps else off
        p = (-0.5 * (off / width) ** 2).exp() + 1e-9
        return torch.cat([far, p / p.sum(-1, keepdim=True) * (1 - far)], -1)

    turns = (torch.arange(24) + 0.5) * TURN - math.pi
    omega = dihedral(ca[i], cb[i], cb[j], ca[j])
    theta = dihedral(n[i], ca[i], cb[i], cb[j])
    return Distributions(
        spread(distance, FIRST + STEP * torch.arange(36), sharpness, False),
        spread(omega, turns, 0.35, True),
        spread(theta, turns, 0.35, True),
        spread(bend(ca[i], cb[i], cb[j]), (torch.arange(12) + 0.5) * TURN, 0.35, False),
    )


def random_alignment(n=7, length=10, seed=0):
    return torch.randint(0, 20, (n, length), generator=torch.Generator().manual_seed(seed))


def test_the_short_inverse_equals_that_of_the_whole_covariance():
    """Woodbury against the inverse of the shrunk covariance, written out; and its contact score."""
    alignment = random_alignment()
    letters = F.one_hot(alignment, 21).float()
    weights = weights_of(letters)
    found = covariance(letters, weights)
    x, w = letters.reshape(7, -1).double(), weights.double()
    points = w.sum() - w.mean().sqrt()
    x = (x - (x * w[:, None]).sum(0) / points) * w.sqrt()[:, None]
    whole = x.T @ x / points + SHRINKAGE / w.sum().sqrt() * torch.eye(210, dtype=torch.float64)
    inverse = torch.linalg.inv(whole).view(10, 21, 10, 21)
    assert torch.allclose(found[..., :441].double().view(10, 10, 21, 21), inverse.transpose(1, 2), atol=1e-5)
    strength = inverse[:, :-1, :, :-1].square().sum((1, 3)).sqrt() * (1 - torch.eye(10))
    wanted = strength - strength.sum(0) * strength.sum(1)[:, None] / strength.sum()
    wanted.fill_diagonal_(0)
    assert torch.allclose(found[..., 441].double(), wanted, atol=1e-5)


def test_sequences_that_are_alike_share_a_weight():
    """Two of three sequences equal: half the weight each; the profile follows."""
    alignment = torch.tensor([[0] * 10, [0] * 10, [1] * 10])
    assert weights_of(F.one_hot(alignment, 21).float()).tolist() == [0.5, 0.5, 1.0]
    found = features(alignment)
    assert found.shape == (10, 10, 526)
    assert found[0, 3, 20:22].tolist() == pytest.approx([0.5, 0.5])
    assert found[0, 3, 41].item() == pytest.approx(math.log(2), abs=1e-6)
    assert features(alignment[:1])[..., 84:].abs().max() == 0


def test_tables_are_interpolated():
    """Linear between classes; angles wrap, distances do not."""
    table = Table(torch.tensor([0]), torch.tensor([1]), torch.tensor([[0.0, 2.0, 6.0]]), torch.tensor([0.5]))
    assert table.total(torch.tensor([[0.25]]), False).item() == pytest.approx(0.25)
    assert table.total(torch.tensor([[1.5]]), False).item() == pytest.approx(2.0)
    assert table.total(torch.tensor([[9.0]]), False).item() == pytest.approx(3.0, abs=0.01)
    assert table.total(torch.tensor([[2.5]]), True).item() == pytest.approx(1.5)
    assert table.total(torch.tensor([[-0.5]]), True).item() == pytest.approx(1.5)


def test_the_energy_has_the_gradient_of_its_differences():
    """Automatic slopes against central differences over torsions, away from the corners of the tables."""
    potential = PairPotential(distributions_of(three_helices()))
    torsions = start(distributions_of(three_helices()).distance, 1, torch.Generator().manual_seed(0))
    generator = torch.Generator()

    def energy(x):
        return potential.energy(build(x), 10**6, 1.0, generator)[0]

    torsions.requires_grad_()
    energy(torsions).backward()
    assert torsions.grad is not None
    direction = torsions.grad / torsions.grad.norm()
    step = 1e-3
    with torch.no_grad():
        slope = (energy(torsions + step * direction) - energy(torsions - step * direction)) / (2 * step)
    assert slope.item() == pytest.approx(torsions.grad.norm().item(), rel=0.05)


def test_the_descent_finds_the_structure_of_its_distributions():
    """From the distributions of a bundle of three helices: TM 0.9 and more, of the right hand, and sure of itself."""
    native = three_helices()
    found = distributions_of(native)
    backbone = descend(found, DescentSettings(restarts=4, stages=((30, 12), (30, 24), (60, 10**6))))
    refold = Protein.from_backbone(backbone.double().numpy())
    score = score_refold(Protein.from_backbone(native), refold, np.full(50, np.nan))
    assert score.tm > 0.9
    mirrored = Protein.from_backbone(native * np.array([-1.0, 1.0, 1.0]))
    assert score_refold(mirrored, refold, np.full(50, np.nan)).tm < 0.7
    lddt = expected_lddt(found, backbone)
    assert lddt.shape == (50,)
    assert lddt.mean() > 0.7
    assert expected_lddt(found, backbone * 1.3).mean() < lddt.mean() - 0.2
    bond = np.linalg.norm(refold.backbone[1:, 0] - refold.backbone[:-1, 2], axis=-1)
    assert np.abs(bond - 1.329).max() < 1e-3


def test_the_network_gives_probabilities_the_right_way_round():
    """Random weights: probabilities that sum to 1, distances and omega symmetric, theta not."""
    from protgen.folding.trrosetta_network import predict

    torch.manual_seed(0)
    network = TrRosettaNetwork().eval()
    network.layers = network.layers[:5]
    found = predict([network, network], random_alignment())
    for each, classes in ((found.distance, 37), (found.omega, 25), (found.theta, 25), (found.phi, 13)):
        assert each.shape == (10, 10, classes)
        assert torch.allclose(each.sum(-1), torch.ones(10, 10), atol=1e-5)
    assert torch.allclose(found.distance, found.distance.transpose(0, 1), atol=1e-6)
    assert not torch.allclose(found.theta, found.theta.transpose(0, 1), atol=1e-6)


def test_what_it_refuses():
    for wrong in ({"mode": "best"}, {"networks": "af"}, {"networks": ""}, {"networks": "aa"}, {"restarts": 0}):
        with pytest.raises(ConfigError, match="trrosetta"):
            TrRosetta(**wrong)
    for wrong, words in (
        ([], "at least one"), (["A" * 9, "A" * 10], "one length"), ([f"AAAAA{CHAIN}AAAAA"], "single chains"),
        (["AAA"], "too few"), (["AAAAAAAAXX"], "X: no amino acids"),
    ):  # fmt: skip
        with pytest.raises(ToolError, match=words):
            numbers_of(wrong)
    assert numbers_of(["ARNDCQEGHI"]).tolist() == [list(range(10))]
    assert LETTERS[:20] == "ARNDCQEGHILKMFPSTWYV"


@published
def test_published_code_gives_the_same_probabilities():
    """Published weights and an alignment: the package's network and features, and ours."""
    from tr_rosetta_pytorch.tr_rosetta_pytorch import trRosettaNetwork

    from protgen.folding.trrosetta_network import predict

    made = TrRosetta(networks="a").networks()
    theirs = trRosettaNetwork()
    theirs.load_state_dict(made[0].state_dict())
    alignment = random_alignment(n=6, length=24)
    with torch.no_grad():
        theta, phi, distance, omega = theirs.eval()(features(alignment).permute(2, 1, 0)[None].contiguous())
    found = predict(made, alignment)
    for ours, each in (
        (found.theta, theta), (found.phi, phi), (found.distance, distance), (found.omega, omega),
    ):  # fmt: skip
        assert (ours - each[0].permute(2, 1, 0)).abs().max() < 1e-4


@published
def test_the_tool_folds_an_alignment_and_a_sequence():
    """A repeated helix-former: a residue for each letter, confidence of 0 to 100, and the same again."""
    tool = TrRosetta(restarts=1)
    sequence = "MEELLKKAEELLKRAEELIK"
    folded, again = tool.fold_alignment([sequence, sequence]), tool.fold_alignment([sequence, sequence])
    assert folded.protein.length == 20
    assert folded.protein.residue_names[:2].tolist() == ["MET", "GLU"]
    assert np.array_equal(folded.protein.backbone, again.protein.backbone)
    assert folded.plddt is not None
    assert 0 <= folded.plddt.min() <= folded.plddt.max() <= 100
    assert not TrRosetta("single").reads_alignments
