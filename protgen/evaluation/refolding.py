"""The refolds of a design by tools: sequences by inverse folding, structures by a structure predictor, both cached."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from protgen import registry
from protgen.errors import ConfigError, ProtgenError, StructureError, ToolError, UsageError
from protgen.evaluation.refold_cache import RefoldCache
from protgen.folding.base import CHAIN, StructurePredictor
from protgen.inverse_folding.base import InverseFolder
from protgen.structure.protein import Protein
from protgen.structure.residue_names import ONE_LETTER
from protgen.types import JSON

GIVE_UP = 3  # designs, from the first on, without one refold: the tool does not work, and the rest are not tried
Result = TypeVar("Result")


@dataclass
class Refolds:
    """The refolds of one design.

    Attributes:
        n_given: how many there are, or were asked for.
        paths: of those there are.
        problems: one line each on what is missing.
    """

    n_given: int
    paths: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def build_tool(kind: str, text: str, **options: Any) -> Any:
    """A tool from `NAME` or `NAME:ARGUMENT`, where the argument is that of its constructor's first parameter.

    Args:
        kind: "inverse_folding" or "folding".
        text: such as `esmfold`, `esmfold:/weights`, `command:fold {fasta} {pdb}`, `module:Class`,
            `module:Class:/weights`.
        options: further keywords; those that the tool does not take are left out.

    Raises:
        ConfigError: if there is no such tool, or it needs an argument.
    """
    name, colon, argument = text.partition(":")
    name = name.strip()
    if colon and name not in registry.names(kind) and registry.REFERENCE.match(text):
        attribute, colon, argument = argument.partition(":")
        name = f"{name}:{attribute}"
    parameters = list(inspect.signature(registry.find(kind, name)).parameters)
    keywords = {key: value for key, value in options.items() if key in parameters}
    if colon:
        if not parameters:
            raise ConfigError(f"{name} takes no argument, and {argument!r} was given")
        keywords[parameters[0]] = argument
    return registry.build(kind, name, **keywords)


@dataclass
class Refolder:
    """Makes the refolds of one design after another.

    Attributes:
        folder: predicts structures.
        cache: where results are kept.
        inverse_folder: designs sequences; None takes the sequence of each design's file.
        n: sequences for each design.
        seed: of their draws.
    """

    folder: StructurePredictor
    cache: RefoldCache
    inverse_folder: InverseFolder | None = None
    n: int = 8
    seed: int = 0
    _failures: int = field(default=0, init=False)
    _worked: bool = field(default=False, init=False)
    _given_up: str = field(default="", init=False)

    def prepare(self) -> None:
        """Let the tools check themselves.

        Raises:
            UsageError: if one cannot work here.
        """
        self.folder.prepare()
        if self.inverse_folder is not None:
            self.inverse_folder.prepare()

    @property
    def settings(self) -> JSON:
        """What was used, for the summary."""
        inverse = None if self.inverse_folder is None else self.inverse_folder.settings
        return {
            "inverse_folder": inverse or "none: the sequence of each file",
            "folder": self.folder.settings,
            "sequences": 1 if inverse is None else self.n,
            "seed": self.seed,
        }

    def refold(self, protein: Protein) -> Refolds:
        """Sequences and structures of a design, from the cache where they are there already.

        What a tool cannot do is a line among the problems; every refold that was made is kept at once. Tools that have
        never worked are given up after three designs, or as soon as they say that they cannot work.
        """
        found = Refolds(1 if self.inverse_folder is None else self.n)
        if self._given_up:
            found.problems.append(f"not tried: {self._given_up}")
            return found
        sequences = self._attempt(lambda: self.sequences(protein), found) or []
        if sequences and len(sequences) < found.n_given:
            found.problems.append(f"{len(sequences)} sequences for the {found.n_given} asked for")
        for sequence in sequences:
            if self._given_up:
                break
            path = self._attempt(partial(self.structure, sequence, protein.length), found)
            if path is not None:
                found.paths.append(path)
        self._worked = self._worked or bool(found.paths)
        self._failures += not found.paths
        if not self._worked and self._failures >= GIVE_UP and not self._given_up:
            self._given_up = f"the first {GIVE_UP} designs gave no refold"
        return found

    def _attempt(self, work: Callable[[], Result], found: Refolds) -> Result | None:
        """What the work gives; None and a line among the problems if it fails."""
        try:
            return work()
        except UsageError as error:  # of the tool and not of this design
            self._given_up = str(error)
            found.problems.append(str(error))
        except ProtgenError as error:
            found.problems.append(str(error))
        except Exception as error:  # a bug in somebody's tool must not lose what others have found
            found.problems.append(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        return None

    def structure(self, sequence: str, length: int) -> Path:
        """Where the refold of a sequence is, made if need be."""
        path = self.cache.structure_path(sequence, self.folder.settings)
        if not self.cache.has_structure(path, length):
            self.cache.keep_structure(path, self.folder.fold(sequence))
        return path

    def sequences(self, protein: Protein) -> list[str]:
        """The sequences to fold.

        Raises:
            ProtgenError: if there are none.
        """
        if self.inverse_folder is None:
            return [own_sequence(protein)]
        path = self.cache.sequences_path(protein, self.inverse_folder.settings, self.n, self.seed)
        found = self.cache.sequences(path, protein.length)
        if found is None:
            found = self.inverse_folder.design(protein, self.n, self.seed)
            if not found:
                raise ToolError(f"{self.inverse_folder.name}: gave no sequence")
            self.cache.keep_sequences(path, found)
        return found


def own_sequence(protein: Protein) -> str:
    """The sequence of a file, chains joined by ":".

    Raises:
        StructureError: if it has none: a residue without a type, or glycine throughout, which is a placeholder.
    """
    letters = np.array([ONE_LETTER.get(name, "X") for name in protein.residue_names.tolist()])
    if (letters == "X").any() or (letters == "G").all():
        what = "a residue of unknown type" if (letters == "X").any() else "glycine throughout, a placeholder"
        raise StructureError(f"{protein.name}: has {what}; name an --inverse-folder to write its sequence")
    return CHAIN.join("".join(letters[protein.chain_ids == chain]) for chain in protein.chains)
