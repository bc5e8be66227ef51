"""A sequence designer whose network gives letters one after the other, in an order of its own for each sequence."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from protgen.inverse_folding.base import DesignedSequence, SequenceModel, SequenceTask
from protgen.inverse_folding.network_input import atoms_for, letters_of, numbering, seed_of
from protgen.structure.protein import Protein

if TYPE_CHECKING:
    from protgen.inverse_folding.letter_network import Encoded, LetterNetwork


class OrderedModel(SequenceModel):
    """A network of letters about which a tool is built.

    Attributes:
        temperature: of the letters; 0 takes the most likely.
        omit: letters that are never drawn.
        ca_only: whether the network reads CA atoms alone.
    """

    temperature: float
    omit: str
    ca_only: bool = False

    @abstractmethod
    def network(self) -> "LetterNetwork":
        """The network, loaded when it is first asked for.

        Raises:
            UsageError: if its weights are missing, or are others.
        """

    def propose(self, protein: Protein, n: int, seed: int, task: SequenceTask) -> list[DesignedSequence]:
        """Draw n sequences; given letters come first in the order of decoding, as in ProteinMPNN's published code."""
        from protgen.inverse_folding.letter_drawing import described, drawing_of
        from protgen.inverse_folding.mpnn_decoding import draw

        network, encoded = self.encode(protein)
        drawing = drawing_of(protein, task, self.temperature, self.omit)
        decoded = draw(network, encoded, drawing, [seed_of(seed, k) for k in range(n)])
        return described(protein, decoded, (drawing.given < 0).numpy())

    def score(self, protein: Protein, sequences: Sequence[str], seed: int) -> list[DesignedSequence]:
        """Log-probabilities in a random order of decoding, one of its own for each sequence."""
        import torch

        from protgen.inverse_folding.letter_drawing import described, drawing_of, streams
        from protgen.inverse_folding.mpnn_decoding import score

        network, encoded = self.encode(protein)
        letters = torch.stack([letters_of(protein, sequence) for sequence in sequences])
        drawing = drawing_of(protein, SequenceTask(), self.temperature, self.omit)
        order = torch.stack([streams(drawing, seed_of(seed, k))[0] for k in range(len(sequences))])
        return described(protein, score(network, encoded, letters, order), np.ones(protein.length, dtype=bool))

    def encode(self, protein: Protein) -> "tuple[LetterNetwork, Encoded]":
        """The network, and what it makes of a backbone.

        Raises:
            ToolError: if a residue lacks an atom that the network reads.
            UsageError: if the weights are missing.
        """
        import torch

        from protgen.inverse_folding.mpnn_features import Chains

        atoms = torch.from_numpy(atoms_for(protein, self.name, ca_only=self.ca_only)).float()
        numbers, chains = numbering(protein)
        network = self.network()
        with torch.no_grad():
            return network, network.encode(atoms, Chains(torch.from_numpy(numbers), torch.from_numpy(chains)))
