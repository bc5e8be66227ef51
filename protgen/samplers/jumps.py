"""Jumps: several steps of a sampler taken as one, and the prediction that one step of Euler would need for it.

Euler's step from t to s moves x_t towards a prediction of x_data (`protgen.samplers.euler`). Given where a finer
sampler arrives at s, the step can be solved for that prediction. A network that learns it takes the way of the finer
sampler in fewer steps.

References:
    Salimans and Ho 2022, Progressive Distillation for Fast Sampling of Diffusion Models, appendix G (the target of a
    student whose one step replaces two of its teacher).
"""

from jaxtyping import Float
from torch import Tensor

from protgen.errors import ConfigError
from protgen.samplers.base import Denoiser, Guide
from protgen.samplers.curved import geodesic_fraction
from protgen.samplers.schedules import Path
from protgen.spaces.base import Space
from protgen.types import Conditioning, State


class Witness(Guide):
    """A denoiser that notes the points at which it is asked.

    Args:
        denoiser: what is asked.

    Attributes:
        points: x_t of each step so far.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__(denoiser)
        self.points: list[State] = []

    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None) -> State:
        """The prediction of the denoiser."""
        self.points.append(x_t)
        return self.denoiser.denoise(x_t, t, cond, x_pred)


def require_jumps(path: Path, space: Space) -> None:
    """Refuse paths on which a step has no inverse in closed form.

    Raises:
        ConfigError: if a curved field follows Brownian motion.
    """
    if path.brownian is not None and any(manifold.curved for manifold in space.manifolds.values()):
        raise ConfigError(
            "distillation needs steps that can be solved for their prediction, and diffusion of rotations or angles "
            "has none; distil a model of flow_matching"
        )


def aim_of(path: Path, space: Space, x_t: State, x_s: State, t: float, s: float, rate: float) -> State:
    """The prediction of x_data with which Euler's step from x_t at t ends on x_s at s.

    Args:
        path: of the model.
        space: of the points.
        x_t: the point before the step.
        x_s: the point after it.
        t, s: times before and after it; a step to 0 ends on the prediction itself.
        rate: of the schedule of curved fields.
    """
    if s == 0:
        return x_s
    fields = {}
    for name, manifold in space.manifolds.items():
        early = manifold.curved or (path.straight and name in space.early)
        if early or path.straight:
            fraction = geodesic_fraction(t, s, rate if early else 0.0)
            # A step that covers the whole way ends on the prediction, whatever rounding does to the way on.
            further = x_t[name].new_tensor(1 / fraction)
            fields[name] = x_s[name] if fraction >= 1 else manifold.geodesic(x_t[name], x_s[name], further)
        else:
            (alpha_t, sigma_t), (alpha_s, sigma_s) = path.flat.at(t), path.flat.at(s)
            keep = sigma_s / sigma_t
            fields[name] = (x_s[name] - keep * x_t[name]) / (alpha_s - alpha_t * keep)
    return State(fields, x_t.mask)
