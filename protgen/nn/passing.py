"""Messages along the edges of a graph and their weighted mean at each node: PyG's `MessagePassing` for our blocks."""

from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import scatter


def weighted_mean(
    messages: Float[Tensor, "e *d"], weights: Float[Tensor, " e"], target: Int[Tensor, " e"], nodes: int
) -> Float[Tensor, "n *d"]:
    """Weighted mean of the messages that each node receives, zero where there is none.

    The sum of the weights counts as one at least, so that a lone edge can fade out.

    Args:
        messages: one for each edge.
        weights: of the edges, in [0, 1].
        target: node that each edge leads to.
        nodes: their number n.
    """
    shape = (-1,) + (1,) * (messages.ndim - 1)
    weighted = messages * weights.to(messages.dtype).reshape(shape)
    total = scatter(weights, target, 0, nodes, reduce="sum").clamp(min=1)
    received = scatter(weighted, target, 0, nodes, reduce="sum")
    return received / total.to(received.dtype).reshape(shape)


class WeightedMeanPassing(MessagePassing):
    """A block that passes messages: `message` returns a tuple of tensors, `propagate` the weighted mean of each.

    Arguments of `message` that end in `_i` are read at the target of an edge, in `_j` at its source. `propagate` wants
    `weights` (e,) beside them.
    """

    def __init__(self) -> None:
        super().__init__(aggr=None, node_dim=0)

    def aggregate(
        self, inputs: tuple[Tensor, ...], index: Tensor, weights: Tensor, dim_size: int
    ) -> tuple[Tensor, ...]:
        """The weighted mean of each part of the messages."""
        return tuple(weighted_mean(part, weights, index, dim_size) for part in inputs)

    def _set_jittable_templates(self, raise_on_error: bool = False) -> None:
        # PyG writes a Python file for each class into the temporary folder, runs it and leaves it there, to save some
        # microseconds a call. The plain `propagate` does the same.
        pass
