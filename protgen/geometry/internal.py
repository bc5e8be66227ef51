"""Backbone atoms from internal coordinates and back: batched, differentiable, in a logarithmic number of steps.

Atoms are placed one after the other along N, CA, C, N, ... by bond length, bond angle and torsion (NeRF; Parsons et al.
2005, J. Comput. Chem. 26, 1063, section 2.1). Each placement is a rigid motion of the frame that sits on the last atom,
so a chain is the running product of one motion a residue, which a parallel scan computes in log2(l) compositions of
whole batches (Hillis and Steele 1986; for proteins AlQuraishi 2019, pNeRF).

Internal coordinates of residue i are what places the rest of residue i and the next residue's N and CA, in order:
phi_i with the angle N-CA-C, psi_i with CA-C-N, omega_i with C-N-CA. Å and radians.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from protgen.geometry import constants as ideal
from protgen.geometry.angles import bond_angle, dihedral
from protgen.geometry.frames import place_carbonyl_oxygen

# What stands where a chain's ends leave a coordinate undefined: torsions phi, psi, omega (psi as in frames.py, where
# the last O is placed), and the ideal angles and bonds.
UNDEFINED_TORSIONS = (-math.pi, math.radians(140.0), -math.pi)
IDEAL_ANGLES = (ideal.N_CA_C, ideal.CA_C_N, ideal.C_N_CA)
IDEAL_BONDS = (ideal.CA_C, ideal.C_N, ideal.N_CA)


@dataclass(frozen=True)
class InternalCoordinates:
    """Internal coordinates of backbones.

    Attributes:
        torsions: (..., l, 3) phi, psi, omega, radians; omega of residue i is that of the bond between i and i + 1.
        angles: (..., l, 3) N-CA-C, CA-C-N(i + 1), C-N(i + 1)-CA(i + 1), radians.
        bonds: (..., l, 3) CA-C, C-N(i + 1), N(i + 1)-CA(i + 1), Å.
    """

    torsions: Float[Tensor, "*b l 3"]
    angles: Float[Tensor, "*b l 3"]
    bonds: Float[Tensor, "*b l 3"]


def placement(
    bond: Float[Tensor, "*n"], angle: Float[Tensor, "*n"], torsion: Float[Tensor, "*n"]
) -> tuple[Float[Tensor, "*n 3 3"], Float[Tensor, "*n 3"]]:
    """The motion from the frame on an atom to the frame on the atom placed after it.

    A frame on atom c, placed after b and a, has its x axis along b -> c and a on the side of +y.

    Args:
        bond: length of the bond to the new atom, Å.
        angle: bond angle at the last atom, radians.
        torsion: about the last bond, radians.

    Returns:
        Rotation and translation of the new frame, seen from the old one.
    """
    cos_a, sin_a = angle.cos(), angle.sin()
    cos_t, sin_t = torsion.cos(), torsion.sin()
    zero = torch.zeros_like(cos_a)
    x = torch.stack([-cos_a, sin_a * cos_t, sin_a * sin_t], -1)
    y = torch.stack([-sin_a, -cos_a * cos_t, -cos_a * sin_t], -1)
    z = torch.stack([zero, -sin_t, cos_t], -1)
    return torch.stack([x, y, z], -1), bond[..., None] * x


def compose(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]
) -> tuple[Float[Tensor, "*n 3 3"], Float[Tensor, "*n 3"]]:
    """The motion `second`, stated in the frame that `first` leads to, seen from where `first` starts."""
    (rots, trans), (further_rots, further_trans) = first, second
    return rots @ further_rots, (rots @ further_trans[..., None])[..., 0] + trans


def running_product(
    rots: Float[Tensor, "*b l 3 3"], trans: Float[Tensor, "*b l 3"]
) -> tuple[Float[Tensor, "*b l 3 3"], Float[Tensor, "*b l 3"]]:
    """Products of the motions 0 to i for every i, by a scan of depth log2(l)."""
    reach, length = 1, trans.shape[-2]
    while reach < length:
        before = rots[..., :-reach, :, :], trans[..., :-reach, :]
        later = rots[..., reach:, :, :], trans[..., reach:, :]
        joined_rots, joined_trans = compose(before, later)
        rots = torch.cat([rots[..., :reach, :, :], joined_rots], -3)
        trans = torch.cat([trans[..., :reach, :], joined_trans], -2)
        reach *= 2
    return rots, trans


@dataclass(frozen=True)
class Placed:
    """A chain built from internal coordinates.

    Attributes:
        rots, trans: (..., l, 3, 3) and (..., l, 3), Å: the frame on CA of residue i as it is before phi_i turns the
            rest: x axis along N -> CA, C of the residue before on the side of +y. It depends on residues < i alone.
            The first lies at the origin.
        atoms: (..., l, 4, 3) N, CA, C, O in Å.
    """

    rots: Float[Tensor, "*b l 3 3"]
    trans: Float[Tensor, "*b l 3"]
    atoms: Float[Tensor, "*b l 4 3"]


def place(
    torsions: Float[Tensor, "*b l 3"],
    angles: Float[Tensor, "*b l 3"],
    bonds: Float[Tensor, "*b l 3"] | None = None,
) -> Placed:
    """Build a chain.

    The first residue's phi turns the whole about its N-CA bond; the last residue's psi places its O alone.

    Args:
        torsions: phi, psi, omega, radians.
        angles: N-CA-C, CA-C-N, C-N-CA, radians.
        bonds: CA-C, C-N, N-CA, Å; ideal ones by default.
    """
    if bonds is None:
        bonds = torch.tensor(IDEAL_BONDS, dtype=torsions.dtype, device=torsions.device).expand_as(torsions)
    to_c, to_n, to_ca = (placement(bonds[..., k], angles[..., k], torsions[..., k]) for k in range(3))
    rots, trans = running_product(*compose(compose(to_c, to_n), to_ca))
    # Frame i is the product of the motions before i: the products, shifted by one, from the identity on.
    identity = torch.eye(3, dtype=rots.dtype, device=rots.device).expand_as(rots[..., :1, :, :])
    rots = torch.cat([identity, rots[..., :-1, :, :]], -3)
    trans = torch.cat([torch.zeros_like(trans[..., :1, :]), trans[..., :-1, :]], -2)

    on_c = compose((rots, trans), to_c)
    n_next = compose(on_c, to_n)[1]
    first_bond = torch.full_like(bonds[..., :1, 2], ideal.N_CA)
    n_ca = torch.cat([first_bond, bonds[..., :-1, 2]], -1)
    n = trans - n_ca[..., None] * rots[..., 0]
    o = place_carbonyl_oxygen(trans, on_c[1], n_next)
    return Placed(rots, trans, torch.stack([n, trans, on_c[1], o], -2))


def internal_coordinates(atoms: Float[Tensor, "*b l a 3"]) -> InternalCoordinates:
    """Internal coordinates of chains whose first three atoms a residue are N, CA, C; Å.

    Coordinates are measured across every pair of consecutive residues, bonded or not. Those that the end of the
    array leaves undefined (phi of the first; psi, omega, two angles and two bonds of the last) are filled with
    `UNDEFINED_TORSIONS` and ideal geometry.
    """
    n, ca, c = atoms[..., 0, :], atoms[..., 1, :], atoms[..., 2, :]
    n_next, ca_next, c_next = n[..., 1:, :], ca[..., 1:, :], c[..., 1:, :]
    n_here, ca_here, c_here = n[..., :-1, :], ca[..., :-1, :], c[..., :-1, :]

    def end(value: float) -> Tensor:
        return torch.full_like(n[..., :1, 0], value)

    phi = torch.cat([end(UNDEFINED_TORSIONS[0]), dihedral(c_here, n_next, ca_next, c_next)], -1)
    psi = torch.cat([dihedral(n_here, ca_here, c_here, n_next), end(UNDEFINED_TORSIONS[1])], -1)
    omega = torch.cat([dihedral(ca_here, c_here, n_next, ca_next), end(UNDEFINED_TORSIONS[2])], -1)
    ca_c_n = torch.cat([bond_angle(ca_here, c_here, n_next), end(ideal.CA_C_N)], -1)
    c_n_ca = torch.cat([bond_angle(c_here, n_next, ca_next), end(ideal.C_N_CA)], -1)
    bonds = (
        (c - ca).norm(dim=-1),
        torch.cat([(n_next - c_here).norm(dim=-1), end(ideal.C_N)], -1),
        torch.cat([(ca_next - n_next).norm(dim=-1), end(ideal.N_CA)], -1),
    )
    return InternalCoordinates(
        torch.stack([phi, psi, omega], -1),
        torch.stack([bond_angle(n, ca, c), ca_c_n, c_n_ca], -1),
        torch.stack(bonds, -1),
    )
