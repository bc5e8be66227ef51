"""Early stopping: a run ends when its validation loss no longer improves, and its best step is kept."""

import math
from collections.abc import Mapping

from protgen.errors import CheckpointError, ConfigError
from protgen.training.settings import TrainSettings
from protgen.types import JSON

FIGURE = "validation_loss"


class EarlyStopping:
    """The best validation of a run, and how many have passed since.

    A validation is better if its loss is below the best one's by more than `min_improvement`.

    Args:
        settings: of the run; without `patience` nothing is looked at.
        before: what `to_json` gave in an earlier process; None for a new run.

    Attributes:
        best: lowest validation loss, NaN before the first.
        best_step: its step.
        waited: validations since then.

    Raises:
        CheckpointError: if `before` is no state of this.
    """

    def __init__(self, settings: TrainSettings, before: JSON | None = None) -> None:
        self.patience, self.least = settings.patience, settings.min_improvement
        self.best, self.best_step, self.waited = math.nan, 0, 0
        if before is not None:
            self.best, self.best_step, self.waited = best_of(before)

    @property
    def is_on(self) -> bool:
        """Whether the run may end early."""
        return self.patience is not None

    @property
    def is_over(self) -> bool:
        """Whether as many validations as the patience have brought nothing better."""
        return self.patience is not None and self.waited >= self.patience

    def look(self, step: int, figures: Mapping[str, float], trusted: bool = True) -> bool:
        """Take in a validation; returns whether it is the best so far.

        Args:
            step: steps done.
            figures: of the validation.
            trusted: whether the run makes sense at this step; otherwise the validation is no improvement.

        Raises:
            ConfigError: if there is no validation loss among them.
        """
        if not self.is_on:
            return False
        if FIGURE not in figures:
            raise ConfigError(
                "train.patience needs a validation loss, and there is none; build the store with a validation split, "
                "or give train.patience=null"
            )
        loss = figures[FIGURE]
        better = math.isnan(self.best) or loss < self.best - self.least
        if trusted and math.isfinite(loss) and better:
            self.best, self.best_step, self.waited = loss, step, 0
            return True
        self.waited += 1
        return False

    def to_json(self) -> JSON:
        """All that a resumed run needs; hexadecimal, as numbers must be the same in every bit."""
        return {"best": self.best.hex(), "best_step": self.best_step, "waited": self.waited}


def best_of(before: JSON) -> tuple[float, int, int]:
    """The best loss, its step, and the validations since, of a state of `EarlyStopping`.

    Raises:
        CheckpointError: if it is none.
    """
    try:
        best, step, waited = float.fromhex(before["best"]), before["best_step"], before["waited"]
    except (KeyError, TypeError, ValueError, OverflowError):
        best, step, waited = math.nan, -1, -1
    whole = all(type(x) is int and x >= 0 for x in (step, waited))
    if not whole or len(before) > 3 or math.isinf(best) or (step == 0) != math.isnan(best):
        raise CheckpointError(f"stopping: {str(before)[:80]!r} is no state of early stopping")
    return best, step, waited
