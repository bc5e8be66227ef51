"""The validity of one structure in a few numbers; `protgen sample` prints them for each design.

Light: numpy, scipy and mdtraj, no torch; a few milliseconds for 150 residues.
"""

from functools import cache

from protgen.evaluation.other_metrics import admitted, measure
from protgen.metrics.base import Metric, Value
from protgen.registry import build, complain, own_plugins
from protgen.structure.protein import Protein

COLUMN_ORDER = (
    "bonds", "clashes", "ramachandran", "ramachandran_molprobity", "chirality", "secondary_structure", "sheets",
    "compactness", "soundness",
)  # fmt: skip


@cache
def structure_metrics(more: tuple[str, ...] = ()) -> tuple[Metric, ...]:
    """One instance of every metric: protgen's own in their order, those of other packages by name, and those named.

    Args:
        more: further ones, as `module:Class`.

    Raises:
        ConfigError: if one of those named cannot be used. Others that cannot are left out with a warning.
    """
    known = own_plugins("metrics")
    ordered = [name for name in COLUMN_ORDER if name in known]
    own = [build("metrics", name) for name in ordered + [name for name in sorted(known) if name not in ordered]]
    return (*own, *admitted(own, more))


def validity(protein: Protein, more: tuple[str, ...] = ()) -> dict[str, Value]:
    """Every single-structure number and label of one protein, by column name.

    Among them: `length` (int), `chain_breaks`, `n_clashes`, `rama_favoured`, `peptide_valid`, `helix`,
    `strand`, `coil`, `ss` (string), `rg`, `rg_ratio`, `left_handed_helices`. Definitions are those of the
    metrics' quantities; a quantity that the structure lacks the atoms for is NaN.

    Args:
        protein: any protein.
        more: further metrics, as `module:Class`.

    Returns:
        Column name to value, in the order of the evaluation table.
    """
    row, problems = measured(protein, more)
    for problem in problems.values():
        complain(problem)
    return row


def measured(protein: Protein, more: tuple[str, ...] = ()) -> tuple[dict[str, Value], dict[str, str]]:
    """The row of `validity`, and what went wrong in metrics of other packages: one line each, by metric."""
    row: dict[str, Value] = {"length": protein.length}
    problems: dict[str, str] = {}
    for metric in structure_metrics(more):
        values, problem = measure(metric, protein)
        row.update(values)
        if problem:
            problems[metric.name] = problem
    return row, problems
