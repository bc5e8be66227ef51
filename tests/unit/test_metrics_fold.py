"""Fold scores and divergences on cases with known answers, and what the network may and may not depend on."""

import numpy as np
import pytest
import torch

from protgen.evaluation.features import Features
from protgen.evaluation.folds import (
    FEWEST_EMBEDDED,
    FEWEST_SCORED,
    compare_folds,
    describe_folds,
    fold_distances,
    permutation_test,
)
from protgen.metrics.fold import (
    LEVELS,
    at_level,
    class_names,
    fold_divergence,
    fold_network,
    fold_network_card,
    fold_score,
    named_folds,
    read_folds,
)
from protgen.metrics.fold_network import BETWEEN, FoldNetwork
from protgen.structure.ideal import ideal_hairpin, ideal_helix, mirror
from protgen.structure.protein import Protein

pytestmark = pytest.mark.slow


def rotation(seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0] * 1.0


def noisy(make, n, length=40, seed=0):
    rng = np.random.default_rng(seed)
    backbones = [make(length + int(rng.integers(0, 10))) for _ in range(n)]
    return [Protein.from_backbone(xyz + 0.2 * rng.normal(size=xyz.shape)) for xyz in backbones]


def test_fold_score_in_closed_form():
    """Certain and even: the number of classes. All alike: 1. Two classes at p and 1 - p by turns: exp(log 2 - H)."""
    assert fold_score(np.eye(5)[np.arange(50) % 5]) == pytest.approx(5.0)
    assert fold_score(np.tile([0.1, 0.2, 0.7], (9, 1))) == pytest.approx(1.0)
    p = 0.9
    by_turns = np.array([[p, 1 - p], [1 - p, p]] * 10)
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    assert fold_score(by_turns) == pytest.approx(np.exp(np.log(2) - entropy))
    assert fold_score(np.eye(3)[[0, 0, 0, 1]]) == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))
    assert np.isnan(fold_score(np.zeros((0, 3))))


def test_fold_divergence_in_closed_form():
    """Equal means: 0, whatever the members; nothing shared: 1 bit; half shared: the value by hand."""
    assert fold_divergence(np.eye(2)[[0, 1]], np.full((7, 2), 0.5)) == pytest.approx(0.0)
    assert fold_divergence(np.eye(4)[[0, 1]], np.eye(4)[[2, 3]]) == pytest.approx(1.0)
    first, second = np.eye(3)[[0, 1]], np.eye(3)[[1, 2]]
    assert fold_divergence(first, second) == pytest.approx(0.5)
    assert fold_divergence(first, second) == fold_divergence(second, first)


def test_classes_are_a_partition():
    """Every finest class belongs to the class and the architecture that its code names, and levels add up."""
    card = fold_network_card()
    probabilities = np.random.default_rng(0).dirichlet(np.ones(len(card["classes"])), size=6)
    for level in LEVELS:
        assert at_level(probabilities, level).sum(axis=1) == pytest.approx(np.ones(6))
        names = class_names(level)
        assert len(set(names)) == len(names)
        for name, group in zip(card["classes"], card["levels"][level], strict=True):
            assert name.split(".")[0] == names[group].split(".")[0]
            assert level != "a" or names[group].split(".")[1] == name.split(".")[1]
    assert class_names("c") == ["1", "2", "3", "4"]
    assert {level: 0 < card["validation"][level]["accuracy"] <= 1 for level in LEVELS} == dict.fromkeys(LEVELS, True)


def test_reading_does_not_depend_on_pose_and_sees_chirality():
    """The same after a rigid motion, with CA atoms alone, and in a batch; another one for a mirror image."""
    xyz = ideal_hairpin(20)
    turn = rotation(1)
    turn *= np.sign(np.linalg.det(turn))
    bare = Protein.from_backbone(xyz)
    only_ca = Protein(
        bare.atoms, bare.mask & (np.arange(5) == 1), bare.residue_names, bare.chain_ids, bare.residue_numbers,
        bare.insertion_codes,
    )  # fmt: skip
    moved, reflected = Protein.from_backbone(xyz @ turn.T + 30.0), Protein.from_backbone(mirror(xyz))
    found = read_folds([bare, moved, only_ca, reflected, Protein.from_backbone(ideal_helix(6))])
    assert np.abs(found.embedding[0] - found.embedding[1]).max() < 1e-2
    assert (found.embedding[0] == found.embedding[2]).all()
    assert np.abs(found.embedding[0] - found.embedding[3]).max() > 0.1
    assert np.isnan(found.embedding[4]).all()
    assert (read_folds([moved]).probabilities[0] == found.probabilities[1]).all()
    assert named_folds(found.probabilities)[4][0] == ""
    assert found.probabilities[:4].sum(axis=1) == pytest.approx(np.ones(4))


def test_atoms_in_one_place_are_read():
    """Two CA atoms in one place have no direction from one to the other; numbers stay numbers."""
    xyz = ideal_helix(20)
    xyz[10] = xyz[9]
    found = read_folds([Protein.from_backbone(xyz)])
    assert np.isfinite(found.embedding).all()
    assert np.isfinite(found.probabilities).all()


def test_padding_and_precision():
    """A batch of padded chains gives what each gives alone; in double precision a motion changes nothing at all."""
    torch.manual_seed(0)
    network = FoldNetwork(7).double().eval()
    traces = [torch.from_numpy(make(n)[:, 1]) for make, n in ((ideal_helix, 30), (ideal_hairpin, 24), (ideal_helix, 9))]
    longest = max(map(len, traces))
    ca, mask = torch.zeros(3, longest, 3, dtype=torch.float64), torch.zeros(3, longest, dtype=torch.bool)
    for k, trace in enumerate(traces):
        ca[k, : len(trace)], mask[k, : len(trace)] = trace, True
    place = torch.arange(longest).expand(3, -1)
    with torch.no_grad():
        together = network(ca, mask, place)
        alone = [network(t[None], torch.ones(1, len(t), dtype=torch.bool), place[:1, : len(t)])[0] for t in traces]
        assert (together - torch.stack(alone)).abs().max() < 1e-9
        turn = torch.from_numpy(rotation(2))
        turn = turn * torch.linalg.det(turn).sign()
        assert (network(ca @ turn.T + 5.0, mask, place) - together).abs().max() < 1e-9
        apart = place + BETWEEN * (place >= 12)  # another chain from there on
        assert (network(ca, mask, apart) - together).abs().max() > 1e-6


def test_two_sets_of_one_fold_each():
    """Helices are mainly alpha; hairpins have few of their classes, and both together score higher than either."""
    helices, hairpins = noisy(ideal_helix, 60), noisy(ideal_hairpin, 60, 14, seed=1)
    sets = {
        "helices": Features(helices),
        "hairpins": Features(hairpins),
        "both": Features(helices[:30] + hairpins[:30]),
    }
    rows = np.arange(60)
    readings = {name: features.folds(rows) for name, features in sets.items()}
    assert at_level(readings["helices"].probabilities, "c")[:, 0].mean() > 0.5
    apart = fold_distances(readings["helices"], readings["hairpins"])
    near = fold_distances(readings["helices"], Features(noisy(ideal_helix, 60, seed=3)).folds(rows))
    for name in ("js_fold_c", "js_fold_a", "js_fold_t", "frechet_fold"):
        assert near[name] < apart[name]
    assert near["js_fold_c_corrected_ci_low"] <= near["js_fold_c_corrected"]
    assert near["js_fold_c_corrected"] <= near["js_fold_c_corrected_ci_high"]
    assert near["js_fold_c_corrected_ci_high"] < 1e-4
    assert (
        0.9 < apart["js_fold_c_corrected_ci_low"] < apart["js_fold_c_corrected"] < apart["js_fold_c_corrected_ci_high"]
    )
    assert "js_fold_t_corrected" not in near  # 60 structures are too few for 51 classes
    scores = {name: describe_folds(features) for name, features in sets.items()}
    assert scores["both"]["fold_score_t"] > max(scores[name]["fold_score_t"] for name in ("helices", "hairpins"))
    assert sum(scores["both"]["architectures"].values()) == pytest.approx(1.0)
    table = compare_folds(sets, 20)
    assert len(table) == 9
    row = next(r for r in table if r["metric"] == "fold_score_t" and (r["first"], r["second"]) == ("helices", "both"))
    assert row["difference"] > 0
    assert "ci_low" not in row  # too few for 51 classes
    assert row["p_value"] < 0.05
    coarse = next(r for r in table if r["metric"] == "fold_score_c" and r["first"] == "helices")
    assert coarse["ci_low"] <= coarse["ci_high"]
    mixed = next(r for r in table if r["metric"] == "fold_score_c" and (r["first"], r["second"]) == ("helices", "both"))
    assert 0.8 < mixed["ci_low"] < mixed["difference"] < mixed["ci_high"] < 1.0  # two classes less one


def test_few_are_refused():
    """Below the stated numbers there are counts and no figures, and a set against itself is no discovery."""
    few = describe_folds(Features(noisy(ideal_helix, FEWEST_SCORED - 1)))
    assert few == {"n": 0, "n_given": FEWEST_SCORED - 1}
    readings = [Features(noisy(ideal_helix, FEWEST_EMBEDDED - 1, seed=k)).folds(np.arange(30)) for k in (0, 1)]
    assert "frechet_fold" not in fold_distances(*readings)
    fractions = np.random.default_rng(0).dirichlet(np.ones(4), size=60)
    assert permutation_test(fractions[:30], fractions[30:]) > 0.05
    assert permutation_test(np.eye(4)[np.arange(30) % 4], np.eye(4)[np.zeros(30, int)]) < 0.01


def test_weights_are_small_and_shared_by_all_calls():
    """Under 3 MB on disk, float32 in use, loaded once."""
    assert fold_network() is fold_network()
    assert sum(tensor.numel() for tensor in fold_network().parameters()) < 500_000


def test_natives_are_read_as_cath_says(shared_data):
    """Validation domains: class right for four in five, as the card says."""
    import csv

    from protgen.structure.reader import read_structure

    with (shared_data / "chains" / "index.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["cath"] and row["split"] == "validation"]
    found = read_folds([read_structure(shared_data / "chains" / row["file"]) for row in rows])
    codes = np.array([int(row["cath"][0]) - 1 for row in rows])
    right = (at_level(found.probabilities, "c").argmax(axis=1) == codes).mean()
    assert right == pytest.approx(fold_network_card()["validation"]["c"]["accuracy"], abs=0.03)
    assert right > 0.8


def test_a_long_structure_is_read_in_blocks_to_the_same_features(monkeypatch):
    """Of 330 residues in two chains, some not real, by blocks of 32 and 96 rows and all at once: the same bits."""
    from protgen.metrics import fold_network as module

    rng = np.random.default_rng(0)
    ca = torch.from_numpy(np.cumsum(rng.normal(size=(2, 330, 3)), axis=1).astype(np.float32) * 2.2)
    mask = torch.ones(2, 330, dtype=torch.bool)
    mask[1, 326:] = False
    place = (torch.arange(330)[None] + BETWEEN * (torch.arange(330)[None] >= 140)).expand(2, -1)
    whole = module.read_geometry(ca, mask, place)
    monkeypatch.setattr(module, "WHOLE", 20)
    for pairs in (1, 100 * 330):
        monkeypatch.setattr(module, "PAIRS", pairs)
        blocks = module.read_geometry(ca, mask, place)
        assert all(torch.equal(one, other) for one, other in zip(whole, blocks, strict=True))
