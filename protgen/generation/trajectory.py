"""Records what a sampler predicts at each step, so that the way from noise to a design can be watched."""

from collections.abc import Callable

import numpy as np

from protgen.errors import UsageError
from protgen.families.base import Family, IterativeFamily
from protgen.samplers.base import Sampler
from protgen.samplers.smc import SequentialMonteCarlo
from protgen.samplers.smc_best import BestParticle
from protgen.spaces.atoms import BackboneAtoms
from protgen.spaces.base import Space
from protgen.spaces.capabilities import require
from protgen.types import State


def require_predictions(family: Family, sampler: Sampler) -> None:
    """Refuse to record where no step predicts a structure, or where its history is not that of the design.

    Args:
        family: of the model.
        sampler: of the run.

    Raises:
        UsageError: for families that do not go from noise to data in their space, and for particles.
    """
    if not isinstance(family, IterativeFamily):
        raise UsageError(
            f"a trajectory needs a model that predicts a structure at each step, and {type(family).__name__} does not; "
            "use one of flow_matching or diffusion (`protgen models`)"
        )
    if isinstance(sampler, SequentialMonteCarlo | BestParticle):
        raise UsageError("smc replaces particles on the way, so a design has no trajectory; choose another sampler")


class Recorder:
    """Keeps E[x_data | x_t, y] of each step of a batch, and passes the report on.

    Args:
        space: whose points are backbones.
        report: called first at each step.
    """

    def __init__(self, space: Space, report: Callable[[int, State, State], None]) -> None:
        self.space = space
        self.report = report
        self.frames: list[np.ndarray] = []

    def __call__(self, step: int, x: State, x_pred: State) -> None:
        """Note the prediction of a step."""
        self.report(step, x, x_pred)
        self.frames.append(require(self.space, BackboneAtoms, "a trajectory").observe(x_pred).cpu().numpy())

    def of(self, row: int) -> list[np.ndarray]:
        """The frames (l, 4, 3) of one sample of the batch, Å, padding behind."""
        return [frame[row] for frame in self.frames]
