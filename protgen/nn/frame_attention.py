"""Building blocks of the frame-attention encoder: pair features of frames, invariant point attention, local joints.

Everything enters through invariants of relative frames (R_i^T (x_j - x_i), R_i^T R_j), so a rigid motion of the whole
structure changes nothing, and a reflection does: SE(3), not E(3). Positions are in Å and coordinates stay in float32;
under autocast only the matrix products run in bfloat16.
"""

import functools
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from protgen.geometry import frames
from protgen.nn.embedding import RadialBasis, RelativePosition
from protgen.nn.pairs import AllPairs, Pairs
from protgen.nn.precision import full_precision, product_dtype

# Of what is asked of pairs. Its weights begin at zero and hear of a few pairs in a thousand: so they grow as fast as at
# 32 times the learning rate. At 8 times they were hardly used after 800 steps.
ASKED_GAIN = 32.0
NEIGHBOURS = (-3, -2, -1, 1, 2, 3)  # chain offsets whose exact relative frames every residue sees


class PairFeatures(nn.Module):
    """Pair features from relative frames, chain offset, the two residues' scalars and y: (b, l, m, dim).

    Args:
        scalar_dim: width of residue scalars.
        dim: width of pair features.
        sets: number of sets of frames (the noisy ones, and a prediction of the clean ones).
        hidden: width of the hidden layer.
        asked: width of what is asked of pairs. Its weights begin at zero and have no bias, so that what is not asked
            for changes nothing, and a network that never saw it can go on from there.
    """

    def __init__(self, scalar_dim: int, dim: int, sets: int = 2, hidden: int = 48, asked: int = 0) -> None:
        super().__init__()
        self.radial = RadialBasis(2.0, 22.0, 16)
        self.geometry = nn.ModuleList(nn.Linear(16 + 1 + 3 + 9, hidden, bias=False) for _ in range(sets))
        self.offset = RelativePosition(hidden)
        self.left = nn.Linear(scalar_dim, hidden)
        self.right = nn.Linear(scalar_dim, hidden)
        self.out = nn.Linear(hidden, dim)
        # To the hidden layer, where it meets geometry, and straight to the result, a short way to attention.
        self.asked = nn.Linear(asked, hidden + dim, bias=False) if asked else None
        if self.asked is not None:
            nn.init.zeros_(self.asked.weight)

    def forward(
        self,
        scalars: Float[Tensor, "b l d"],
        *sets: tuple[Tensor, Tensor] | None,
        pairs: Pairs,
        asked: Float[Tensor, "b l l p"] | None = None,
    ) -> Float[Tensor, "b l m dim"]:
        """Features of the pairs; a set of frames that is None adds nothing, nor do requests that are None."""
        # In place nothing is cast: not under autocast, where a residual stream may have the dtype of products.
        if not torch.is_grad_enabled() and product_dtype(scalars) == self.left.weight.dtype:
            return self.in_place(scalars, sets, pairs, asked)
        # Terms that broadcast are summed before: every pass over (b, l, m, hidden) is expensive.
        rows = self.left(scalars)[:, :, None] + self.offset(pairs.offsets()).to(scalars.dtype)
        hidden = (rows + pairs.seen(self.right(scalars))).to(product_dtype(scalars))
        for read, one in zip(self.geometry, sets, strict=True):
            if one is not None:
                hidden = hidden + read(self.invariants(*one, pairs, dtype=hidden.dtype))
        if self.asked is None or asked is None:
            return self.out(nn.functional.relu(hidden))
        widths = [hidden.shape[-1], self.out.out_features]
        inner, outer = self.asked(pairs.asked(asked).to(hidden.dtype) * ASKED_GAIN).split(widths, dim=-1)
        return self.out(nn.functional.relu(hidden + inner)) + outer

    def in_place(
        self,
        scalars: Float[Tensor, "b l d"],
        sets: tuple[tuple[Tensor, Tensor] | None, ...],
        pairs: Pairs,
        asked: Float[Tensor, "b l l p"] | None,
    ) -> Float[Tensor, "b l m dim"]:
        """The same without a gradient, in as few passes over (b, l, m, hidden) as there are.

        What frames give is computed once where all examples have the same, as under guidance.

        Args:
            scalars: of residues.
            sets: of frames.
            pairs: which.
            asked: of pairs.
        """
        given = [(read, one) for read, one in zip(self.geometry, sets, strict=True) if one is not None]
        if isinstance(pairs, AllPairs) and all(alike(*one) for _, one in given):
            given = [(read, (one[0][:1], one[1][:1])) for read, one in given]
        hidden = torch.zeros(())
        for number, (read, one) in enumerate(given):
            seen = self.invariants(*one, pairs, dtype=scalars.dtype)
            if number == 0:
                hidden = read(seen)
            else:
                hidden.view(-1, hidden.shape[-1]).addmm_(seen.flatten(0, 2), cast(nn.Linear, read).weight.T)
        offset, left = self.offset(pairs.offsets()).to(scalars.dtype), self.left(scalars)[:, :, None]
        hidden = added(added(hidden, offset), left)
        hidden += pairs.seen(self.right(scalars))
        if self.asked is None or asked is None:
            return self.out(hidden.relu_())
        widths = [hidden.shape[-1], self.out.out_features]
        inner, outer = self.asked(pairs.asked(asked).to(hidden.dtype) * ASKED_GAIN).split(widths, dim=-1)
        hidden += inner
        return self.out(hidden.relu_()).add_(outer)

    def invariants(self, rots: Tensor, trans: Tensor, pairs: Pairs, dtype: torch.dtype) -> Float[Tensor, "b l m k"]:
        """Radial functions of the distance, direction and rotation of each pair.

        Args:
            rots: rotations of residues.
            trans: positions, Å.
            pairs: which.
            dtype: of the result.
        """
        distance, direction, rotation = pairs.relative_frames(rots, trans)
        parts = [self.radial(distance), torch.log1p(distance)[..., None] / 3, direction, rotation]
        return torch.cat([part.to(dtype) for part in parts], dim=-1)


@dataclass(frozen=True)
class NeighbourPlaces:
    """Where the chain neighbours of each residue are.

    Attributes:
        place: of each neighbour; the nearest end for those beyond one.
        inside: which are within the chain.
    """

    place: Int[Tensor, "l k"]
    inside: Bool[Tensor, "l k"]


@functools.lru_cache(64)
def neighbour_places(length: int, device: torch.device) -> NeighbourPlaces:
    """Places of the six neighbours `NEIGHBOURS`; the same at every call, so they are kept.

    Args:
        length: residues.
        device: of the result.
    """
    # Outside inference mode, whatever the caller is in: a network that is trained may use them next.
    with torch.inference_mode(False):
        place = torch.arange(length, device=device)[:, None] + torch.tensor(NEIGHBOURS, device=device)
        return NeighbourPlaces(place.clamp(0, length - 1), (place >= 0) & (place < length))


def added(total: Tensor, term: Tensor) -> Tensor:
    """The sum of two tensors, in the memory of the first where it has the shape of the sum."""
    return total.add_(term) if torch.broadcast_shapes(total.shape, term.shape) == total.shape else total + term


def alike(*fields: Tensor) -> bool:
    """Whether all examples are equal in each of these fields. Not known of a GPU, which would be waited for."""
    return all(not x.is_cuda and bool((x == x[:1]).all()) for x in fields)


class LocalJoints(nn.Module):
    """Exact relative frames of the six chain neighbours of each residue, in float32.

    Bonds between residues need hundredths of an Å, which neither bfloat16 nor attention over radial features resolves.
    Distances are deviations from the origin of the neighbour in units of 4 Å.
    """

    def __init__(self, scalar_dim: int) -> None:
        super().__init__()
        self.read = nn.Linear(len(NEIGHBOURS) * 13, scalar_dim)
        self.out = nn.Linear(scalar_dim, scalar_dim)

    def forward(self, rots: Tensor, trans: Tensor, mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l d"]:
        """Scalars (b, l, d).

        Args:
            rots: rotations of residues.
            trans: positions, Å.
            mask: which residues are real.
        """
        return self.out(nn.functional.silu(self.joints(rots, trans, mask)))

    @full_precision
    def joints(self, rots: Tensor, trans: Tensor, mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l d"]:
        """First layer over the relative frames.

        Args:
            rots: rotations of residues.
            trans: positions, Å.
            mask: which residues are real.
        """
        places = neighbour_places(mask.shape[1], mask.device)
        there = (mask[:, places.place] & places.inside & mask[..., None])[..., None].to(trans.dtype)
        # R_i^T of the steps and of the axes of all neighbours as one product with their columns side by side.
        steps = (trans[:, places.place] - trans[:, :, None]).transpose(-1, -2) / 4
        columns = torch.cat([steps, rots[:, places.place].movedim(2, 3).flatten(-2)], dim=-1)
        near = rots.transpose(-1, -2) @ columns
        step, turn = near.split([len(NEIGHBOURS), 3 * len(NEIGHBOURS)], dim=-1)
        step = (step / (1 + step.square().sum(-2, keepdim=True) / 16).sqrt()).transpose(-1, -2)
        turn = turn.unflatten(-1, (len(NEIGHBOURS), 3)).movedim(3, 2).flatten(-2)
        seen = torch.cat([torch.cat([step, turn], dim=-1) * there, there], dim=-1).flatten(-2)
        return self.read(seen.to(self.read.weight.dtype))


class PairBias(nn.Module):
    """Attention biases of several blocks from pair features, in one matrix product: (b, blocks, h, l, m)."""

    def __init__(self, pair_dim: int, blocks: int, heads: int) -> None:
        super().__init__()
        self.blocks, self.heads = blocks, heads
        self.weight = nn.Parameter(torch.randn(blocks * heads, pair_dim) * pair_dim**-0.5)

    def forward(self, pair: Float[Tensor, "b l m p"]) -> Float[Tensor, "b n h l m"]:
        """Biases, one set for each block."""
        # As a batch, as a product of a matrix and a batch copies pairs and result.
        weight = self.weight.expand(len(pair), -1, -1)
        bias = torch.bmm(weight, pair.flatten(1, 2).transpose(1, 2))
        return bias.reshape(len(pair), self.blocks, self.heads, *pair.shape[1:3])


@full_precision
def placed(local: Tensor, rots: Tensor, trans: Tensor) -> Float[Tensor, "b l k 3"]:
    """Points in the axes of residues -> common axes, in nm, so that features are of order one.

    Args:
        local: (b, l, 3 k).
        rots: rotations of residues.
        trans: positions, Å.
    """
    points = local.to(trans.dtype).unflatten(-1, (-1, 3)) @ rots.transpose(-1, -2)
    points += trans[:, :, None] / 10
    return points


@full_precision
def seen_from(points: Float[Tensor, "b l k 3"], rots: Tensor, trans: Tensor) -> Float[Tensor, "b l k 3"]:
    """Points (nm) in the axes of each residue.

    Args:
        points: in common axes.
        rots: rotations of residues.
        trans: positions, Å.
    """
    return (points.to(trans.dtype) - trans[:, :, None] / 10) @ rots


class FrameAttention(nn.Module):
    """Invariant point attention (Jumper et al. 2021, supplement algorithm 22) with a bias and values from pairs.

    Args:
        dim: width of scalars.
        pair_dim: width of pair features.
        heads: attention heads.
        head_dim: width of a head's queries, keys and values.
        points: query and key points of each head; twice as many value points.
    """

    def __init__(self, dim: int, pair_dim: int, heads: int, head_dim: int = 16, points: int = 4) -> None:
        super().__init__()
        self.heads, self.head_dim, self.points = heads, head_dim, points
        self.qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.make_points = nn.Linear(dim, heads * points * 4 * 3)
        self.point_weight = nn.Parameter(torch.full((heads,), -1.0))
        self.out = nn.Linear(heads * (head_dim + 2 * points * 4 + pair_dim), dim)

    def forward(
        self,
        scalars: Float[Tensor, "b l d"],
        pair: Float[Tensor, "b l m p"],
        bias: Float[Tensor, "b h l m"],
        rots: Float[Tensor, "b l 3 3"],
        trans: Float[Tensor, "b l 3"],
        mask: Bool[Tensor, "b l"],
        pairs: Pairs,
    ) -> Float[Tensor, "b l d"]:
        """Update of the scalars.

        Args:
            scalars: of residues.
            pair: pair features.
            bias: of attention, from pairs.
            rots, trans: frames, Å.
            mask: which residues are real.
            pairs: which residues see each other.
        """
        b, length, _ = scalars.shape
        q, k, v = self.qkv(scalars).reshape(b, length, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q_points, k_points, v_points = self.place_points(self.make_points(scalars), rots, trans)
        attention = self.attend(q, k, q_points, k_points, bias, mask, pairs)

        scalar_out = pairs.mixed(attention.to(v.dtype), v).transpose(1, 2).flatten(-2)
        seen = self.gather_points(attention, v_points, rots, trans, pairs)
        x, y, z = seen.unbind(-1)  # a sum over an axis of three takes five times as long
        norms = (x.square() + y.square() + z.square() + 1e-8).sqrt()
        pair_out = (attention.to(pair.dtype).transpose(1, 2) @ pair).flatten(-2)
        parts = [scalar_out, seen.flatten(-2), norms, pair_out]
        return self.out(torch.cat([part.to(scalar_out.dtype) for part in parts], dim=-1))

    @full_precision
    def attend(
        self,
        q: Tensor,
        k: Tensor,
        q_points: Tensor,
        k_points: Tensor,
        bias: Tensor,
        mask: Bool[Tensor, "b l"],
        pairs: Pairs,
    ) -> Float[Tensor, "b h l m"]:
        """Attention weights: softmax of q.k / sqrt(d) - w |q_points - k_points|^2 + bias.

        One matrix product gives all terms but the bias: |q|^2 is the same for every key and cancels in the softmax, and
        |k|^2, with the mask, is one more dimension in which every query is 1. Float32, as squares cancel.

        Args:
            q, k: queries and keys.
            q_points, k_points: query and key points, nm.
            bias: of pairs.
            mask: which residues are real.
            pairs: which residues see each other.
        """
        dtype = q_points.dtype
        weight = nn.functional.softplus(self.point_weight)[:, None, None].to(dtype)
        hidden = torch.where(mask, 0.0, -1e9)[:, None, :, None].to(dtype)
        from_key = hidden - weight * k_points.square().sum(-1, keepdim=True)
        queries = torch.cat([q.to(dtype) * self.head_dim**-0.5, 2 * weight * q_points, torch.ones_like(from_key)], -1)
        keys = torch.cat([k.to(dtype), k_points, from_key], -1)
        scores = pairs.scores(queries, keys)
        scores += bias
        return scores.softmax(-1)

    def place_points(self, local: Tensor, rots: Tensor, trans: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key (b, h, l, 3 p) and value points (b, h, l, 6 p), in nm, so that weights are of order one.

        Args:
            local: points in the axes of residues.
            rots: rotations of residues.
            trans: positions, Å.
        """
        b, length, _ = trans.shape
        points = placed(local, rots, trans).reshape(b, length, self.heads, self.points * 4, 3).transpose(1, 2)
        q, k, v = points.split([self.points, self.points, 2 * self.points], dim=-2)
        return q.flatten(-2), k.flatten(-2), v.flatten(-2)

    @full_precision
    def gather_points(self, attention: Tensor, v_points: Tensor, rots: Tensor, trans: Tensor, pairs: Pairs) -> Tensor:
        """Attended value points in the frame of the querying residue: (b, l, h * 2 p, 3), nm.

        Args:
            attention: weights.
            v_points: value points, nm.
            rots: rotations of residues.
            trans: positions, Å.
            pairs: which residues see each other.
        """
        b, _, length, _ = attention.shape
        seen = pairs.mixed(attention.to(trans.dtype), v_points).reshape(b, self.heads, length, 2 * self.points, 3)
        return seen_from(seen.permute(0, 2, 1, 3, 4).flatten(2, 3), rots, trans)


def frame_vectors(start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor]) -> Float[Tensor, "b l 3 3"]:
    """The three vectors that a frame head reads: displacement (Å), changes of the x and y axes.

    Args:
        start: rotations and positions before.
        end: after.
    """
    turned = (end[0] - start[0])[..., :2].transpose(-1, -2)
    return torch.cat([(end[1] - start[1])[:, :, None], turned], dim=2)


class FrameUpdate(nn.Module):
    """Moves every frame by a step in its own axes, a function of its scalars; zero at the start."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.read = nn.Linear(dim, 6)
        nn.init.zeros_(self.read.weight)
        nn.init.zeros_(self.read.bias)

    @full_precision
    def forward(self, scalars: Tensor, rots: Tensor, trans: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """New rotations and translations; `step` (b, 1, 1) in Å is the size of a unit output.

        Args:
            scalars: of residues.
            rots: rotations of residues.
            trans: positions, Å.
            step: size of a unit output, Å.
        """
        turn, move = self.read(scalars.to(self.read.weight.dtype)).to(trans.dtype).chunk(2, dim=-1)
        trans = trans + torch.einsum("blck,blk->blc", rots, move) * step
        return rots @ frames.rotation_from_small_quaternion(turn), trans
