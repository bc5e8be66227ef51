"""The refolds of a design by tools: sequences by inverse folding, structures by a structure predictor, both cached.

A predictor that reads alignments gets all sequences of a design at once, the best first, and makes one refold of them.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from protgen import registry
from protgen.errors import ConfigError, ProtgenError, StructureError, ToolError, UsageError
from protgen.evaluation.refold_cache import RefoldCache, has_structure
from protgen.folding.base import AlignmentPredictor, Folded, StructurePredictor
from protgen.inverse_folding.base import InverseFolder, SequenceModel, SequenceTask
from protgen.inverse_folding.chain_letters import joined
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
        score: mean negative log-likelihood of the sequences by their designer, nats a residue; NaN where it has none.
    """

    n_given: int
    paths: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    score: float = np.nan


@dataclass(frozen=True)
class Written:
    """The sequences of a design.

    Attributes:
        sequences: one letter a residue, chains joined by ":".
        scores: of each, nats a residue; empty where the designer gives none.
    """

    sequences: list[str]
    scores: list[float] = field(default_factory=list)

    @property
    def best_first(self) -> list[str]:
        """The sequences with that of the least score in front."""
        if not self.scores:
            return self.sequences
        best = int(np.argmin(self.scores))
        return [self.sequences[best], *self.sequences[:best], *self.sequences[best + 1 :]]


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
        about: JSON = {
            "inverse_folder": inverse or "none: the sequence of each file",
            "folder": self.folder.settings,
            "sequences": 1 if inverse is None else self.n,
            "seed": self.seed,
        }
        return about | ({"alignment": self._alignment()[1]} if self._aligns else {})

    @property
    def _aligns(self) -> bool:
        """Whether the sequences of a design are folded together."""
        folder = self.folder
        return self.inverse_folder is not None and isinstance(folder, AlignmentPredictor) and folder.reads_alignments

    def _alignment(self) -> tuple[InverseFolder, int]:
        """Who writes the sequences of an alignment, and how many."""
        assert self.inverse_folder is not None
        assert isinstance(self.folder, AlignmentPredictor)
        if isinstance(self.inverse_folder, SequenceModel):
            return self.inverse_folder.at_temperature(self.folder.diversity), self.folder.depth
        return self.inverse_folder, self.n

    def refold(self, protein: Protein) -> Refolds:
        """Sequences and structures of a design, from the cache where they are there already.

        What a tool cannot do is a line among the problems; every refold that was made is kept at once. Tools that have
        never worked are given up after three designs, or as soon as they say that they cannot work.
        """
        found = Refolds(1 if self.inverse_folder is None or self._aligns else self.n)
        if self._given_up:
            found.problems.append(f"not tried: {self._given_up}")
            return found
        for query in self._attempt(lambda: self._queries(protein, found), found) or []:
            if self._given_up:
                break
            path = self._attempt(partial(self.structure, query, protein.length), found)
            if path is not None:
                found.paths.append(path)
        self._worked = self._worked or bool(found.paths)
        self._failures += not found.paths
        if not self._worked and self._failures >= GIVE_UP and not self._given_up:
            self._given_up = f"the first {GIVE_UP} designs gave no refold"
        return found

    def _queries(self, protein: Protein, found: Refolds) -> list[list[str]]:
        """What is folded for a design: alignments, each of one sequence or more."""
        if self.inverse_folder is None:
            return [[own_sequence(protein)]]
        if isinstance(self.inverse_folder, SequenceModel) or not self._aligns:
            written = self.sequences(protein, self.inverse_folder, self.n)
            found.score = float(np.mean(written.scores)) if written.scores else np.nan
            if not self._aligns:
                if len(written.sequences) < self.n:
                    found.problems.append(f"{len(written.sequences)} sequences for the {self.n} asked for")
                return [[sequence] for sequence in written.sequences]
        designer, n = self._alignment()
        return [self.sequences(protein, designer, n).best_first]

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

    def structure(self, query: Sequence[str], length: int) -> Path:
        """Where the refold of an alignment, or of one sequence, is; made if need be."""
        path = self.cache.structure_path("\n".join(query), self.folder.settings)
        if not has_structure(path, length):
            self.cache.keep_structure(path, folded(self.folder, query))
        return path

    def sequences(self, protein: Protein, designer: InverseFolder, n: int) -> Written:
        """The sequences of a design, from the cache where they are there already.

        Args:
            protein: the design.
            designer: who writes them.
            n: how many.

        Raises:
            ProtgenError: if there are none.
        """
        path = self.cache.sequences_path(protein, designer.settings, n, self.seed)
        kept = self.cache.sequences(path, protein.length)
        if kept is not None:
            return Written(*kept)
        if isinstance(designer, SequenceModel):
            proposed = designer.propose(protein, n, self.seed, SequenceTask())
            found = Written([each.sequence for each in proposed], [each.score for each in proposed])
        else:
            found = Written(designer.design(protein, n, self.seed))
        if not found.sequences:
            raise ToolError(f"{designer.name}: gave no sequence")
        self.cache.keep_sequences(path, found.sequences, found.scores)
        return found


def folded(folder: StructurePredictor, query: Sequence[str]) -> Folded:
    """The structure of the first sequence of a query; the others are its alignment."""
    if len(query) > 1 and isinstance(folder, AlignmentPredictor):
        return folder.fold_alignment(query)
    return folder.fold(query[0])


def own_sequence(protein: Protein) -> str:
    """The sequence of a file, chains joined by ":".

    Raises:
        StructureError: if it has none: a residue without a type, or glycine throughout, which is a placeholder.
    """
    letters = np.array([ONE_LETTER.get(name, "X") for name in protein.residue_names.tolist()])
    if (letters == "X").any() or (letters == "G").all():
        what = "a residue of unknown type" if (letters == "X").any() else "glycine throughout, a placeholder"
        raise StructureError(f"{protein.name}: has {what}; name an --inverse-folder to write its sequence")
    return joined(protein, letters)
