"""Rank designs by a stated score, and write what a lab orders.

ranking.csv     a row a design, best first: place, score, validity, refold and sequence
order.csv       the best: name, sequence, scores, and DNA where it is asked for
best/           their backbones with sequence, the refolds, and one FASTA file

`protgen sample --best` ranks backbones in the same way (`backbone_ranking.py`): ranking.csv, and best/ with copies.
"""

import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protgen.errors import UsageError
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

Row = dict[str, Any]
OF_SEQUENCES = (
    Quantity("score", "nats a residue", "lower", "mean negative log-likelihood of the best sequence by its designer"),
    Quantity("confidence", "", "higher", "mean probability of the letters of the best sequence"),
)
# The first of which there are values. A designer's own score does not tell what refolds (benchmarks/ranking.py).
DEFAULTS = ("refold_tm", "sc_rmsd", "hbond_score", "score")
COLUMNS = (
    "rank", "design", "ranked_by", "value", "refold_tm", "refold_rmsd", "refold_confidence", "sc_rmsd", "sc_tm",
    "sc_plddt", "designable", "hbond_score", "score", "second_score", "confidence", "length", "helix", "strand", "rg",
    "rama_favoured", "n_clashes", "chain_breaks", "best_refold", "name", "sequence", "liabilities", "refold_message",
)  # fmt: skip
ORDERED = (
    "name", "sequence", "ranked_by", "value", "score", "second_score", "refold_tm", "refold_rmsd", "sc_rmsd",
    "sc_plddt", "molecular_weight", "charge", "isoelectric_point", "absorbance", "liabilities",
)  # fmt: skip


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


def rank(result: EvaluationResult, sequences: Sequence[Row], by: str | None = None) -> Ranking:
    """Rank the structures of an evaluation.

    Args:
        result: with refolds, if there are any.
        sequences: rows of the sequences; each design is ranked with its best refold's sequence, or its best-scored.
        by: a column; by default refold_tm, sc_rmsd or hbond_score, whichever there is.

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
        raise UsageError(f"--rank-by {by}: no such figure; {nearest(by, sorted(known))}")
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
    best = fresh_best(out, ranking, len(kept))
    for row in kept:
        copy_files(row, best, folders)
    write_text(best / "best.fasta", to_fasta([(str(row["name"]), str(row["sequence"])) for row in kept]))
    return kept


def fresh_best(out: Path, ranking: Ranking, kept: int) -> Path:
    """An empty folder for copies of the best, with a file that says so; what an earlier ranking left is removed.

    Args:
        out: folder of the run.
        ranking: of all designs.
        kept: how many are the best.
    """
    best = out / "best"
    if best.is_dir():
        shutil.rmtree(best)
    make_folder(best)
    about = {"ranked_by": ranking.by, "better": ranking.better, "n": len(ranking.rows), "kept": kept}
    write_json(best / BEST_MARKER, about)
    return best


def dna_of(row: Row) -> str:
    """DNA of each chain, joined by ":"; chains that are alike come once."""
    return CHAIN.join(to_dna(chain) for chain in dict.fromkeys(str(row["sequence"]).split(CHAIN)))


def copy_files(row: Row, best: Path, folders: tuple[Path, Path, Path]) -> None:
    """Copy the structure with its sequence, and the refold, of one design; what is missing is left out."""
    _, sequences, refolds = folders
    place = f"{row['rank']:03d}"
    for path in sorted(sequences.glob(f"{row['name']}.*")):
        if path.suffix in (".pdb", ".cif"):
            shutil.copyfile(path, best / f"{place}_{path.name}")
    refold = refolds / str(row.get("best_refold") or "missing")
    if refold.is_file():
        shutil.copyfile(refold, best / f"{place}_{row['design']}_refold{refold.suffix}")
