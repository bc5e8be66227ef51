"""What ProteinMPNN reads of a backbone: radial functions of distances to the nearest residues, places in the chain.

References: Dauparas et al. 2022, Science 378, 49, and its published code (MIT), whose parameters these classes name as
that code does, so that its weights fit.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from protgen.geometry.frames import virtual_cb

REACH = 32  # residues along the chain that are told apart
PLACES = 2 * REACH + 2  # classes of how far along the chain a neighbour is; the last is for other chains
RADIAL, NEAREST, FARTHEST = 16, 2.0, 22.0  # number of radial functions, and the range of their centres in Å
# Order of the 25 pairs of atoms: N 0, CA 1, C 2, O 3, CB 4.
PAIRS = (
    (1, 1), (0, 0), (2, 2), (3, 3), (4, 4), (1, 0), (1, 2), (1, 3), (1, 4), (0, 2), (0, 3), (0, 4), (4, 2), (4, 3),
    (3, 2), (0, 1), (2, 1), (3, 1), (4, 1), (2, 0), (3, 0), (4, 0), (2, 4), (3, 4), (2, 3),
)  # fmt: skip
# Of the network that reads CA atoms alone: residue before 0, itself 1, residue after 2.
CA_PAIRS = ((1, 1), (0, 0), (2, 2), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))
JOINED = (3.6, 4.0)  # Å between CA atoms of residues that are taken to follow one another


@dataclass(frozen=True)
class Chains:
    """Where residues are in their chains.

    Attributes:
        number: (l,) place of each residue in its chain; gaps in the numbering count.
        chain: (l,) number of its chain.
    """

    number: Int[Tensor, " l"]
    chain: Int[Tensor, " l"]


class Positions(nn.Module):
    """Embeds how far along the chain a neighbour is; one class is for neighbours in other chains."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(PLACES, 16)

    def forward(self, chains: Chains, neighbours: Int[Tensor, "l k"]) -> Float[Tensor, "l k 16"]:
        """Embed the place of each neighbour."""
        return self.linear(F.one_hot(places_of(chains, neighbours), PLACES).to(self.linear.weight.dtype))


def places_of(chains: Chains, neighbours: Int[Tensor, "l k"]) -> Int[Tensor, "l k"]:
    """Class of how far along the chain a neighbour is, 0 to `PLACES` - 1."""
    offset = (chains.number[:, None] - chains.number[neighbours] + REACH).clamp(0, 2 * REACH)
    same = chains.chain[:, None] == chains.chain[neighbours]
    return torch.where(same, offset, torch.full_like(offset, PLACES - 1))


class EdgeFeatures(nn.Module):
    """Features of the edges to the k nearest residues.

    Args:
        k: neighbours of a residue, itself among them.
        ca_only: whether CA atoms alone are read.
        dim: width of the features.
    """

    def __init__(self, k: int, ca_only: bool, dim: int = 128) -> None:
        super().__init__()
        self.k = k
        self.ca_only = ca_only
        self.embeddings = Positions()
        n_in = 16 + (RADIAL * len(CA_PAIRS) + 7 if ca_only else RADIAL * len(PAIRS))
        self.edge_embedding = nn.Linear(n_in, dim, bias=False)
        self.norm_edges = nn.LayerNorm(dim)

    def forward(self, atoms: Float[Tensor, "l 4 3"], chains: Chains) -> tuple[Tensor, Int[Tensor, "l k"]]:
        """Features (l, k, dim) of the edges, and the neighbours, nearest first.

        Args:
            atoms: N, CA, C, O in Å; of the network for CA atoms the CA alone is read.
            chains: where the residues are.
        """
        ca = atoms[:, 1]
        neighbours = nearest(ca, self.k)
        if self.ca_only:
            parts = [radial_of(beside(ca), CA_PAIRS, neighbours), orientations(ca, neighbours)]
        else:
            parts = [radial_of(with_cb(atoms), PAIRS, neighbours)]
        features = torch.cat([self.embeddings(chains, neighbours), *parts], -1)
        return self.norm_edges(self.edge_embedding(features)), neighbours


def nearest(ca: Float[Tensor, "l 3"], k: int) -> Int[Tensor, "l k"]:
    """The k residues that are nearest to each, itself first; all, where there are fewer than k."""
    distance = ((ca[:, None] - ca).square().sum(-1) + 1e-6).sqrt()  # as the published code has it
    return distance.topk(min(k, len(ca)), dim=-1, largest=False).indices


def radial_of(
    points: Float[Tensor, "l a 3"], pairs: tuple[tuple[int, int], ...], neighbours: Int[Tensor, "l k"]
) -> Float[Tensor, "l k f"]:
    """Gaussian radial functions of the distances between atoms of a residue and atoms of its neighbours.

    Args:
        points: of each residue, Å.
        pairs: atom of the residue, and atom of the neighbour.
        neighbours: of each residue.
    """
    own, others = ([pair[side] for pair in pairs] for side in (0, 1))
    between = points[:, None, own] - points[:, others][neighbours]
    distance = (between.square().sum(-1) + 1e-6).sqrt()
    centres = torch.linspace(NEAREST, FARTHEST, RADIAL, dtype=points.dtype, device=points.device)
    return (-(((distance[..., None] - centres) / ((FARTHEST - NEAREST) / RADIAL)) ** 2)).exp().flatten(-2)


def with_cb(atoms: Float[Tensor, "l 4 3"]) -> Float[Tensor, "l 5 3"]:
    """N, CA, C, O, and where CB of an L amino acid would be; Å."""
    return torch.cat([atoms, virtual_cb(*atoms[:, :3].unbind(1))[:, None]], 1)


def beside(ca: Float[Tensor, "l 3"]) -> Float[Tensor, "l 3 3"]:
    """CA of the residue before, of itself and of the one after; the origin beyond the ends, as the weights know it."""
    end = torch.zeros_like(ca[:1])
    return torch.stack([torch.cat([end, ca[:-1]]), ca, torch.cat([ca[1:], end])], 1)


def orientations(ca: Float[Tensor, "l 3"], neighbours: Int[Tensor, "l k"]) -> Float[Tensor, "l k 7"]:
    """Direction to each neighbour in the residue's own frame of three CA atoms, and the rotation as a quaternion."""
    step = ca[1:] - ca[:-1]
    length = step.norm(dim=-1, keepdim=True)
    step = F.normalize(step * ((length > JOINED[0]) & (length < JOINED[1])), dim=-1)
    before, after = step[:-2], step[1:-1]
    normal = F.normalize(torch.linalg.cross(before, after), dim=-1)
    axis = F.normalize(before - after, dim=-1)
    frames = torch.stack([axis, normal, torch.linalg.cross(axis, normal)], 1)  # rows are axes
    frames = F.pad(frames, (0, 0, 0, 0, 1, 2))[: len(ca)]
    towards = ca[neighbours] - ca[:, None]
    direction = F.normalize((frames[:, None] @ towards[..., None])[..., 0], dim=-1)
    return torch.cat([direction, quaternions(frames[:, None].transpose(-1, -2) @ frames[neighbours])], -1)


def quaternions(rotation: Float[Tensor, "l k 3 3"]) -> Float[Tensor, "l k 4"]:
    """Quaternions x, y, z, w of rotations, with the signs of the published code."""
    xx, yy, zz = rotation.diagonal(dim1=-2, dim2=-1).unbind(-1)
    size = 0.5 * torch.stack([1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], -1).abs().sqrt()
    twist = torch.stack([rotation[..., i, j] - rotation[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0))], -1)
    w = F.relu(1 + (xx + yy + zz)[..., None]).sqrt() / 2
    return F.normalize(torch.cat([twist.sign() * size, w], -1), dim=-1)
