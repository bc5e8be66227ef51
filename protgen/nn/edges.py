"""What a network knows of an edge: invariants of the relative frame, the offset along the chain, and directions.

Invariants are those of R_j^T (x_i - x_j) and R_j^T R_i: a rigid motion of all frames leaves them as they are, a mirror
image does not. Computed in full precision, as bonds need hundredths of an Å.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from protgen.nn.embedding import RadialBasis
from protgen.nn.graph import Graph
from protgen.nn.precision import full_precision

Frames = tuple[Float[Tensor, "n 3 3"], Float[Tensor, "n 3"]]


def unit_vectors(graph: Graph, trans: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, "e 3"], Float[Tensor, " e"]]:
    """Directions from target to source, of length near 1 (0 for coincident points), and distances in Å."""
    difference = trans[graph.source] - trans[graph.target]
    distance = (difference.square().sum(-1) + 1e-6).sqrt()
    return difference / distance[..., None], distance


class EdgeGeometry(nn.Module):
    """First layer over the relative frames of edges: radial functions, direction, displacement and rotation.

    The displacement is bounded, x / sqrt(1 + |x|^2 / 16) in units of 4 Å, so that near neighbours are read exactly.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.radial = RadialBasis(2.0, 22.0, 16)
        self.read = nn.Linear(16 + 1 + 3 + 3 + 9, dim, bias=False)

    @full_precision
    def forward(self, graph: Graph, frames: Frames) -> Float[Tensor, "e d"]:
        """Linear functions of the invariants of each edge."""
        rots, trans = frames
        direction, distance = unit_vectors(graph, trans)
        local = rots[graph.target].transpose(-1, -2)
        direction = (local @ direction[..., None])[..., 0]
        step = direction * (distance / 4 / (1 + distance.square() / 256).sqrt())[..., None]
        rotation = (local @ rots[graph.source]).flatten(-2)
        parts = [self.radial(distance), torch.log1p(distance)[..., None] / 3, direction, step, rotation]
        return self.read(torch.cat(parts, dim=-1).to(self.read.weight.dtype))


class EdgeFeatures(nn.Module):
    """Features of edges from the noisy frames, an estimate of the clean ones, and the offset along the chain.

    Args:
        dim: width of what it returns.
        hidden: width of its hidden layer.
        reach: offset from which all further ones look alike.
    """

    def __init__(self, dim: int, hidden: int = 64, reach: int = 32) -> None:
        super().__init__()
        self.reach = reach
        self.offset = nn.Embedding(2 * reach + 1, hidden)
        self.noisy = EdgeGeometry(hidden)
        self.x_pred = EdgeGeometry(hidden)
        self.out = nn.Linear(hidden, dim)

    def forward(self, graph: Graph, frames: Frames, x_pred: Frames | None) -> Float[Tensor, "e d"]:
        """Edge features; an estimate that is None adds nothing."""
        hidden = self.offset(graph.offset.clamp(-self.reach, self.reach) + self.reach) + self.noisy(graph, frames)
        if x_pred is not None:
            hidden = hidden + self.x_pred(graph, x_pred)
        return self.out(nn.functional.silu(hidden))
