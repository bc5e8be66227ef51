"""Radius of gyration, contacts and contact order against direct formulas."""

import numpy as np
import pytest

from protgen.metrics.compactness import (
    Compactness,
    contacts,
    expected_radius_of_gyration,
    radius_of_gyration,
    relative_contact_order,
)
from protgen.metrics.reference_data import native_statistics, typical_radius_of_gyration
from protgen.structure.ideal import ideal_helix, ideal_strand
from protgen.structure.protein import Protein


def test_rg_of_points_on_a_sphere():
    """CA atoms at distance 7 Å from their centre have Rg 7 Å."""
    xyz = np.full((6, 4, 3), np.nan)
    xyz[:, 1] = 7.0 * np.concatenate([np.eye(3), -np.eye(3)])
    protein = Protein.from_backbone(xyz)
    assert radius_of_gyration(protein) == pytest.approx(7.0)
    assert Compactness().measure(protein)["rg_ratio"] == pytest.approx(7.0 / (2.2 * 6**0.38))


def test_contacts_against_a_double_loop():
    """The tree finds the pairs that a double loop finds."""
    protein = Protein.from_backbone(ideal_helix(30))
    ca = protein.atoms[:, 1]
    expected = {(i, j) for i in range(30) for j in range(i + 3, 30) if np.linalg.norm(ca[i] - ca[j]) <= 8.0}
    pairs = contacts(protein)
    assert set(map(tuple, pairs.tolist())) == expected
    order = np.mean([j - i for i, j in expected]) / 30
    assert relative_contact_order(protein) == pytest.approx(order)


def test_contact_order_uses_the_length_of_each_chain():
    """Two equal chains have the contact order of one."""
    one = Protein.from_backbone(ideal_helix(20))
    xyz = np.concatenate([ideal_helix(20), ideal_helix(20) + 100.0])
    two = Protein.from_backbone(xyz, chain_ids=np.repeat(["A", "B"], 20))
    assert relative_contact_order(two) == pytest.approx(relative_contact_order(one))


def test_no_contacts_no_order():
    """An extended strand has no contacts: its contact order does not exist."""
    row = Compactness().measure(Protein.from_backbone(ideal_strand(10)))
    assert row["contacts_per_residue"] == 0
    assert np.isnan(row["contact_order"])


def test_native_radius_grows_with_length():
    """The shipped table is monotonic, near 2.2 L^0.38 for globular lengths, and extends beyond its ends."""
    lengths = [20, 45, 60, 80, 100, 150, 250, 400, 800]
    radii = [typical_radius_of_gyration(n) for n in lengths]
    assert (np.diff(radii) > 0).all()
    assert typical_radius_of_gyration(150) == pytest.approx(expected_radius_of_gyration(150), rel=0.1)


def test_native_radius_is_that_of_the_table():
    """At its lengths the medians, between them powers of the length, beyond them L^0.38."""
    table = native_statistics()["radius_of_gyration"]
    found = [typical_radius_of_gyration(length) for length in table["length"]]
    assert found == pytest.approx(table["median"], rel=1e-12)
    (short, long), (low, high) = table["length"][3:5], table["median"][3:5]
    middle = low * ((short + 1) / short) ** (np.log(high / low) / np.log(long / short))
    assert typical_radius_of_gyration(short + 1) == pytest.approx(middle, rel=1e-12)
    last = table["length"][-1]
    assert typical_radius_of_gyration(2 * last) == pytest.approx(table["median"][-1] * 2**0.38, rel=1e-12)
    assert typical_radius_of_gyration(table["length"][0] // 2) == pytest.approx(
        table["median"][0] * (table["length"][0] // 2 / table["length"][0]) ** 0.38, rel=1e-12
    )


def test_no_ca_atoms():
    """A structure without CA has no numbers, and does not fail."""
    row = Compactness().measure(Protein.from_backbone(np.full((5, 4, 3), np.nan)))
    assert np.isnan(list(row.values())).all()
