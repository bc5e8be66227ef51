"""Our graph network that gives letters to a backbone: an encoder of its residues, and a decoder of any order.

Messages go from the k nearest residues. Their first linear layer is one for each part (own node, neighbour, edge), so
that nodes are transformed once and not once for each edge, and their last one is applied to the mean over neighbours.
A residue that is decoded sees the letters of those that were decoded before it; in what order is free.

References: the method is that of message passing with an order-agnostic decoder, Ingraham et al. 2019, NeurIPS, and
Dauparas et al. 2022, Science 378, 49; features, layers and weights are our own.
"""

from dataclasses import asdict, dataclass

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from protgen.errors import ConfigError
from protgen.inverse_folding.graph_features import EDGE_INPUTS, NODE_INPUTS, edge_inputs, node_inputs
from protgen.inverse_folding.letter_network import Encoded, LetterLayer, LetterNetwork, taken
from protgen.inverse_folding.mpnn_features import PLACES, Chains, nearest, places_of
from protgen.inverse_folding.network_input import LETTERS
from protgen.types import JSON

MOST = {"dim": 4096, "k": 1024, "encoder_layers": 100, "decoder_layers": 100}  # sizes that a file may ask for


@dataclass(frozen=True)
class GraphShape:
    """Sizes of a network.

    Attributes:
        dim: width of nodes and edges.
        k: neighbours of a residue, itself among them.
        encoder_layers: of the encoder.
        decoder_layers: of the decoder.

    Raises:
        ConfigError: if one is no whole number, or too small or large to be a network.
    """

    dim: int = 128
    k: int = 24
    encoder_layers: int = 3
    decoder_layers: int = 3

    def __post_init__(self) -> None:
        for name, most in MOST.items():
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise ConfigError(f"{name} is {str(value)[:40]}, and a whole number from 1 to {most:,} is asked for")

    def to_json(self) -> JSON:
        """As keywords."""
        return asdict(self)


class Transition(nn.Module):
    """Two linear layers about a GELU, a skip and a norm."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.widen, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, nodes: Float[Tensor, "*n d"], message: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """Nodes after a message."""
        nodes = self.norm1(nodes + self.dropout(message))
        return self.norm2(nodes + self.dropout(self.narrow(F.gelu(self.widen(nodes)))))


class GraphEncoderLayer(nn.Module):
    """Messages from neighbours to nodes, then from both ends to the edges."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.own, self.mid, self.out = (nn.Linear(dim, dim) for _ in range(3))
        self.other, self.edge = (nn.Linear(dim, dim, bias=False) for _ in range(2))
        self.transition = Transition(dim, dropout)
        self.edge_own, self.edge_out = (nn.Linear(dim, dim) for _ in range(2))
        self.edge_other, self.edge_edge = (nn.Linear(dim, dim, bias=False) for _ in range(2))

    def forward(
        self, nodes: Float[Tensor, "l d"], edges: Float[Tensor, "l k d"], neighbours: Int[Tensor, "l k"]
    ) -> tuple[Float[Tensor, "l d"], Float[Tensor, "l k d"]]:
        """Nodes and edges after the layer."""
        first = self.edge(edges) + taken(self.other(nodes), neighbours) + self.own(nodes)[:, None]
        message = F.gelu(self.mid(F.gelu(first))).mean(-2)
        nodes = self.transition(nodes, self.out(message))
        first = self.edge_edge(edges) + taken(self.edge_other(nodes), neighbours) + self.edge_own(nodes)[:, None]
        return nodes, edges + self.edge_out(F.gelu(first))


class GraphDecoderLayer(LetterLayer):
    """Messages to a residue from those that it may see."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.own, self.mid, self.out = (nn.Linear(dim, dim) for _ in range(3))
        self.other, self.edge, self.letter = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.transition = Transition(dim, dropout)

    def of_edges(self, edges: Float[Tensor, "l k d"]) -> Float[Tensor, "l k d"]:
        """The part of the first linear layer that edges alone decide."""
        return self.edge(edges)

    def of_letters(self, embedded: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The part that a neighbour's letter decides."""
        return self.letter(embedded)

    def of_neighbours(self, nodes: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The part that a neighbour's node decides."""
        return self.other(nodes)

    def forward(self, node: Float[Tensor, "n d"], first: Float[Tensor, "n k d"]) -> Float[Tensor, "n d"]:
        """A node after the layer.

        Args:
            node: of each residue.
            first: what edges and neighbours give to the first linear layer.
        """
        message = F.gelu(self.mid(F.gelu(first + self.own(node)[:, None]))).mean(-2)
        return self.transition(node, self.out(message))


class GraphNetwork(LetterNetwork):
    """Encoder and decoder.

    Args:
        shape: sizes.
        dropout: of messages while training.
    """

    def __init__(self, shape: GraphShape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.node_in = nn.Linear(NODE_INPUTS, shape.dim)
        self.edge_in = nn.Linear(EDGE_INPUTS, shape.dim)
        self.place_in = nn.Embedding(PLACES, shape.dim)
        self.edge_norm = nn.LayerNorm(shape.dim)
        self.letter_in = nn.Embedding(len(LETTERS), shape.dim)
        self.encoder = nn.ModuleList([GraphEncoderLayer(shape.dim, dropout) for _ in range(shape.encoder_layers)])
        self.decoder = nn.ModuleList([GraphDecoderLayer(shape.dim, dropout) for _ in range(shape.decoder_layers)])
        self.letter_out = nn.Linear(shape.dim, len(LETTERS))

    @property
    def decoders(self) -> list[LetterLayer]:
        """The layers of the decoder."""
        return [layer for layer in self.decoder if isinstance(layer, LetterLayer)]

    def embed(self, letters: Int[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        """Letters as the decoder reads them."""
        return self.letter_in(letters)

    def logits(self, nodes: Float[Tensor, "*n d"]) -> Float[Tensor, "*n 21"]:
        """Logits of decoded nodes."""
        return self.letter_out(nodes)

    def encode(
        self, atoms: Float[Tensor, "l 4 3"], chains: Chains, neighbours: Int[Tensor, "l k"] | None = None
    ) -> Encoded:
        """Encode a backbone, or several of which each has chains of its own.

        Args:
            atoms: N, CA, C, O in Å, all of them known.
            chains: where the residues are.
            neighbours: of each residue, itself first; None to look for the nearest.
        """
        if neighbours is None:
            neighbours = nearest(atoms[:, 1], self.shape.k)
        nodes = self.node_in(node_inputs(atoms, chains))
        edges = self.edge_in(edge_inputs(atoms, neighbours))  # bfloat16 where that is asked of linear layers
        edges = self.edge_norm(edges + self.place_in(places_of(chains, neighbours)).to(edges.dtype))
        for layer in self.encoder:
            nodes, edges = layer(nodes, edges, neighbours)
        return Encoded(nodes, edges, neighbours)
