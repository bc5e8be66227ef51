"""The interface of metrics, and the summary of values over many samples with an interval.

Nothing here depends on the kind of sample: a protein, an image, a row of a table.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, TypeVar

import numpy as np

from protgen.metrics.intervals import LEVEL, RESAMPLES, is_share, mean_interval, wilson_interval

Sample = TypeVar("Sample")
Value = float | str

INTERVAL = (
    "95 %: where every value is 0 or 1 the Wilson interval of a share, else a bootstrap of the mean, "
    "1000 resamples, seed 0, percentiles widened for few values (Hesterberg 2015), Student's t below 8"
)


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
        ci_low: lower end of the interval of the mean, as `INTERVAL` says; NaN with fewer than two values.
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
        of_parts: names of quantities of parts that a whole sample may lack, such as strands: NaN where it has none.
    """

    name: ClassVar[str]
    requires: ClassVar[tuple[str, ...]]
    quantities: ClassVar[tuple[Quantity, ...]]
    labels: ClassVar[tuple[str, ...]] = ()
    of_parts: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def measure(self, sample: Sample) -> Mapping[str, Value]:
        """The value of every quantity and label for one sample; NaN where it does not exist."""

    def __call__(self, samples: Sequence[Sample]) -> dict[str, np.ndarray]:
        """Per-sample values: (n,) float64 for each quantity, (n,) str for each label."""
        rows = [self.measure(sample) for sample in samples]
        columns = {q.name: np.array([row[q.name] for row in rows], dtype=np.float64) for q in self.quantities}
        return columns | {label: np.array([row[label] for row in rows], dtype=np.str_) for label in self.labels}


def number_of(value: Value | None) -> float:
    """A value of a row as a number; NaN for words, and where there is none."""
    return float(value) if isinstance(value, int | float) else np.nan


def summarise(
    values: Sequence[float] | np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Summary:
    """Summarise per-sample values with an interval of the mean.

    Values that are all 0 or 1 are verdicts, and their mean a share: it gets the Wilson interval, which has a width for
    none and for all too. Other values get a bootstrap interval, which depends on the values and the seed alone.

    Args:
        values: (n,) one value a sample; NaN (or infinite) where a sample has none.
        seed: of the resampling.
        resamples: number of bootstrap samples.
        level: probability content of the interval.

    Examples:
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
    if is_share(used):
        low, high = wilson_interval(float(used.sum()), len(used), level)
    else:
        low, high = mean_interval(used, seed=seed, resamples=resamples, level=level)
    return Summary(mean, median, low, high, len(used), len(given))
