"""How consecutive residues are linked: chain breaks, peptide bonds, and the torsions across them.

This file holds the one definition of a chain break. The reader, the store, the metrics and the drawings use it.
"""

from dataclasses import dataclass

import numpy as np

from protgen.geometry.constants import CA_CA, CA_CA_CIS, CHAIN_BREAK_TOLERANCE, CIS_TOLERANCE, PEPTIDE_BOND_LIMIT
from protgen.structure.angles import dihedral, distance
from protgen.structure.protein import CA, C, N, Protein

CIS_WIDTH = np.deg2rad(30.0)  # omega of a cis peptide is 0 within this, that of a trans peptide 180 degrees


@dataclass(frozen=True)
class Links:
    """The link of residue i to residue i + 1 in file order; every field has shape (l - 1,).

    Attributes:
        same_chain: both residues are in one chain.
        ca_distance: CA-CA, Å; NaN where an atom is missing.
        cn_distance: C-N, Å; NaN where an atom is missing.
        broken: a chain break, see `links`.
        missing: a chain break that the numbering explains: residues that the experiment did not see.
        adjacent: neighbours in sequence: the same chain, and not `missing`.
        bonded: adjacent, and C-N <= 2.0 Å: torsions across the link are defined.
    """

    same_chain: np.ndarray
    ca_distance: np.ndarray
    cn_distance: np.ndarray
    broken: np.ndarray
    missing: np.ndarray
    adjacent: np.ndarray
    bonded: np.ndarray


def links(protein: Protein) -> Links:
    """The links between consecutive residues of a protein.

    A link within a chain is a chain break where CA-CA is off 3.80 Å by more than 0.75 Å (RFdiffusion3's rule). A cis
    peptide is no break: CA-CA within 0.25 Å of 2.96 Å and, where N and C are known, C-N <= 2.0 Å and omega within 30
    degrees of 0. Where a CA is missing, C-N > 2.0 Å is a break. Where nothing can be measured, a forward jump of the
    residue numbers is one.

    A jump of the numbers alone is no break, since some numbering schemes skip. It explains a break if C-N is not that
    of a bond.
    """
    xyz, number = protein.atoms, protein.residue_numbers
    same_chain = protein.chain_ids[1:] == protein.chain_ids[:-1]
    jump = same_chain & (number[1:] - number[:-1] > 1)
    ca_distance = distance(xyz[1:, CA], xyz[:-1, CA])
    cn_distance = distance(xyz[1:, N], xyz[:-1, C])
    regular = np.where(np.isnan(ca_distance), cn_distance <= PEPTIDE_BOND_LIMIT, _ca_joined(xyz, ca_distance))
    unknown = np.isnan(ca_distance) & np.isnan(cn_distance)
    broken = same_chain & np.where(unknown, jump, ~regular)
    near = cn_distance <= PEPTIDE_BOND_LIMIT
    missing = broken & jump & ~near
    adjacent = same_chain & ~missing
    return Links(same_chain, ca_distance, cn_distance, broken, missing, adjacent, bonded=adjacent & near)


def _ca_joined(xyz: np.ndarray, ca_distance: np.ndarray) -> np.ndarray:
    """(l - 1,) bool; CA-CA is that of a trans or of a cis peptide."""
    joined, cis = is_trans(ca_distance), np.flatnonzero(is_cis(ca_distance))
    before, after = xyz[cis], xyz[cis + 1]
    omega = dihedral(before[:, CA], before[:, C], after[:, N], after[:, CA])
    bonded = distance(after[:, N], before[:, C]) <= PEPTIDE_BOND_LIMIT
    joined[cis] |= np.isnan(omega) | (bonded & (np.abs(omega) <= CIS_WIDTH))
    return joined


def is_trans(ca_distance: np.ndarray) -> np.ndarray:
    """Whether CA-CA distances, Å, are those of trans peptides; False where NaN."""
    return np.abs(ca_distance - CA_CA) <= CHAIN_BREAK_TOLERANCE


def is_cis(ca_distance: np.ndarray) -> np.ndarray:
    """Whether CA-CA distances, Å, are those of cis peptides; False where NaN."""
    return np.abs(ca_distance - CA_CA_CIS) <= CIS_TOLERANCE


def backbone_torsions(protein: Protein, joints: Links | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Torsions phi, psi, omega of every residue; `protgen.geometry.angles` has them in torch for an unbroken chain.

    phi is C(i-1)-N-CA-C, psi is N-CA-C-N(i+1), omega is CA-C-N(i+1)-CA(i+1) and belongs to residue i.

    Args:
        protein: any protein.
        joints: `links(protein)` when it is at hand.

    Returns:
        Three (l,) arrays, radians; NaN at chain ends, across links without a peptide bond and where atoms
        are missing.
    """
    joints = links(protein) if joints is None else joints
    xyz = protein.atoms
    n, ca, c = xyz[:, N], xyz[:, CA], xyz[:, C]
    psi, omega = (np.full(protein.length, np.nan) for _ in range(2))
    psi[:-1] = np.where(joints.bonded, dihedral(n[:-1], ca[:-1], c[:-1], n[1:]), np.nan)
    omega[:-1] = np.where(joints.bonded, dihedral(ca[:-1], c[:-1], n[1:], ca[1:]), np.nan)
    return phi_torsions(protein, joints), psi, omega


def phi_torsions(protein: Protein, joints: Links) -> np.ndarray:
    """(l,) the torsions phi of `backbone_torsions`, radians.

    Args:
        protein: any protein.
        joints: `links(protein)`.
    """
    xyz = protein.atoms
    phi = np.full(protein.length, np.nan)
    turn = dihedral(xyz[:-1, C], xyz[1:, N], xyz[1:, CA], xyz[1:, C])
    phi[1:] = np.where(joints.bonded, turn, np.nan)
    return phi


def ca_dihedrals(protein: Protein, joints: Links | None = None) -> np.ndarray:
    """Dihedrals of four consecutive CA.

    Args:
        protein: any protein.
        joints: `links(protein)` when it is at hand.

    Returns:
        (l - 3,) radians; NaN across breaks, chain ends and missing atoms.
    """
    joints = links(protein) if joints is None else joints
    ca = protein.atoms[:, CA]
    whole = joints.same_chain & ~joints.broken
    unbroken = whole[:-2] & whole[1:-1] & whole[2:]
    return np.where(unbroken, dihedral(ca[:-3], ca[1:-2], ca[2:-1], ca[3:]), np.nan)
