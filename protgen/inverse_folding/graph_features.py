"""What the graph network reads of a backbone: distances between atoms, where they lie in residue frames, torsions.

All of it is the same after a rotation or a shift of the whole. Functions here have no parameters and take several
backbones at once, as long as neighbours are of one backbone.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from protgen.geometry.angles import backbone_torsions, bond_angle
from protgen.geometry.frames import frames_from_backbone
from protgen.inverse_folding.mpnn_features import Chains, with_cb

ATOMS = 5  # N, CA, C, O, CB
RADIAL, NEAREST, FARTHEST = 10, 2.0, 20.0  # number of radial functions, and the range of their centres in Å
WIDTH = 2.0  # Å, of a radial function: that of the space between them
BONDED = 2.5  # Å, largest C-N distance of residues that follow one another
DIRECTIONS = 6 * ATOMS + 9
EDGE_INPUTS = ATOMS * ATOMS * RADIAL + DIRECTIONS
NODE_INPUTS = 9


@torch.no_grad()
def edge_inputs(atoms: Float[Tensor, "l 4 3"], neighbours: Int[Tensor, "l k"]) -> Float[Tensor, "l k f"]:
    """Radial functions of the 25 distances of atoms, directions to them in both residues' frames, relative rotation.

    Args:
        atoms: N, CA, C, O in Å.
        neighbours: of each residue.
    """
    rots, ca = frames_from_backbone(atoms)
    points = with_cb(atoms)
    others, turned = points[neighbours], rots[neighbours]  # (l, k, 5, 3), (l, k, 3, 3)
    theirs = within(others - ca[:, None, None], rots[:, None, None])
    ours = within(points[:, None] - ca[neighbours][:, :, None], turned[:, :, None])
    relative = within(turned.transpose(-1, -2), rots[:, None, None])
    parts = [radial(points, others), unit(theirs), unit(ours), relative]
    return torch.cat([part.flatten(2) for part in parts], -1)


def radial(points: Float[Tensor, "l a 3"], others: Float[Tensor, "l k a 3"]) -> Float[Tensor, "l k p r"]:
    """Gaussian radial functions of the distances between all atoms of a residue and all of each neighbour."""
    apart = (points[:, None, :, None] - others[:, :, None]).square().sum(-1).flatten(-2).add(1e-6).sqrt()
    centres = torch.linspace(NEAREST, FARTHEST, RADIAL, dtype=points.dtype, device=points.device)
    away = (apart / WIDTH)[..., None] - centres / WIDTH
    # Below exp(-30) it is 0 to the network, and numbers that underflow slow a processor down. In place: it is large.
    return away.square_().neg_().clamp_(min=-30.0).exp_()


def within(x: Float[Tensor, "*n 3"], rots: Float[Tensor, "*m 3 3"]) -> Float[Tensor, "*n 3"]:
    """Vectors in the axes of frames; sums, since small matrix products are slow and autocast would round them."""
    return x[..., :1] * rots[..., 0, :] + x[..., 1:2] * rots[..., 1, :] + x[..., 2:] * rots[..., 2, :]


def node_inputs(atoms: Float[Tensor, "l 4 3"], chains: Chains) -> Float[Tensor, "l f"]:
    """Sines and cosines of phi, psi, and the omega before a residue, 0 where there is none; the angle N-CA-C; ends.

    Args:
        atoms: N, CA, C, O in Å.
        chains: where the residues are.
    """
    n, ca, c = atoms[:, 0], atoms[:, 1], atoms[:, 2]
    joined = follows(atoms, chains)
    before, after = F.pad(joined, (1, 0)), F.pad(joined, (0, 1))
    phi, psi, omega = backbone_torsions(atoms)
    angles = torch.stack([phi, psi, omega.roll(1)], -1).nan_to_num(0.0)
    known = torch.stack([before, after, before], -1).to(atoms.dtype)
    tau = (bond_angle(n, ca, c) - 1.94)[:, None] * 10  # about 0, of about 1: from 111 degrees, in units of 0.1 radian
    ends = torch.stack([before, after], -1).to(atoms.dtype)
    return torch.cat([angles.sin() * known, angles.cos() * known, tau, ends], -1)


def follows(atoms: Float[Tensor, "l 4 3"], chains: Chains) -> Bool[Tensor, " m"]:
    """(l - 1,) whether a residue is bonded to the next."""
    apart = (atoms[1:, 0] - atoms[:-1, 2]).norm(dim=-1)
    return (apart < BONDED) & (chains.chain[1:] == chains.chain[:-1])


def unit(x: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """Vectors of length 1; 0 stays 0."""
    return x / (x.square().sum(-1, keepdim=True) + 1e-6).sqrt()
