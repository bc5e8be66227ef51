"""Bonded amides, strands with two partners, and the hand of crossovers: by value, and as `evaluate` has them."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from protgen.evaluation.backbone_ranking import BackboneRanking
from protgen.evaluation.ranking import rank
from protgen.evaluation.runner import Settings, evaluate
from protgen.evaluation.set_summary import crossovers_of
from protgen.geometry.hydrogen_bonds import BONDED, bond_energies, bridges
from protgen.metrics.sheets import SheetFigures, share_right_handed
from protgen.structure.dssp import assign_dssp
from protgen.structure.ideal import ideal_hairpin, ideal_helix, mirror
from protgen.structure.protein import Protein
from protgen.structure.sheets import bonds_of, crossover_hands, partners_of
from protgen.structure.writer import write_structure

SHAPES = {"helix": ideal_helix, "hairpin": ideal_hairpin}


def measured(backbone: np.ndarray, **about: np.ndarray) -> dict[str, float]:
    return SheetFigures().measure(Protein.from_backbone(backbone, **about))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [0.0, 0.1, 0.4])
def test_bonds_and_bridges_are_those_that_models_learn(shape, size, rng):
    """Without torch as with it, on one segment; a chain pressed flat has bridges of all kinds and at its ends."""
    atoms = torch.from_numpy(SHAPES[shape](40)) * torch.tensor([1.0, 1.0, 1.0 - size])
    atoms = atoms + size * torch.randn(atoms.shape, generator=rng, dtype=atoms.dtype)
    mask = torch.ones(1, 40, dtype=torch.bool)
    expected, found = bond_energies(atoms[None], mask)[0] < BONDED, bridges(atoms[None], mask)
    bonded = bonds_of(atoms.numpy(), np.zeros(40, int), np.zeros(40, bool))
    assert expected.sum() >= 10
    assert bonded.tolist() == expected.tolist()
    partners = (found.parallel | found.antiparallel)[0]
    assert partners_of(bonded, np.zeros(40, int)).tolist() == partners.tolist()


def test_partners_are_those_of_the_definition_within_segments(rng):
    """Against plain loops on random bonds: neighbours whose bonds count are of the residue's segment."""
    segments = np.repeat([0, 1, 2], [9, 1, 14])
    bonded = (torch.rand(24, 24, generator=rng) < 0.3).numpy()
    found = partners_of(bonded, segments)
    inner = lambda k: 0 < k < 23 and segments[k - 1] == segments[k] == segments[k + 1]  # noqa: E731
    for i in range(24):
        for j in range(24):
            hit = bonded[i, j] and bonded[j, i]
            if inner(i):
                hit |= bonded[i - 1, j] and bonded[j, i + 1]
            if inner(j):
                hit |= bonded[j - 1, i] and bonded[i, j + 1]
            if inner(i) and inner(j):
                hit |= bonded[i - 1, j + 1] and bonded[j - 1, i + 1]
            assert found[i, j] == (hit and abs(i - j) >= 3)


def test_an_ideal_helix():
    """Of 20 residues all but the first four donate; there are no strands, so nothing to say of partners and hands."""
    row = measured(ideal_helix(20))
    assert row["bonded"] == pytest.approx(16 / 20)
    helix = (assign_dssp(ideal_helix(20)[None])[0] == "H").mean()
    assert row["hbond_score"] == pytest.approx(16 / 20 + 0.5 * helix)
    assert helix > 0.8
    assert row["crossovers"] == 0
    assert np.isnan([row["two_partners"], row["right_handed_crossovers"]]).all()


def test_a_hairpin_has_one_partner_each_and_no_crossover():
    row = measured(ideal_hairpin(24))
    assert (row["two_partners"], row["crossovers"]) == (0, 0)
    strand = (assign_dssp(ideal_hairpin(24)[None])[0] == "E").mean()
    assert row["hbond_score"] == pytest.approx(row["bonded"] + 0.8 * strand)
    assert strand > 0.5
    assert np.isnan(row["right_handed_crossovers"])


def test_prolines_and_first_residues_of_chains_have_no_amide_hydrogen():
    """A second chain far away has its own 10 - 4; a proline in a helix bonds one less."""
    two, chains = np.concatenate([ideal_helix(20), ideal_helix(10) + 50.0]), np.repeat(["A", "B"], [20, 10])
    assert measured(two, chain_ids=chains)["bonded"] == pytest.approx((16 + 6) / 30)
    names = np.array(["ALA"] * 20)
    names[10] = "PRO"
    assert measured(ideal_helix(20), residue_names=names)["bonded"] == pytest.approx(15 / 20)


def test_residues_that_lack_an_atom_are_left_out():
    """Without the O of residue 1 neither it nor its C=O is there: N-H of residue 5 has no partner, residue 2 no H."""
    backbone = ideal_helix(20)
    backbone[0, 3] = np.nan
    assert measured(backbone)["bonded"] == pytest.approx(15 / 19)
    backbone[:, 3] = np.nan
    assert np.isnan(list(measured(backbone).values())).all()


def beta_sheet(order: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """CA of parallel strands up z at places of a sheet along x, connections in front (-y); partners; strands."""
    z, parts, strands = 3.3 * np.arange(6.0), [], []
    for n, place in enumerate(order):
        first = 16 * n
        strands.append((first, first + 6))
        parts.append(np.stack([np.full(6, 4.8 * place), np.zeros(6), z], -1))
        if n + 1 < len(order):
            middle = 2.4 * (place + order[n + 1])
            parts.append(np.stack([np.full(10, middle), np.full(10, -10.0), np.linspace(18, 0, 10)], -1))
    ca = np.concatenate(parts)
    partners = np.zeros((len(ca), len(ca)), dtype=bool)
    for n, place in enumerate(order):
        for m, other in enumerate(order):
            if abs(place - other) == 1:
                partners[np.arange(16 * n, 16 * n + 6), np.arange(16 * m, 16 * m + 6)] = True
    return ca, partners, strands


def test_the_hands_of_a_sheet_with_both():
    """Strands at places 0, 1 and then -1: one connection to the right, one two places to the left."""
    ca, partners, strands = beta_sheet((0, 1, -1))
    assert crossover_hands(ca, strands, partners) == pytest.approx([4.8, -9.6])
    assert crossover_hands(mirror(ca), strands, partners) == pytest.approx([-4.8, 9.6])


def test_a_connection_that_is_cut_is_no_crossover_but_joins_the_sheet():
    """Strands 0 and 2 are not neighbours but for the first, which another segment may hold."""
    ca, partners, strands = beta_sheet((0, 1, -1))
    segments = np.repeat([0, 1], [8, len(ca) - 8])
    assert crossover_hands(ca, strands, partners, segments) == pytest.approx([-9.6])


def test_the_share_of_a_set_is_of_all_its_crossovers():
    """3 of 4, not the mean of 1/1 and 2/3, with Wilson's interval (0.301, 0.954); rows without crossovers add none."""
    nan = float("nan")
    rows = [(1.0, 1.0), (3.0, 2 / 3), (0.0, nan), (nan, nan)]
    found = crossovers_of([{"crossovers": n, "right_handed_crossovers": share} for n, share in rows])
    assert (found.mean, found.n) == (0.75, 4)
    assert (found.ci_low, found.ci_high) == pytest.approx((0.3006, 0.9544), abs=1e-4)
    assert share_right_handed(0, 0).n == crossovers_of([]).n == 0


def test_evaluations_have_the_columns_and_both_rankings_know_them(tmp_path):
    for name, length in (("short", 12), ("long", 30)):
        write_structure(Protein.from_backbone(ideal_helix(length)), tmp_path / f"{name}.pdb")
    files = sorted(tmp_path.glob("*.pdb"))
    result = evaluate(files, tmp_path / "evaluation", settings=Settings(tm="none", folds=False))
    assert {row["file"]: row["bonded"] for row in result.rows} == pytest.approx(
        {"short.pdb": 8 / 12, "long.pdb": 26 / 30}
    )
    (content,) = result.content["sets"].values()
    assert content["metrics"]["bonded"]["mean"] == pytest.approx((8 / 12 + 26 / 30) / 2)
    assert content["metrics"]["two_partners"]["n"] == content["crossovers_right_handed"]["n"] == 0
    ranking = rank(result, [], "bonded")
    assert (ranking.better, [row["design"] for row in ranking.rows]) == ("higher", ["long", "short"])
    assert BackboneRanking("two_partners").better == BackboneRanking("right_handed_crossovers").better == "higher"


def test_no_torch_is_needed():
    code = (
        "import sys; from protgen.evaluation.validity import validity; from protgen.structure.protein import Protein\n"
        "from protgen.structure.ideal import ideal_helix; validity(Protein.from_backbone(ideal_helix(40)))\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
