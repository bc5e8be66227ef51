"""What every metric promises; a new file in protgen/metrics, or an installed plug-in, is tested with no edit here."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest

from protgen import registry
from protgen.metrics.base import Quantity
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import CA, Protein

NAMES = registry.names("metrics")
KINDS = ("ca", "backbone", "cb")  # what a metric may require of a sample


def metric_of(name: str):
    return registry.build("metrics", name)


def helix(n: int = 30) -> Protein:
    return Protein.from_backbone(ideal_helix(n))


def with_cb(protein: Protein) -> Protein:
    """With CB at its ideal place (Engh & Huber angles): -0.58273431 a + 0.56802827 b - 0.54067466 c + CA."""
    atoms, mask = protein.atoms.copy(), protein.mask.copy()
    n, ca, c = (atoms[:, k] for k in (0, 1, 2))
    b, d = ca - n, c - ca
    a = np.cross(b, d)
    atoms[:, 4] = -0.58273431 * a + 0.56802827 * b - 0.54067466 * d + ca
    mask[:, 4] = True
    return replace(protein, atoms=atoms, mask=mask)


def proteins() -> dict[str, Protein]:
    """Ideal elements, with CB, in two chains, and with random coordinates."""
    two = np.concatenate([ideal_helix(20), ideal_hairpin(20) + np.array([15.0, 3.0, 0.0])])
    rng = np.random.default_rng(0)
    shaken = ideal_hairpin(24) + rng.normal(0, 0.8, (24, 4, 3))
    return {
        "helix": helix(),
        "with CB": with_cb(helix(25)),
        "hairpin": Protein.from_backbone(ideal_hairpin(24)),
        "two chains": Protein.from_backbone(two, chain_ids=np.repeat(["A", "B"], 20)),
        "shaken": Protein.from_backbone(shaken),
    }


def columns_of(metric) -> list[str]:
    return [*(quantity.name for quantity in metric.quantities), *metric.labels]


def rotation(rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q * np.linalg.det(q)


def without(protein: Protein, atoms: list[int]) -> Protein:
    """The protein with some atoms missing in every residue: NaN, and False in the mask."""
    xyz, mask = protein.atoms.copy(), protein.mask.copy()
    xyz[:, atoms], mask[:, atoms] = np.nan, False
    return replace(protein, atoms=xyz, mask=mask)


def same(one, two, tolerance: float = 0.0) -> bool:
    """Equal text, or numbers equal within the tolerance; NaN is equal to NaN."""
    if isinstance(one, str) or isinstance(two, str):
        return one == two
    return (math.isnan(one) and math.isnan(two)) or abs(one - two) <= tolerance * max(1.0, abs(one))


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_measures(name):
    """Its name, what it requires, and a definition of each quantity."""
    metric = metric_of(name)
    assert metric.name == name
    assert metric.requires
    assert set(metric.requires) <= set(KINDS)
    assert metric.quantities
    for quantity in metric.quantities:
        assert isinstance(quantity, Quantity)
        assert quantity.definition.strip()
        assert quantity.better in ("higher", "lower", None)


def test_no_two_columns_have_one_name():
    names = [column for name in NAMES for column in columns_of(metric_of(name))]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", NAMES)
def test_measures_every_column_and_no_other(name):
    """A number for each quantity, text for each label; the call on several gives arrays of them."""
    metric = metric_of(name)
    samples = list(proteins().values())
    for sample in samples:
        found = metric.measure(sample)
        assert set(found) == set(columns_of(metric))
        for quantity in metric.quantities:
            assert isinstance(found[quantity.name], int | float | np.floating | np.integer)
            assert not math.isinf(found[quantity.name])
        assert all(isinstance(found[label], str) for label in metric.labels)
    arrays = metric(samples)
    for quantity in metric.quantities:
        assert arrays[quantity.name].shape == (len(samples),)
        assert arrays[quantity.name].dtype == np.float64


@pytest.mark.parametrize("name", NAMES)
def test_rigid_motions_change_nothing(name):
    """Within 1e-6 of the value, for five random motions of each protein."""
    metric, rng = metric_of(name), np.random.default_rng(1)
    for label, protein in proteins().items():
        before = metric.measure(protein)
        for _ in range(5):
            moved = protein.atoms @ rotation(rng).T + rng.normal(0, 20, 3)
            after = metric.measure(replace(protein, atoms=moved))
            for key, value in before.items():
                assert same(value, after[key], 1e-6), (label, key, value, after[key])


@pytest.mark.parametrize("name", NAMES)
def test_an_ideal_helix_has_all_its_numbers(name):
    """With every backbone atom and CB there is nothing missing, but for what is said to be of parts it may lack."""
    metric = metric_of(name)
    found = metric.measure(with_cb(helix()))
    assert set(metric.of_parts) < {quantity.name for quantity in metric.quantities}
    for quantity in metric.quantities:
        assert math.isfinite(found[quantity.name]) or quantity.name in metric.of_parts, quantity.name


@pytest.mark.parametrize("name", NAMES)
def test_missing_atoms_are_not_guessed(name):
    """Where nothing that it requires is there, a quantity is NaN or the count of nothing, 0; nothing is raised."""
    metric = metric_of(name)
    empty = metric.measure(without(with_cb(helix()), list(range(helix().atoms.shape[1]))))
    for quantity in metric.quantities:
        value = empty[quantity.name]
        assert math.isnan(value) or value == 0, (quantity.name, value)
    ca_alone = [k for k in range(helix().atoms.shape[1]) if k != CA]
    found = metric.measure(without(helix(), ca_alone))
    assert set(found) == set(columns_of(metric))
    if "ca" not in metric.requires:
        values = [found[quantity.name] for quantity in metric.quantities]
        assert all(math.isnan(value) or value == 0 for value in values), values


@pytest.mark.parametrize("name", NAMES)
def test_single_missing_atoms_cost_no_other_residue(name):
    """One atom of each kind missing: every number there was is still there, and finite."""
    metric, protein = metric_of(name), with_cb(helix())
    atoms, mask = protein.atoms.copy(), protein.mask.copy()
    for residue, atom in ((3, 0), (10, CA), (15, 3), (20, 4)):
        atoms[residue, atom], mask[residue, atom] = np.nan, False
    found = metric.measure(replace(protein, atoms=atoms, mask=mask))
    assert all(math.isfinite(found[q.name]) for q in metric.quantities if q.name not in metric.of_parts)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_chains_are_no_trouble(name, n):
    """Of one to three residues: every column is there, none is infinite."""
    metric = metric_of(name)
    found = metric.measure(Protein.from_backbone(ideal_helix(10)[:n]))
    assert set(found) == set(columns_of(metric))
    assert not any(math.isinf(found[quantity.name]) for quantity in metric.quantities)


@pytest.mark.parametrize("name", NAMES)
def test_the_sample_is_left_alone_and_measured_the_same_again(name):
    metric, protein = metric_of(name), with_cb(helix())
    before = copy.deepcopy(protein)
    one, two = metric.measure(protein), metric_of(name).measure(protein)
    assert np.array_equal(protein.atoms, before.atoms, equal_nan=True)
    assert np.array_equal(protein.mask, before.mask)
    assert all(same(value, two[key]) for key, value in one.items())
