"""What is told of a run under way: means of the losses, and its speed."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from protgen.errors import CheckpointError
from protgen.models.model import Model
from protgen.types import JSON

MOST_TERMS = 1_000  # of a loss
LONGEST_TERM = 100  # characters of its name


@dataclass(frozen=True)
class Progress:
    """What a caller gets after a logged step.

    Attributes:
        step: steps done.
        losses: means of the loss and its parts since the last logged step.
        steps_per_second: since then.
    """

    step: int
    losses: Mapping[str, float]
    steps_per_second: float


@dataclass(frozen=True)
class Calls:
    """Callbacks to the caller of `train`."""

    on_progress: Callable[[Progress], None]
    on_validation: Callable[[Model, int, Path | None], Mapping[str, float]] | None
    should_stop: Callable[[], bool]


class Averages:
    """Means of the losses since the last logged step, and the speed.

    Args:
        before: what `to_json` gave in the process that began this stretch; None for a new one.

    Raises:
        CheckpointError: if `before` is no state of this.
    """

    def __init__(self, before: JSON | None = None) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0
        if before is not None:
            try:
                self.sums, self.count = _sums_of(before), before["count"]
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
                raise CheckpointError(f"averages: {str(before)[:80]!r} is no state of averages") from None
        self.since = time.monotonic()

    def to_json(self) -> JSON:
        """All that a resumed run needs for the same means; hexadecimal, as a gradient's norm may be infinite."""
        return {"sums": {name: x.hex() for name, x in self.sums.items()}, "count": self.count}

    def add(self, terms: Mapping[str, float]) -> None:
        """Take in one step."""
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1

    def take(self, step: int, rate: float) -> Progress:
        """The means, and begin anew."""
        now = time.monotonic()
        means = {name: value / self.count for name, value in self.sums.items()} | {"lr": rate}
        progress = Progress(step, means, self.count / (now - self.since))
        self.sums, self.count, self.since = {}, 0, now
        return progress


def _sums_of(before: JSON) -> dict[str, float]:
    """The sums of a state of `Averages`.

    Raises:
        KeyError, TypeError, ValueError, AttributeError, OverflowError: if it is none.
    """
    sums = {name: float.fromhex(x) for name, x in before["sums"].items()}
    named = all(name.isprintable() and 0 < len(name) <= LONGEST_TERM for name in sums)
    counted = type(before["count"]) is int and (before["count"] > 0) == bool(sums)
    if set(before) != {"sums", "count"} or len(sums) > MOST_TERMS or not named or not counted:
        raise ValueError
    return sums
