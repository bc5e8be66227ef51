"""Rank designs by a stated score, and write what a lab orders.

ranking.csv     a row a design, best first: place, score, validity, refold and sequence
order.csv       the best: name, sequence, scores, and DNA where it is asked for
best/           their backbones with sequence, the refolds, and one FASTA file

`protgen sample --best` ranks backbones in the same way (`backbone_ranking.py`): ranking.csv, and best/ with copies.
"""

import math
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protgen.documents import read_json
from protgen.errors import DocumentError, UsageError
from protgen.evaluation.collect import BEST_MARKER
from protgen.evaluation.result import EvaluationResult
from protgen.evaluation.second_opinion import QUANTITY as SECOND
from protgen.evaluation.sequence_design import best_sequences
from protgen.evaluation.tables import make_folder, write_csv, write_json, write_text
from protgen.folding.base import CHAIN
from protgen.inverse_folding.dna import to_dna
from protgen.metrics.base import Quantity
from protgen.registry import nearest
from protgen.structure.fasta import to_fasta
from protgen.structure.reader import stem
from protgen.types import JSON

Row = dict[str, Any]
OF_SEQUENCES = (
    Quantity("score", "nats a residue", "lower", "mean negative log-likelihood of the best sequence by its designer"),
    Quantity("confidence", "", "higher", "mean probability of the letters of the best sequence"),
)
# The first of which there are values. A designer's own score does not tell what refolds (benchmarks/ranking.py).
DEFAULTS = ("refold_tm", "sc_rmsd", "hbond_score", "score")
COLUMNS = (
    "rank", "design", "ranked_by", "value", "refold_tm", "refold_rmsd", "motif_refold_rmsd", "refold_confidence",
    "sc_rmsd", "sc_tm", "motif_sc_rmsd", "sc_plddt", "designable", "hbond_score", "score", "second_score", "confidence",
    "length", "helix", "strand", "rg", "rama_favoured", "n_clashes", "chain_breaks", "faults", "best_refold", "name",
    "sequence", "liabilities", "refold_message",
)  # fmt: skip
ORDERED = (
    "name", "sequence", "ranked_by", "value", "score", "second_score", "refold_tm", "refold_rmsd", "motif_refold_rmsd",
    "sc_rmsd", "motif_sc_rmsd", "sc_plddt", "molecular_weight", "charge", "isoelectric_point", "absorbance",
    "liabilities",
)  # fmt: skip
BEST_FASTA = "best.fasta"
_OF_REFOLDS = re.compile(r"(motif_)?(refold|sc)_|designable|best_refold|n_refolds")


@dataclass(frozen=True)
class Ranking:
    """Designs in order.

    Attributes:
        by: the column they are ranked by.
        better: "higher" or "lower".
        rows: best first; designs without a value come last.
    """

    by: str
    better: str
    rows: list[Row]


def rank(
    result: EvaluationResult,
    sequences: Sequence[Row],
    by: str | None = None,
    problems: Mapping[str, str] | None = None,
) -> Ranking:
    """Rank the structures of an evaluation.

    Args:
        result: with refolds, if there are any.
        sequences: rows of the sequences; each design is ranked with its best refold's sequence, or its best-scored.
        by: a column; by default refold_tm, sc_rmsd or hbond_score, whichever there is.
        problems: what went wrong with the refolds of a design, by its name; what is there of them then does not count.

    Raises:
        UsageError: if there is no such column, or nothing says which way is better.
    """
    best = best_sequences(sequences)
    by_name = {str(row["name"]): row for row in sequences}
    rows = []
    for each in result.rows:
        if each["status"] == "error":
            continue
        design = stem(str(each["file"]))
        if problems and design in problems:
            each = {key: value for key, value in each.items() if not _OF_REFOLDS.match(key)}
            each["refold_message"] = problems[design]
        chosen = by_name.get(stem(str(each.get("best_refold", ""))), best.get(design, {}))
        rows.append({**each, **chosen, "design": design, "length": each["length"]})
    second = [SECOND] if any(SECOND.name in row for row in rows) else []
    known = {quantity.name: quantity for quantity in (*result.quantities, *OF_SEQUENCES, *second)}
    if by is None:
        by = next((name for name in DEFAULTS if any(is_number(row.get(name)) for row in rows)), "rama_favoured")
    return Ranking(by, better := better_of(by, known.values()), ordered(rows, by, better))


def better_of(by: str, figures: Iterable[Quantity]) -> str:
    """Which values of a figure are better: "higher" or "lower".

    Args:
        by: name of the figure.
        figures: those that designs can be ranked by.

    Raises:
        UsageError: if it is none of them, or nothing says which way is better.
    """
    known = {quantity.name: quantity.better for quantity in figures}
    if by not in known:
        told = nearest(by, sorted(known))
        told = told.partition("? ")[0] + "?" if told.startswith("did") else told  # there are some eighty
        raise UsageError(f"--rank-by {by}: no such figure; {told}")
    better = known[by]
    if better not in ("higher", "lower"):
        raise UsageError(f"--rank-by {by}: neither high nor low values of it are better; choose another figure")
    return better


def ordered(rows: Iterable[Row], by: str, better: str, first: str = "") -> list[Row]:
    """Rows from the best on, each with its place; those without a value come last, and equal ones by name.

    Args:
        rows: of designs.
        by: the column they are ranked by.
        better: "higher" or "lower".
        first: a column whose true rows come before all others, "" for none.
    """
    sign = -1.0 if better == "higher" else 1.0

    def key(row: Row) -> tuple[bool, float, str]:
        value = sign * row[by] if is_number(row.get(by)) else math.inf
        return bool(first) and not row[first], value, row["design"]

    return [
        row | {"rank": place, "ranked_by": by, "value": row.get(by)}
        for place, row in enumerate(sorted(rows, key=key), start=1)
    ]


def is_number(value: object) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def write_ranking(ranking: Ranking, out: Path, keep: int, folders: tuple[Path, Path, Path], *, dna: bool) -> list[Row]:
    """Write the ranking, the order and the files of the best.

    Args:
        ranking: of all designs.
        out: folder of the run.
        keep: how many are the best.
        folders: of backbones, sequences and refolds.
        dna: whether the order has DNA.

    Returns:
        The rows of the best.
    """
    kept = [row for row in ranking.rows if row.get("sequence")][:keep]
    shown = [name for name in COLUMNS if any(name in row for row in ranking.rows)]
    write_csv(out / "ranking.csv", shown, ranking.rows)
    columns = [name for name in ORDERED if any(name in row for row in kept)] + (["dna"] if dna else [])
    write_csv(out / "order.csv", columns, [row | ({"dna": dna_of(row)} if dna else {}) for row in kept])
    files = [pair for row in kept for pair in files_of(row, folders)]
    best = fresh_best(out, ranking, len(kept), [name for _, name in files] + [BEST_FASTA])
    for source, name in files:
        shutil.copyfile(source, best / name)
    write_text(best / BEST_FASTA, to_fasta([(str(row["name"]), str(row["sequence"])) for row in kept]))
    return kept


def check_best(out: Path) -> None:
    """Raise UsageError if a folder has a `best/` that holds something and was not made here.

    Args:
        out: folder of the run.
    """
    best = out / "best"
    if best.is_dir() and not (best / BEST_MARKER).is_file() and any(best.iterdir()):
        raise UsageError(f"{best}: holds files that are no copies of ours; move them, or choose another --out")


def fresh_best(out: Path, ranking: Ranking, kept: int, names: Sequence[str]) -> Path:
    """The folder for copies of the best, with a file that lists them; copies of an earlier ranking are removed.

    Args:
        out: folder of the run.
        ranking: of all designs.
        kept: how many are the best.
        names: of the files that will be copied.

    Raises:
        UsageError: if the folder holds something and was not made here.
    """
    check_best(out)
    best = out / "best"
    make_folder(best)
    remove_copies(best)
    about: JSON = {"ranked_by": ranking.by, "better": ranking.better, "n": len(ranking.rows), "kept": kept}
    write_json(best / BEST_MARKER, about | {"files": sorted(names)})
    return best


def remove_copies(best: Path) -> None:
    """Remove the copies that a folder's own list names, and the list; what others have put there stays."""
    try:
        names = read_json(best / BEST_MARKER).get("files")
    except DocumentError:
        return
    if not isinstance(names, list):  # of an earlier version
        names = [path.name for path in best.glob("[0-9][0-9][0-9]_*")] + [BEST_FASTA]
    for name in names:
        if isinstance(name, str) and Path(name).name == name and (best / name).is_file():
            (best / name).unlink()
    (best / BEST_MARKER).unlink()


def dna_of(row: Row) -> str:
    """DNA of each chain, joined by ":"; chains that are alike come once."""
    return CHAIN.join(to_dna(chain) for chain in dict.fromkeys(str(row["sequence"]).split(CHAIN)))


def files_of(row: Row, folders: tuple[Path, Path, Path]) -> list[tuple[Path, str]]:
    """The structure with its sequence, and the refold, of one design, and how the copies are called."""
    _, sequences, refolds = folders
    place = f"{row['rank']:03d}"
    named = sorted(path for path in sequences.glob(f"{row['name']}.*") if path.suffix in (".pdb", ".cif"))
    found = [(path, f"{place}_{path.name}") for path in named]
    refold = refolds / str(row.get("best_refold") or "missing")
    return found + ([(refold, f"{place}_{row['design']}_refold{refold.suffix}")] if refold.is_file() else [])
