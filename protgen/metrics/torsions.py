"""Angles, dihedrals and links between consecutive residues, in numpy: the ground of the validity checks."""

from dataclasses import dataclass

import numpy as np

from protgen.structure.protein import CA, C, N, Protein

CA_CA = 3.80  # Å, trans peptide; FrameDiff's 3.802 rounded as in the definitions of the field
BREAK_TOLERANCE = 0.75  # Å about CA_CA: the chain-break rule of RFdiffusion3
BOND_LIMIT = 2.0  # Å, C-N: beyond it no peptide bond is drawn (the second reading of a chain break)


@dataclass(frozen=True)
class Links:
    """What joins residue i to residue i + 1 in file order; every field has shape (l - 1,).

    Attributes:
        same_chain: both in one chain.
        numbering_gap: same chain, and the author numbering skips forward: residues are known to be missing.
        ca_distance: CA-CA, Å; NaN where an atom is missing.
        cn_distance: C-N, Å; NaN where an atom is missing.
        missing: numbering gap and the CA far apart: a segment the experiment did not see.
        adjacent: neighbours in sequence: same chain and not `missing`.
        broken: adjacent, and |CA-CA - 3.8| > 0.75 Å.
        bonded: adjacent, and C-N <= 2.0 Å: torsions across the link mean something.
    """

    same_chain: np.ndarray
    numbering_gap: np.ndarray
    ca_distance: np.ndarray
    cn_distance: np.ndarray
    missing: np.ndarray
    adjacent: np.ndarray
    broken: np.ndarray
    bonded: np.ndarray


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance |a - b| over the last axis, Å."""
    delta = a - b
    return np.sqrt(np.einsum("...i,...i->...", delta, delta))


def angle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Angle a-b-c at b, radians in [0, pi]; NaN where a point is missing or two coincide."""
    u, v = a - b, c - b
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = np.einsum("...i,...i->...", u, v) / (np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1))
        return np.arccos(np.clip(cosine, -1.0, 1.0))


def dihedral(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Dihedral a-b-c-d, radians in (-pi, pi], IUPAC sign; NaN where a point is missing."""
    u, v, w = b - a, c - b, d - c
    n1, n2 = np.cross(u, v), np.cross(v, w)
    x = np.einsum("...i,...i->...", n1, n2)
    y = np.einsum("...i,...i->...", np.linalg.norm(v, axis=-1, keepdims=True) * u, n2)
    return np.arctan2(y, x)


def links(protein: Protein) -> Links:
    """How each residue is joined to the next one in the file.

    A forward jump of the numbering alone is no break: some numbering schemes skip. It only explains one,
    when the CA atoms are also further apart than a peptide allows (or one of them is missing).
    """
    xyz = protein.atoms
    chain, number = protein.chain_ids, protein.residue_numbers
    same_chain = chain[1:] == chain[:-1]
    numbering_gap = same_chain & (number[1:] - number[:-1] > 1)
    ca_distance = distance(xyz[1:, CA], xyz[:-1, CA])
    cn_distance = distance(xyz[1:, N], xyz[:-1, C])
    with np.errstate(invalid="ignore"):
        regular = np.abs(ca_distance - CA_CA) <= BREAK_TOLERANCE
        near = cn_distance <= BOND_LIMIT
    missing = numbering_gap & ~regular & ~near
    adjacent = same_chain & ~missing
    broken = adjacent & ~regular & np.isfinite(ca_distance)
    return Links(same_chain, numbering_gap, ca_distance, cn_distance, missing, adjacent, broken, bonded=adjacent & near)


def backbone_torsions(protein: Protein, joints: Links | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Torsions phi, psi, omega of every residue.

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
    phi, psi, omega = (np.full(protein.length, np.nan) for _ in range(3))
    phi[1:] = np.where(joints.bonded, dihedral(c[:-1], n[1:], ca[1:], c[1:]), np.nan)
    psi[:-1] = np.where(joints.bonded, dihedral(n[:-1], ca[:-1], c[:-1], n[1:]), np.nan)
    omega[:-1] = np.where(joints.bonded, dihedral(ca[:-1], c[:-1], n[1:], ca[1:]), np.nan)
    return phi, psi, omega


def ca_dihedrals(protein: Protein, joints: Links | None = None) -> np.ndarray:
    """Dihedrals of four consecutive CA: (l - 3,) radians, NaN across breaks, chain ends and missing atoms."""
    joints = links(protein) if joints is None else joints
    ca = protein.atoms[:, CA]
    whole = joints.adjacent & ~joints.broken
    unbroken = whole[:-2] & whole[1:-1] & whole[2:]
    return np.where(unbroken, dihedral(ca[:-3], ca[1:-2], ca[2:-1], ca[3:]), np.nan)
