"""Hydrogens of a backbone: H on N and HA on CA, at the lengths that MolProbity's programs use."""

import numpy as np

from protgen.structure.angles import angle
from protgen.structure.ideal import add_cb, place_atom
from protgen.structure.links import Links
from protgen.structure.protein import BACKBONE, CA, C, N, Protein

N_H, C_H = 0.86, 0.97  # Å to the centre of the electron cloud; Deis et al., Comput. Cryst. Newsl. 4, 9 (2013)

OUTER = 0.52  # C-N-H over the outer angle of C-N-CA, as `reduce` places H


def amide_hydrogens(protein: Protein, joints: Links) -> np.ndarray:
    """(l, 3) Å; H in the plane of C(i-1), N and CA. NaN for prolines and where no C is bonded to N."""
    xyz, result = protein.atoms, np.full((protein.length, 3), np.nan)
    c, n, ca = xyz[:-1, C], xyz[1:, N], xyz[1:, CA]
    bend = OUTER * (2 * np.pi - angle(c, n, ca))[:, None]
    placed = place_atom(ca, c, n, N_H, bend, np.pi)
    bonded = joints.bonded & (protein.residue_names[1:] != "PRO")
    result[1:] = np.where(bonded[:, None], placed, np.nan)
    return result


def alpha_hydrogens(protein: Protein) -> np.ndarray:
    """(l, 3) Å; HA opposite to N, C and CB, the latter ideal where it is missing. One a residue, glycine too."""
    xyz = protein.atoms
    ca = xyz[:, CA]
    cb = np.where(protein.mask[:, 4, None], xyz[:, 4], add_cb(xyz[:, BACKBONE]))
    inward = _unit(xyz[:, N] - ca) + _unit(xyz[:, C] - ca) + _unit(cb - ca)
    return ca - C_H * _unit(inward)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
