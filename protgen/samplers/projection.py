"""Projection: the estimate of x_data is put onto the set of points that meet a hard constraint.

What the set is, a function says: a motif in its place, copies that are equal. The sampler goes towards the projected
estimate, the next self-conditioned estimate sees it, and the last step ends on it, so the constraint holds exactly
(projection in the sense of replacement: Trippe et al. 2023, ProtDiff/SMCDiff, section 3.1, but of the estimate rather
than of x_t, which needs no noising of what is known).
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from protgen.samplers.base import Denoiser, Guide
from protgen.types import Conditioning, State


class Projection(Guide):
    """Project each estimate, and the noisy point too where asked.

    Args:
        denoiser: what to guide.
        project: the nearest point that meets the constraint, a function of a state.
        inputs: whether x_t is projected before the network sees it: for constraints that noise can meet as well, such
            as symmetry.
    """

    def __init__(self, denoiser: Denoiser, project: Callable[[State], State], inputs: bool = False) -> None:
        super().__init__(denoiser)
        self.project = project
        self.inputs = inputs

    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None) -> State:
        """E[x_data | x_t, y], projected."""
        seen = self.project(x_t) if self.inputs else x_t
        return self.project(self.denoiser.denoise(seen, t, cond, x_pred))
