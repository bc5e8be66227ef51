"""Projection: the prediction of x_data is projected onto the points that meet a hard constraint.

A function defines the projection: a motif in its place, copies that are equal. The sampler steps towards the projected
prediction, the next prediction reads it by self-conditioning, and the last step ends on it, so the constraint holds
exactly. This is replacement (Trippe et al. 2023, ProtDiff/SMCDiff, section 3.1) of the prediction rather than of x_t,
so the known part needs no noise.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from protgen.samplers.base import Denoiser, Guide
from protgen.types import Conditioning, State


class Projection(Guide):
    """Project each prediction and, optionally, the noisy point.

    Args:
        denoiser: what to guide.
        project: the nearest point that meets the constraint, a function of a state.
        inputs: what is done to x_t before the network reads it, for constraints that noise can meet too, such as
            symmetry; None for nothing. Where `project` is a mean it is something else: noise keeps its size.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        project: Callable[[State], State],
        inputs: Callable[[State], State] | None = None,
    ) -> None:
        super().__init__(denoiser)
        self.project = project
        self.inputs = inputs

    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None) -> State:
        """E[x_data | x_t, y], projected."""
        seen = x_t if self.inputs is None else self.inputs(x_t)
        return self.project(self.denoiser.denoise(seen, t, cond, x_pred))
