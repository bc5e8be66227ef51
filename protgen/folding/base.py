"""The interface of structure prediction: from a sequence to a structure and how sure the predictor is of it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from protgen.structure.protein import Protein
from protgen.types import JSON

CHAIN = ":"  # between the chains of a sequence, as ESMFold and ColabFold write it


@dataclass(frozen=True)
class Folded:
    """A predicted structure.

    Attributes:
        protein: one residue for each letter of the sequence, chains in their order.
        plddt: (l,) predicted lDDT of each residue, 0 to 100; None where the predictor does not tell.
    """

    protein: Protein
    plddt: np.ndarray | None = None


class StructurePredictor(ABC):
    """A structure predictor.

    What a subclass declares here is what evaluations and contract tests need to know of it. `NAME:ARGUMENT` gives the
    first argument of its constructor.

    Attributes:
        name: registry name, the same as the module's or the entry point's.
        self_contained: whether it works with what is installed: no program, network or weights to be fetched.
    """

    name: ClassVar[str]
    self_contained: ClassVar[bool] = True

    @classmethod
    def example(cls) -> dict[str, Any]:
        """Keywords of an instance for tests."""
        return {}

    @property
    @abstractmethod
    def settings(self) -> JSON:
        """All that decides its results beside the sequence: results are cached under it, and reports name it."""

    @abstractmethod
    def prepare(self) -> None:
        """Check what can be checked without computing, before hours of other work.

        Raises:
            UsageError: if it cannot work here, for instance because a package is missing.
        """

    @abstractmethod
    def fold(self, sequence: str) -> Folded:
        """Predict one structure.

        Args:
            sequence: one letter a residue, chains joined by ":".

        Raises:
            ToolError: if this sequence cannot be folded; others may well be.
            UsageError: if nothing can, for instance because a checkpoint is missing.
        """
