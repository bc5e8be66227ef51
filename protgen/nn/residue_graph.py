"""How the graph encoders see a noisy backbone: one reading of state, y and estimate, shared so that they compare."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from protgen.nn.edges import EdgeFeatures, Frames
from protgen.nn.graph import Graph, Wiring, build_graph, edge_weights
from protgen.nn.inputs import InputEmbedding
from protgen.types import Conditioning, State


@dataclass(frozen=True)
class ResidueGraph:
    """A batch of noisy backbones as a graph, with what is known of its nodes and edges.

    Attributes:
        graph: the edges.
        scalars: (n, d) first features of nodes.
        globals: (n, d) time and whole-structure y, repeated for each node.
        edges: (e, k) features of edges.
        weights: (e,) weights of edges in [0, 1].
        frames: rotations (n, 3, 3) and positions (n, 3) of the noisy state.
        x_pred: the same of the estimate of x_data, None if there is none.
        step: (n, 1) Å; a unit output moves a frame by about what is still unknown at this noise level.
    """

    graph: Graph
    scalars: Float[Tensor, "n d"]
    globals: Float[Tensor, "n d"]
    edges: Float[Tensor, "e k"]
    weights: Float[Tensor, " e"]
    frames: Frames
    x_pred: Frames | None
    step: Float[Tensor, "n 1"]


class ResidueGraphReader(nn.Module):
    """Builds the graph of a state and embeds its nodes and edges.

    Neighbours are near in the noisy state or in the estimate: at high noise only the latter says who they will be.

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
        known = [state] if x_pred is None else [state, x_pred]
        graph = build_graph(state.mask, [x["trans"] for x in known], self.wiring)
        flat = [(graph.flat(x["rots"]), graph.flat(x["trans"])) for x in known]
        guess = None if x_pred is None else flat[1]
        scalars, globals = self.inputs(state.mask, t, cond, x_pred is not None)
        trans = flat[0][1]
        dtype = self.inputs.residue.weight.dtype  # under autocast features that residuals add up stay in full precision
        return ResidueGraph(
            graph=graph,
            scalars=graph.flat(scalars).to(dtype),
            globals=globals[graph.example].to(dtype),
            edges=self.edges(graph, flat[0], guess).to(dtype),
            weights=edge_weights(graph, [x for _, x in flat]),
            frames=flat[0],
            x_pred=guess,
            step=(0.3 + 6.0 * t.to(trans.dtype))[graph.example, None],
        )


def rotated_and_moved(before: Frames, after: Frames) -> Float[Tensor, "n 3 3"]:
    """The vectors of a frame head: displacement (Å), and changes of the x and y axes."""
    rotated = (after[0] - before[0])[..., :2].transpose(-1, -2)
    return torch.cat([(after[1] - before[1])[:, None], rotated], dim=1)
