"""From a design to its refolds by tools: sequences by an inverse folder, structures by a folder, both cached."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from protgen import registry
from protgen.errors import ConfigError, ProtgenError, StructureError, ToolError
from protgen.evaluation.refold_cache import RefoldCache
from protgen.folding.base import CHAIN, Folder
from protgen.inverse_folding.base import InverseFolder
from protgen.structure.protein import Protein
from protgen.structure.residue_names import ONE_LETTER
from protgen.types import JSON

GIVE_UP = (
    3  # designs in a row, from the first on, without one refold: the tool does not work, and the rest are not tried
)


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
        text: such as `esmfold`, `esmfold:/weights`, `command:fold {fasta} {pdb}`.
        options: further keywords; those that the tool does not take are left out.

    Raises:
        ConfigError: if there is no such tool, or it needs an argument.
    """
    name, colon, argument = text.partition(":")
    parameters = list(inspect.signature(registry.find(kind, name.strip())).parameters)
    keywords = {key: value for key, value in options.items() if key in parameters}
    if colon:
        if not parameters:
            raise ConfigError(f"{name} takes no argument, and {argument!r} was given")
        keywords[parameters[0]] = argument
    return registry.build(kind, name.strip(), **keywords)


@dataclass
class Refolder:
    """Makes the refolds of one design after another.

    Attributes:
        folder: predicts structures.
        cache: where results are kept.
        inverse_folder: writes sequences; None folds the sequence each design's file has.
        n: sequences for each design.
        seed: of their draws.
    """

    folder: Folder
    cache: RefoldCache
    inverse_folder: InverseFolder | None = None
    n: int = 8
    seed: int = 0
    _failures: int = 0
    _worked: bool = False

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

    def refold(self, protein: Protein, tick: Callable[[], None] = lambda: None) -> Refolds:
        """Sequences and structures of a design, from the cache where they are there already.

        What a tool cannot do is a line among the problems; every refold that was made is kept at once.

        Args:
            protein: the design.
            tick: called after each structure.
        """
        asked = 1 if self.inverse_folder is None else self.n
        if not self._worked and self._failures >= GIVE_UP:
            return Refolds(asked, problems=[f"not tried, as the first {GIVE_UP} designs gave no refold"])
        found = Refolds(asked)
        try:
            sequences = self.sequences(protein)
        except ProtgenError as error:
            found.problems.append(str(error))
            sequences = []
        if sequences and len(sequences) < asked:
            found.problems.append(f"{len(sequences)} sequences for the {asked} asked for")
        for sequence in sequences:
            path = self.cache.structure_path(sequence, self.folder.settings)
            try:
                if not self.cache.has_structure(path, protein.length):
                    self.cache.keep_structure(path, self.folder.fold(sequence))
                found.paths.append(path)
            except ProtgenError as error:
                found.problems.append(str(error))
            tick()
        self._worked = self._worked or bool(found.paths)
        self._failures += not found.paths
        return found

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
