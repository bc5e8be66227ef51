"""What decoding asks of a network that gives letters to residues one after the other."""

from abc import ABC, abstractmethod

from jaxtyping import Float, Int
from torch import Tensor, nn


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
