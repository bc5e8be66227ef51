"""Numbers that describe a fold whatever its length, for the Fréchet distance and its relatives.

Their definitions are in `protgen.structure.trace`.
"""

from collections.abc import Sequence

import numpy as np

from protgen.metrics.compactness import contacts, relative_contact_order
from protgen.metrics.secondary_structure import fractions, secondary_structure
from protgen.structure import trace
from protgen.structure.protein import CA, Protein

NAMES = trace.DESCRIPTORS


def descriptors(proteins: Sequence[Protein]) -> np.ndarray:
    """(n, 18) descriptors in the order of `NAMES`; a row of NaN for fewer than eight CA atoms."""
    return np.array([describe(protein) for protein in proteins]).reshape(len(proteins), len(NAMES))


def describe(protein: Protein, method: str | None = None) -> np.ndarray:
    """The descriptors of one structure: see `protgen.structure.trace.describe`.

    Args:
        protein: any protein.
        method: of secondary structure, "dssp" or "p-sea"; by default the one its atoms allow.
    """
    ca = protein.atoms[protein.mask[:, CA], CA]
    if len(ca) < trace.FEWEST:
        return np.full(len(NAMES), np.nan)
    fraction = fractions(secondary_structure(protein, method))
    pairs = contacts(protein)
    return trace.describe(ca, fraction["helix"], fraction["strand"], pairs, relative_contact_order(protein, pairs))
