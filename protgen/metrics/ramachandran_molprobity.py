"""Ramachandran statistics on MolProbity's scale, the one that papers quote.

MolProbity judges by contours of its Top8000 chains, of high resolution and low B-factors, in six classes of residues.
Here the densities are our own, of training natives at 1.8 Å or better in the same classes, and the level of each class
is that at which these natives have the shares that MolProbity finds in them. So single residues next to a contour may
differ, 1 in 100 of natives, and the fractions of a set agree: `benchmarks/fit_molprobity.py` fits both and measures
the agreement with `ramalyze` of cctbx.

References: Lovell et al., Proteins 50, 437 (2003); Williams et al., Protein Sci. 27, 293 (2018).
"""

import numpy as np

from protgen.metrics.base import Metric, Quantity
from protgen.metrics.ramachandran import FAVOURED, OUTLIER, UNCLASSIFIED, placeholder_glycines, verdicts
from protgen.metrics.reference_data import ramachandran_reference
from protgen.structure.links import CIS_WIDTH, Links, backbone_torsions, links
from protgen.structure.protein import Protein

GENERAL, GLYCINE, CIS_PROLINE, TRANS_PROLINE, PRE_PROLINE, BRANCHED = range(6)
CLASSES = ("general", "glycine", "cis-proline", "trans-proline", "pre-proline", "isoleucine or valine")
SCALE = "ramachandran_molprobity"  # name of the densities


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
    """(l,) the verdict on every residue, as `ramachandran.verdicts` has it."""
    joints = links(protein)
    phi, psi, omega = backbone_torsions(protein, joints)
    return verdicts(phi, psi, molprobity_classes(protein, omega, joints), ramachandran_reference(SCALE))


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
            "residues favoured on MolProbity's scale (Top8000, that of papers), by densities of natives at 1.8 Å or "
            "better and levels fitted to ramalyze, within 1 point of it; `rama_favoured` is against all our natives",
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
