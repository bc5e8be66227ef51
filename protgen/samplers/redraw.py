"""Early rejection: a sample whose first predictions go wrong begins anew, before its other steps are paid for.

What a sample is like as a whole is decided at much noise: the prediction of x_data shows it after a few steps. So
p(x | y, no fault) is sampled by rejection at the price of these steps alone; what shows later is looked for again, at
the price of more. Each sample draws from its own generator, so how often one begins anew does not depend on its
neighbours.

References:
    Ma et al. 2025, Inference-Time Scaling for Diffusion Models beyond Scaling Denoising Steps, section 3 (search over
    the noise that a sample begins with, judged by a verifier).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.errors import UsageError
from protgen.types import State

Lead = list[tuple[State, State]]  # the point after each of the first steps, and the prediction that it was made with


@dataclass(frozen=True)
class Redraw:
    """When a sample begins anew.

    Attributes:
        faults: (b,) of predictions of x_data; 0 where there is none.
        times: when faults are counted, falling: the first step at or below each is the last before.
        tries: how often a sample begins anew at the most for faults at each time; the one with the fewest is kept.

    Raises:
        UsageError: if there is no time, times are not between 0 and 1 or do not fall, or the number is negative.
    """

    faults: Callable[[State], Float[Tensor, " b"]]
    times: tuple[float, ...] = (0.75, 0.5)
    tries: int = 6

    def __post_init__(self) -> None:
        falling = all(later < earlier for earlier, later in pairwise(self.times))
        if not self.times or not falling or not 0 < self.times[-1] <= self.times[0] <= 1 or self.tries < 0:
            said = ", ".join(f"{time:g}" for time in self.times)
            raise UsageError(f"redraw at {said}, {self.tries} times: falling times from 0 to 1, and no negative number")

    def steps(self, grid: Sequence[tuple[float, float]]) -> list[int]:
        """How many steps of a grid come before faults are counted, each time: all of them if none is early enough."""
        ends = []
        for time in self.times:
            # Times are float32.
            ends.append(next((number for number, (t, _) in enumerate(grid, 1) if t <= time + 1e-6), len(grid)))
        return sorted(set(ends))


def least_faults(draw: Callable[[], Lead], redraw: Redraw, generators: Sequence[Generator]) -> Lead:
    """The first steps of each sample, drawn until they show no fault; generators are left as these steps left them.

    Args:
        draw: makes the first steps of all samples, those before it drawn in this way themselves.
        redraw: what a fault is, and how often to try.
        generators: one for each sample.
    """
    best = draw()
    least, states = redraw.faults(best[-1][1]), [generator.get_state() for generator in generators]
    for _ in range(redraw.tries):
        if not bool((least > 0).any()):
            break
        again = draw()
        found = redraw.faults(again[-1][1])
        better = found < least
        best = [
            (chosen(better, new[0], old[0]), chosen(better, new[1], old[1]))
            for new, old in zip(again, best, strict=True)
        ]
        least = torch.where(better, found, least)
        for row in torch.nonzero(better)[:, 0].tolist():
            states[row] = generators[row].get_state()
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
    return best


def chosen(rows: Bool[Tensor, " b"], new: State, old: State) -> State:
    """The new state in these rows, the old one in the others."""
    fields = {}
    for name, x in new.fields.items():
        fields[name] = torch.where(rows.view(-1, *[1] * (x.ndim - 1)), x, old[name])
    return State(fields, old.mask)
