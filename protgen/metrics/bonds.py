"""Chain connectivity, peptide bonds and covalent geometry of a backbone.

Ideal lengths and angles are the means of the field's tables; standard deviations are those of Engh & Huber (Acta Cryst.
A47, 392-400, 1991, Tables 3 and 4). A z-score is (measured - ideal) / sigma, reported as its root mean
square: natives refined against the same targets stand near 0.5-1, ideal geometry at 0.
"""

from dataclasses import dataclass

import numpy as np

from protgen.geometry.constants import CA_CA, CA_CA_CIS, CHAIN_BREAK_TOLERANCE, PEPTIDE_BOND_LIMIT
from protgen.metrics.base import Metric, Quantity
from protgen.structure.angles import angle, distance
from protgen.structure.links import CIS_WIDTH, Links, backbone_torsions, links
from protgen.structure.protein import CA, C, N, O, Protein

CA_CA_TOLERANCE = 0.1  # Å about the ideal
FRAMEDIFF_LIMIT = 3.902  # Å: 3.802 + 0.1, the upper bound (and no lower one) coded by FrameDiff and FrameFlow
PEPTIDE_BOND = 1.33  # Å
PEPTIDE_TOLERANCE = 0.1  # Å
OUTLIER_Z = 4.0  # beyond 4 sigma a bond or angle is called an outlier, as MolProbity does


@dataclass(frozen=True)
class Target:
    """An ideal value and its standard deviation: Å for lengths, degrees for angles."""

    ideal: float
    sigma: float


TARGETS = {
    "c_n": Target(1.329, 0.014),
    "n_ca": Target(1.458, 0.019),
    "ca_c": Target(1.525, 0.021),
    "c_o": Target(1.231, 0.020),
    "n_ca_c": Target(111.0, 2.8),
    "ca_c_n": Target(116.6, 2.0),
    "c_n_ca": Target(121.4, 1.8),
}


def peptide_bonds(protein: Protein, joints: Links | None = None) -> np.ndarray:
    """C-N distance of every pair adjacent in sequence, Å; pairs with a missing atom are left out."""
    joints = links(protein) if joints is None else joints
    lengths = joints.cn_distance[joints.adjacent]
    return lengths[np.isfinite(lengths)]


def covalent_geometry(protein: Protein, joints: Links | None = None) -> dict[str, np.ndarray]:
    """Measured lengths (Å) and angles (degrees) by the names of `TARGETS`, missing atoms left out.

    Those that cross a peptide bond are measured only where C-N <= 2.0 Å: a chain break is reported as
    such, and its width does not enter the z-scores.
    """
    joints = links(protein) if joints is None else joints
    xyz = protein.atoms
    n, ca, c, o = xyz[:, N], xyz[:, CA], xyz[:, C], xyz[:, O]
    bonded = joints.bonded
    values = {
        "c_n": joints.cn_distance[bonded],
        "n_ca": distance(n, ca),
        "ca_c": distance(ca, c),
        "c_o": distance(c, o),
        "n_ca_c": np.rad2deg(angle(n, ca, c)),
        "ca_c_n": np.rad2deg(angle(ca[:-1], c[:-1], n[1:])[bonded]),
        "c_n_ca": np.rad2deg(angle(c[:-1], n[1:], ca[1:])[bonded]),
    }
    return {name: value[np.isfinite(value)] for name, value in values.items()}


def _omega_classes(omega: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks trans (|180 ± 30|) and cis (|0 ± 30|); NaN is in neither."""
    with np.errstate(invalid="ignore"):
        return np.abs(omega) >= np.pi - CIS_WIDTH, np.abs(omega) <= CIS_WIDTH


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else np.nan


def _connectivity(joints: Links, omega: np.ndarray) -> dict[str, float]:
    known = joints.adjacent & np.isfinite(joints.ca_distance)
    d = joints.ca_distance[known]
    _, cis = _omega_classes(omega[:-1])
    deviation = np.abs(d - np.where(cis[known], CA_CA_CIS, CA_CA))
    cn_broken = joints.adjacent & (joints.cn_distance > PEPTIDE_BOND_LIMIT)
    literal = np.abs(d - CA_CA) > CHAIN_BREAK_TOLERANCE
    has_backbone = bool(np.isfinite(joints.cn_distance).any())
    return {
        "chain_breaks": float((joints.broken & joints.adjacent).sum()) if len(d) else np.nan,
        "chain_breaks_rfdiffusion3": float(literal.sum()) if len(d) else np.nan,
        "chain_breaks_cn": float(cn_broken.sum()) if has_backbone else np.nan,
        "missing_segments": float(joints.missing.sum()),
        "ca_ca_deviation": _mean(deviation),
        "ca_ca_valid": _mean(deviation <= CA_CA_TOLERANCE),
        "ca_ca_valid_framediff": _mean(d < FRAMEDIFF_LIMIT),
    }


def _omega(protein: Protein, omega: np.ndarray) -> dict[str, float]:
    measured = np.isfinite(omega)
    known = omega[measured]
    trans, cis = _omega_classes(known)
    proline = np.append(protein.residue_names[1:] == "PRO", False)[measured]  # the residue behind the bond
    return {
        "omega_trans": _mean(trans),
        "omega_cis": _mean(cis),
        "omega_twisted": _mean(~trans & ~cis),
        "omega_outliers": _mean(~trans & ~(cis & proline)),
    }


def _z_scores(protein: Protein, joints: Links) -> dict[str, float]:
    row: dict[str, float] = {}
    everything = []
    for name, values in covalent_geometry(protein, joints).items():
        z = (values - TARGETS[name].ideal) / TARGETS[name].sigma
        row[f"z_{name}"] = float(np.sqrt(np.mean(z**2))) if len(z) else np.nan
        everything.append(z)
    row["geometry_outliers"] = _mean(np.abs(np.concatenate(everything)) > OUTLIER_Z)
    return row


class Bonds(Metric):
    """Chain breaks, CA-CA distances, peptide bonds, omega and covalent z-scores.

    Examples:
        >>> from protgen.structure.ideal import ideal_helix
        >>> Bonds().measure(Protein.from_backbone(ideal_helix(12)))["chain_breaks"]
        0.0
    """

    name = "bonds"
    requires = ("ca", "backbone")
    quantities = (
        Quantity(
            "chain_breaks",
            "count",
            "lower",
            "sequence neighbours with |d(CA,CA+1) - 3.8| > 0.75 Å that are no cis peptide (2.96 ± 0.25 Å, "
            "C-N <= 2.0 Å, omega within 30 deg of 0); where a CA is missing, C-N > 2.0 Å; gaps that the residue "
            "numbering explains are in missing_segments instead",
        ),
        Quantity(
            "chain_breaks_rfdiffusion3",
            "count",
            "lower",
            "the same with cis peptides counted as breaks, as RFdiffusion3 does",
        ),
        Quantity("chain_breaks_cn", "count", "lower", "second reading: sequence neighbours with C-N > 2.0 Å"),
        Quantity(
            "missing_segments",
            "count",
            None,
            "forward jumps of the residue numbering with neither CA-CA nor C-N in reach: unseen residues",
        ),
        Quantity(
            "ca_ca_deviation",
            "Å",
            "lower",
            "mean |CA-CA - ideal|, ideal 3.80 Å, or 2.96 Å where omega is cis",
        ),
        Quantity("ca_ca_valid", "fraction", "higher", "CA-CA within 0.1 Å of 3.80 Å (2.96 Å where omega is cis)"),
        Quantity(
            "ca_ca_valid_framediff",
            "fraction",
            "higher",
            "CA-CA < 3.902 Å, the upper bound coded by FrameDiff and FrameFlow",
        ),
        Quantity("peptide_valid", "fraction", "higher", "C-N of sequence neighbours within 1.33 ± 0.1 Å"),
        Quantity("omega_trans", "fraction", None, "peptide bonds with omega within 30 deg of 180 deg"),
        Quantity("omega_cis", "fraction", None, "peptide bonds with omega within 30 deg of 0 deg"),
        Quantity("omega_twisted", "fraction", "lower", "peptide bonds with omega in neither range"),
        Quantity(
            "omega_outliers",
            "fraction",
            "lower",
            "peptide bonds that are twisted, or cis before another residue than proline (as MolProbity's omegalyze)",
        ),
        *(
            Quantity(
                f"z_{name}",
                "sigma",
                "lower",
                f"root mean square of ({name.upper().replace('_', '-')} - {target.ideal}) / {target.sigma} "
                "(Engh & Huber 1991 sigmas)",
            )
            for name, target in TARGETS.items()
        ),
        Quantity(
            "geometry_outliers",
            "fraction",
            "lower",
            "backbone lengths and angles more than 4 sigma from the ideal",
        ),
    )

    def measure(self, sample: Protein) -> dict[str, float]:
        """Every quantity for one protein; what needs N, C or O is NaN for a CA-only structure."""
        joints = links(sample)
        _, _, omega = backbone_torsions(sample, joints)
        peptide_valid = _mean(np.abs(peptide_bonds(sample, joints) - PEPTIDE_BOND) <= PEPTIDE_TOLERANCE)
        return {
            **_connectivity(joints, omega),
            "peptide_valid": peptide_valid,
            **_omega(sample, omega),
            **_z_scores(sample, joints),
        }
