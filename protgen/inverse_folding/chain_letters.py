"""Letters of residues in the order of their file, and the sequence that has them chain by chain."""

import numpy as np

from protgen.folding.base import CHAIN
from protgen.structure.protein import Protein


def chain_lengths(protein: Protein) -> list[int]:
    """Residues of each chain."""
    return [int((protein.chain_ids == chain).sum()) for chain in protein.chains]


def joined(protein: Protein, letters: np.ndarray) -> str:
    """The sequence, chains joined by ":".

    Args:
        protein: whose chains they are.
        letters: (l,) of each residue.
    """
    return CHAIN.join("".join(letters[protein.chain_ids == chain]) for chain in protein.chains)


def by_residue(protein: Protein, sequence: str) -> np.ndarray:
    """(l,) the letter of each residue.

    Args:
        protein: the backbone.
        sequence: that fits it, chains joined by ":".
    """
    letters = np.full(protein.length, "X")
    for chain, part in zip(protein.chains, sequence.split(CHAIN), strict=True):
        letters[protein.chain_ids == chain] = list(part)
    return letters
