"""How compact a fold is: radius of gyration, contacts, contact order, burial."""

import numpy as np
from scipy.spatial import KDTree

from protgen.geometry.constants import RG_EXPONENT, RG_SCALE
from protgen.metrics.base import Metric, Quantity
from protgen.metrics.reference_data import typical_radius_of_gyration
from protgen.structure import trace
from protgen.structure.protein import CA, Protein

BURIAL_RADIUS = 10.0  # Å
BURIAL_NEIGHBOURS = 20  # CA within BURIAL_RADIUS; about the inner third of a 150-residue globule


def radius_of_gyration(protein: Protein) -> float:
    """Rg of the CA atoms, unweighted: sqrt(mean |x - mean x|^2), Å; NaN if there are none."""
    ca = protein.atoms[protein.mask[:, CA], CA]
    return trace.radius_of_gyration(ca) if len(ca) else np.nan


def expected_radius_of_gyration(length: int) -> float:
    """2.2 L^0.38 Å: what a globular protein of `length` residues has."""
    return RG_SCALE * length**RG_EXPONENT


def contacts(protein: Protein) -> np.ndarray:
    """(n, 2) residue pairs i < j with CA within 8 Å, j - i >= 3 in file order or in different chains."""
    index = np.flatnonzero(protein.mask[:, CA])
    return index[trace.contacts(protein.atoms[index, CA], index, protein.chain_ids[index])]


def relative_contact_order(protein: Protein, pairs: np.ndarray | None = None) -> float:
    """Mean separation of contacts within chains over the chain length (Plaxco, Simons & Baker, 1998), on CA
    contacts.

    Args:
        protein: any protein.
        pairs: `contacts(protein)` when they are at hand.

    Returns:
        A fraction; NaN without contacts.
    """
    pairs = contacts(protein) if pairs is None else pairs
    return trace.relative_contact_order(pairs, protein.chain_ids)


def buried_fraction(protein: Protein) -> float:
    """Fraction of residues with at least 20 other CA atoms within 10 Å; NaN without CA atoms."""
    ca = protein.atoms[protein.mask[:, CA], CA]
    if len(ca) == 0:
        return np.nan
    neighbours = KDTree(ca).query_ball_point(ca, BURIAL_RADIUS, return_length=True) - 1
    return float(np.mean(neighbours >= BURIAL_NEIGHBOURS))


class Compactness(Metric):
    """Radius of gyration against what its length asks for, contacts, contact order and burial."""

    name = "compactness"
    requires = ("ca",)
    quantities = (
        Quantity("rg", "Å", None, "radius of gyration of the CA atoms, unweighted, all chains together"),
        Quantity("rg_ratio", "", None, "rg / (2.2 L^0.38 Å), L the number of residues with CA"),
        Quantity(
            "rg_native_ratio",
            "",
            None,
            "rg / median rg of the training natives of that length; within 0.85-1.15 is native-like",
        ),
        Quantity(
            "contacts_per_residue",
            "count",
            None,
            "CA pairs within 8 Å, |i - j| >= 3 or between chains, over L",
        ),
        Quantity(
            "contact_order",
            "fraction",
            None,
            "relative contact order: mean |i - j| of those within chains, over L",
        ),
        Quantity("buried", "fraction", None, "residues with at least 20 other CA within 10 Å"),
    )

    def measure(self, sample: Protein) -> dict[str, float]:
        """Every quantity for one protein."""
        n = int(sample.mask[:, CA].sum())
        if n == 0:
            return {quantity.name: np.nan for quantity in self.quantities}
        rg = radius_of_gyration(sample)
        pairs = contacts(sample)
        return {
            "rg": rg,
            "rg_ratio": rg / expected_radius_of_gyration(n),
            "rg_native_ratio": rg / typical_radius_of_gyration(n),
            "contacts_per_residue": len(pairs) / n,
            "contact_order": relative_contact_order(sample, pairs),
            "buried": buried_fraction(sample),
        }
