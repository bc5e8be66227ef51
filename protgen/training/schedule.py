"""Learning rate over a run: linear warm-up, the peak, then half a cosine down to a small fraction of the peak."""

import math
import time


def learning_rate(
    peak: float, step: int, warmup: int, progress: float, cooldown: float = 1.0, final_fraction: float = 0.02
) -> float:
    """Learning rate at a step.

    Args:
        peak: highest rate.
        step: from 0.
        warmup: steps until the peak.
        progress: fraction of the run after the warm-up that is done, 0 to 1.
        cooldown: fraction of the run after the warm-up, at its end, over which the rate falls.
        final_fraction: rate at the end, as a fraction of the peak.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = max(0.0, (progress - 1 + cooldown) / cooldown) if cooldown > 0 else 0.0
    return peak * (final_fraction + (1 - final_fraction) * 0.5 * (1 + math.cos(math.pi * progress)))


class Budget:
    """How far a run is: by its steps, or by its time where minutes are given.

    On a CPU that is the CPU time of this process, which other work beside it does not use up. A process that waits for
    a GPU may spend none or all of its time waiting, so there it is time by the clock.

    Args:
        steps: of the run.
        warmup: of these, steps until the peak of the learning rate.
        minutes: of the run, None for no limit.
        spent: minutes that earlier processes have used.
        device: where it trains.
    """

    def __init__(self, steps: int, warmup: int, minutes: float | None, spent: float = 0.0, device: str = "cpu") -> None:
        self.steps, self.warmup, self.minutes = steps, warmup, minutes
        self._clock = time.process_time if device == "cpu" else time.monotonic
        self._begun = self._clock() - 60 * spent

    def spent(self) -> float:
        """Minutes used."""
        return (self._clock() - self._begun) / 60

    def is_spent(self) -> bool:
        """Whether the time is over."""
        return self.minutes is not None and self.spent() >= self.minutes

    def progress(self, step: int) -> float:
        """Fraction of the run after the warm-up that is done at a step, 0 to 1."""
        if self.minutes is not None:
            return min(1.0, self.spent() / self.minutes)
        return min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
