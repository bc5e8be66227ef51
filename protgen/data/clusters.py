"""Clusters of chains: what is alike by sequence, or nearly one backbone, and all that is connected through others.

Single linkage: no two chains in different clusters are alike, as far as the search finds, which a split by cluster
needs. Greedy clusters, as of CD-HIT, do not promise that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from protgen.data.groups import Groups
from protgen.data.mmseqs import clustered_pairs, find_mmseqs
from protgen.data.sequence_search import matches
from protgen.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from protgen.types import JSON

Program = Literal["auto", "mmseqs", "builtin"]
PROGRAMS: tuple[Program, ...] = ("auto", "mmseqs", "builtin")
LEAST_IDENTITY = 0.3  # below it neither search is of use: alignments of unrelated sequences have a quarter


@dataclass(frozen=True)
class Clustering:
    """When two sequences are of one cluster.

    Attributes:
        identity: identical residues over columns of their local alignment, at the least.
        coverage: fraction of the shorter sequence in it, at the least.
        program: "mmseqs", "builtin", or "auto" for mmseqs where it is installed.

    Raises:
        UsageError: if a number is out of range.
    """

    identity: float = 0.4
    coverage: float = 0.8
    program: Program = "auto"

    def __post_init__(self) -> None:
        if not LEAST_IDENTITY <= self.identity <= 1:
            raise UsageError(f"--identity {self.identity}: give {LEAST_IDENTITY} to 1")
        if not 0.5 <= self.coverage <= 1:
            raise UsageError(f"--coverage {self.coverage}: give 0.5 to 1")


def program_of(clustering: Clustering) -> str | None:
    """The path of mmseqs if it is to be used; None for the built-in search.

    Raises:
        ConfigError: if it is asked for and not installed.
    """
    program = find_mmseqs() if clustering.program != "builtin" else None
    if clustering.program == "mmseqs" and program is None:
        raise ConfigError(
            "--clusters mmseqs: no program mmseqs on PATH; install MMseqs2, or `pip install 'protgen[cluster]'`, "
            "or choose --clusters builtin"
        )
    return program


def join_sequences(groups: Groups, sequences: Sequence[bytes], clustering: Clustering, jobs: int = 1) -> "JSON":
    """Join the chains whose sequences are alike.

    Args:
        groups: of as many chains; changed in place.
        sequences: a byte a residue: places in ARNDCQEGHILKMFPSTWYV, 20 unknown.
        clustering: when they are.
        jobs: processes.

    Returns:
        What was done, for the manifest: program, identity, coverage.

    Raises:
        ConfigError: if mmseqs is asked for and not installed.
        ToolError: if it fails.
    """
    program = program_of(clustering)
    if program is None:
        found = matches(sequences, identity=clustering.identity, coverage=clustering.coverage, jobs=jobs)
        pairs = [(match.first, match.second) for match in found]
    else:
        pairs = clustered_pairs(program, sequences, clustering.identity, clustering.coverage, jobs)
    for a, b in pairs:
        groups.join(a, b)
    name = "builtin" if program is None else "mmseqs"
    return {"program": name, "identity": clustering.identity, "coverage": clustering.coverage}
