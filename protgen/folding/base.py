"""The interface of structure prediction: from a sequence to a structure and how sure the predictor is of it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
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
        plddt: (l,) predicted lDDT of each residue, 0 to 100; None where the predictor gives none.
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
        several_chains: whether it folds several chains together.
        relative: whether its refolds are compared among designs and natives alone, because they are too far from
            nature for the field's thresholds (scRMSD < 2 Å). Figures of such a judge have names of their own.
    """

    name: ClassVar[str]
    self_contained: ClassVar[bool] = True
    several_chains: ClassVar[bool] = True
    relative: ClassVar[bool] = False

    @classmethod
    def example(cls) -> dict[str, Any]:
        """Keywords of an instance for tests."""
        return {}

    @property
    @abstractmethod
    def settings(self) -> JSON:
        """All settings, other than the sequence, that its results depend on: the cache key, and a name in reports."""

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


class AlignmentPredictor(StructurePredictor):
    """A structure predictor that folds one sequence with the help of others that should have the same structure.

    Attributes:
        depth: how many sequences of a backbone it wants.
        diversity: temperature at which they are best designed.
    """

    depth: ClassVar[int] = 48
    diversity: ClassVar[float] = 0.3

    @property
    @abstractmethod
    def reads_alignments(self) -> bool:
        """Whether this instance uses more than the first sequence."""

    @abstractmethod
    def fold_alignment(self, sequences: Sequence[str]) -> Folded:
        """Predict the structure of the first sequence.

        Args:
            sequences: of one length.

        Raises:
            ToolError: if they cannot be folded.
            UsageError: if nothing can.
        """

    def fold(self, sequence: str) -> Folded:
        """Predict the structure of one sequence without others."""
        return self.fold_alignment([sequence])
