"""Hydrogen bonds and bridges against mdtraj and the definition in plain loops; the loss on them; figures of sheets."""

import itertools

import mdtraj
import numpy as np
import pytest
import torch

from protgen.geometry.hydrogen_bonds import BONDED, Bridges, bond_energies, bridges, bridges_of_bonds, in_ladders
from protgen.spaces.hydrogen_bond_loss import hydrogen_bond_error
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.sheets import crossover_hands, sheets_of

SHAPES = {"helix": ideal_helix, "hairpin": ideal_hairpin}


def shaken(shape: str, length: int, size: float = 0.05) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    atoms = torch.from_numpy(SHAPES[shape](length)).double()
    return (atoms + size * torch.randn(atoms.shape, generator=rng, dtype=torch.float64))[None]


def whole(atoms: torch.Tensor) -> torch.Tensor:
    return torch.ones(atoms.shape[:2], dtype=torch.bool)


@pytest.mark.parametrize("shape", SHAPES)
def test_energies_are_those_of_mdtraj(shape):
    """mdtraj keeps the two best bonds of each donor; its coordinates are in nm and single precision."""
    atoms = shaken(shape, 30)
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for residue in [topology.add_residue("GLY", chain) for _ in range(30)]:
        for name in ("N", "CA", "C", "O"):
            topology.add_atom(name, mdtraj.element.Element.getBySymbol(name[0]), residue)
    trajectory = mdtraj.Trajectory(atoms.numpy().reshape(1, -1, 3) / 10, topology)
    theirs = mdtraj.kabsch_sander(trajectory)[0].toarray()  # its rows are acceptors
    ours = bond_energies(atoms, whole(atoms))[0].numpy()
    assert (theirs < BONDED).sum() >= 10
    assert np.abs(theirs - ours)[theirs != 0].max() < 2e-3
    assert (ours < BONDED).sum() == (theirs < BONDED).sum()


def test_bridges_are_those_of_the_definition(rng):
    length = 24
    bonded = torch.rand(3, length, length, generator=rng) < 0.3
    found = bridges_of_bonds(bonded)
    for b, i, j in itertools.product(range(3), range(length), range(length)):
        hb = lambda a, d, b=b: 0 <= a < length and 0 <= d < length and bool(bonded[b, a, d])  # noqa: E731
        apart = abs(i - j) >= 3
        parallel = apart and ((hb(i - 1, j) and hb(j, i + 1)) or (hb(j - 1, i) and hb(i, j + 1)))
        anti = apart and ((hb(i, j) and hb(j, i)) or (hb(i - 1, j + 1) and hb(j - 1, i + 1)))
        assert bool(found.parallel[b, i, j]) == parallel
        assert bool(found.antiparallel[b, i, j]) == (anti and not parallel)


def test_an_ideal_hairpin_has_one_antiparallel_ladder_and_padding_has_none():
    atoms = torch.from_numpy(ideal_hairpin(24))[None]
    wide = torch.cat([atoms, torch.zeros(1, 5, 4, 3, dtype=atoms.dtype)], dim=1)
    mask = torch.arange(29)[None] < 24
    found = in_ladders(bridges(wide, mask))
    pairs = found.antiparallel[0].nonzero()
    assert len(pairs) >= 12
    assert len(set((pairs.sum(1)).tolist())) == 1  # i + j is the same along an antiparallel ladder
    assert not found.parallel.any()
    assert torch.equal(found.antiparallel[:, :24, :24], in_ladders(bridges(atoms, whole(atoms))).antiparallel)


def test_a_lone_bridge_is_no_ladder():
    bonded = torch.zeros(1, 20, 20, dtype=torch.bool)
    bonded[0, 5, 15] = bonded[0, 15, 5] = True
    found = bridges_of_bonds(bonded)
    assert found.antiparallel[0].nonzero().tolist() == [[5, 15], [15, 5]]
    assert not in_ladders(found).antiparallel.any()


@pytest.mark.parametrize("sign", [1, -1], ids=["parallel", "antiparallel"])
@pytest.mark.parametrize(("along", "across"), [(1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1), (1, 0)])
def test_a_ladder_goes_over_a_bulge_of_one(sign, along, across):
    """A second bridge one residue on along both strands, or one on along one and two along the other."""
    marks, none = torch.zeros(1, 24, 24, dtype=torch.bool), torch.zeros(1, 24, 24, dtype=torch.bool)
    marks[0, 5, 15] = marks[0, 5 + along, 15 + sign * across] = True
    found = in_ladders(Bridges(marks, none) if sign > 0 else Bridges(none, marks))
    kept = marks if (along, across) in ((1, 1), (1, 2), (2, 1)) else none
    assert torch.equal(found.parallel | found.antiparallel, kept)


def loss_in_loops(predicted: np.ndarray, real: np.ndarray) -> float:
    """Definition in NumPy, one structure."""

    def sites(x, i, j):
        way = x[j - 1, 2] - x[j - 1, 3]
        h = x[j, 0] + 1.0 * way / np.linalg.norm(way)
        return [np.linalg.norm(a - d) for a in (x[i, 2], x[i, 3]) for d in (x[j, 0], h)]

    groups: dict[bool, list[float]] = {True: [], False: []}
    bonded = (bond_energies(torch.from_numpy(real)[None], torch.ones(1, len(real), dtype=torch.bool)) < BONDED)[0]
    for i, j in bonded.nonzero().tolist():
        errors = (np.array(sites(predicted, i, j)) - np.array(sites(real, i, j))) / 0.25
        huber = np.where(np.abs(errors) < 1, 0.5 * errors**2, np.abs(errors) - 0.5)
        groups[abs(i - j) <= 5].append(float(huber.mean()))
    return sum(float(np.mean(values)) for values in groups.values() if values)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_loss_is_its_definition_and_its_gradient_the_finite_difference(shape, rng):
    real, predicted = shaken(shape, 24), shaken(shape, 24, 0.4)
    value = hydrogen_bond_error(predicted, real, whole(real))
    assert float(value) == pytest.approx(loss_in_loops(predicted[0].numpy(), real[0].numpy()), rel=1e-5)
    assert float(hydrogen_bond_error(real, real, whole(real))) == pytest.approx(0.0, abs=1e-9)
    x = predicted.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(hydrogen_bond_error(x, real, whole(real)).sum(), x)
    way = torch.randn(x.shape, generator=rng, dtype=torch.float64)
    slope = [hydrogen_bond_error(predicted + s * way, real, whole(real)) for s in (1e-6, -1e-6)]
    assert float((slope[0] - slope[1]) / 2e-6) == pytest.approx(float((gradient * way).sum()), rel=1e-4)


def test_the_loss_of_a_row_is_its_own(rng):
    real, predicted = shaken("hairpin", 24), shaken("hairpin", 24, 0.4)
    pad = torch.zeros(1, 4, 4, 3, dtype=torch.float64)
    wide = [torch.cat([torch.cat([x, pad], 1), torch.randn(1, 28, 4, 3, generator=rng).double()]) for x in (real, real)]
    wide[0] = torch.cat([torch.cat([predicted, pad], 1), wide[0][1:]])
    mask = torch.stack([torch.arange(28) < 24, torch.ones(28, dtype=torch.bool)])
    together = hydrogen_bond_error(wide[0], wide[1], mask)
    assert torch.allclose(together[:1], hydrogen_bond_error(predicted, real, whole(real)))


def test_figures_of_a_helix_and_a_hairpin():
    """Of 30 residues of a helix all but the first four donate; a hairpin's strands have one partner each."""
    helix, hairpin = (sheets_of(Protein.from_backbone(shape)) for shape in (ideal_helix(30), ideal_hairpin(24)))
    assert helix.bonded == pytest.approx(26 / 30)
    assert np.isnan(helix.two_partners)
    assert hairpin.two_partners == 0.0
    assert helix.crossovers == hairpin.crossovers == 0


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_the_hand_of_a_crossover(mirror):
    """Two strands up the z axis, the second to the right (+x) of the first, seen from the connection in front (-y)."""
    z = 3.3 * np.arange(6.0)
    strand = np.stack([np.zeros(6), np.zeros(6), z], -1)
    back = np.stack([np.full(10, 2.4), np.full(10, -10.0), np.linspace(18, 0, 10)], -1)
    ca = np.concatenate([strand, back, strand + np.array([4.8, 0.0, 0.0])]) * [1.0, mirror, 1.0]
    partners = np.zeros((22, 22), dtype=bool)
    partners[np.arange(6), np.arange(16, 22)] = partners[np.arange(16, 22), np.arange(6)] = True
    (hand,) = crossover_hands(ca, [(0, 6), (16, 22)], partners)
    assert hand == pytest.approx(4.8 * mirror)
