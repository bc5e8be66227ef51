"""Whether a training still makes sense: losses that are finite and do not explode, and steps that are taken."""

import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence

from protgen.errors import DivergedError

IN_A_ROW = 10  # steps that may be left out, or whose loss may be exploded, before the run stops
EXPLODED = 1_000.0  # times the usual size of the loss, and 1 to it: losses near 0 are usual too
REMEMBERED = 100  # losses of which the median is the usual size


class LossGuard:
    """Looks at the loss of every step.

    Args:
        in_a_row: steps left out, or exploded, one after another, that stop the run.
    """

    def __init__(self, in_a_row: int = IN_A_ROW) -> None:
        self.in_a_row = in_a_row
        self.skipped = 0
        self.exploded = 0
        self._usual: deque[float] = deque(maxlen=REMEMBERED)

    @property
    def suspicious(self) -> bool:
        """Whether the last step was left out or its loss exploded: no time for a checkpoint."""
        return bool(self.skipped or self.exploded)

    def look(self, terms: Mapping[str, float]) -> None:
        """Take in one step.

        Args:
            terms: the loss, its parts, and `grad_norm`, which is not finite where the step was left out.

        Raises:
            DivergedError: if the loss or a part of it is not finite, or the last `in_a_row` steps were left out or
                exploded; the message is the reason alone.
        """
        for name, value in terms.items():
            if name != "grad_norm" and not math.isfinite(value):
                raise DivergedError(f"{name.replace('_', ' ')} is {value}")
        self.skipped = 0 if math.isfinite(terms["grad_norm"]) else self.skipped + 1
        if self.skipped >= self.in_a_row:
            raise DivergedError(f"gradients of {self.skipped} steps in a row are not finite")
        size = abs(terms["loss"])
        usual = statistics.median(self._usual) if self._usual else size
        if size <= EXPLODED * (1 + usual):
            self.exploded = 0
            self._usual.append(size)
            return
        self.exploded += 1
        if self.exploded >= self.in_a_row:
            raise DivergedError(
                f"the loss is {terms['loss']:.3g}, and was more than {EXPLODED:,.0f} times its usual size "
                f"({usual:.3g}) for {self.exploded} steps"
            )


def suspects(batches: Sequence[Mapping[str, float]]) -> list[int]:
    """Which batches of a step to look at: those with a loss that is not finite, else all.

    Args:
        batches: the losses of each.
    """
    losses = [[value for name, value in terms.items() if name != "grad_norm"] for terms in batches]
    losses = [[value for name, value in terms.items() if name != "grad_norm"] for terms in batches]
    bad = [k for k, values in enumerate(losses) if not all(math.isfinite(value) for value in values)]
    return bad or list(range(len(batches)))
