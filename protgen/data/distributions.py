"""How the items of a store are distributed: length, size, secondary structure, resolution, clusters; counts in bins."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from protgen.geometry.constants import RG_EXPONENT, RG_SCALE

if TYPE_CHECKING:
    from protgen.types import JSON

BINS = 8


@dataclass(frozen=True)
class Distribution:
    """Counts of a quantity in bins of one width.

    Attributes:
        name: of the quantity, with its unit.
        edges: (n + 1,) of the bins; the last one holds its upper edge too.
        counts: (n,) items in each.
        median: of the items; NaN without any.
        unknown: items that lack the quantity.
    """

    name: str
    edges: np.ndarray
    counts: np.ndarray
    median: float
    unknown: int = 0

    def to_json(self) -> "JSON":
        """As plain values."""
        return {
            "edges": self.edges.tolist(),
            "counts": self.counts.tolist(),
            "median": self.median,
            "unknown": self.unknown,
        }


def distributions(kept: "Sequence[JSON]") -> list[Distribution]:
    """The distributions of the items of a manifest; those that no item has are left out.

    Args:
        kept: entries of the manifest; stores of any version have a length, the others may lack.
    """
    columns = {
        "length (residues)": [entry.get("length") for entry in kept],
        "Rg / 2.2 L^0.38": [_relative_size(entry) for entry in kept],
        "helix (fraction)": [entry.get("helix") for entry in kept],
        "strand (fraction)": [entry.get("strand") for entry in kept],
        "resolution (Å)": [entry.get("resolution") for entry in kept],
        "items of a cluster": list(Counter(entry["cluster"] for entry in kept).values()),
    }
    return [found for name, values in columns.items() if (found := distribution(name, values)) is not None]


def _relative_size(entry: "JSON") -> float | None:
    length, rg = entry.get("length"), entry.get("rg")
    return rg / (RG_SCALE * length**RG_EXPONENT) if length and rg else None


def distribution(name: str, values: Sequence[float | None], bins: int = BINS) -> Distribution | None:
    """Counts in bins between round numbers; None if no value is known.

    Args:
        name: of the quantity.
        values: None where unknown.
        bins: how many, about.
    """
    known = np.array([value for value in values if value is not None], dtype=float)
    if not len(known):
        return None
    edges = round_edges(float(known.min()), float(known.max()), bins)
    counts, _ = np.histogram(known, edges)
    return Distribution(name, edges, counts, float(np.median(known)), len(values) - len(known))


def round_edges(low: float, high: float, bins: int) -> np.ndarray:
    """Edges at multiples of 1, 2, 2.5 or 5 times a power of ten, which hold all from low to high.

    Examples:
        >>> round_edges(40, 128, 8).tolist()
        [40.0, 60.0, 80.0, 100.0, 120.0, 140.0]
    """
    span = max(high - low, 1e-9 * max(abs(high), 1.0))
    power = 10.0 ** np.floor(np.log10(span / bins))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power * bins >= span * (1 - 1e-9))
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    return np.round(step * np.arange(first, max(last, first + 1) + 1), 12)
