"""The network of Frame2seq: invariant point attention over residue frames, all letters in one pass.

References: Akpinaroglu et al. 2023, "Structure-conditioned masked language models for protein sequence design" and its
code (MIT), whose names of parameters these classes have; the attention is that of Jumper et al. 2021, supplement,
algorithm 22, as OpenFold has it.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from protgen.errors import UsageError
from protgen.geometry.angles import backbone_torsions
from protgen.geometry.frames import gram_schmidt
from protgen.inverse_folding.network_input import LETTERS, UNKNOWN

DIM, HEADS, HIDDEN = 128, 4, 32
KEYS, VALUES = 4, 8  # points of a query or key, and of a value
DEPTH = 8
REACH = 32  # residues along the chain
FARTHEST, RADIAL = 12.0, 24  # Å, and number of radial functions from 0 to there
WIDENED = ".3.weight"  # of the layers of networks whose transitions are wider


class PointAttention(nn.Module):
    """Attention by scalars, pairs and points in the residues' frames."""

    def __init__(self) -> None:
        super().__init__()
        self.linear_q = nn.Linear(DIM, HEADS * HIDDEN)
        self.linear_kv = nn.Linear(DIM, 2 * HEADS * HIDDEN)
        self.linear_q_points = nn.Linear(DIM, HEADS * KEYS * 3)
        self.linear_kv_points = nn.Linear(DIM, HEADS * (KEYS + VALUES) * 3)
        self.linear_b = nn.Linear(DIM, HEADS)
        self.head_weights = nn.Parameter(torch.zeros(HEADS))
        self.linear_out = nn.Linear(HEADS * (DIM + HIDDEN + 4 * VALUES), DIM)

    def forward(
        self, s: Float[Tensor, "l d"], z: Float[Tensor, "l l d"], rots: Float[Tensor, "l 3 3"], ca: Float[Tensor, "l 3"]
    ) -> Float[Tensor, "l d"]:
        """The update of each residue.

        Args:
            s: residues.
            z: pairs.
            rots: residue frames.
            ca: their origins, Å.
        """
        length = len(s)
        q = self.linear_q(s).view(length, HEADS, HIDDEN)
        k, v = self.linear_kv(s).view(length, HEADS, 2 * HIDDEN).split(HIDDEN, -1)
        q_points = placed(self.linear_q_points(s), rots, ca)
        k_points, v_points = placed(self.linear_kv_points(s), rots, ca).split([KEYS, VALUES], 2)
        apart = (q_points[:, None] - k_points[None]).square().sum((-1, -2))  # (l, l, heads)
        weight = F.softplus(self.head_weights) * math.sqrt(1 / (3 * KEYS * 4.5))
        scores = torch.einsum("ihd,jhd->ijh", q, k) / math.sqrt(3 * HIDDEN) + self.linear_b(z) / math.sqrt(3)
        attention = (scores - 0.5 * weight * apart).softmax(1)
        scalars = torch.einsum("ijh,jhd->ihd", attention, v).flatten(1)
        points = torch.einsum("ijh,jhpx->ihpx", attention, v_points) - ca[:, None, None]
        points = torch.einsum("iyx,ihpy->ihpx", rots, points).flatten(1, 2)  # into the residue's own frame
        norms = (points.square().sum(-1) + 1e-8).sqrt()
        pairs = torch.einsum("ijh,ijd->ihd", attention, z).flatten(1)
        return self.linear_out(torch.cat([scalars, *points.unbind(-1), norms, pairs], -1))


def placed(
    flat: Float[Tensor, "l p"], rots: Float[Tensor, "l 3 3"], ca: Float[Tensor, "l 3"]
) -> Float[Tensor, "l h p 3"]:
    """Points of residues, whose coordinates come as all x, all y, all z, in the common frame, by head."""
    local = flat.view(len(flat), 3, -1).transpose(1, 2)
    return (torch.einsum("lxy,lpy->lpx", rots, local) + ca[:, None]).view(len(flat), HEADS, -1, 3)


class Transition(nn.Module):
    """Three linear layers about a skip, and a norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([TransitionLayer(width)])
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, s: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """Transform each row."""
        return self.layer_norm(self.layers[0](s))


class TransitionLayer(nn.Module):
    """Three linear layers about a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2, self.linear_3 = (nn.Linear(width, width) for _ in range(3))

    def forward(self, s: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """Transform each row."""
        return s + self.linear_3(F.relu(self.linear_2(F.relu(self.linear_1(s)))))


class EdgeTransition(nn.Module):
    """Pairs after seeing both their residues."""

    def __init__(self) -> None:
        super().__init__()
        self.initial_embed = nn.Linear(DIM, DIM // 2)
        self.trunk = nn.Sequential(nn.Linear(2 * DIM, 2 * DIM), nn.ReLU(), nn.Linear(2 * DIM, 2 * DIM), nn.ReLU())
        self.final_layer = nn.Linear(2 * DIM, DIM)
        self.layer_norm = nn.LayerNorm(DIM)

    def forward(self, s: Float[Tensor, "l d"], z: Float[Tensor, "l l d"]) -> Float[Tensor, "l l d"]:
        """Transform each pair."""
        own = self.initial_embed(s)
        n = len(s)
        x = torch.cat([z, own[:, None].expand(n, n, -1), own[None].expand(n, n, -1)], -1)
        return self.layer_norm(self.final_layer(self.trunk(x) + x))


class Frame2seqNetwork(nn.Module):
    """Eight layers of attention and transitions.

    Args:
        factor: width of the transitions, in widths of a residue.
    """

    def __init__(self, factor: int = 1) -> None:
        super().__init__()
        self.factor = factor
        self.sequence_to_single = nn.Linear(DIM + 6, DIM)
        self.edge_to_pair = nn.Linear(16 * RADIAL + 2 * REACH + 1, DIM)
        self.single_to_sequence = nn.Linear(DIM, len(LETTERS))
        self.input_sequence_to_single = nn.Linear(len(LETTERS), DIM)
        self.input_sequence_layer_norm = nn.LayerNorm(DIM)
        self.layers = nn.ModuleList([self._layer(k == DEPTH - 1) for k in range(DEPTH)])

    def _layer(self, last: bool) -> nn.ModuleList:
        """One layer; an identity stands for the dropout, so that the others keep their numbers."""
        parts: list[nn.Module] = [PointAttention(), nn.Identity(), nn.LayerNorm(DIM)]
        if self.factor == 1:
            parts.append(Transition(DIM))
        else:
            wide = self.factor * DIM
            parts += [nn.Linear(DIM, wide), Transition(wide), nn.Linear(wide, DIM)]
        return nn.ModuleList(parts if last else [*parts, EdgeTransition()])

    def forward(self, atoms: Float[Tensor, "l 4 3"], letters: Float[Tensor, "l 21"]) -> Float[Tensor, "l 21"]:
        """Logits of every residue.

        Args:
            atoms: N, CA, C, CB; Å.
            letters: one-hot; X where a residue is to be designed.
        """
        n, ca, c = atoms[:, 0], atoms[:, 1], atoms[:, 2]
        rots = gram_schmidt(ca - n, c - ca)
        known = (letters.argmax(-1) != UNKNOWN)[:, None]
        given = self.input_sequence_layer_norm(self.input_sequence_to_single(letters) * known)
        s = self.sequence_to_single(torch.cat([places(len(atoms)), torsions(atoms)], -1)) + given
        z = self.edge_to_pair(pair_features(atoms))
        for layer in self.layers:
            attention, _, norm, *transitions = layer.children()
            s = norm(s + attention(s, z, rots, ca))
            for part in transitions:
                if isinstance(part, EdgeTransition):
                    z = part(s, z)
                else:
                    s = part(s)
        return self.single_to_sequence(s)


def places(length: int) -> Float[Tensor, "l d"]:
    """Sines and cosines of the place in the chain."""
    at = torch.arange(length)[:, None] * torch.exp(torch.arange(0, DIM, 2) * (-math.log(10000.0) / DIM))
    return torch.stack([at.sin(), at.cos()], -1).flatten(1)


def torsions(atoms: Float[Tensor, "l 4 3"]) -> Float[Tensor, "l 6"]:
    """Cosines, then sines of phi, psi and omega; an angle that an end leaves undefined is 0."""
    angles = torch.stack(backbone_torsions(atoms), -1).nan_to_num(0.0)
    return torch.cat([angles.cos(), angles.sin()], -1)


def pair_features(atoms: Float[Tensor, "l 4 3"]) -> Float[Tensor, "l l f"]:
    """Radial functions of the distances of the 16 pairs of atoms, and how far apart along the chain."""
    length = len(atoms)
    flat = atoms.reshape(-1, 3)
    distance = torch.cdist(flat, flat).view(length, 4, length, 4).transpose(1, 2)
    centres = torch.linspace(0, FARTHEST, RADIAL, dtype=atoms.dtype)
    radial = (-(((distance[..., None] - centres) / (FARTHEST / RADIAL)) ** 2)).exp().flatten(2)
    place = torch.arange(length)
    offset = (place[:, None] - place).clamp(-REACH, REACH) + REACH
    return torch.cat([radial, F.one_hot(offset, 2 * REACH + 1).to(atoms.dtype)], -1)


def network_of(weights: Mapping[str, Tensor]) -> Frame2seqNetwork:
    """The network with published weights, ready for use.

    Raises:
        UsageError: if they are those of another network.
    """
    wide = weights.get(f"layers.0{WIDENED}")
    network = Frame2seqNetwork(1 if wide is None else len(wide) // DIM)
    try:
        network.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise UsageError(f"frame2seq: its weights do not fit: {' '.join(str(error).split())[:200]}") from None
    return network.eval().requires_grad_(False)
