"""Ramachandran statistics: favoured, allowed and outlier residues.

The densities are our own: fitted on the training natives, smoothed, cut at the contours that hold 98 %
(favoured) and 99.95 % (allowed) of the fitted residues, for the classes general, glycine, proline and
pre-proline. The method and the percentages are MolProbity's (Lovell et al., Proteins 50, 437, 2003). The
densities are not, so the fractions differ from MolProbity's.

Placeholders: generators that make backbones write one residue type throughout, mostly glycine. Glycine's
density allows nearly everything. So in a chain where at least half of the residues are glycine, glycine
counts as a placeholder and is classified by the general density. No natural globular chain comes near that.
(Alanine and UNK, the other placeholders, are in the general class anyway.)
"""

import numpy as np

from protgen.metrics.base import Metric, Quantity
from protgen.metrics.reference_data import RAMACHANDRAN_CLASSES, RamachandranReference, ramachandran_reference
from protgen.structure.links import Links, backbone_torsions, links
from protgen.structure.protein import Protein

GENERAL, GLYCINE, PROLINE, PRE_PROLINE = range(len(RAMACHANDRAN_CLASSES))
PLACEHOLDER_FRACTION = 0.5
FAVOURED, ALLOWED, OUTLIER, UNCLASSIFIED = 2, 1, 0, -1


def placeholder_glycines(protein: Protein) -> np.ndarray:
    """(l,) bool: glycines of chains where at least half of the residues are glycine."""
    glycine = protein.residue_names == "GLY"
    result = np.zeros(protein.length, dtype=bool)
    for chain in protein.chains:
        members = protein.chain_ids == chain
        if glycine[members].mean() >= PLACEHOLDER_FRACTION:
            result |= members & glycine
    return result


def residue_classes(protein: Protein, joints: Links | None = None) -> np.ndarray:
    """(l,) index into `RAMACHANDRAN_CLASSES`; a glycine or proline before a proline keeps its own class."""
    joints = links(protein) if joints is None else joints
    names = protein.residue_names
    classes = np.full(protein.length, GENERAL)
    classes[:-1][(names[1:] == "PRO") & joints.same_chain] = PRE_PROLINE
    classes[(names == "GLY") & ~placeholder_glycines(protein)] = GLYCINE
    classes[names == "PRO"] = PROLINE
    return classes


def log_density(phi: np.ndarray, psi: np.ndarray, classes: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Periodic bilinear interpolation of a grid of log densities.

    Args:
        phi: (n,) radians.
        psi: (n,) radians.
        classes: (n,) first index into the grid.
        grid: (k, g, g), cell j of an axis at -pi + 2 pi j / g.

    Returns:
        (n,) log density per cell.
    """
    size = grid.shape[-1]
    x, y = ((np.stack([phi, psi]) + np.pi) / (2.0 * np.pi) * size) % size
    i, j = np.floor(x).astype(int) % size, np.floor(y).astype(int) % size
    fx, fy = x - np.floor(x), y - np.floor(y)
    i1, j1 = (i + 1) % size, (j + 1) % size
    return (
        grid[classes, i, j] * (1 - fx) * (1 - fy)
        + grid[classes, i1, j] * fx * (1 - fy)
        + grid[classes, i, j1] * (1 - fx) * fy
        + grid[classes, i1, j1] * fx * fy
    )


def verdicts(phi: np.ndarray, psi: np.ndarray, classes: np.ndarray, reference: RamachandranReference) -> np.ndarray:
    """The verdict on every residue by the densities of a reference.

    Args:
        phi: (l,) radians; NaN where unknown.
        psi: (l,) likewise.
        classes: (l,) first index into the densities.
        reference: the densities and their levels.

    Returns:
        (l,) int: 2 favoured, 1 allowed, 0 outlier, -1 unclassified (chain ends, breaks, missing atoms).
    """
    known = np.isfinite(phi) & np.isfinite(psi)
    own = classes[known]
    density = log_density(phi[known], psi[known], own, reference.log_density)
    verdict = np.full(len(phi), UNCLASSIFIED)
    verdict[known] = (density >= reference.allowed[own]).astype(int) + (density >= reference.favoured[own])
    return verdict


def ramachandran(protein: Protein, joints: Links | None = None) -> np.ndarray:
    """The verdict on every residue, as `verdicts` has it, by the densities of the training natives.

    Args:
        protein: any protein.
        joints: `links(protein)` when it is at hand.
    """
    joints = links(protein) if joints is None else joints
    phi, psi, _ = backbone_torsions(protein, joints)
    return verdicts(phi, psi, residue_classes(protein, joints), ramachandran_reference())


class Ramachandran(Metric):
    """Fractions of residues in the favoured, allowed and outlier regions.

    Examples:
        >>> from protgen.structure.ideal import ideal_helix
        >>> Ramachandran().measure(Protein.from_backbone(ideal_helix(12)))["rama_favoured"]
        1.0
    """

    name = "ramachandran"
    requires = ("backbone",)
    quantities = (
        Quantity(
            "rama_favoured",
            "fraction",
            "higher",
            "residues with phi and psi inside the 98 % contour of the training natives, by class",
        ),
        Quantity("rama_allowed", "fraction", None, "between the 98 % and the 99.95 % contours"),
        Quantity("rama_outliers", "fraction", "lower", "outside the 99.95 % contour"),
        Quantity("rama_residues", "count", None, "residues with phi and psi: bonded on both sides and whole"),
        Quantity(
            "phi_positive",
            "fraction",
            None,
            "residues with phi > 0, of those with phi and psi; natives about 0.06, a mirror image 0.9",
        ),
    )

    def measure(self, sample: Protein) -> dict[str, float]:
        """Fractions for one protein; NaN if no residue has phi and psi."""
        joints = links(sample)
        verdict = ramachandran(sample, joints)
        known = verdict != UNCLASSIFIED
        n = int(known.sum())
        if n == 0:
            return {quantity.name: np.nan for quantity in self.quantities} | {"rama_residues": 0.0}
        phi, _, _ = backbone_torsions(sample, joints)
        return {
            "rama_favoured": float((verdict == FAVOURED).sum() / n),
            "rama_allowed": float((verdict == ALLOWED).sum() / n),
            "rama_outliers": float((verdict == OUTLIER).sum() / n),
            "rama_residues": float(n),
            "phi_positive": float((phi[known] > 0).mean()),
        }
