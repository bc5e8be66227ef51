"""trRosetta: what its network reads, the energy of its distributions, the descent, and the published code."""

import importlib.metadata
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from protgen.errors import ConfigError, ToolError
from protgen.folding.base import CHAIN
from protgen.folding.pair_potential import FIRST, STEP, TURN, PairPotential, Table, angle_table, bend, distance_table
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
from protgen.structure.dssp import assign_dssp
from protgen.structure.ideal import HAIRPIN_STRAND, HAIRPIN_TURN, build_from_torsions
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


def strands_and_helices():
    """A hairpin and two helices that lie on it and on each other, by its torsions: 58 residues."""
    strand, turn = [tuple(np.degrees(HAIRPIN_STRAND))] * 8, [tuple(pair) for pair in np.degrees(HAIRPIN_TURN)]
    first = [(-60, -30), (-60, -30), (60, 40), (-100, 150)]
    second = [(-100, 150), (-90, 0), (-100, 150), (60, 40)]
    torsions = [*strand, *turn, *strand, *first, *[(-62, -42)] * 18, *second, *[(-62, -42)] * 14]
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
    partly = torch.tensor([[0] * 10, [0] * 9 + [1], [0] * 8 + [1] * 2])  # the first and last share 80 % and no more
    assert weights_of(F.one_hot(partly, 21).float()).tolist() == pytest.approx([1 / 2, 1 / 3, 1 / 2])
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


def test_energies_of_classes():
    """Logarithms of probabilities by hand: a reference for distances, a mean for angles, neighbours in quarters."""
    p = torch.rand(5, 5, 37, generator=torch.Generator().manual_seed(0))
    i, j = torch.tensor([0, 1]), torch.tensor([3, 4])
    table = distance_table(p, i, j)
    middles = 2.25 + 0.5 * np.arange(36)
    shares = p[0, 3, 1:].numpy() + 1e-4
    raw = -np.log(shares / shares[-1]) + 1.57 * np.log(middles / middles[-1])
    raw[:4] = np.maximum(raw[:4], raw[4]) + np.array([6, 4, 2, 1])
    padded = np.concatenate([raw[:1], raw, raw[-1:]])
    wanted = 0.5 * raw + 0.25 * (padded[:-2] + padded[2:])
    assert table.energies[0].numpy() == pytest.approx(wanted, abs=1e-5)
    assert table.weight.tolist() == [1.0, 1.0]
    raw = -np.log(p[1, 4, 1:].numpy() + 1e-4)
    raw -= raw.mean()
    angles = angle_table(p, i, j, torch.full((5, 5), 0.7), wraps=True)
    assert angles.energies[1].numpy() == pytest.approx(
        0.5 * raw + 0.25 * (np.roll(raw, 1) + np.roll(raw, -1)), abs=1e-5
    )
    assert angles.weight.tolist() == pytest.approx([0.7, 0.7])


def test_the_energy_is_a_sum_over_pairs():
    """Pair by pair with interpolation by numpy: weights, thresholds, both directions of theta and phi, overlaps."""
    found = distributions_of(three_helices()[:12])
    near = torch.rand(12, 12, generator=torch.Generator().manual_seed(1))
    near = near.triu() + near.triu(1).T
    distance = torch.cat([1 - near[..., None], near[..., None] * found.distance[..., 1:]], -1)
    found = Distributions(distance, found.omega, found.theta, found.phi)
    # Crowded, so that CA atoms repel.
    bent = 0.4 * build(start(found.distance, 1, torch.Generator().manual_seed(3)))
    n, ca, c = (bent[0, :, k] for k in range(3))
    cb = virtual_cb(n, ca, c)

    def energy_of(table, place, wraps):
        energies = table.energies[0].numpy()
        return float(np.interp(place, np.arange(len(energies)), energies, period=len(energies) if wraps else None))

    def of_angle(probability, i, j, place, wraps):
        table = angle_table(probability, torch.tensor([i]), torch.tensor([j]), near, wraps=wraps)
        return float(near[i, j]) * energy_of(table, place, wraps)

    total = 0.0
    for i, j in itertools.combinations(range(12), 2):
        if near[i, j] > 0.1:
            table = distance_table(found.distance, torch.tensor([i]), torch.tensor([j]))
            total += 5 * energy_of(table, (float((cb[i] - cb[j]).norm()) - 2.25) / 0.5, False)
        if near[i, j] > 0.5:
            turn = float(dihedral(ca[i], cb[i], cb[j], ca[j]))
            total += of_angle(found.omega, i, j, (turn + math.pi) / TURN - 0.5, True)
            for a, b in ((i, j), (j, i)):
                turn = float(dihedral(n[a], ca[a], cb[a], cb[b]))
                total += of_angle(found.theta, a, b, (turn + math.pi) / TURN - 0.5, True)
                total += of_angle(found.phi, a, b, float(bend(ca[a], cb[a], cb[b])) / TURN - 0.5, False)
        if j - i > 2:
            total += 5 * max(0.0, 4 - float((ca[i] - ca[j]).norm())) ** 2
    assert PairPotential(found).energy(bent, 10**6, 1.0, torch.Generator()).item() == pytest.approx(total, rel=1e-4)


def test_expected_lddt_by_value():
    """Each pair 0, 1.5, 3 or 4.5 Å off: the share of thresholds that reach, over pairs neither too near nor too far."""
    native = torch.from_numpy(three_helices()[:14]).float()
    cb = virtual_cb(*native[:, :3].unbind(1))
    place, apart = torch.arange(14), torch.cdist(cb, cb)
    off = torch.randint(0, 4, (14, 14), generator=torch.Generator().manual_seed(0))
    classes = ((apart - FIRST) / STEP).round().long().clamp(min=0) + 3 * off
    distance = F.one_hot(classes.clamp(max=35) + 1, 37).float()
    found = Distributions(distance, *(torch.zeros(14, 14, n) for n in (25, 25, 13)))
    counted = ((place[:, None] - place).abs() >= 3) & (apart < 15)
    wanted = (torch.tensor([1.0, 0.5, 0.25, 0.0])[off] * counted).sum(1) / counted.sum(1)
    assert expected_lddt(found, native) == pytest.approx(wanted.numpy())


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


def test_the_descent_finds_a_chain_of_strands_and_helices():
    """TM 0.95 from its distributions, and 0.4 to 0.5 of its mirror image: strands have no hand of their own."""
    native = strands_and_helices()
    codes = "".join(assign_dssp(native[None])[0])
    assert (codes.count("E"), codes.count("H")) == (14, 31)
    backbone = descend(distributions_of(native), DescentSettings(restarts=4, stages=((30, 12), (30, 24), (60, 10**6))))
    refold = Protein.from_backbone(backbone.double().numpy())
    assert score_refold(Protein.from_backbone(native), refold, np.full(58, np.nan)).tm >= 0.9
    mirrored = Protein.from_backbone(native * np.array([-1.0, 1.0, 1.0]))
    assert score_refold(mirrored, refold, np.full(58, np.nan)).tm < 0.6


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
@pytest.mark.parametrize("n", [1, 6])
def test_published_code_reads_the_same_of_an_alignment(n, tmp_path, monkeypatch):
    """The package's features of a file, on a CPU, and ours."""
    from tr_rosetta_pytorch import utils

    monkeypatch.setattr(utils, "d", lambda tensor=None: "cpu")
    alignment = random_alignment(n=n, length=12)
    text = "".join(f">{k}\n{''.join(LETTERS[letter] for letter in row)}\n" for k, row in enumerate(alignment))
    (tmp_path / "a.a3m").write_text(text)
    wanted = utils.preprocess(str(tmp_path / "a.a3m"))
    assert (features(alignment).permute(2, 1, 0)[None] - wanted).abs().max() < 1e-4


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
