"""The interface of inverse folding: sequences that should fold into a backbone."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

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
        """All settings, other than backbone, number and seed, that its results depend on: the key of the cache."""

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


@dataclass(frozen=True)
class SequenceTask:
    """What is known of a sequence before it is designed.

    Attributes:
        fixed: (l,) letter of each residue that has one, "" where one is to be designed; None for none.
        tied: groups of residues, by their places from 0, that share a letter, such as those of symmetric chains.
    """

    fixed: tuple[str, ...] | None = None
    tied: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class DesignedSequence:
    """A sequence with what its designer thinks of it.

    Attributes:
        sequence: one letter a residue, chains joined by ":".
        log_probs: (l,) log-probability of each letter at temperature 1, nats.
        designed: (l,) True where the letter was not given.
    """

    sequence: str
    log_probs: np.ndarray
    designed: np.ndarray

    @property
    def score(self) -> float:
        """Mean negative log-likelihood of the designed letters (of all, if none was designed), nats a residue."""
        counted = self.designed if self.designed.any() else np.ones_like(self.designed)
        return float(-self.log_probs[counted].mean())

    @property
    def confidence(self) -> np.ndarray:
        """(l,) probability of each letter, 0 to 1."""
        return np.exp(self.log_probs)


class SequenceModel(InverseFolder):
    """A sequence designer that says how likely each letter is, keeps given letters and ties residues."""

    @abstractmethod
    def at_temperature(self, temperature: float) -> Self:
        """The same designer at another temperature."""

    @abstractmethod
    def propose(self, protein: Protein, n: int, seed: int, task: SequenceTask) -> list[DesignedSequence]:
        """Sequences for one backbone. Arguments and errors are those of `design`.

        Args:
            protein: the backbone.
            n: how many sequences.
            seed: sequence k depends on (seed, k) alone.
            task: what is known of them.
        """

    @abstractmethod
    def score(self, protein: Protein, sequences: Sequence[str], seed: int) -> list[DesignedSequence]:
        """What the designer thinks of given sequences.

        Args:
            protein: the backbone.
            sequences: one letter a residue, chains joined by ":".
            seed: of the order in which letters are read.

        Raises:
            ToolError: if one does not fit the backbone.
        """

    def design(self, protein: Protein, n: int, seed: int) -> list[str]:
        """Sequences alone, of letters that are all free."""
        return [found.sequence for found in self.propose(protein, n, seed, SequenceTask())]
