"""Geometric vector perceptrons over residue frames: scalars and vectors pass along edges side by side.

The vectors a node starts from are the axes of its frame (of the noisy one and of x_pred), in place of the
directions to its neighbours and its side chain in the original; edges carry the directions between residues. Scalars of
edges are invariants of relative frames, which a mirror image changes: SE(3), where the original is O(3).

References:
    Jing et al. 2021, Learning from Protein Structure with Geometric Vector Perceptrons, algorithm 1 and eq. 1-3.
    Jing et al. 2021, Equivariant Graph Neural Networks for 3D Macromolecular Structure, eq. 5 (vector gating).
"""

from collections.abc import Iterable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from protgen.encoders.base import Encoder, Incremental, Memory
from protgen.nn.edges import unit_vectors
from protgen.nn.graph import Wiring
from protgen.nn.modulation import Modulation
from protgen.nn.passing import WeightedMeanPassing
from protgen.nn.residue_graph import ResidueGraph, ResidueGraphReader
from protgen.nn.vectors import FrameReadout, Mixed, VectorPerceptron, normalise_vectors
from protgen.types import Conditioning, Features, State


class Block(WeightedMeanPassing):
    """A convolution over edges and a transition at nodes, each with a residual."""

    def __init__(self, dim: int, vectors: int, edge_dim: int) -> None:
        super().__init__()
        self.norm_messages = Modulation(dim)
        self.target = nn.Linear(dim, dim, bias=False)
        self.source = nn.Linear(dim, dim, bias=False)
        self.first = VectorPerceptron(dim + edge_dim, 2 * vectors + 2, dim, vectors)
        self.last = VectorPerceptron(dim, vectors, dim, vectors, activation=False)
        self.norm_transition = Modulation(dim)
        self.widen = VectorPerceptron(dim, vectors, 2 * dim, 2 * vectors)
        self.narrow = VectorPerceptron(2 * dim, 2 * vectors, dim, vectors, activation=False)

    def forward(self, s: Tensor, v: Tensor, directions: Tensor, given: ResidueGraph) -> Mixed:
        """Updated scalars and vectors of nodes; `directions` (e, 3, 2) in the noisy state and in x_pred."""
        x, y = self.norm_messages(s, given.globals), normalise_vectors(v)
        return self.updated((s, v), (x, y), (self.source(x), y), directions, given)

    def extend(
        self, s: Tensor, v: Tensor, directions: Tensor, given: ResidueGraph, kept: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Updated scalars and vectors of last positions, and what is kept: of all positions what they send."""
        x, y = self.norm_messages(s, given.globals), normalise_vectors(v)
        kept = given.grown(kept, (self.source(x), y))
        source, vectors = (given.graph.flat(values) for values in kept)
        return *self.updated((s, v), (x, y), (source, vectors), directions, given), kept

    def updated(self, residual: Mixed, normed: Mixed, sent: Mixed, directions: Tensor, given: ResidueGraph) -> Mixed:
        """Scalars and vectors after messages from all nodes.

        Args:
            residual: scalars and vectors of the nodes that receive (m, ...).
            normed: the same normalised.
            sent: what nodes send (n, ...).
            directions: of edges.
            given: the graph.
        """
        (s, v), (x, y) = residual, normed
        # The first layer over [s_i, s_j] is linear: apply it to nodes, not to edges.
        scalars, vectors = self.propagate(
            given.edge_index,
            size=given.size,
            target=self.target(x),
            source=sent[0],
            vectors=(sent[1], y),
            directions=directions,
            edge=given.edges,
            weights=given.weights,
        )
        s, v = s + scalars, v + vectors
        change = self.narrow(*self.widen(self.norm_transition(s, given.globals), normalise_vectors(v)))
        return s + change[0], v + change[1]

    def message(  # pyright: ignore[reportIncompatibleMethodOverride] - PyG passes by name
        self,
        target_i: Tensor,
        source_j: Tensor,
        vectors_i: Tensor,
        vectors_j: Tensor,
        directions: Tensor,
        edge: Tensor,
    ) -> Mixed:
        """Scalars and vectors of an edge."""
        pair = target_i + source_j
        vectors = torch.cat([vectors_i, vectors_j, directions.to(vectors_i.dtype)], dim=-1)
        return self.last(*self.first(torch.cat([pair, edge.to(pair.dtype)], dim=-1), vectors))


class GVPEncoder(Encoder, Incremental):
    """Geometric vector perceptrons over residue frames.

    Args:
        residue_dim, global_dim: widths of the conditioning it reads.
        dim: width of residue scalars.
        vectors: vector channels of a residue.
        blocks: number of blocks.
        edge_dim: width of edge features.
        neighbours: number of edges to the nearest residues in space; sequence and long-range edges come in addition.
        causal: whether residue i sees residues j <= i alone.
    """

    symmetry = "SE3"
    reads = ("trans", "rots")
    vector_dim = 3
    causality = "optional"

    @classmethod
    def example(cls) -> dict[str, Any]:
        """Keywords of a narrow one."""
        return {"dim": 32}

    def __init__(
        self,
        residue_dim: int,
        global_dim: int,
        dim: int = 128,
        vectors: int = 16,
        blocks: int = 5,
        edge_dim: int = 64,
        neighbours: int = 16,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.scalar_dim = dim
        self.reader = ResidueGraphReader(
            residue_dim, global_dim, dim, edge_dim, Wiring(nearest=neighbours, causal=causal)
        )
        self.embed = VectorPerceptron(dim, 6, dim, vectors, activation=False)
        self.blocks = nn.ModuleList(Block(dim, vectors, edge_dim) for _ in range(blocks))
        self.readout = FrameReadout(dim, vectors)

    def forward(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None
    ) -> Features:
        """Scalars (b, l, dim) and the three vectors of a frame head: displacement (Å), changes of the x and y axes."""
        given = self.reader(state, t, cond, x_pred)
        s, v, seen = self.begin(given)
        for block in self.blocks:
            s, v = block(s, v, seen, given)
        vectors = self.readout(s, v, given.frames[0], given.step)
        return Features(given.graph.dense(s), given.graph.dense(vectors))

    def extend(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, memory: Memory | None
    ) -> tuple[Float[Tensor, "b d"], Memory]:
        """Scalars of the last position."""
        given = self.reader.last(state, t, cond)
        s, v, seen = self.begin(given)
        blocks = []
        for place, block in enumerate(cast(Iterable[Block], self.blocks)):
            s, v, kept = block.extend(s, v, seen, given, memory.blocks[place] if memory else ())
            blocks.append(kept)
        return given.grown((), (s,))[0][:, 0], Memory(tuple(blocks))

    def begin(self, given: ResidueGraph) -> tuple[Tensor, Tensor, Tensor]:
        """First scalars and vectors of nodes, and directions of edges (e, 3, 2) in the noisy state and in x_pred."""
        frames = (given.frames, given.x_pred)
        dtype = given.scalars.dtype
        axes = torch.cat([torch.zeros_like(given.frames[0]) if x is None else x[0] for x in frames], dim=-1)
        directions = [unit_vectors(given.graph, x[1])[0] for x in frames if x is not None]
        if given.x_pred is None:
            directions.append(torch.zeros_like(directions[0]))
        s, v = self.embed(given.scalars, axes[given.receivers].to(dtype))
        v = v.to(dtype)  # the residual stream of vectors keeps its precision under autocast
        return s, v, torch.stack(directions, dim=-1)
