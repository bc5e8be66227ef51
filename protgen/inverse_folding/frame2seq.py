"""Frame2seq with its published weights: a second sequence designer, of another kind than ProteinMPNN.

Three networks give probabilities of all letters in one pass, and each letter is drawn by itself. So its sequences and
scores are independent of the order of decoding; letters of one sequence do not see one another. Single chains.

The weights (MIT) come with the package frame2seq, of which nothing but the files of weights is read: it brings others
along that protgen does not need, so install it by `pip install --no-deps frame2seq`.

References: Akpinaroglu et al. 2023, bioRxiv 2023.12.15.571823.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np

from protgen.errors import ToolError
from protgen.folding.weights_file import read_weights, weights_file
from protgen.inverse_folding.base import DesignedSequence, SequenceModel, SequenceTask
from protgen.inverse_folding.network_input import (
    LETTERS,
    UNKNOWN,
    atoms_for,
    drawn_letters,
    letters_of,
    seed_of,
)
from protgen.structure.ideal import place_atom
from protgen.structure.protein import Protein
from protgen.types import JSON

if TYPE_CHECKING:
    from torch import Tensor

    from protgen.inverse_folding.frame2seq_network import Frame2seqNetwork

PACKAGE = "frame2seq"
MISSING = "frame2seq: the package with its weights is missing; pip install --no-deps frame2seq"
MODELS = 3  # whose logits are averaged
CB = (1.522, 1.927, -2.143)  # Å, angle N-CA-CB and torsion C-N-CA-CB in radians, as the weights know it


class Frame2seq(SequenceModel):
    """Frame2seq's three networks.

    Args:
        temperature: of the letters; 0 takes the most likely.
        omit: letters that are never drawn.

    Raises:
        ConfigError: if an argument makes no sense.
    """

    name = "frame2seq"
    self_contained = False  # its weights are a package of their own

    def __init__(self, temperature: float = 0.1, omit: str = "") -> None:
        self.temperature, self.omit = drawn_letters(self.name, temperature, omit)
        self._networks: list[Frame2seqNetwork] = []

    @property
    def settings(self) -> JSON:
        """Temperature and letters left out."""
        return {"name": self.name, "temperature": self.temperature, "omit": self.omit}

    def at_temperature(self, temperature: float) -> Self:
        """The same weights at another temperature."""
        other = type(self)(temperature, self.omit)
        other._networks = self._networks
        return other

    def prepare(self) -> None:
        """Look for the package of weights."""
        weights_file(PACKAGE, file_of(1), MISSING)

    def propose(self, protein: Protein, n: int, seed: int, task: SequenceTask) -> list[DesignedSequence]:
        """Draw n sequences, each letter by itself; tied residues share one, drawn by the mean of their logits."""
        import torch

        from protgen.inverse_folding.letter_drawing import Decoded, described, drawing_of, pick

        drawing = drawing_of(protein, task, self.temperature, self.omit)
        logits = self.logits(protein, drawing.given)
        present = (drawing.groups >= 0)[..., None]
        mean = (logits[drawing.groups.clamp(min=0)] * present).sum(1) / present.sum(1)
        letters = torch.zeros(n, protein.length, dtype=torch.long)
        given = drawing.given[drawing.groups[:, 0]]
        for k in range(n):
            generator = torch.Generator().manual_seed(seed_of(seed, k))
            drawn = pick(mean, drawing, torch.rand(len(mean), generator=generator, dtype=torch.float64))
            chosen = torch.where(given >= 0, given, drawn)[:, None].expand_as(drawing.groups)
            letters[k, drawing.groups[present[..., 0]]] = chosen[present[..., 0]]
        log_probs = logits.log_softmax(-1).expand(n, -1, -1)
        return described(protein, Decoded(letters, log_probs), (drawing.given < 0).numpy())

    def score(self, protein: Protein, sequences: Sequence[str], seed: int) -> list[DesignedSequence]:
        """Log-probabilities of the letters by the backbone alone; the seed is not used."""
        import torch

        from protgen.inverse_folding.letter_drawing import Decoded, described

        letters = torch.stack([letters_of(protein, sequence) for sequence in sequences])
        logits = self.logits(protein, torch.full((protein.length,), -1))
        log_probs = logits.log_softmax(-1).expand(len(letters), -1, -1)
        return described(protein, Decoded(letters, log_probs), np.ones(protein.length, dtype=bool))

    def logits(self, protein: Protein, given: "Tensor") -> "Tensor":
        """(l, 21) mean logits of the networks.

        Args:
            protein: the backbone.
            given: (l,) letters by number, -1 where one is to be designed.

        Raises:
            ToolError: if the backbone has several chains, or lacks atoms.
        """
        import torch

        if len(protein.chains) > 1:
            raise ToolError(
                f"frame2seq: {protein.name} has {len(protein.chains)} chains, and it reads one; use another"
            )
        atoms = torch.from_numpy(atoms_with_cb(protein)).float()
        letters = torch.nn.functional.one_hot(torch.where(given < 0, UNKNOWN, given), len(LETTERS)).float()
        with torch.no_grad():
            return torch.stack([network(atoms, letters) for network in self.networks()]).mean(0)

    def networks(self) -> "list[Frame2seqNetwork]":
        """The networks, loaded when they are first asked for.

        Raises:
            UsageError: if their weights are missing, or are others.
        """
        if not self._networks:
            from protgen.inverse_folding.frame2seq_network import network_of

            for number in range(1, MODELS + 1):
                path = weights_file(PACKAGE, file_of(number), MISSING)
                content = read_weights(path, str(path))
                self._networks.append(network_of(content["state_dict"]))
        return self._networks


def file_of(number: int) -> str:
    """The path of a network's weights in the package."""
    return f"frame2seq/trained_models/model{number}.ckpt"


def atoms_with_cb(protein: Protein) -> np.ndarray:
    """(l, 4, 3) Å; N, CA, C and CB placed by ideal geometry.

    Raises:
        ToolError: if an atom is missing.
    """
    n, ca, c = atoms_for(protein, "frame2seq")[:, :3].transpose(1, 0, 2)
    return np.stack([n, ca, c, place_atom(c, n, ca, *CB)], 1)
