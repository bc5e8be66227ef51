"""Autoguidance: away from what a weaker network predicts.

A network and a weaker one of the same data (smaller, or trained for fewer steps) err in the same directions, the weaker
one further. The line from its prediction to the model's leads on to better ones. Classifier-free guidance takes the
prediction without y for the weaker one, and so asks more of y as well; here both predictions have the same y.
"""

from jaxtyping import Float
from torch import Tensor

from protgen.errors import UsageError
from protgen.samplers.base import Denoiser, Guide
from protgen.samplers.guidance import extrapolated
from protgen.spaces.base import Space
from protgen.types import Conditioning, State


class AutoGuidance(Guide):
    """x_weak + w (x_hat - x_weak), on each field's manifold along the geodesic (Karras et al. 2024, Guiding a Diffusion
    Model with a Bad Version of Itself, eq. 3).

    Args:
        denoiser: what to guide.
        space: its space, for geodesics.
        weak: the weaker network; it reads the same self-conditioning.
        weight: w; 1 is the model alone.

    Raises:
        UsageError: if the two were trained on different paths.
    """

    def __init__(self, denoiser: Denoiser, space: Space, weak: Denoiser, weight: float) -> None:
        super().__init__(denoiser)
        if not weak.path.same_as(denoiser.path):
            raise UsageError("autoguidance: the weaker network has another path to noise; train it on the same")
        self.space = space
        self.weak = weak
        self.weight = weight

    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None) -> State:
        """E[x_data | x_t, y], led away from the weaker network's."""
        found = self.denoiser.denoise(x_t, t, cond, x_pred)
        return extrapolated(self.space, found, [self.weak.denoise(x_t, t, cond, x_pred)], [self.weight])
