"""Residue frames: the rigid N-CA-C triangle as a rotation and a translation, and back to atoms.

Convention (Jumper et al. 2021, supplement algorithm 21): origin at CA, x axis along CA -> C, N in the xy plane.
Rotations are (..., 3, 3) matrices whose columns are the axes, so `x_global = rots @ x_local + trans`. Units: Å.
"""

import functools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from protgen.geometry import constants as ideal


def gram_schmidt(x: Float[Tensor, "*n 3"], y: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3 3"]:
    """Right-handed rotation whose first column is along x and whose second lies in the plane of x and y."""
    # The small constants keep degenerate input (padding, coincident atoms) finite, forward and backward.
    e1 = x / (x.square().sum(-1, keepdim=True) + 1e-12).sqrt()
    y = y - (e1 * y).sum(-1, keepdim=True) * e1
    e2 = y / (y.square().sum(-1, keepdim=True) + 1e-12).sqrt()
    return torch.stack([e1, e2, torch.linalg.cross(e1, e2)], dim=-1)


def frames_from_backbone(
    atoms: Float[Tensor, "*n a 3"],
) -> tuple[Float[Tensor, "*n 3 3"], Float[Tensor, "*n 3"]]:
    """Frames of residues from their N, CA, C (the first three atoms), Å.

    Returns:
        Rotations (..., 3, 3) and translations (..., 3), the CA positions.
    """
    n, ca, c = atoms[..., 0, :], atoms[..., 1, :], atoms[..., 2, :]
    return gram_schmidt(c - ca, n - ca), ca


def local_backbone(like: Tensor) -> Float[Tensor, "3 3"]:
    """Ideal N, CA, C in the residue frame, Å, on the device and in the dtype of `like`."""
    n = (ideal.N_CA * math.cos(ideal.N_CA_C), ideal.N_CA * math.sin(ideal.N_CA_C), 0.0)
    return torch.tensor([n, (0.0, 0.0, 0.0), (ideal.CA_C, 0.0, 0.0)], dtype=like.dtype, device=like.device)


def local_next_nitrogen(like: Tensor) -> Float[Tensor, "3"]:
    """N of a next residue at psi = 140 degrees in the residue frame, Å, on the device and in the dtype of `like`."""
    # N is at the +y side, so the next N sits at the angle psi from it around x.
    psi = math.radians(140.0)
    bend = math.pi - ideal.CA_C_N
    across = ideal.C_N * math.sin(bend)
    place = (ideal.CA_C + ideal.C_N * math.cos(bend), across * math.cos(psi), across * math.sin(psi))
    return torch.tensor(place, dtype=like.dtype, device=like.device)


def backbone_from_frames(
    rots: Float[Tensor, "*b l 3 3"],
    trans: Float[Tensor, "*b l 3"],
    follows: Bool[Tensor, "*b l"] | None = None,
) -> Float[Tensor, "*b l 4 3"]:
    """Ideal N, CA, C, O of residue frames, Å.

    O lies in the plane of CA, C and the next residue's N, so its place depends on the next frame. Where there is no
    next residue, O is placed for psi = 140 degrees (extended), as in a C-terminal residue of no further information.

    Args:
        rots: (..., l, 3, 3) rotations.
        trans: (..., l, 3) CA positions.
        follows: (..., l) True where residue i + 1 is bonded to i; all but the last by default.
    """
    nca_c = torch.einsum("...ij,aj->...ai", rots, local_backbone(trans)) + trans[..., None, :]
    n, ca, c = nca_c.unbind(-2)
    ends = torch.zeros_like(trans[..., :1, 0], dtype=torch.bool)
    if follows is None:
        follows = torch.cat([torch.ones_like(trans[..., 1:, 0], dtype=torch.bool), ends], dim=-1)
    n_next = torch.cat([n[..., 1:, :], n[..., -1:, :]], dim=-2)
    n_virtual = torch.einsum("...ij,j->...i", rots, local_next_nitrogen(trans)) + trans
    n_next = torch.where(follows[..., None], n_next, n_virtual)
    o = place_carbonyl_oxygen(ca, c, n_next)
    return torch.stack([n, ca, c, o], dim=-2)


def place_carbonyl_oxygen(
    ca: Float[Tensor, "*n 3"], c: Float[Tensor, "*n 3"], n_next: Float[Tensor, "*n 3"]
) -> Float[Tensor, "*n 3"]:
    """O of the planar peptide unit: 1.231 Å from C, 120.1 degrees from CA, on the far side of the next N."""
    axes = gram_schmidt(ca - c, n_next - c)
    angle = ideal.CA_C_O
    return c + ideal.C_O * (math.cos(angle) * axes[..., 0] - math.sin(angle) * axes[..., 1])


def virtual_cb(n: Float[Tensor, "*n 3"], ca: Float[Tensor, "*n 3"], c: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """Where CB of an L amino acid would be, Å."""
    b, d = ca - n, c - ca
    across, before, after = ideal.VIRTUAL_CB
    return across * torch.linalg.cross(b, d) + before * b + after * d + ca


def rotation_from_small_quaternion(bcd: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3 3"]:
    """Rotation of the normalised quaternion (1, b, c, d): smooth, the identity at 0 (Jumper et al. 2021, alg. 23).

    With h = (b, c, d) and K the matrix of the cross product with h: 1 + 2 (K + K K) / (1 + |h|^2).
    """
    cross = cross_matrices(bcd)
    factor = 2 / (1 + bcd.square().sum(-1, keepdim=True))
    return constants(bcd.dtype, bcd.device).one + factor[..., None] * (cross + cross @ cross)


def cross_matrices(x: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3 3"]:
    """Matrices of the cross product with vectors."""
    return (x @ constants(x.dtype, x.device).generators).unflatten(-1, (3, 3))


@dataclass(frozen=True)
class Constants:
    """Matrices that rotations are made of.

    Attributes:
        generators: row k, reshaped to a matrix, takes v to e_k x v.
        one: the identity.
    """

    generators: Float[Tensor, "3 9"]
    one: Float[Tensor, "3 3"]


@functools.cache
def constants(dtype: torch.dtype, device: torch.device) -> Constants:
    """The same at every call, so they are kept.

    Args:
        dtype: of the matrices.
        device: where they are.
    """
    rows = (
        (0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0),
        (0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0),
        (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    )
    # Outside inference mode, whatever the caller is in: a network that is trained may use them next.
    with torch.inference_mode(False):
        return Constants(torch.tensor(rows, dtype=dtype, device=device), torch.eye(3, dtype=dtype, device=device))
