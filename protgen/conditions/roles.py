"""The roles of a condition in generation, other than energy and learned features: interfaces it derives from.

Generation asks for these and for no concrete class, so a condition from outside takes part in the same way.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from torch import Generator


@dataclass(frozen=True)
class Anchor:
    """Residues of a design whose place in the frame of a file is known.

    Attributes:
        indices: residues of the design, from 0.
        xyz: (k, 3, 3) N, CA, C of those residues in the frame, Å.
    """

    indices: tuple[int, ...]
    xyz: np.ndarray


@dataclass(frozen=True)
class MotifResidue:
    """Where one residue of a motif is in a design.

    Attributes:
        index: position in the design, from 0.
        chain, number, insertion: chain, residue number and insertion code in the motif file.
    """

    index: int
    chain: str
    number: int
    insertion: str = ""


class Anchored(ABC):
    """A condition that ties a design to the frame of a file; designs are written in that frame."""

    @abstractmethod
    def anchor(self) -> Anchor:
        """Which residues of the design are where in the frame."""


class FixedResidues(Anchored):
    """A condition that holds residues of given coordinates in place: a motif. Its class is an `EnergyCondition` too."""

    @abstractmethod
    def place(self, length: int, rng: Generator, codes: str | None = None) -> Self:
        """The condition with a place for each residue, drawn at random where it is open.

        Args:
            length: residues of the design.
            rng: where the draw comes from.
            codes: secondary structure asked for (H, E, L or C, X free), which the place should not contradict.

        Raises:
            ConflictError: if no place gives the length.
        """

    @abstractmethod
    def indices(self) -> list[int]:
        """Place in the design of each residue, from 0; once placed."""

    @abstractmethod
    def codes(self) -> str:
        """Secondary structure of the residues in their own file: H, E, and C for coil."""

    @abstractmethod
    def residue_names(self) -> np.ndarray:
        """(k,) three-letter names of the residues."""

    @abstractmethod
    def mapping(self) -> list[MotifResidue]:
        """Which residue of the design is which of the file; once placed."""


class StartingStructure(Anchored):
    """A condition that gives the structure sampling starts from, mixed with noise.

    Attributes:
        noise: time of that mixture, above 0 to 1.
    """

    noise: float

    @abstractmethod
    def backbone(self) -> np.ndarray:
        """(l, 3, 3) N, CA, C of the structure, Å."""

    def codes(self) -> str | None:
        """Its secondary structure: H, E, L, and X where it is not known; None if it does not say."""
        return None


class Ring(ABC):  # noqa: B024 - a mark, without methods of its own
    """A condition that bonds the last residue to the first: the clean-up treats that bond like the others."""


class Assembly(ABC):
    """A condition that makes copies of the chain; the other conditions refer to one chain of them."""

    @abstractmethod
    def operations(self) -> np.ndarray:
        """(n, 3, 3) rotations about the origin that place the copies, the identity first."""


class FixedBlueprint(ABC):
    """A condition that fixes secondary structure, in whole or in part.

    Attributes:
        blueprint_label: how messages call that secondary structure.
    """

    blueprint_label: ClassVar[str] = "blueprint"

    @abstractmethod
    def fixed_codes(self) -> str:
        """A letter for each residue: H, E, L or C, X free."""


class FixedPairs(FixedBlueprint):
    """A condition that says of its secondary structure which strands pair."""

    @abstractmethod
    def ladders(self) -> tuple[tuple[int, int, int, int], ...]:
        """As those of `StrandPairing`: (first, last, partner of the first, partner of the last), residues from 1.

        Empty where it asks for more than pairs of strands.
        """


class BlueprintScore(ABC):
    """A condition that some secondary structures suit better than others: of blueprints drawn, the best is taken.

    Attributes:
        blueprint_weight: weight of its score among those of others.
    """

    blueprint_weight: ClassVar[float] = 1.0

    @abstractmethod
    def blueprint_score(self, codes: str) -> float:
        """How well a blueprint (H, E, L, X free) suits it, from 0 to 1."""
