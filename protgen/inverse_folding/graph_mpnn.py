"""Our own sequence designer: a graph network that `benchmarks/fit_inverse_folder.py` trains on native chains.

It reads N, CA, C and O of each residue and its nearest ones, and gives letters one after the other in a random order,
as ProteinMPNN does. Its weights are read from a folder: `graph_mpnn:FOLDER` on the command line.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from protgen.errors import UsageError
from protgen.inverse_folding.base import DesignedSequence, SequenceModel, SequenceTask
from protgen.inverse_folding.network_input import atoms_for, drawn_letters, letters_of, numbering, seed_of
from protgen.structure.protein import Protein
from protgen.types import JSON

if TYPE_CHECKING:
    from protgen.inverse_folding.graph_network import GraphNetwork
    from protgen.inverse_folding.mpnn_network import Encoded

WEIGHTS, SHAPE = "network.safetensors", "network.json"
MISSING = "train them with benchmarks/fit_inverse_folder.py, or name another inverse folder"


class GraphMPNN(SequenceModel):
    """Our graph network.

    Args:
        folder: with its weights and sizes.
        temperature: of the letters; 0 takes the most likely.
        omit: letters that are never drawn.

    Raises:
        ConfigError: if the temperature or the letters make no sense.
    """

    name = "graph_mpnn"
    self_contained = False  # its weights are to be trained

    def __init__(self, folder: str | Path, temperature: float = 0.1, omit: str = "") -> None:
        self.folder = Path(folder)
        self.temperature, self.omit = drawn_letters(self.name, temperature, omit)
        self._network: GraphNetwork | None = None

    @classmethod
    def example(cls) -> dict[str, Any]:
        """A folder without weights."""
        return {"folder": "no-such-folder"}

    @property
    def settings(self) -> JSON:
        """Folder, a sum over its weights, temperature and letters left out."""
        return {
            "name": self.name,
            "weights": self.folder.name,
            "sum": self._sum(),
            "temperature": self.temperature,
            "omit": self.omit,
        }

    def at_temperature(self, temperature: float) -> Self:
        """The same weights at another temperature."""
        other = type(self)(self.folder, temperature, self.omit)
        other._network = self._network
        return other

    def prepare(self) -> None:
        """Look for the weights."""
        for name in (WEIGHTS, SHAPE):
            if not (self.folder / name).is_file():
                raise UsageError(f"{self.name}: {self.folder} has no {name}; {MISSING}")

    def propose(self, protein: Protein, n: int, seed: int, task: SequenceTask) -> list[DesignedSequence]:
        """Draw n sequences; given letters come first in the order of decoding."""
        from protgen.inverse_folding.letter_drawing import described, drawing_of
        from protgen.inverse_folding.mpnn_decoding import draw

        network, encoded = self.encode(protein)
        drawing = drawing_of(protein, task, self.temperature, self.omit)
        decoded = draw(network, encoded, drawing, [seed_of(seed, k) for k in range(n)])
        return described(protein, decoded, (drawing.given < 0).numpy())

    def score(self, protein: Protein, sequences: Sequence[str], seed: int) -> list[DesignedSequence]:
        """Log-probabilities in a random order of decoding, one of its own for each sequence."""
        import torch

        from protgen.inverse_folding.letter_drawing import Decoded, described, drawing_of, streams

        network, encoded = self.encode(protein)
        drawing = drawing_of(protein, SequenceTask(), self.temperature, self.omit)
        letters = torch.stack([letters_of(protein, sequence) for sequence in sequences])
        log_probs = []
        for k, sequence in enumerate(letters):
            rank = streams(drawing, seed_of(seed, k))[0].argsort()
            with torch.no_grad():
                logits = network(encoded, sequence, rank[encoded.neighbours] < rank[:, None])
            log_probs.append(logits.log_softmax(-1))
        return described(protein, Decoded(letters, torch.stack(log_probs)), np.ones(protein.length, dtype=bool))

    def encode(self, protein: Protein) -> "tuple[GraphNetwork, Encoded]":
        """The network, and what it makes of a backbone.

        Raises:
            ToolError: if a residue lacks N, CA or C.
            UsageError: if the weights are missing.
        """
        import torch

        from protgen.inverse_folding.mpnn_features import Chains

        atoms = torch.from_numpy(atoms_for(protein, self.name)).float()
        numbers, chains = numbering(protein)
        network = self.network()
        with torch.no_grad():
            return network, network.encode(atoms, Chains(torch.from_numpy(numbers), torch.from_numpy(chains)))

    def network(self) -> "GraphNetwork":
        """The network, loaded when it is first asked for.

        Raises:
            UsageError: if its weights are missing, or are others.
        """
        if self._network is None:
            import json

            from safetensors import SafetensorError
            from safetensors.torch import load

            from protgen.inverse_folding.graph_network import GraphNetwork, GraphShape

            self.prepare()
            try:
                facts = json.loads((self.folder / SHAPE).read_text(encoding="utf-8"))
                network = GraphNetwork(GraphShape(**facts["shape"]))
                weights = load((self.folder / WEIGHTS).read_bytes())
                network.load_state_dict({name: value.float() for name, value in weights.items()})
            except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
                said = " ".join(str(error).split())[:200]
                raise UsageError(f"{self.name}: {self.folder}: weights that do not fit ({said}); {MISSING}") from None
            self._network = network.eval().requires_grad_(False)
        return self._network

    def _sum(self) -> str | None:
        """Of the file of weights: the same folder may hold others later."""
        import hashlib

        path = self.folder / WEIGHTS
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else None
