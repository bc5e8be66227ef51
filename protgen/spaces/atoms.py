"""What a space of protein backbones offers beside the interface of spaces: its atoms."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from protgen.types import State


class BackboneAtoms(ABC):
    """A space whose points are backbones, whatever their coordinates: tested with isinstance where atoms are needed."""

    @abstractmethod
    def observe(self, state: State) -> Float[Tensor, "b l 4 3"]:
        """Backbone atoms N, CA, C, O in Å, differentiable."""
