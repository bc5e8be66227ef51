"""Figures of a relative judge: refolds that are compared among designs, natives and decoys, and with no threshold.

A predictor that declares itself relative (`folding/trrosetta.py`) folds too roughly for the field's rule of 2 Å, and
reads an alignment that comes from the design. So its figures have names of their own, and none is called designable.
What natives and decoys have is measured by `benchmarks/refold.py`, on 100 validation natives of 60-100 residues.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from protgen.documents import MAX_SMALL, read_json
from protgen.errors import DocumentError
from protgen.evaluation.collect import CACHE_MARKER
from protgen.evaluation.refolding import Refolder
from protgen.folding.base import AlignmentPredictor, StructurePredictor
from protgen.metrics.base import Quantity, Value, number_of, summarise

NEAR = 3.0  # Å; the share below it is printed
NATIVES, DECOYS = 0.66, 0.30  # mean TM of natives, and of natives whose loops have torsions of other loops
NATIVES_NEAR, DECOYS_NEAR = 0.45, 0.0
MEASURED = (
    f"natives have TM {NATIVES:.2f} on average and {100 * NATIVES_NEAR:.0f} % below {NEAR:g} Å, natives with loop "
    f"torsions drawn anew {DECOYS:.2f} and {100 * DECOYS_NEAR:.0f} %"
)
SINGLE = (0.49, 0.04, 0.26)  # mean TM and share below 3 Å of 28 natives, and mean TM of their decoys, by one sequence

_BEST = "the least over the refolds"
QUANTITIES = (
    Quantity("refold_rmsd", "Å", "lower", f"CA RMSD of design and laptop refold after superposition, {_BEST}"),
    Quantity("refold_mean_distance", "Å", "lower", f"mean CA distance after that superposition, {_BEST}"),
    Quantity(
        "refold_tm",
        "",
        "higher",
        "TM-score of design and laptop refold (by the design's length), the highest over the refolds; a relative "
        "judge: by 48 ProteinMPNN sequences and one network " + MEASURED,
    ),
    Quantity(
        "refold_confidence",
        "",
        "higher",
        "lDDT of CB atoms (0-100) of the refold as the predicted distances expect it; the predictor's own opinion",
    ),
    Quantity("n_refolds", "count", None, "refolds given, or asked for; an alignment of many sequences gives one"),
    Quantity("n_refolds_used", "count", None, "refolds that could be read and have as many residues as the design"),
)
MOTIF_QUANTITIES = (
    Quantity(
        "motif_refold_rmsd",
        "Å",
        "lower",
        f"N, CA, C RMSD of the motif's file and those residues of the laptop refold, superposed on them, {_BEST}",
    ),
)
NAMES = {
    "sc_rmsd": "refold_rmsd",
    "sc_mean_distance": "refold_mean_distance",
    "sc_tm": "refold_tm",
    "sc_plddt": "refold_confidence",
    "motif_sc_rmsd": "motif_refold_rmsd",
}
DROPPED = ("designable", "designable_confident", "designable_tm", "motif_success")

Row = dict[str, Value]


def is_relative(source: "Path | Refolder") -> bool:
    """Whether refolds are those of a relative judge: by the tool, or by the note that `protgen run` leaves."""
    if isinstance(source, Refolder):
        return source.folder.relative
    try:
        return read_json(source / CACHE_MARKER, MAX_SMALL).get("relative") is True
    except DocumentError:
        return False


def measured_by(predictor: StructurePredictor) -> str:
    """What natives and decoys have by a relative judge, in the mode that it is in."""
    if isinstance(predictor, AlignmentPredictor) and predictor.reads_alignments:
        return MEASURED
    tm, near, decoys = SINGLE
    return (
        f"by one sequence, its weaker mode, natives have TM {tm:.2f} on average and {100 * near:.0f} % below {NEAR:g} "
        f"Å, natives with loop torsions drawn anew {decoys:.2f}"
    )


def relative_row(row: Mapping[str, Value]) -> Row:
    """The columns of self-consistency under the names of a relative judge."""
    return {NAMES.get(name, name): value for name, value in row.items() if name not in DROPPED}


def describe_refolds(rows: Sequence[Row]) -> dict[str, Any]:
    """The refolds of one set for `summary.json`."""
    tm, rmsd = (summarise([number_of(row.get(name)) for row in rows]) for name in ("refold_tm", "refold_rmsd"))
    known = np.array([number_of(row.get("refold_rmsd")) for row in rows])
    known = known[np.isfinite(known)]
    return {
        "relative": True,
        "n": tm.n,
        "n_given": len(rows),
        "mean_refold_tm": tm.mean,
        "mean_refold_rmsd": rmsd.mean,
        "below_3": float((known < NEAR).mean()) if len(known) else None,
        "refolds_used": count_of(rows, "n_refolds_used"),
        "refolds_given": count_of(rows, "n_refolds"),
    }


def count_of(rows: Sequence[Row], name: str) -> int:
    """The sum of a count over the rows that have it."""
    return int(sum(number_of(row[name]) for row in rows if name in row))
