"""The network of ProteinMPNN: an encoder of the backbone, and a decoder that goes from residue to residue.

The decoder's messages begin with a linear layer over [node, sequence, edge, neighbour]. It is split here into its
parts: that of the edge is computed once a backbone, that of a neighbour once when the neighbour is decoded, and the
last linear layer of a message is applied after the sum over neighbours. The result is the published one up to rounding.

References: Dauparas et al. 2022, Science 378, 49. Names of parameters are those of its code (MIT), whose weights fit.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from protgen.errors import UsageError
from protgen.inverse_folding.letter_network import Encoded, LetterLayer, LetterNetwork
from protgen.inverse_folding.mpnn_features import Chains, EdgeFeatures
from protgen.inverse_folding.network_input import LETTERS

DIM = 128
SCALE = 30.0  # sums over neighbours are divided by it
UNUSED = ("W_v.", "features.node_embedding.", "features.norm_nodes.")  # in the files of weights, and read by nothing


class FeedForward(nn.Module):
    """Two linear layers about a GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.W_in = nn.Linear(DIM, 4 * DIM)
        self.W_out = nn.Linear(4 * DIM, DIM)

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """Transform each row."""
        return self.W_out(F.gelu(self.W_in(x)))


class EncoderLayer(nn.Module):
    """Messages from neighbours to nodes, then to the edges."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(DIM) for _ in range(3))
        self.W1, self.W2, self.W3 = nn.Linear(3 * DIM, DIM), nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)
        self.W11, self.W12, self.W13 = nn.Linear(3 * DIM, DIM), nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)
        self.dense = FeedForward()

    def forward(
        self, nodes: Float[Tensor, "l d"], edges: Float[Tensor, "l k d"], neighbours: Int[Tensor, "l k"]
    ) -> tuple[Float[Tensor, "l d"], Float[Tensor, "l k d"]]:
        """Nodes and edges after the layer."""

        def seen() -> Tensor:
            return torch.cat([nodes[:, None].expand_as(edges), edges, nodes[neighbours]], -1)

        message = self.W3(F.gelu(self.W2(F.gelu(self.W1(seen())))))
        nodes = self.norm1(nodes + message.sum(-2) / SCALE)
        nodes = self.norm2(nodes + self.dense(nodes))
        return nodes, self.norm3(edges + self.W13(F.gelu(self.W12(F.gelu(self.W11(seen()))))))


class DecoderLayer(LetterLayer):
    """Messages to one residue of each sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.W1, self.W2, self.W3 = nn.Linear(4 * DIM, DIM), nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)
        self.dense = FeedForward()

    def of_edges(self, edges: Float[Tensor, "l k d"]) -> Float[Tensor, "l k d"]:
        """The part of the first linear layer that edges alone decide."""
        return F.linear(edges, self.W1.weight[:, DIM : 2 * DIM], self.W1.bias)

    def of_letters(self, embedded: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The part that a neighbour's letter decides."""
        return F.linear(embedded, self.W1.weight[:, 2 * DIM : 3 * DIM])

    def of_neighbours(self, nodes: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The part that a neighbour's node decides."""
        return F.linear(nodes, self.W1.weight[:, 3 * DIM :])

    def forward(self, node: Float[Tensor, "n d"], first: Float[Tensor, "n k d"]) -> Float[Tensor, "n d"]:
        """A node after the layer.

        Args:
            node: of one residue of each sequence.
            first: what edges and neighbours give to the first linear layer.
        """
        own = F.linear(node, self.W1.weight[:, :DIM])[:, None]
        message = F.gelu(self.W2(F.gelu(first + own))).sum(-2)
        message = F.linear(message, self.W3.weight) + first.shape[-2] * self.W3.bias
        node = self.norm1(node + message / SCALE)
        return self.norm2(node + self.dense(node))


class ProteinMPNNNetwork(LetterNetwork):
    """Encoder and decoder with three layers each.

    Args:
        k: neighbours of a residue.
        ca_only: whether CA atoms alone are read.
    """

    def __init__(self, k: int = 48, ca_only: bool = False) -> None:
        super().__init__()
        self.features = EdgeFeatures(k, ca_only)
        self.W_e = nn.Linear(DIM, DIM)
        self.W_s = nn.Embedding(len(LETTERS), DIM)
        self.encoder_layers = nn.ModuleList([EncoderLayer() for _ in range(3)])
        self.decoder_layers = nn.ModuleList([DecoderLayer() for _ in range(3)])
        self.W_out = nn.Linear(DIM, len(LETTERS))

    @property
    def decoders(self) -> list[LetterLayer]:
        """The layers of the decoder."""
        return [layer for layer in self.decoder_layers if isinstance(layer, LetterLayer)]

    def embed(self, letters: Int[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        """Letters as the decoder reads them."""
        return self.W_s(letters)

    def logits(self, nodes: Float[Tensor, "*n d"]) -> Float[Tensor, "*n 21"]:
        """Logits of decoded nodes."""
        return self.W_out(nodes)

    def encode(self, atoms: Float[Tensor, "l 4 3"], chains: Chains) -> Encoded:
        """Encode one backbone.

        Args:
            atoms: N, CA, C, O in Å, all of them known (of the network for CA atoms the CA).
            chains: where the residues are.
        """
        edges, neighbours = self.features(atoms, chains)
        edges = self.W_e(edges)
        nodes = torch.zeros_like(edges[:, 0])
        for layer in self.encoder_layers:
            nodes, edges = layer(nodes, edges, neighbours)
        return Encoded(nodes, edges, neighbours)


def network_of(weights: Mapping[str, Tensor], k: int, ca_only: bool) -> ProteinMPNNNetwork:
    """The network with published weights, ready for use.

    Args:
        weights: parameters by the names of the published code.
        k: neighbours, as the file of weights says.
        ca_only: whether these are the weights for CA atoms.

    Raises:
        UsageError: if they are those of another network.
    """
    network = ProteinMPNNNetwork(k, ca_only)
    kept = {name: value for name, value in weights.items() if not name.startswith(UNUSED)}
    try:
        network.load_state_dict(kept)
    except RuntimeError as error:
        raise UsageError(f"proteinmpnn: its weights do not fit: {' '.join(str(error).split())[:200]}") from None
    return network.eval().requires_grad_(False)
