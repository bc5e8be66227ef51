"""Clusters by foldseek, to compare with papers that used it; its version is reported with every number.

Our own search and clustering are the default. foldseek's clusters depend on its version and its prefilter: identical
chains have been put apart, and its scores are not TM-align's.

References: van Kempen et al. 2024, Nature Biotechnology 42, 243; the options are those of Geffner et al. 2025,
Proteina, appendix on metrics.
"""

import csv
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from protgen.errors import ToolError, UsageError
from protgen.external import ExternalCommand
from protgen.structure.protein import Protein
from protgen.structure.writer import write_pdb

PROGRAM = "foldseek"
COMMAND = (
    "foldseek easy-cluster {folder} {result} {scratch} --alignment-type 1 --cov-mode 0 --min-seq-id 0 "
    "--tmscore-threshold {threshold} --threads {threads}"
)
VERSION_SECONDS = 60.0


@dataclass(frozen=True)
class FoldseekClusters:
    """The clusters of a set by foldseek.

    Attributes:
        labels: (n,) cluster of each structure, numbered by falling size.
        representatives: (k,) index of the representative of each cluster.
        n_left_out: structures that foldseek's table does not have; each is a cluster of its own here.
    """

    labels: np.ndarray
    representatives: np.ndarray
    n_left_out: int


def foldseek_version() -> str:
    """The version that foldseek on PATH says it has.

    Raises:
        UsageError: if there is no foldseek, or it does not run.
    """
    found = shutil.which(PROGRAM)
    if found is None:
        raise UsageError("foldseek: no such program on PATH; install it, or use --tm quick for our own search")
    try:
        done = subprocess.run([found, "version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"foldseek: {found} does not tell its version: {error}") from None
    return done.stdout.strip() or "unknown version"


def foldseek_clusters(
    proteins: Sequence[Protein], threshold: float = 0.5, *, jobs: int = 1, timeout: float = 36_000.0
) -> FoldseekClusters:
    """Run `foldseek easy-cluster` on a set.

    Args:
        proteins: the set; several chains of one are written as one, as a sample is one thing.
        threshold: TM-score.
        jobs: threads.
        timeout: seconds.

    Raises:
        UsageError: if there is no foldseek.
        ToolError: if it fails, or writes something else than its table of clusters.
    """
    foldseek_version()
    with TemporaryDirectory(prefix="protgen-foldseek-") as name:
        scratch = Path(name)
        (scratch / "files").mkdir()
        for k, protein in enumerate(proteins):
            write_pdb(_one_chain(protein), scratch / "files" / f"s{k:06d}.pdb")
        values = {"folder": scratch / "files", "result": scratch / "result", "scratch": scratch / "tmp"}
        command = ExternalCommand(COMMAND, places=(*values, "threshold", "threads"), timeout=timeout)
        command.run({**values, "threshold": str(threshold), "threads": jobs}, scratch)
        return read_clusters(scratch / "result_cluster.tsv", len(proteins))


def read_clusters(path: Path, n: int) -> FoldseekClusters:
    """Read the table of representative and member, whose names are s000000 and so on, perhaps with .pdb and a chain.

    Raises:
        ToolError: if it is not there, or names other structures.
    """
    groups: dict[int, list[int]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            for row in csv.reader(handle, delimiter="\t"):
                first, member = (int(name.removeprefix("s")[:6]) for name in row[:2])
                groups.setdefault(first, []).append(member)
    except (OSError, ValueError) as error:
        raise ToolError(f"foldseek: its table of clusters cannot be read: {error}") from None
    named = {member for members in groups.values() for member in members}
    if not named <= set(range(n)) or sum(map(len, groups.values())) != len(named):
        raise ToolError("foldseek: its table of clusters names structures that it was not given, or one twice")
    left_out = sorted(set(range(n)) - named)
    groups |= {k: [k] for k in left_out}
    order = sorted(groups, key=lambda first: (-len(groups[first]), first))
    labels = np.zeros(n, dtype=int)
    for label, first in enumerate(order):
        labels[groups[first]] = label
    return FoldseekClusters(labels, np.array(order, dtype=int), len(left_out))


def _one_chain(protein: Protein) -> Protein:
    """The same residues as chain A, numbered from 1."""
    n = protein.length
    return replace(
        protein,
        chain_ids=np.full(n, "A"),
        residue_numbers=np.arange(1, n + 1),
        insertion_codes=np.full(n, ""),
    )
