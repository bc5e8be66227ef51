"""The structures that a report shows: the best, the worst with its reasons, and one of each large cluster."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protgen.metrics.base import Value, number_of

BEST, WORST, CLUSTERS = 2, 3, 4  # shown of each set
MOST_SHOWN = 24

# What counts as a fault: column, whether the value is one, how severe, and how it reads.
_FAULTS = (
    ("mirror_image", lambda v: v > 0.5, 5.0, "a mirror image"),
    ("left_handed_helices", lambda v: v > 0, 3.0, "{:.0f} left-handed helices"),
    ("chain_breaks", lambda v: v > 0, 2.0, "{:.0f} chain breaks"),
    ("n_clashes", lambda v: v > 0, 2.0, "{:.0f} clashes below 2 Å"),
    ("peptide_valid", lambda v: v < 0.95, 1.5, "{:.0%} of peptide bonds valid"),
    ("rama_favoured", lambda v: v < 0.9, 1.5, "{:.0%} Ramachandran favoured"),
    ("omega_twisted", lambda v: v > 0.05, 1.0, "{:.0%} of peptides twisted"),
    ("rg_native_ratio", lambda v: abs(v - 1) > 0.15, 1.0, "Rg {:.2f} times that of natives"),
    ("coil", lambda v: v > 0.6, 0.5, "{:.0%} coil"),
)


@dataclass(frozen=True)
class Shown:
    """One structure of the report.

    Attributes:
        row: its row in the table.
        kind: "best", "worst" or "cluster".
        reason: one line.
    """

    row: int
    kind: str
    reason: str


def faults(row: dict[str, Value]) -> tuple[float, list[str]]:
    """Severity of what is wrong with a structure, and each fault in words."""
    severity, words = 0.0, []
    for name, is_fault, weight, text in _FAULTS:
        value = row.get(name)
        if isinstance(value, int | float) and np.isfinite(value) and is_fault(value):
            severity += weight
            words.append(text.format(value).replace("%", " %"))
    return severity, words


def choose(rows: Sequence[dict[str, Value]], sets: Sequence[str]) -> list[Shown]:
    """The structures worth looking at, set by set; at most 24 in all.

    Best and worst are by the severity of faults, ties by the favoured fraction of the Ramachandran plot.
    """
    shown: list[Shown] = []
    names = list(dict.fromkeys(sets))
    each = max(1, MOST_SHOWN // max(1, len(names)))
    for name in names:
        readable = [k for k, row in enumerate(rows) if sets[k] == name and row["status"] != "error"]
        severity = {k: faults(rows[k])[0] for k in readable}
        ranked = sorted(readable, key=lambda k: (severity[k], -number_of(rows[k].get("rama_favoured")), k))
        picks = [Shown(k, "best", describe(rows[k])) for k in ranked[:BEST]]
        worst = [k for k in reversed(ranked) if severity[k] > 0 and k not in ranked[:BEST]][:WORST]
        picks += [Shown(k, "worst", "; ".join(faults(rows[k])[1])) for k in worst]
        sizes: dict[int, int] = {}
        for k in readable:
            if "cluster" in rows[k]:
                sizes[int(rows[k]["cluster"])] = sizes.get(int(rows[k]["cluster"]), 0) + 1
        founders = sorted((int(rows[k]["cluster"]), k) for k in readable if rows[k].get("representative") == 1)
        for cluster, k in founders[:CLUSTERS]:
            picks.append(Shown(k, "cluster", f"represents cluster {cluster} of {sizes[cluster]} structures"))
        shown += picks[:each]
    return shown


def describe(row: dict[str, Value]) -> str:
    """The faults of a structure in a line, or that it has none."""
    words = faults(row)[1]
    fraction = number_of(row.get("rama_favoured"))
    good = (
        f"{100 * fraction:.0f} % Ramachandran favoured, no faults found" if np.isfinite(fraction) else "no faults found"
    )
    return "; ".join(words) if words else good
