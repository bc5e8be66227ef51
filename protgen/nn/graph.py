"""Sparse graphs over residues, and the conversion between dense (b, l, ...) and flat (n, ...) tensors.

Every residue receives messages from its neighbours along the chain, from a few long-range ones, and from the nearest
in space. Long-range edges are drawn by a hash of the two places along the chain with weights 1 / |i - j|: they are the
same in every batch, padding and run, and no random state is touched. The nearest in space fade out towards the first
that is no longer one, so that the output of a network is continuous in the coordinates although the set of edges is
not. Memory is linear in length: distances are computed in blocks of rows, and only edges are kept.

Reference for the long-range edges: Ingraham et al. 2023, Chroma, supplement E (random graphs that decay with distance).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from protgen.nn.precision import full_precision

ROWS = 256  # rows of the distance matrix that exist at a time
FADE = 0.2  # fraction of the radius over which the nearest in space fade out
TIE = 1e-4  # Å for each residue along the chain: orders neighbours at equal distance

Positions = Sequence[Tensor]


@dataclass(frozen=True)
class Wiring:
    """How many edges a residue receives.

    Attributes:
        nearest: from the nearest in space that are not neighbours along the chain.
        sequence: reach along the chain, to each side.
        long_range: from anywhere along the chain.
        causal: from earlier residues alone.
    """

    nearest: int = 16
    sequence: int = 3
    long_range: int = 6
    causal: bool = False


@dataclass(frozen=True)
class Graph:
    """Edges between the n real residues of a batch, numbered row by row; edges are sorted by target.

    Attributes:
        mask: (b, l) which residues are real.
        example: (n,) the example each node belongs to.
        edge_index: (2, e) nodes an edge leads from and to, as PyG has them.
        offset: (e,) place of the source minus place of the target along the chain.
        fixed: (e,) edges that the distance did not choose, of weight 1.
        cutoff: (n,) the nearest node that is not seen, the node itself where all are.
        cutoff_offset: (n,) its place minus the node's.
    """

    mask: Bool[Tensor, "b l"]
    example: Int[Tensor, " n"]
    edge_index: Int[Tensor, "2 e"]
    offset: Int[Tensor, " e"]
    fixed: Bool[Tensor, " e"]
    cutoff: Int[Tensor, " n"]
    cutoff_offset: Int[Tensor, " n"]

    @property
    def source(self) -> Int[Tensor, " e"]:
        """Nodes that edges lead from."""
        return self.edge_index[0]

    @property
    def target(self) -> Int[Tensor, " e"]:
        """Nodes that edges lead to."""
        return self.edge_index[1]

    @property
    def nodes(self) -> int:
        """Number of nodes n."""
        return len(self.example)

    def flat(self, dense: Float[Tensor, "b l *d"]) -> Float[Tensor, "n *d"]:
        """Rows of the real residues."""
        return dense[self.mask]

    def dense(self, flat: Float[Tensor, "n *d"]) -> Float[Tensor, "b l *d"]:
        """Rows back in their place, zeros under padding."""
        result = flat.new_zeros(*self.mask.shape, *flat.shape[1:])
        result[self.mask] = flat
        return result

    def mean(self, messages: Float[Tensor, "e *d"], weights: Float[Tensor, " e"]) -> Float[Tensor, "n *d"]:
        """Weighted mean of the messages each node receives, zero where there is none."""
        from protgen.nn.passing import weighted_mean  # PyG imports torch's compiler, which takes longer than a design

        return weighted_mean(messages, weights, self.target, self.nodes)


@full_precision
def build_graph(
    mask: Bool[Tensor, "b l"],
    positions: Positions,
    wiring: Wiring,
    index: Int[Tensor, "b l"] | None = None,
    asked: Bool[Tensor, "b l l"] | None = None,
    first: int = 0,
) -> Graph:
    """The edges of a batch.

    The number of edges depends on the mask, and on what is asked, alone. So an encoder on a causal graph gives an
    earlier residue the same bits whatever the later ones are.

    Args:
        mask: which residues are real.
        positions: one or more (b, l, 3), Å: two residues are as near as they are in the nearest of these.
        wiring: how many edges of each kind.
        index: (b, l) places along the chain; 0, 1, ... by default.
        asked: (b, i, j) residues i that receive an edge from j whatever their distance; none by default.
        first: residues before this place receive no edges.
    """
    b, length = mask.shape
    if index is None:
        index = torch.arange(length, device=mask.device)[None]
    index = index.expand(b, -1)
    rows = range(first, length, ROWS)
    with torch.no_grad():
        blocks = [choose(mask, positions, wiring, index, slice(start, start + ROWS), asked) for start in rows]
    example = torch.cat([edges[:, 0] for edges, _, _ in blocks])
    row = torch.cat([edges[:, 1] + start for (edges, _, _), start in zip(blocks, rows, strict=True)])
    column = torch.cat([edges[:, 2] for edges, _, _ in blocks])
    fixed = torch.cat([fixed for _, fixed, _ in blocks])
    without = torch.arange(first, device=mask.device).expand(b, -1)
    cutoff = torch.cat([without, *(cutoff for _, _, cutoff in blocks)], dim=1)
    # Blocks of rows came one after another: bring the edges of each example together.
    order = (example * length + row).argsort(stable=True)
    example, row, column, fixed = (x[order] for x in (example, row, column, fixed))
    number = mask.flatten().cumsum(0).reshape(b, length) - 1
    return Graph(
        mask=mask,
        example=mask.nonzero()[:, 0],
        edge_index=torch.stack([number[example, column], number[example, row]]),
        offset=index[example, column] - index[example, row],
        fixed=fixed,
        cutoff=number.gather(1, cutoff)[mask],
        cutoff_offset=(index.gather(1, cutoff) - index)[mask],
    )


def choose(
    mask: Tensor, positions: Positions, wiring: Wiring, index: Tensor, rows: slice, asked: Tensor | None
) -> tuple[Int[Tensor, "e 3"], Bool[Tensor, " e"], Int[Tensor, "b c"]]:
    """Edges (example, row, column) of a block of rows, which are fixed, and the cutoff of each row (itself: none)."""
    length = mask.shape[1]
    offset = index[:, None, :] - index[:, rows, None]
    allowed = mask[:, rows, None] & mask[:, None, :] & (offset != 0)
    if wiring.causal:
        allowed = allowed & (offset < 0)
    fixed = allowed & (offset.abs() <= wiring.sequence)
    if asked is not None:
        fixed = fixed | (allowed & asked[:, rows])
    fixed = fixed | draw_long_range(allowed & ~fixed, index, rows, wiring.long_range)

    distance = torch.stack([torch.cdist(x[:, rows], x, compute_mode="donot_use_mm_for_euclid_dist") for x in positions])
    distance = distance.amin(0) + tie(offset, distance.dtype)
    distance = torch.where(allowed & ~fixed, distance, torch.inf)
    count = min(wiring.nearest + 1, length)
    values, places = distance.topk(count, dim=-1, largest=False)
    seen = values.isfinite()
    cutoff = torch.arange(length, device=mask.device)[rows].expand(len(mask), -1)
    if count == wiring.nearest + 1:
        cutoff = torch.where(seen[..., -1], places[..., -1], cutoff)
        seen = seen[..., :-1]
        places = places[..., :-1]
    near = torch.zeros_like(allowed).scatter(-1, places, seen)
    chosen = fixed | near
    return chosen.nonzero(), fixed[chosen], cutoff


def draw_long_range(allowed: Bool[Tensor, "b c l"], index: Tensor, rows: slice, count: int) -> Bool[Tensor, "b c l"]:
    """Pairs drawn without replacement with weights 1 / |i - j|, by the Gumbel trick on a hash of (i, j)."""
    offset = (index[:, None, :] - index[:, rows, None]).abs().clamp(min=1)
    uniform = hashed_uniform(index[:, rows, None], index[:, None, :])
    score = -torch.log(-torch.log(uniform)) - torch.log(offset.to(uniform.dtype))
    values, places = torch.where(allowed, score, -torch.inf).topk(min(count, allowed.shape[-1]), dim=-1)
    return torch.zeros_like(allowed).scatter(-1, places, values.isfinite())


def hashed_uniform(i: Int[Tensor, "*n"], j: Int[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Numbers that look uniform in (0, 1), a function of two integers (rounds of xor-shift and multiplication)."""
    mixed = ((i * 0x9E3779B1) ^ (j * 0x85EBCA77 + 0x165667B1)) & 0xFFFFFFFF
    for factor in (0x2C1B3C6D, 0x297A2D39):
        mixed = ((mixed ^ (mixed >> 15)) * factor) & 0xFFFFFFFF
    return ((mixed >> 9).float() + 0.5) / 2**23


def tie(offset: Int[Tensor, "*n"], dtype: torch.dtype) -> Float[Tensor, "*n"]:
    """A length (Å) far below any that matters: nearer along the chain first, and of two the earlier."""
    return TIE * (offset.abs().to(dtype) + 0.5 * (offset > 0))


@full_precision
def edge_weights(graph: Graph, positions: Sequence[Float[Tensor, "n 3"]]) -> Float[Tensor, " e"]:
    """1 for fixed edges; for the nearest in space a smooth step from 1 to 0 as they approach the cutoff.

    Args:
        graph: the edges.
        positions: those the graph was built from, flat.
    """
    node = torch.arange(graph.nodes, device=graph.cutoff.device)
    length = separation(positions, graph.source, graph.target, graph.offset)
    radius = separation(positions, graph.cutoff, node, graph.cutoff_offset)[graph.target]
    step = ((1 - length / radius) / FADE).clamp(0, 1)
    near = step.square() * (3 - 2 * step)
    return torch.where(graph.fixed | (graph.cutoff == node)[graph.target], torch.ones_like(near), near)


def separation(positions: Positions, source: Tensor, target: Tensor, offset: Tensor) -> Float[Tensor, " e"]:
    """Distance (Å) by which neighbours are chosen."""
    squares = torch.stack([(x[source] - x[target]).square().sum(-1) for x in positions])
    return (squares.amin(0) + 1e-12).sqrt() + tie(offset, squares.dtype)
