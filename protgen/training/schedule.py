"""Learning rate over a run: linear warm-up, then half a cosine down to a small share."""

import math


def learning_rate(step: int, steps: int, peak: float, warmup: int, final_fraction: float = 0.02) -> float:
    """Learning rate at a step.

    Args:
        step: from 0.
        steps: length of the run.
        peak: highest rate.
        warmup: steps until the peak.
        final_share: rate at the end, as a fraction of the peak.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return peak * (final_fraction + (1 - final_fraction) * 0.5 * (1 + math.cos(math.pi * progress)))
