"""EGNN over residue frames: messages of invariants, coordinates that move along the edges.

    m_ij = phi_e(h_i, h_j, invariants of the relative frame, a_ij)
    x_i <- x_i + mean_j (x_j - x_i) / (|x_j - x_i| + 1) phi_x(m_ij) + R_i phi_v(h_i)
    h_i <- h_i + phi_h(h_i, mean_j m_ij)

The original is E(n)-equivariant and knows points alone. Residues have frames: their relative positions and rotations
are the invariants of a message, the frame's axes take the place of the velocity, and the frame turns as the position
moves, by a rotation vector of the same form. A mirror image turns these invariants into others, so this is SE(3).

References:
    Satorras et al. 2021, E(n) Equivariant Graph Neural Networks, eq. 3-8 (7: velocities, 8: soft edges).
    Hoogeboom et al. 2022, Equivariant Diffusion for Molecule Generation, eq. 12 (the norm + 1 in the denominator).
"""

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from protgen.encoders.base import Encoder, Incremental, Memory
from protgen.geometry.frames import rotation_from_small_quaternion
from protgen.nn.edges import EdgeGeometry, Frames, unit_vectors
from protgen.nn.graph import Wiring
from protgen.nn.modulation import Modulation
from protgen.nn.passing import WeightedMeanPassing
from protgen.nn.precision import full_precision
from protgen.nn.residue_graph import ResidueGraph, ResidueGraphReader, rotated_and_moved
from protgen.types import Conditioning, Features, State


class EdgeMessages(WeightedMeanPassing):
    """Messages to each node; the weights are those of the block, whose names do not fit PyG's methods."""

    def message(  # pyright: ignore[reportIncompatibleMethodOverride] - PyG passes by name
        self,
        target_i: Tensor,
        source_j: Tensor,
        edge: Tensor,
        geometry: Tensor,
        unit: Tensor,
        network: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor]:
        """Scalars (e, d) and pulls (e, 2, 3) of an edge, which `network` computes from its hidden layer and unit."""
        return network(target_i + source_j + edge + geometry, unit)


class Block(nn.Module):
    """One equivariant graph convolution."""

    def __init__(self, dim: int, edge_dim: int, expansion: int) -> None:
        super().__init__()
        self.passing = EdgeMessages()
        self.norm = Modulation(dim)
        self.from_target = nn.Linear(dim, dim)
        self.from_source = nn.Linear(dim, dim, bias=False)
        self.from_edge = nn.Linear(edge_dim, dim, bias=False)
        self.geometry = EdgeGeometry(dim)
        self.message = nn.Linear(dim, dim)
        self.gate = nn.Linear(dim, 1)
        self.update = nn.Sequential(nn.Linear(2 * dim, expansion * dim), nn.SiLU(), nn.Linear(expansion * dim, dim))
        self.along = nn.Linear(dim, 2, bias=False)
        self.own = nn.Linear(dim, 6)
        for layer in (self.along, self.own):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.own.bias)

    def forward(self, h: Tensor, frames: Frames, given: ResidueGraph) -> tuple[Tensor, Frames]:
        """Updated scalars and frames."""
        x = self.norm(h, given.globals)
        return self.updated(h, x, frames, (self.from_source(x), *frames), given)

    def extend(
        self, h: Tensor, frames: Frames, given: ResidueGraph, kept: tuple[Tensor, ...]
    ) -> tuple[Tensor, Frames, tuple[Tensor, ...]]:
        """Updated scalars and frames of last positions, and what is kept: of all what they send, and their frames."""
        x = self.norm(h, given.globals)
        kept = given.grown(kept, (self.from_source(x), *frames))
        source, rots, trans = (given.graph.flat(values) for values in kept)
        return *self.updated(h, x, frames, (source, rots, trans), given), kept

    def updated(
        self, h: Tensor, x: Tensor, frames: Frames, sent: tuple[Tensor, Tensor, Tensor], given: ResidueGraph
    ) -> tuple[Tensor, Frames]:
        """Scalars and frames after messages from all nodes.

        Args:
            h: scalars of the nodes that receive (m, d).
            x: the same normalised.
            frames: of the same.
            sent: what nodes send (n, d), and their frames.
            given: the graph.
        """
        source, *everywhere = sent
        received, pull = self.passing.propagate(
            given.edge_index,
            size=given.size,
            target=self.from_target(x),
            source=source,
            edge=self.from_edge(given.edges),
            geometry=self.geometry(given.graph, (everywhere[0], everywhere[1])),
            unit=self.unit(given, everywhere[1]),
            network=self.of_edge,
            weights=given.weights,
        )
        h = h + self.update(torch.cat([x, received.to(x.dtype)], dim=-1))
        return h, self.move(h, pull, frames, given)

    def of_edge(self, hidden: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Scalars of an edge (e, d), and its pulls on position and rotation (e, 2, 3) in the global frame."""
        message = nn.functional.silu(self.message(nn.functional.silu(hidden)))
        message = message * torch.sigmoid(self.gate(message))
        return message, self.pull(message, unit)

    @full_precision
    def unit(self, given: ResidueGraph, trans: Tensor) -> Tensor:
        """Directions of edges (e, 3), shortened to d / (d + 1)."""
        direction, distance = unit_vectors(given.graph, trans)
        return direction * (distance / (distance + 1))[..., None]

    @full_precision
    def pull(self, message: Tensor, unit: Tensor) -> Tensor:
        """Pulls of an edge along its direction."""
        along = self.along(message.to(self.along.weight.dtype)).to(unit.dtype)
        return along[..., None] * unit[:, None]

    @full_precision
    def move(self, h: Tensor, pull: Tensor, frames: Frames, given: ResidueGraph) -> Frames:
        """Frames moved and turned along the edges and along their own axes."""
        rots, trans = frames
        local = pull @ rots + self.own(h.to(self.own.weight.dtype)).to(trans.dtype).unflatten(-1, (2, 3))
        move, turn = local.unbind(-2)
        trans = trans + (rots @ move[..., None])[..., 0] * given.step
        return rots @ rotation_from_small_quaternion(turn), trans


class EGNNEncoder(Encoder, Incremental):
    """Equivariant graph network over residue frames.

    Args:
        residue_dim, global_dim: widths of the conditioning it reads.
        dim: width of residue scalars and messages.
        blocks: number of blocks.
        edge_dim: width of edge features.
        expansion: hidden width of node updates, in units of dim.
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
        blocks: int = 6,
        edge_dim: int = 64,
        expansion: int = 2,
        neighbours: int = 16,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.scalar_dim = dim
        self.reader = ResidueGraphReader(
            residue_dim, global_dim, dim, edge_dim, Wiring(nearest=neighbours, causal=causal)
        )
        self.blocks = nn.ModuleList(Block(dim, edge_dim, expansion) for _ in range(blocks))

    def forward(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None
    ) -> Features:
        """Scalars (b, l, dim) and the three vectors of a frame head: displacement (Å), changes of the x and y axes."""
        given = self.reader(state, t, cond, x_pred)
        h, frames = given.scalars, given.frames
        for block in self.blocks:
            h, frames = block(h, frames, given)
        dense = given.graph.dense
        return Features(dense(h), dense(rotated_and_moved(given.frames, frames)))

    def extend(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, memory: Memory | None
    ) -> tuple[Float[Tensor, "b d"], Memory]:
        """Scalars of the last position."""
        given = self.reader.last(state, t, cond)
        h, frames = given.scalars, given.received_frames
        blocks = []
        for place, block in enumerate(cast(Iterable[Block], self.blocks)):
            h, frames, kept = block.extend(h, frames, given, memory.blocks[place] if memory else ())
            blocks.append(kept)
        return given.grown((), (h,))[0][:, 0], Memory(tuple(blocks))
