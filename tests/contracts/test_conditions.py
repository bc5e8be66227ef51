"""What every condition promises; a new file in protgen/conditions, or an installed plug-in, is tested with no edit."""

import contextlib
import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import torch

from protgen import registry
from protgen.conditions.base import Conditions, EnergyCondition, LearnedCondition
from protgen.conditions.class_label import Labelled
from protgen.conditions.language import from_document, to_document
from protgen.errors import ProtgenError
from protgen.geometry import so3
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure
from protgen.types import Batch

LENGTH = 24


CLASSES = registry.classes("conditions")
NAMES = list(CLASSES)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("conditions") / "helix.pdb"
    write_structure(Protein.from_backbone(ideal_helix(LENGTH)), path)
    return str(path)


def build(name: str, file: str):
    return registry.build("conditions", name, **CLASSES[name].example(file))


def crumpled(rng, rows: int = 2, length: int = LENGTH) -> torch.Tensor:
    """Backbones that meet nothing: a compact helix with every atom moved at random."""
    xyz = torch.from_numpy(ideal_helix(length)).expand(rows, -1, -1, -1)
    return 0.8 * xyz + 0.6 * torch.randn(rows, length, 4, 3, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("name", NAMES)
def test_is_a_frozen_dataclass_that_measures_a_protein(name, file):
    condition = build(name, file)
    assert dataclasses.is_dataclass(condition)
    protein = Protein.from_backbone(ideal_helix(LENGTH))
    if condition.whole_assembly:
        copies = np.stack([ideal_helix(LENGTH) + shift for shift in np.eye(4, 3) * 30])
        ids = np.repeat(list("ABCD"), LENGTH)
        protein = Protein.from_backbone(copies.reshape(-1, 4, 3), chain_ids=ids)
    # A class is a label that somebody gave; everything else is measured on the structure.
    labelled = Labelled(3, {"ec_class": "3"})
    met = condition.adherence(protein if condition.measurable else labelled)
    assert met.condition == name
    assert met.difference >= 0
    assert isinstance(met.satisfied, bool)
    json.dumps(dataclasses.asdict(met))


STRANGE = ("a", "", None, True, -1, 2.5, math.nan, [40, 50], (), {}, object(), [["a", 3]], [(1, 2, 3)])


@pytest.mark.parametrize("name", [n for n in NAMES if CLASSES[n].plain])
def test_strange_values_are_taken_or_refused_as_a_users_mistake(name, file):
    """Whatever is given for a field, by itself: never an error of Python's own."""
    given = CLASSES[name].example(file)
    for field, value in itertools.product(given, STRANGE):
        with contextlib.suppress(ProtgenError):
            CLASSES[name](**given | {field: value})


@pytest.mark.parametrize("name", [n for n in NAMES if CLASSES[n].plain])
def test_plain_values_give_it_back(name, file):
    """Through JSON, with its weight."""
    condition = build(name, file)
    again = from_document(json.loads(json.dumps(to_document(2.5 * condition))))
    assert again == Conditions((condition,), (2.5,))


def energies() -> list[str]:
    return [n for n in NAMES if issubclass(CLASSES[n], EnergyCondition)]


@pytest.mark.parametrize("name", energies())
def test_energy_gradient_is_the_finite_difference(name, file, rng):
    """Along random directions, in float64; each row's energy is its own."""
    condition = build(name, file)
    xyz = crumpled(rng).requires_grad_()
    mask = torch.ones(2, LENGTH, dtype=torch.bool)
    value = condition.energy(xyz, mask)
    assert value.shape == (2,)
    assert (value >= 0).all()
    assert (value > 0).all(), "the example is met by a crumpled chain: no gradient to test"
    (gradient,) = torch.autograd.grad(value.sum(), xyz)
    assert torch.isfinite(gradient).all()
    for _ in range(5):
        way = torch.randn(xyz.shape, generator=rng, dtype=torch.float64)
        step = 1e-6
        with torch.no_grad():
            slope = (condition.energy(xyz + step * way, mask) - condition.energy(xyz - step * way, mask)) / (2 * step)
        expected = (gradient * way).sum((1, 2, 3))
        assert torch.allclose(slope, expected, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()))


@pytest.mark.parametrize("name", [n for n in energies() if CLASSES[n].invariant])
def test_energy_does_not_change_under_rigid_motions(name, file, rng):
    condition = build(name, file)
    xyz = crumpled(rng)
    mask = torch.ones(2, LENGTH, dtype=torch.bool)
    rotation = so3.uniform(torch.randn(4, generator=rng, dtype=torch.float64))
    moved = xyz @ rotation.T + 10 * torch.randn(3, generator=rng, dtype=torch.float64)
    assert torch.allclose(condition.energy(moved, mask), condition.energy(xyz, mask), rtol=1e-6)


@pytest.mark.parametrize("name", energies())
def test_energy_of_a_row_does_not_depend_on_padding_or_neighbours(name, file, rng):
    """Whatever stands under the mask, finite."""
    condition = build(name, file)
    xyz = crumpled(rng, 2)
    wide = torch.cat([xyz, torch.zeros(2, 7, 4, 3, dtype=torch.float64)], dim=1)
    mask = torch.zeros(2, LENGTH + 7, dtype=torch.bool)
    mask[:, :LENGTH] = True
    together = condition.energy(wide, mask)
    for row in range(2):
        alone = condition.energy(xyz[row : row + 1], torch.ones(1, LENGTH, dtype=torch.bool))
        assert torch.allclose(together[row], alone[0], rtol=1e-9)


@pytest.mark.parametrize("name", [n for n in energies() if CLASSES[n].descends])
def test_going_down_the_energy_meets_the_request(name, file, rng):
    """Gradient steps of weight 1 on free atoms: the scale that energies promise."""
    condition = build(name, file)
    xyz = crumpled(rng, 1)
    mask = torch.ones(1, LENGTH, dtype=torch.bool)
    first = float(condition.energy(xyz, mask))
    for _ in range(60):
        xyz = xyz.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(condition.energy(xyz, mask).sum(), xyz)
        size = gradient.norm(dim=-1, keepdim=True)
        xyz = xyz - gradient * (0.5 / size.clamp(min=0.5))
    assert float(condition.energy(xyz.detach(), mask)) < 0.05 * first


@pytest.mark.parametrize(
    "name",
    [n for n in NAMES if issubclass(CLASSES[n], LearnedCondition)],
)
def test_learned_features_of_data_are_those_of_the_request_or_unknown(name, file, rng):
    """Shapes; the null token says nothing; and what is known of a chain is what would be asked for it."""
    cls = CLASSES[name]
    atoms = torch.from_numpy(np.stack([ideal_helix(LENGTH), ideal_hairpin(LENGTH)])).float()
    labels = torch.tensor([[0] + [1] * (LENGTH - 2) + [0], [0] + [2] * 9 + [0] * 4 + [2] * 9 + [0]])
    arrays = {"atoms": atoms, "labels": labels, "class_label": torch.tensor([3, 1])}
    batch = Batch(arrays, torch.ones(2, LENGTH, dtype=torch.bool))
    shape = (2, LENGTH, cls.residue_dim) if cls.residue_dim else (2, cls.global_dim)
    shape = (2, LENGTH, LENGTH, cls.pair_dim) if cls.pair_dim else shape
    unknown = cls.unknown(batch.mask)
    assert unknown.shape == shape
    seen = [cls.from_data(batch, rng) for _ in range(30)]
    assert all(one.shape == shape and torch.isfinite(one).all() for one in seen)
    assert build(name, file).features(batch.mask[0]).shape == shape[1:]
    if cls.dropout is None:
        return  # always known
    rows = torch.stack([one[1] for one in seen])  # the hairpin, of which every condition has something to say
    assert any(torch.equal(row, unknown[0]) for row in rows)
    assert not all(torch.equal(row, unknown[0]) for row in rows)


ASKED = {"radius_of_gyration": 10.0, "termini_distance": 10.0, "contact_order": 0.1, "fold_class": "beta"}


@pytest.mark.parametrize("name", sorted(ASKED))
def test_features_of_data_equal_features_of_asking_for_what_is_there(name, rng):
    cls = CLASSES[name]
    backbone = ideal_helix(LENGTH)
    labels = torch.tensor([[0] + [1] * (LENGTH - 2) + [0]])
    mask = torch.ones(1, LENGTH, dtype=torch.bool)
    batch = Batch({"atoms": torch.from_numpy(backbone).float()[None], "labels": labels}, mask)
    got = cls(ASKED[name]).adherence(Protein.from_backbone(backbone)).got
    asked = cls(got).features(mask[0])
    seen = [cls.from_data(batch, rng)[0] for _ in range(30)]
    assert any(torch.allclose(one, asked, atol=2e-3) for one in seen)
