"""Dihedral and bond angles, in radians."""

import torch
from jaxtyping import Float
from torch import Tensor


def dihedral(
    a: Float[Tensor, "*n 3"], b: Float[Tensor, "*n 3"], c: Float[Tensor, "*n 3"], d: Float[Tensor, "*n 3"]
) -> Float[Tensor, "*n"]:
    """Torsion angle a-b-c-d in (-pi, pi], IUPAC sign: positive is clockwise looking from b to c.

    Args:
        a: first point, Å.
        b: first point of the axis, Å.
        c: second point of the axis, Å.
        d: last point, Å.
    """
    b1, b2, b3 = b - a, c - b, d - c
    n1, n2 = torch.linalg.cross(b1, b2), torch.linalg.cross(b2, b3)
    axis = b2 / b2.norm(dim=-1, keepdim=True).clamp(min=1e-8)
    return torch.atan2((torch.linalg.cross(n1, n2) * axis).sum(-1), (n1 * n2).sum(-1))


def bond_angle(a: Float[Tensor, "*n 3"], b: Float[Tensor, "*n 3"], c: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
    """Angle a-b-c in [0, pi]; atan2 keeps it exact near 0 and pi, where acos is not."""
    u, v = a - b, c - b
    return torch.atan2(torch.linalg.cross(u, v).norm(dim=-1), (u * v).sum(-1))


def backbone_torsions(
    backbone: Float[Tensor, "*b l a 3"],
) -> tuple[Float[Tensor, "*b l"], Float[Tensor, "*b l"], Float[Tensor, "*b l"]]:
    """Phi, psi and omega of each residue of one unbroken chain, radians; NaN where an end leaves them undefined.

    omega of residue i is the torsion of the peptide bond between i and i + 1.
    """
    n, ca, c = backbone[..., 0, :], backbone[..., 1, :], backbone[..., 2, :]
    gap = torch.full_like(n[..., :1, 0], torch.nan)
    phi = dihedral(c[..., :-1, :], n[..., 1:, :], ca[..., 1:, :], c[..., 1:, :])
    psi = dihedral(n[..., :-1, :], ca[..., :-1, :], c[..., :-1, :], n[..., 1:, :])
    omega = dihedral(ca[..., :-1, :], c[..., :-1, :], n[..., 1:, :], ca[..., 1:, :])
    return torch.cat([gap, phi], -1), torch.cat([psi, gap], -1), torch.cat([omega, gap], -1)
