"""How far CB lies from where the backbone puts it: MolProbity's CB deviation.

References: Lovell et al., Proteins 50, 437 (2003): the ideal CB is the mean of two constructions, from N-C-CA and from
C-N-CA, at the ideal bond length, angles and dihedrals of the residue type; 0.25 Å and more is an outlier, which tells
of a backbone bent to fit its side chain.
"""

from dataclasses import dataclass

import numpy as np

from protgen.metrics.base import Metric, Quantity
from protgen.structure.ideal import place_atom
from protgen.structure.protein import CA, CB, C, N, Protein

OUTLIER = 0.25  # Å


@dataclass(frozen=True)
class IdealCb:
    """Where CB is: CA-CB in Å, angles C-CA-CB and N-CA-CB and dihedrals N-C-CA-CB and C-N-CA-CB in degrees."""

    bond: float
    c_ca_cb: float
    from_n: float
    n_ca_cb: float
    from_c: float


GENERAL = IdealCb(1.530, 110.1, 122.8, 110.5, -122.6)
OF_RESIDUE = {
    "ALA": IdealCb(1.536, 110.1, 122.9, 110.6, -122.6),
    "PRO": IdealCb(1.530, 112.2, 115.1, 103.0, -120.7),
    **dict.fromkeys(("ILE", "THR", "VAL"), IdealCb(1.540, 109.1, 123.4, 111.5, -122.0)),
}


def ideal_cb(n: np.ndarray, ca: np.ndarray, c: np.ndarray, ideal: IdealCb) -> np.ndarray:
    """The CB of residues of one kind.

    Args:
        n, ca, c: (k, 3) Å.
        ideal: of the kind.

    Returns:
        (k, 3) Å.
    """
    first = place_atom(n, c, ca, ideal.bond, np.deg2rad(ideal.c_ca_cb), np.deg2rad(ideal.from_n))
    second = place_atom(c, n, ca, ideal.bond, np.deg2rad(ideal.n_ca_cb), np.deg2rad(ideal.from_c))
    along = (first + second) / 2 - ca  # the mean of two points is nearer than either: back to the bond length
    return ca + ideal.bond * along / np.linalg.norm(along, axis=-1, keepdims=True)


def cb_deviations(protein: Protein) -> np.ndarray:
    """(l,) distance of CB from its ideal place, Å; NaN where N, CA, C or CB is missing."""
    xyz, result = protein.atoms, np.full(protein.length, np.nan)
    whole = protein.mask[:, [N, CA, C, CB]].all(axis=1)
    kinds = [OF_RESIDUE.get(name, GENERAL) for name in protein.residue_names.tolist()]
    for ideal in dict.fromkeys(kinds):
        mine = whole & np.array([kind == ideal for kind in kinds])
        expected = ideal_cb(xyz[mine, N], xyz[mine, CA], xyz[mine, C], ideal)
        result[mine] = np.linalg.norm(xyz[mine, CB] - expected, axis=-1)
    return result


class CbDeviation(Metric):
    """Mean deviation of CB, and the fraction of outliers; NaN without CB.

    Examples:
        >>> from protgen.structure.ideal import ideal_helix
        >>> CbDeviation().measure(Protein.from_backbone(ideal_helix(12)))["cb_residues"]
        0.0
    """

    name = "cb_deviation"
    requires = ("cb",)
    quantities = (
        Quantity("cb_deviation", "Å", "lower", "mean distance of CB from its ideal place (Lovell et al. 2003)"),
        Quantity("cb_outliers", "fraction", "lower", "residues with CB 0.25 Å or more from it, as MolProbity counts"),
        Quantity("cb_residues", "count", None, "residues with N, CA, C and CB"),
    )

    def measure(self, sample: Protein) -> dict[str, float]:
        """Every quantity for one protein."""
        off = cb_deviations(sample)
        known = off[np.isfinite(off)]
        if not len(known):
            return {"cb_deviation": np.nan, "cb_outliers": np.nan, "cb_residues": 0.0}
        return {
            "cb_deviation": float(known.mean()),
            "cb_outliers": float((known >= OUTLIER).mean()),
            "cb_residues": float(len(known)),
        }
