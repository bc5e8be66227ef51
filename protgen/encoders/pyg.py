"""Any convolution of PyTorch Geometric over residue frames, by its name in `torch_geometric.nn`.

Nodes and edges carry invariants of relative frames, so whatever the convolution does with them is invariant. The
vectors are mixtures of edge directions and frame axes with invariant coefficients, so they turn with the structure:
SE(3).

    h_i <- h_i + conv(norm(h), edges, e_ij)_i,    h_i <- h_i + mlp(norm(h_i))
    v_i = mean_j a(h_i, e_ij) (x_j - x_i) / |x_j - x_i|

A convolution that takes `edge_attr` reads the features of edges, and one that takes `edge_weight` their weights. Every
node starts with the mean of its edges' features, so a convolution that takes neither still depends on geometry.

Reference: Fey and Lenssen 2019, Fast Graph Representation Learning with PyTorch Geometric.
"""

import inspect
from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import MessagePassing, conv

from protgen.encoders.base import Encoder
from protgen.errors import ConfigError
from protgen.nn.edges import unit_vectors
from protgen.nn.graph import Wiring
from protgen.nn.modulation import Modulation
from protgen.nn.precision import full_precision
from protgen.nn.residue_graph import ResidueGraph, ResidueGraphReader
from protgen.nn.vectors import FrameReadout
from protgen.registry import nearest
from protgen.types import Conditioning, Features, State

HEADS = 4  # of convolutions with attention, where the options do not say


def find_convolution(name: str) -> type[MessagePassing]:
    """A class of `torch_geometric.nn`.

    Raises:
        ConfigError: if there is none of that name.
    """
    found = getattr(conv, name, None) if isinstance(name, str) else None
    if not (isinstance(found, type) and issubclass(found, MessagePassing)) or found is MessagePassing:
        raise ConfigError(f"conv is {name!r}, no convolution of torch_geometric.nn; {nearest(str(name), known())}")
    return found


def known() -> list[str]:
    """Names of the convolutions over one kind of nodes that read features or weights of edges."""
    found = []
    for name in conv.__all__:
        cls = getattr(conv, name)
        if isinstance(cls, type) and issubclass(cls, MessagePassing) and cls is not MessagePassing:
            taken = inspect.signature(cls.forward).parameters
            if {"edge_attr", "edge_weight"} & taken.keys():
                found.append(name)
    return sorted(found)


def build_convolution(name: str, dim: int, edge_dim: int, options: Mapping[str, Any]) -> MessagePassing:
    """A convolution from `dim` channels to `dim`, with features of edges where it takes them.

    Args:
        name: of the class.
        dim: channels of nodes.
        edge_dim: channels of edges.
        options: further keywords of the class.

    Raises:
        ConfigError: if the class does not take the options, or needs more than these widths.
    """
    cls = find_convolution(name)
    parameters = inspect.signature(cls.__init__).parameters
    heads = int(options.get("heads", HEADS))
    if "concat" in parameters and dim % heads:
        raise ConfigError(f"dim {dim} is not a multiple of the {heads} heads of {name}")
    joined = "concat" in parameters and options.get("concat", True)
    widths = {
        "in_channels": dim,
        "channels": dim if "in_channels" not in parameters else None,
        "out_channels": dim // heads if joined else dim,
        "edge_dim": edge_dim,
        "in_edge_channels": edge_dim,
        "dim": edge_dim if "channels" in parameters else None,  # CGConv's name of it
        "heads": heads,
        "nn": nn.Sequential(nn.Linear(dim, 2 * dim), nn.SiLU(), nn.Linear(2 * dim, dim)),
    }
    keywords = {key: value for key, value in widths.items() if key in parameters and value is not None}
    try:
        layer = cls(**{**keywords, **options})
        _check(layer, dim, edge_dim)
        return layer
    except (TypeError, ValueError, AssertionError, RuntimeError, IndexError) as error:
        reason = f"with options {dict(options)}: {error}"
        raise ConfigError(f"conv {name} cannot be built over {dim} channels {reason}") from error


def edge_arguments(layer: MessagePassing) -> list[str]:
    """What a convolution takes of edges."""
    taken = inspect.signature(layer.forward).parameters
    return [name for name in ("edge_attr", "edge_weight") if name in taken]


def _check(layer: MessagePassing, dim: int, edge_dim: int) -> None:
    """Runs a convolution over three nodes.

    Raises:
        ValueError: if it does not return `dim` channels for each.
    """
    edges = {"edge_attr": torch.ones(4, edge_dim), "edge_weight": torch.ones(4)}
    given = {name: edges[name] for name in edge_arguments(layer)}
    training = layer.training
    with torch.no_grad():
        result = layer.eval()(torch.ones(3, dim), torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), **given)
    layer.train(training)
    if not isinstance(result, Tensor) or result.shape != (3, dim):
        got = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        raise ValueError(f"it returns {got} for 3 nodes, not (3, {dim})")


class Block(nn.Module):
    """A convolution and a transition, each with a residual."""

    def __init__(self, layer: MessagePassing, dim: int) -> None:
        super().__init__()
        self.norm = Modulation(dim)
        self.conv = layer
        self.norm_transition = Modulation(dim)
        self.transition = nn.Sequential(nn.Linear(dim, 2 * dim), nn.SiLU(), nn.Linear(2 * dim, dim))
        self.given = edge_arguments(layer)

    def forward(self, x: Tensor, data: Data) -> Tensor:
        """Updated scalars of nodes."""
        edges = {name: data[name] for name in self.given}
        x = x + self.conv(self.norm(x, data.globals), data.edge_index, **edges)
        return x + self.transition(self.norm_transition(x, data.globals))


class PyGEncoder(Encoder):
    """A convolution of PyTorch Geometric, stacked.

    Args:
        residue_dim, global_dim: widths of the conditioning it reads.
        dim: width of residue scalars.
        blocks: number of blocks.
        edge_dim: width of edge features.
        neighbours: nearest in space that a residue sees beside its neighbours along the chain and a few far ones.
        causal: whether residue i sees residues j <= i alone.
        layer: a convolution and its options: {"conv": "GATv2Conv", "heads": 8}; a name alone is the same.

    Raises:
        ConfigError: if there is no such convolution, or it does not take the options.
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
        blocks: int = 5,
        edge_dim: int = 64,
        neighbours: int = 16,
        causal: bool = False,
        layer: str | Mapping[str, Any] = "GATv2Conv",
    ) -> None:
        super().__init__()
        self.scalar_dim = dim
        self.reader = ResidueGraphReader(
            residue_dim, global_dim, dim, edge_dim, Wiring(nearest=neighbours, causal=causal)
        )
        options = {"conv": layer} if isinstance(layer, str) else dict(layer)
        name = options.pop("conv", "GATv2Conv")
        self.first = nn.Linear(edge_dim, dim, bias=False)
        self.blocks = nn.ModuleList(Block(build_convolution(name, dim, edge_dim, options), dim) for _ in range(blocks))
        self.from_node = nn.Linear(dim, 8)
        self.from_edge = nn.Linear(edge_dim, 8, bias=False)
        self.readout = FrameReadout(dim, 8)

    def forward(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None
    ) -> Features:
        """Scalars (b, l, dim) and the three vectors of a frame head: displacement (Å), changes of the x and y axes."""
        given = self.reader(state, t, cond, x_pred)
        graph = given.graph
        data = Data(
            x=given.scalars + graph.mean(self.first(given.edges), given.weights),
            edge_index=graph.edge_index,
            edge_attr=given.edges * given.weights[:, None].to(given.edges.dtype),
            edge_weight=given.weights.to(given.edges.dtype),
            globals=given.globals,
        )
        x = cast(Tensor, data.x)
        for block in self.blocks:
            x = block(x, data)
        vectors = self.readout(x, self.vectors(x, given), given.frames[0], given.step)
        return Features(graph.dense(x), graph.dense(vectors))

    @full_precision
    def vectors(self, x: Tensor, given: ResidueGraph) -> Tensor:
        """Weighted means of edge directions, (n, 3, 8)."""
        dtype = self.from_node.weight.dtype
        factors = self.from_node(x.to(dtype))[given.graph.target] + self.from_edge(given.edges.to(dtype))
        direction, _ = unit_vectors(given.graph, given.frames[1])
        return given.graph.mean(direction[..., None] * factors[:, None].to(direction.dtype), given.weights)
