"""Chains with missing residues: where they are missing, and a start for building them.

Missing residues are laid on an arc between their neighbours, which points away from the rest of the chain, with CA
atoms 3.8 Å apart. That is no structure, but a place from which a generator can begin.
"""

from dataclasses import dataclass

import numpy as np

from protgen.errors import UsageError
from protgen.geometry.constants import CA_CA
from protgen.structure.links import links
from protgen.structure.protein import CA, Protein
from protgen.structure.residue_id import residue_id

_HALF_TURN = np.pi - 1e-3


@dataclass(frozen=True)
class Filled:
    """A chain without gaps.

    Attributes:
        backbone: (l, 3, 3) N, CA, C, Å.
        known: (l,) bool, True for residues that the chain had.
    """

    backbone: np.ndarray
    known: np.ndarray


def gaps_in_words(protein: Protein) -> str:
    """Where residues of one chain are missing: "12 residues are missing after A20"; empty if none are."""
    texts = []
    for row in np.flatnonzero(links(protein).broken).tolist():
        place, count = residue_id(protein, row), _missing_after(protein, row)
        if count:
            texts.append(f"{count} residue{'s are' if count > 1 else ' is'} missing after {place}")
        else:
            texts.append(f"the chain is broken after {place}, where no number is missing")
    return "; ".join(texts)


def filled(protein: Protein) -> Filled:
    """One chain with a start for its missing residues, as many as its numbers say.

    Args:
        protein: one chain; N, CA and C of each residue are there.

    Raises:
        UsageError: if no number is missing where the chain is broken, or too few to reach across.
    """
    pieces, known, done = [], [], 0
    xyz = protein.backbone[:, :3]
    for row in np.flatnonzero(links(protein).broken).tolist():
        count, place = _missing_after(protein, row), residue_id(protein, row)
        apart = float(np.linalg.norm(xyz[row + 1, CA] - xyz[row, CA]))
        if not count:
            raise UsageError(f"the chain is broken after {place}, where no number is missing; give a complete chain")
        if apart > CA_CA * (count + 1):
            raise UsageError(f"{count} residues missing after {place} cannot reach across {apart:.1f} Å")
        away = (xyz[row, CA] + xyz[row + 1, CA]) / 2 - xyz[:, CA].mean(0)
        pieces += [xyz[done : row + 1], arc(xyz[row], xyz[row + 1], count, away)]
        known += [True] * (row + 1 - done) + [False] * count
        done = row + 1
    return Filled(np.concatenate([*pieces, xyz[done:]]), np.array(known + [True] * (len(xyz) - done)))


def _missing_after(protein: Protein, row: int) -> int:
    return max(0, int(protein.residue_numbers[row + 1] - protein.residue_numbers[row]) - 1)


def arc(before: np.ndarray, after: np.ndarray, count: int, away: np.ndarray) -> np.ndarray:
    """(count, 3, 3) N, CA, C of residues on an arc from one residue to another, CA atoms 3.8 Å apart.

    Args:
        before, after: (3, 3) N, CA, C of the residues it joins, Å.
        count: residues to place.
        away: (3,) direction that the arc bulges to.
    """
    start, end = before[CA], after[CA]
    chord = end - start
    length = max(float(np.linalg.norm(chord)), 1e-3)
    along = chord / length
    up = away - (away @ along) * along
    norm = float(np.linalg.norm(up))
    up = up / norm if norm > 1e-6 else np.linalg.svd(along[None])[2][-1]
    step = _turn_per_step(length, count + 1)
    radius = CA_CA / 2 / np.sin(step / 2)
    angles = (np.arange(1, count + 1) - (count + 1) / 2) * step
    centre = (start + end) / 2 - up * radius * np.cos((count + 1) / 2 * step)
    outward = np.sin(angles)[:, None] * along + np.cos(angles)[:, None] * up
    tangent = np.cos(angles)[:, None] * along - np.sin(angles)[:, None] * up
    ca = centre + radius * outward
    # N and C on both sides of CA: 1.2 Å along the arc and 0.8 Å off it, which gives bonds of 1.46 Å.
    return np.stack([ca - 1.2 * tangent - 0.8 * outward, ca, ca + 1.2 * tangent - 0.8 * outward], axis=1)


def _turn_per_step(length: float, steps: int) -> float:
    """The angle by which each step of 3.8 Å turns so that so many of them end at a distance, Å: by bisection."""
    low, high = 1e-4, 2 * _HALF_TURN / steps
    for _ in range(60):
        middle = (low + high) / 2
        reached = CA_CA * np.sin(steps * middle / 2) / np.sin(middle / 2)
        low, high = (middle, high) if reached > length else (low, middle)
    return low
