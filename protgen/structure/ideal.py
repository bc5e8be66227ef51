"""Ideal backbones from torsion angles, for tests, demos and starting points.

Geometry after Engh & Huber, "Structure quality and target parameters", International Tables for
Crystallography F (2001), 18.3.
Torsions of the helix and strand are the usual averages (Creighton, Proteins, 1993).
"""

import numpy as np

from protgen.errors import UsageError
from protgen.geometry.constants import C_N, C_N_CA, C_O, CA_C, CA_C_N, CA_C_O, N_CA, N_CA_C, VIRTUAL_CB

HELIX = np.radians([-57.8, -47.0])  # phi, psi
STRAND = np.radians([-120.0, 130.0])
HAIRPIN_STRAND = np.radians([-105.4, 101.7])  # fitted with the turn so that all N-O pairs are 2.9 Å apart, nothing
HAIRPIN_TURN = np.radians([[71.2, -86.1], [-125.0, 7.6]])  # closer than 2.77 Å; near a type II' turn


def build_from_torsions(phi: np.ndarray, psi: np.ndarray, omega: np.ndarray | float = np.pi) -> np.ndarray:
    """Grow a chain atom by atom from its torsions (NeRF).

    References: Parsons et al., J. Comput. Chem. 26:1063 (2005).

    Args:
        phi: (l,) radians; the first is not used.
        psi: (l,) radians; the last only places the last O.
        omega: (l,) radians, omega[i] between residues i and i + 1, the last not used; or one value for all.

    Returns:
        (l, 4, 3) Å; N, CA, C, O, centred on the mean CA.

    Raises:
        UsageError: if the lengths differ or are zero.
    """
    phi, psi = np.asarray(phi, dtype=float), np.asarray(psi, dtype=float)
    length = len(phi)
    omega = np.broadcast_to(np.asarray(omega, dtype=float), (length,)) if np.ndim(omega) == 0 else np.asarray(omega)
    if length == 0 or len(psi) != length or len(omega) != length:
        raise UsageError(f"phi, psi and omega have {length}, {len(psi)} and {len(omega)} angles; give one a residue")
    xyz = np.zeros((length, 4, 3))
    xyz[0, 1] = [N_CA, 0.0, 0.0]
    xyz[0, 2] = [N_CA - CA_C * np.cos(N_CA_C), CA_C * np.sin(N_CA_C), 0.0]
    for i in range(1, length):
        n_before, ca_before, c_before = xyz[i - 1, :3]
        xyz[i, 0] = place_atom(n_before, ca_before, c_before, C_N, CA_C_N, psi[i - 1])
        xyz[i, 1] = place_atom(ca_before, c_before, xyz[i, 0], N_CA, C_N_CA, omega[i - 1])
        xyz[i, 2] = place_atom(c_before, xyz[i, 0], xyz[i, 1], CA_C, N_CA_C, phi[i])
    for i in range(length):  # O lies opposite to the next N
        xyz[i, 3] = place_atom(xyz[i, 0], xyz[i, 1], xyz[i, 2], C_O, CA_C_O, psi[i] + np.pi)
    return xyz - xyz[:, 1].mean(axis=0)


def place_atom(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, length: float, angle: float | np.ndarray, torsion: float
) -> np.ndarray:
    """The fourth atom d of a-b-c-d, from the bond c-d (Å), the angle b-c-d and the torsion a-b-c-d (radians).

    Args:
        a: (..., 3) Å; likewise b and c.
        b: second atom.
        c: third atom, to which the new one is bonded.
        length: Å.
        angle: radians; one, or (..., 1).
        torsion: radians.
    """
    bc = c - b
    bc = bc / np.linalg.norm(bc, axis=-1, keepdims=True)
    normal = np.cross(b - a, bc)
    normal = normal / np.linalg.norm(normal, axis=-1, keepdims=True)
    across = np.cross(normal, bc)
    return c + length * (-np.cos(angle) * bc + np.sin(angle) * (np.cos(torsion) * across + np.sin(torsion) * normal))


def ideal_helix(n: int) -> np.ndarray:
    """(n, 4, 3) Å; a right-handed alpha helix."""
    return build_from_torsions(np.full(n, HELIX[0]), np.full(n, HELIX[1]))


def ideal_strand(n: int) -> np.ndarray:
    """(n, 4, 3) Å; one extended strand."""
    return build_from_torsions(np.full(n, STRAND[0]), np.full(n, STRAND[1]))


def ideal_hairpin(n: int) -> np.ndarray:
    """(n, 4, 3) Å; two antiparallel strands that DSSP calls E, joined by a turn of two residues.

    Args:
        n: residues, at least 8.

    Raises:
        UsageError: if n is below 8.
    """
    if n < 8:
        raise UsageError(f"a hairpin of {n} residues has no strands; give at least 8")
    phi, psi = np.full(n, HAIRPIN_STRAND[0]), np.full(n, HAIRPIN_STRAND[1])
    first = (n - 2) // 2
    phi[first : first + 2], psi[first : first + 2] = HAIRPIN_TURN.T
    return build_from_torsions(phi, psi)


def add_cb(backbone: np.ndarray) -> np.ndarray:
    """(l, 3) Å; where the C-beta of an L amino acid would be, from N, CA and C."""
    n, ca, c = backbone[:, 0], backbone[:, 1], backbone[:, 2]
    b, d = ca - n, c - ca
    across, before, after = VIRTUAL_CB
    return across * np.cross(b, d) + before * b + after * d + ca


def mirror(xyz: np.ndarray) -> np.ndarray:
    """The mirror image (..., 3), by the yz plane."""
    return xyz * np.array([-1.0, 1.0, 1.0])
