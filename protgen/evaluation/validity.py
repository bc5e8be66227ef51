"""The validity of one structure in a few numbers; `protgen sample` prints them beside each design.

Light: numpy, scipy and mdtraj, no torch; a few milliseconds for 150 residues.
"""

from functools import cache

from protgen.metrics.base import Metric, Value
from protgen.registry import build, names
from protgen.structure.protein import Protein

COLUMN_ORDER = ("bonds", "clashes", "ramachandran", "chirality", "secondary_structure", "compactness")


@cache
def structure_metrics() -> tuple[Metric, ...]:
    """One instance of every registered metric: the built-in ones first, then any other by name."""
    known = names("metrics")
    ordered = [name for name in COLUMN_ORDER if name in known]
    return tuple(build("metrics", name) for name in ordered + [name for name in known if name not in ordered])


def validity(protein: Protein) -> dict[str, Value]:
    """Every single-structure number and label of one protein, by column name.

    Among them: `length` (int), `chain_breaks`, `n_clashes`, `rama_favoured`, `peptide_valid`, `helix`,
    `strand`, `coil`, `ss` (string), `rg`, `rg_ratio`, `left_handed_helices`. Definitions are those of the
    metrics' quantities; a quantity that the structure lacks the atoms for is NaN.

    Args:
        protein: any protein.

    Returns:
        Column name to value, in the order of the evaluation table.
    """
    row: dict[str, Value] = {"length": protein.length}
    for metric in structure_metrics():
        row.update(metric.measure(protein))
    return row
