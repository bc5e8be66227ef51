"""Our own sequence designer: a graph network that `benchmarks/fit_inverse_folder.py` trains on native chains.

It reads N, CA, C and O of each residue and its nearest ones, and gives letters one after the other in a random order,
as ProteinMPNN does. Weights come with the package; `graph_mpnn:FOLDER` on the command line reads others.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Self

from protgen.documents import MAX_SMALL, read_json
from protgen.errors import DocumentError, UsageError
from protgen.inverse_folding.network_input import drawn_letters
from protgen.inverse_folding.ordered_model import OrderedModel
from protgen.types import JSON

if TYPE_CHECKING:
    from protgen.inverse_folding.graph_network import GraphNetwork

WEIGHTS, SHAPE = "network.safetensors", "network.json"
OWN = Path(__file__).parent / "graph_mpnn_weights"
MISSING = "train them with benchmarks/fit_inverse_folder.py, or name another inverse folder"


class GraphMPNN(OrderedModel):
    """Our graph network.

    Args:
        folder: with its weights and sizes; those of the package by default.
        temperature: of the letters; 0 takes the most likely.
        omit: letters that are never drawn.

    Raises:
        ConfigError: if the temperature or the letters make no sense.
    """

    name = "graph_mpnn"

    def __init__(self, folder: str | Path = OWN, temperature: float = 0.1, omit: str = "") -> None:
        self.folder = Path(folder)
        self.temperature, self.omit = drawn_letters(self.name, temperature, omit)
        self._network: GraphNetwork | None = None

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

    def network(self) -> "GraphNetwork":
        """The network, loaded when it is first asked for.

        Raises:
            UsageError: if its weights are missing, or are others.
        """
        if self._network is None:
            from safetensors import SafetensorError
            from safetensors.torch import load

            from protgen.inverse_folding.graph_network import GraphNetwork, GraphShape

            self.prepare()
            try:
                facts = read_json(self.folder / SHAPE, MAX_SMALL)
                network = GraphNetwork(GraphShape(**facts["shape"]))
                weights = load((self.folder / WEIGHTS).read_bytes())
                network.load_state_dict({name: value.float() for name, value in weights.items()})
            except (SafetensorError, DocumentError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
                said = " ".join(str(error).split())[:200]
                raise UsageError(f"{self.name}: {self.folder}: weights that do not fit ({said}); {MISSING}") from None
            self._network = network.eval().requires_grad_(False)
        return self._network

    def _sum(self) -> str | None:
        """Of the file of weights: the same folder may hold others later."""
        import hashlib

        path = self.folder / WEIGHTS
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else None
