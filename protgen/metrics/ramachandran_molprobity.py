"""Ramachandran statistics on MolProbity's scale, the one that papers quote.

MolProbity judges by contours of its Top8000 chains, of high resolution and low B-factors, in six classes of residues.
Here the densities are our own (`ramachandran.py`), and the levels of each class are those at which our natives have
the shares that MolProbity finds in them. So single residues near a contour may differ, and the fractions of a set
agree: `benchmarks/fit_molprobity.py` fits the levels by `ramalyze` of cctbx and measures the agreement.

References: Lovell et al., Proteins 50, 437 (2003); Williams et al., Protein Sci. 27, 293 (2018).
"""

import numpy as np

from protgen.metrics.base import Metric, Quantity
from protgen.metrics.ramachandran import FAVOURED, OUTLIER, UNCLASSIFIED, log_density, placeholder_glycines
from protgen.metrics.reference_data import molprobity_levels, ramachandran_reference
from protgen.structure.links import CIS_WIDTH, Links, backbone_torsions, links
from protgen.structure.protein import Protein

# MolProbity's classes, and that of our densities (general, glycine, proline, pre-proline) which serves each.
GENERAL, GLYCINE, CIS_PROLINE, TRANS_PROLINE, PRE_PROLINE, BRANCHED = range(6)
CLASSES = ("general", "glycine", "cis-proline", "trans-proline", "pre-proline", "isoleucine or valine")
DENSITY = np.array([0, 1, 2, 2, 3, 0])


def molprobity_classes(protein: Protein, omega: np.ndarray, joints: Links) -> np.ndarray:
    """(l,) index into `CLASSES`; placeholder glycines are general residues.

    Args:
        protein: any protein.
        omega: (l,) radians, of the bond behind each residue; NaN where unknown.
        joints: `links(protein)`.
    """
    names = protein.residue_names
    classes = np.full(protein.length, GENERAL)
    classes[np.isin(names, ("ILE", "VAL"))] = BRANCHED
    classes[:-1][(names[1:] == "PRO") & joints.same_chain] = PRE_PROLINE
    classes[(names == "GLY") & ~placeholder_glycines(protein)] = GLYCINE
    before = np.append(np.nan, omega[:-1]) if protein.length else omega
    with np.errstate(invalid="ignore"):
        cis = np.abs(before) <= CIS_WIDTH
    classes[names == "PRO"] = np.where(cis, CIS_PROLINE, TRANS_PROLINE)[names == "PRO"]
    return classes


def molprobity_verdicts(protein: Protein) -> np.ndarray:
    """(l,) int: 2 favoured, 1 allowed, 0 outlier, -1 unclassified (chain ends, breaks, missing atoms)."""
    joints = links(protein)
    phi, psi, omega = backbone_torsions(protein, joints)
    known = np.isfinite(phi) & np.isfinite(psi)
    classes = molprobity_classes(protein, omega, joints)[known]
    density = log_density(phi[known], psi[known], DENSITY[classes], ramachandran_reference().log_density)
    favoured, allowed = molprobity_levels()[classes].T
    verdict = np.full(protein.length, UNCLASSIFIED)
    verdict[known] = (density >= allowed).astype(int) + (density >= favoured)
    return verdict


class RamachandranMolprobity(Metric):
    """Fractions of favoured and outlier residues as MolProbity counts them.

    Examples:
        >>> from protgen.structure.ideal import ideal_helix
        >>> RamachandranMolprobity().measure(Protein.from_backbone(ideal_helix(12)))["molprobity_favoured"]
        1.0
    """

    name = "ramachandran_molprobity"
    requires = ("backbone",)
    quantities = (
        Quantity(
            "molprobity_favoured",
            "fraction",
            "higher",
            "residues favoured on MolProbity's scale (Top8000, the scale of papers), by our densities at levels fitted "
            "to ramalyze: sets agree with it within 1 point. `rama_favoured` is against our own natives instead",
        ),
        Quantity("molprobity_outliers", "fraction", "lower", "outliers on the same scale"),
    )

    def measure(self, sample: Protein) -> dict[str, float]:
        """Fractions for one protein; NaN if no residue has phi and psi."""
        verdict = molprobity_verdicts(sample)
        known = verdict[verdict != UNCLASSIFIED]
        if not len(known):
            return {quantity.name: np.nan for quantity in self.quantities}
        return {
            "molprobity_favoured": float((known == FAVOURED).mean()),
            "molprobity_outliers": float((known == OUTLIER).mean()),
        }
