"""The interface of inverse folding: sequences that should fold into a backbone."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from protgen.structure.protein import Protein
from protgen.types import JSON


class InverseFolder(ABC):
    """A sequence designer.

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
        """All that decides its results beside backbone, number and seed: they are cached under it."""

    @abstractmethod
    def prepare(self) -> None:
        """Check what can be checked without computing, before hours of other work.

        Raises:
            UsageError: if it cannot work here.
        """

    @abstractmethod
    def design(self, protein: Protein, n: int, seed: int) -> list[str]:
        """Sequences for one backbone.

        Args:
            protein: the backbone; its residue names mean nothing.
            n: how many sequences.
            seed: of the draws.

        Returns:
            At most n sequences, one letter a residue, chains joined by ":"; fewer where the tool gave fewer.

        Raises:
            ToolError: if there is none for this backbone; there may well be for others.
            UsageError: if there can be none for any.
        """
