"""The input of the graph encoders: one reading of state, y and x_pred, the same for all so that they compare."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from protgen.nn.edges import EdgeFeatures, Frames
from protgen.nn.graph import Graph, Wiring, build_graph, edge_weights
from protgen.nn.inputs import InputEmbedding
from protgen.types import Conditioning, State


@dataclass(frozen=True)
class ResidueGraph:
    """A batch of noisy backbones as a graph, with what is known of its nodes and edges.

    The m nodes that a network computes are all n, or the last of each example alone (`ResidueGraphReader.last`).

    Attributes:
        graph: the edges between n nodes.
        receivers: (m,) the nodes that a network computes.
        edge_index: (2, e) edges from one of n nodes to one of the m.
        scalars: (m, d) first features of nodes.
        globals: (m, d) time and whole-structure y, repeated for each node.
        edges: (e, k) features of edges.
        weights: (e,) weights of edges in [0, 1].
        frames: rotations (n, 3, 3) and positions (n, 3) of the noisy state.
        x_pred: the same of x_pred, None if there is none.
        step: (m, 1) Å; a unit output moves a frame by about what is still unknown at this noise level.
    """

    graph: Graph
    receivers: Int[Tensor, " m"]
    edge_index: Int[Tensor, "2 e"]
    scalars: Float[Tensor, "m d"]
    globals: Float[Tensor, "m d"]
    edges: Float[Tensor, "e k"]
    weights: Float[Tensor, " e"]
    frames: Frames
    x_pred: Frames | None
    step: Float[Tensor, "m 1"]

    @property
    def size(self) -> tuple[int, int]:
        """Numbers of nodes n that send and m that receive."""
        return self.graph.nodes, len(self.receivers)

    @property
    def received_frames(self) -> Frames:
        """Frames of the m nodes."""
        rots, trans = self.frames
        return rots[self.receivers], trans[self.receivers]

    def grown(self, kept: tuple[Tensor, ...], new: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What is kept (b, i, ...) of earlier positions, with that of the last (m, ...) after it: (b, i + 1, ...).

        Args:
            kept: of earlier positions; empty where the last is the first.
            new: of the last position of each example that has one.
        """
        ends = self.graph.mask[:, -1]
        grown = []
        for place, values in enumerate(new):
            last = values.new_zeros(len(ends), 1, *values.shape[1:])
            last[ends, 0] = values
            grown.append(torch.cat([kept[place], last], 1) if kept else last)
        return tuple(grown)


class ResidueGraphReader(nn.Module):
    """Builds the graph of a state and embeds its nodes and edges.

    Neighbours are near in the noisy state or in x_pred: at high noise only x_pred predicts the final neighbours.

    Args:
        residue_dim, global_dim: widths of the conditioning.
        dim: width of node features.
        edge_dim: width of edge features.
        wiring: how many edges a residue receives.
    """

    def __init__(self, residue_dim: int, global_dim: int, dim: int, edge_dim: int, wiring: Wiring) -> None:
        super().__init__()
        self.wiring = wiring
        self.inputs = InputEmbedding(residue_dim, global_dim, dim, causal=wiring.causal)
        self.edges = EdgeFeatures(edge_dim)

    def forward(self, state: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None) -> ResidueGraph:
        """The graph of a batch."""
        return self.received(state, t, cond, x_pred, 0)

    def last(self, state: State, t: Float[Tensor, " b"], cond: Conditioning) -> ResidueGraph:
        """The graph of a batch with the edges to its last position alone."""
        return self.received(state, t, cond, None, state.mask.shape[1] - 1)

    def received(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None, first: int
    ) -> ResidueGraph:
        """The graph of a batch with the edges to positions from `first` on."""
        known = [state] if x_pred is None else [state, x_pred]
        graph = build_graph(state.mask, [x["trans"] for x in known], self.wiring, first=first)
        counted = state.mask.clone()
        counted[:, :first] = False
        receivers = graph.flat(counted).nonzero()[:, 0]
        example = graph.example[receivers]
        source, target = graph.edge_index
        flat = [(graph.flat(x["rots"]), graph.flat(x["trans"])) for x in known]
        guess = None if x_pred is None else flat[1]
        scalars, globals = self.inputs(state.mask, t, cond, x_pred is not None)
        trans = flat[0][1]
        dtype = self.inputs.residue.weight.dtype  # under autocast features that residuals add up stay in full precision
        return ResidueGraph(
            graph=graph,
            receivers=receivers,
            edge_index=torch.stack([source, torch.searchsorted(receivers, target)]),
            scalars=scalars[counted].to(dtype),
            globals=globals[example].to(dtype),
            edges=self.edges(graph, flat[0], guess).to(dtype),
            weights=edge_weights(graph, [x for _, x in flat]),
            frames=flat[0],
            x_pred=guess,
            step=(0.3 + 6.0 * t.to(trans.dtype))[example, None],
        )


def rotated_and_moved(before: Frames, after: Frames) -> Float[Tensor, "n 3 3"]:
    """The vectors of a frame head: displacement (Å), and changes of the x and y axes."""
    rotated = (after[0] - before[0])[..., :2].transpose(-1, -2)
    return torch.cat([(after[1] - before[1])[:, None], rotated], dim=1)
