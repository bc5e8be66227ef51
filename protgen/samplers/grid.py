"""The times of a sampler's steps, and what they can be."""

from itertools import pairwise

import torch

from protgen.errors import UsageError

MOST_STEPS = 65_536


def check_rate(rotation_rate: float) -> None:
    """Raise UsageError if there is no such schedule of curved fields."""
    if rotation_rate < 0:
        raise UsageError(f"rotation_rate {rotation_rate}: cannot be negative; 0 is the straight schedule")


def check_grid(steps: int, spacing: float) -> None:
    """Raise UsageError if there is no such grid of times."""
    if steps < 1:
        raise UsageError(f"steps {steps}: a sampler takes at least 1 step")
    if steps > MOST_STEPS:  # the times of all of them are in memory
        raise UsageError(f"steps {steps}: a sampler takes at most {MOST_STEPS:,} steps")
    if spacing <= 0:
        raise UsageError(f"spacing {spacing}: must be positive; above 1 steps are finer near data")


def time_grid(steps: int, spacing: float, start_time: float = 1.0) -> list[tuple[float, float]]:
    """Pairs (t, s) of the steps from the start to 0.

    Args:
        steps: number of steps.
        spacing: exponent of the grid.
        start_time: the first time.
    """
    grid = (start_time * (1 - torch.linspace(0, 1, steps + 1)).pow(spacing)).tolist()
    return list(pairwise(grid))
