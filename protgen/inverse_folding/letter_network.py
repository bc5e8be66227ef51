"""What decoding asks of a network that gives letters to residues one after the other."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from protgen.inverse_folding.mpnn_features import Chains


@dataclass(frozen=True)
class Encoded:
    """A backbone after the encoder.

    Attributes:
        nodes: (l, d).
        edges: (l, k, d).
        neighbours: (l, k) of each residue, nearest first, itself among them.
    """

    nodes: Float[Tensor, "l d"]
    edges: Float[Tensor, "l k d"]
    neighbours: Int[Tensor, "l k"]


class LetterLayer(nn.Module, ABC):
    """A layer of a decoder, the first linear layer of whose messages is split into its parts."""

    @abstractmethod
    def of_edges(self, edges: Float[Tensor, "l k d"]) -> Float[Tensor, "l k d"]:
        """The part that edges alone decide."""

    @abstractmethod
    def of_letters(self, embedded: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The part that a neighbour's letter decides."""

    @abstractmethod
    def of_neighbours(self, nodes: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The part that a neighbour's node decides."""

    @abstractmethod
    def forward(self, node: Float[Tensor, "n d"], first: Float[Tensor, "n k d"]) -> Float[Tensor, "n d"]:
        """A node after the layer.

        Args:
            node: of each residue.
            first: what edges and neighbours give to the first linear layer.
        """


class LetterNetwork(nn.Module, ABC):
    """An encoder of backbones with a decoder of letters."""

    @property
    @abstractmethod
    def decoders(self) -> list[LetterLayer]:
        """The layers of the decoder."""

    @abstractmethod
    def embed(self, letters: Int[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        """Letters as the decoder reads them."""

    @abstractmethod
    def logits(self, nodes: Float[Tensor, "*n d"]) -> Float[Tensor, "*n 21"]:
        """Logits of decoded nodes."""

    @abstractmethod
    def encode(self, atoms: Float[Tensor, "l 4 3"], chains: Chains) -> Encoded:
        """Encode one backbone.

        Args:
            atoms: N, CA, C, O in Å, all that the network reads of them known.
            chains: where the residues are.
        """

    def forward(
        self, encoded: Encoded, letters: Int[Tensor, " l"], before: Bool[Tensor, "l k"]
    ) -> Float[Tensor, "l 21"]:
        """Logits of all residues at once, each given the letters of those that were decoded before it.

        Args:
            encoded: the backbone.
            letters: by number.
            before: whether a neighbour was decoded before the residue.
        """
        n = len(letters)
        seen_as = torch.where(before, encoded.neighbours + n, encoded.neighbours)
        embedded, nodes = self.embed(letters), encoded.nodes
        for layer in self.decoders:
            known = layer.of_neighbours(nodes) + layer.of_letters(embedded)
            both = torch.cat([layer.of_neighbours(encoded.nodes), known])
            nodes = layer(nodes, layer.of_edges(encoded.edges) + taken(both, seen_as))
        return self.logits(nodes)


def taken(rows: Float[Tensor, "n d"], index: Int[Tensor, "l k"]) -> Float[Tensor, "l k d"]:
    """Rows of a matrix; on a CPU the backward pass of this is twice as fast as that of indexing."""
    return rows.index_select(0, index.flatten()).view(*index.shape, -1)
