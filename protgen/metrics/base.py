"""The interface of metrics, and the summary of values over many samples with an interval.

Nothing here depends on the kind of sample: a protein, an image, a row of a table.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, TypeVar

import numpy as np

Sample = TypeVar("Sample")
Value = float | str

_EXACT_BOOTSTRAP = 10_000  # above this many values the mean is normal to all printed digits: no need to resample


@dataclass(frozen=True)
class Quantity:
    """One number a metric reports.

    Attributes:
        name: column name in tables and key in summaries.
        unit: "Å", "deg", "fraction", "count", ... ; "" where the number has none.
        better: "higher" or "lower"; None where neither is.
        definition: one sentence with threshold and source: every number carries it wherever it is printed.
    """

    name: str
    unit: str
    better: Literal["higher", "lower"] | None
    definition: str


@dataclass(frozen=True)
class Summary:
    """Mean, median and 95 % interval of the mean over samples.

    Attributes:
        mean: over the values that exist; NaN if none does.
        median: likewise.
        ci_low: lower end of the bootstrap interval of the mean; NaN with fewer than two values.
        ci_high: upper end.
        n: values used.
        n_given: values asked for; the difference to `n` had no value (NaN), which is never hidden.
    """

    mean: float
    median: float
    ci_low: float
    ci_high: float
    n: int
    n_given: int


class Metric(ABC, Generic[Sample]):
    """Numbers that are measured together on one sample, because they need the same work.

    Attributes:
        name: registry name, the same as the module's.
        requires: what a sample must hold ("ca", "backbone", "cb"); quantities it cannot serve are NaN,
            never guessed.
        quantities: the numbers, in column order.
        labels: names of text columns, such as a secondary structure string.
    """

    name: ClassVar[str]
    requires: ClassVar[tuple[str, ...]]
    quantities: ClassVar[tuple[Quantity, ...]]
    labels: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def measure(self, sample: Sample) -> Mapping[str, Value]:
        """The value of every quantity and label for one sample; NaN where it does not exist."""

    def __call__(self, samples: Sequence[Sample]) -> dict[str, np.ndarray]:
        """Per-sample values: (n,) float64 for each quantity, (n,) str for each label."""
        rows = [self.measure(sample) for sample in samples]
        columns = {q.name: np.array([row[q.name] for row in rows], dtype=np.float64) for q in self.quantities}
        return columns | {label: np.array([row[label] for row in rows], dtype=np.str_) for label in self.labels}


def summarise(
    values: Sequence[float] | np.ndarray, *, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> Summary:
    """Summarise per-sample values with a percentile bootstrap interval of the mean.

    The interval depends on the values and the seed alone (Efron, 1979). Above 10,000 values the normal
    interval mean ± 1.96 s/√n is used in its place, which is the same to the digits printed.

    Args:
        values: (n,) one value a sample; NaN (or infinite) where a sample has none.
        seed: of the resampling.
        resamples: number of bootstrap samples.
        level: probability content of the interval.

    Example:
        >>> summary = summarise([1.0, 2.0, 3.0, float("nan")])
        >>> summary.mean, summary.n, summary.n_given
        (2.0, 3, 4)
    """
    given = np.asarray(values, dtype=np.float64).reshape(-1)
    used = given[np.isfinite(given)]
    if len(used) == 0:
        return Summary(np.nan, np.nan, np.nan, np.nan, 0, len(given))
    mean, median = float(used.mean()), float(np.median(used))
    if len(used) < 2:
        return Summary(mean, median, np.nan, np.nan, len(used), len(given))
    if len(used) > _EXACT_BOOTSTRAP:
        half = 1.959964 * float(used.std(ddof=1)) / np.sqrt(len(used))
        low, high = mean - half, mean + half
    else:
        low, high = _bootstrap_interval(used, seed, resamples, level)
    return Summary(mean, median, low, high, len(used), len(given))


def _bootstrap_interval(values: np.ndarray, seed: int, resamples: int, level: float) -> tuple[float, float]:
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    rng = np.random.default_rng(seed)
    n = len(values)
    chunk = max(1, 2_000_000 // n)  # bounds memory at 16 MB whatever n is
    means = [
        values[rng.integers(0, n, size=(min(chunk, resamples - start), n))].mean(axis=1)
        for start in range(0, resamples, chunk)
    ]
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(np.concatenate(means), [tail, 1.0 - tail])
    return float(low), float(high)
