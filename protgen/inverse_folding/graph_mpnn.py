"""Our own sequence designer: a graph network that `benchmarks/fit_inverse_folder.py` trains on native chains.

After that it learned from ProteinMPNN (MIT) what to think of designs, which no native resembles, with natives beside
(`benchmarks/distil_inverse_folder.py`): 4,000 steps and then 1,500, 80 CPU minutes in all.

It reads N, CA, C and O of each residue and its nearest ones, and gives letters one after the other in a random order,
as ProteinMPNN does. Weights come with the package; `graph_mpnn:FOLDER` on the command line reads others.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Self

from protgen.documents import MAX_SMALL, read_json
from protgen.errors import ProtgenError, UsageError
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

            self.prepare()
            try:
                network = read_network(self.folder / WEIGHTS, self.folder / SHAPE)
            except (ProtgenError, SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
                said = " ".join(str(error).split())[:200]
                raise UsageError(f"{self.name}: {self.folder}: weights that do not fit ({said}); {MISSING}") from None
            self._network = network.eval().requires_grad_(False)
        return self._network

    def _sum(self) -> str | None:
        """Of the file of weights: the same folder may hold others later."""
        import hashlib

        path = self.folder / WEIGHTS
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else None


def read_network(weights: Path, shape: Path) -> "GraphNetwork":
    """The network of a file of weights and one of sizes, of which nothing is allocated before they fit.

    Raises:
        ProtgenError: if a file is missing or damaged, or the sizes are none of a network.
        ValueError: if tensors are missing, others, or not finite.
    """
    import torch
    from safetensors.torch import load_file

    from protgen.inverse_folding.graph_network import GraphNetwork, GraphShape
    from protgen.tensor_header import kinds_of, read_header, type_name

    facts = read_json(shape, MAX_SMALL)
    with torch.device("meta"):
        network = GraphNetwork(GraphShape(**facts["shape"]))
    own, held = kinds_of(network.state_dict()), read_header(weights)
    for name in sorted(own.keys() | held.keys()):
        if name not in own or name not in held:
            raise ValueError(f"{name[:60]} is missing in the {'sizes' if name in held else 'weights'}")
        if held[name].shape != own[name].shape or not held[name].dtype.is_floating_point:
            raise ValueError(f"{name} holds {type_name(held[name].dtype)} of {held[name].shape}, not {own[name].shape}")
    tensors = {name: value.float() for name, value in load_file(weights).items()}
    wrong = next((name for name, value in tensors.items() if not bool(value.isfinite().all())), None)
    if wrong is not None:
        raise ValueError(f"{wrong} has a value that is not finite")
    network.load_state_dict(tensors, assign=True)
    return network
