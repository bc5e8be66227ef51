"""A clashscore with hydrogens placed, for backbones: overlaps of 0.4 Å or more per 1,000 atoms.

The rule is MolProbity's (Word et al., J. Mol. Biol. 285, 1711, 1999; Chen et al., Acta Cryst. D66, 12, 2010) on the
atoms that a backbone has: N, CA, C, O, CB where it is there, H and HA. Side chains, which make most clashes of a model,
are not in it, so it is near 0 for good natives and does not compare with clashscores of whole models.
"""

import numpy as np

from protgen.metrics.base import Metric, Quantity
from protgen.metrics.clashes import near_pairs
from protgen.metrics.hydrogens import alpha_hydrogens, amide_hydrogens
from protgen.structure.links import Links, links
from protgen.structure.protein import BACKBONE, Protein

OVERLAP = 0.4  # Å
HYDROGEN_BOND = 0.6  # Å that H and O may overlap beside, as Probe allows a hydrogen bond
BONDS = 3  # atoms this many bonds apart do not clash; one more where a hydrogen is among them
# Radii, Å, of Probe: N, CA, C, O, CB, H, HA (carbonyl C 1.65, polar H 1.05, other H 1.22).
RADII = np.array([1.55, 1.70, 1.65, 1.40, 1.70, 1.05, 1.22])
PLACE = np.array([0, 1, 2, 2, 1, 0, 1])  # of the chain atom N, CA, C that each is bonded to, or is
DEPTH = np.array([0, 0, 0, 1, 1, 1, 1])  # bonds from it
OXYGEN, AMIDE, ALPHA = 3, 5, 6
_REACH = 2 * float(RADII.max()) - OVERLAP


def all_atoms(protein: Protein, joints: Links) -> np.ndarray:
    """(l, 7, 3) Å; N, CA, C, O, CB, H, HA, NaN where missing."""
    heavy = np.where(protein.mask[..., None], protein.atoms, np.nan)
    hydrogens = [amide_hydrogens(protein, joints), alpha_hydrogens(protein)]
    return np.concatenate([heavy, np.stack(hydrogens, axis=1)], axis=1)


def overlapping(protein: Protein) -> tuple[int, int]:
    """Number of clashing pairs of atoms, and of atoms."""
    joints = links(protein)
    xyz = all_atoms(protein, joints)
    residue, kind = np.nonzero(np.isfinite(xyz).all(axis=-1))
    points = xyz[residue, kind]
    if len(points) < 2:
        return 0, len(points)
    a, b = near_pairs(points, _REACH, protein.name)
    segment = np.concatenate([[0], np.cumsum(~joints.bonded)])  # of residues joined by peptide bonds
    place = 3 * residue + PLACE[kind]
    apart = np.abs(place[a] - place[b]) + DEPTH[kind[a]] + DEPTH[kind[b]]
    hydrogen = (kind[a] >= AMIDE) | (kind[b] >= AMIDE)
    joined = (segment[residue[a]] == segment[residue[b]]) & (apart <= BONDS + hydrogen)
    first, second = np.minimum(kind[a], kind[b]), np.maximum(kind[a], kind[b])
    allowed = OVERLAP + HYDROGEN_BOND * ((first == OXYGEN) & (second == AMIDE))
    overlap = RADII[kind[a]] + RADII[kind[b]] - np.linalg.norm(points[a] - points[b], axis=-1)
    return int((~joined & (overlap >= allowed)).sum()), len(points)


class Clashscore(Metric):
    """Clashes per 1,000 atoms, hydrogens of the backbone among them; NaN for a CA-only structure.

    Examples:
        >>> from protgen.structure.ideal import ideal_helix
        >>> Clashscore().measure(Protein.from_backbone(ideal_helix(12)))["clashscore_h"]
        0.0
    """

    name = "clashscore"
    requires = ("backbone",)
    quantities = (
        Quantity(
            "clashscore_h",
            "per 1000 atoms",
            "lower",
            "pairs of N, CA, C, O, CB and placed H and HA, more than 3 bonds apart (4 with H), whose radii by Probe "
            "overlap by >= 0.4 Å (H...O by >= 1 Å), per 1000 atoms; no side chains, so below MolProbity's clashscore",
        ),
    )

    def measure(self, sample: Protein) -> dict[str, float]:
        """The clashscore of one protein."""
        if not sample.mask[:, BACKBONE].all(axis=1).any():
            return {"clashscore_h": np.nan}
        clashes, atoms = overlapping(sample)
        return {"clashscore_h": 1000.0 * clashes / atoms}
