"""Steps on curved fields, from t to s < t, for every sampler.

Where the path is a geodesic (flow matching) a step goes a fraction of the way to the estimate; there is no noise to
take part in it, so samplers that add noise do so on flat fields and follow the flow here. Any mixture of both has the
same distribution at each time, as the noise on one field is matched by the drift of its own score.

Where it is Brownian motion (diffusion) with spread a at t and b at s, a step goes along the score of the heat kernel
about the estimate, plus noise. The coefficients are those of a flat field with alpha = 1, where the score is
(estimate - x) / a^2; on a manifold they hold for steps small against the spread.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from protgen.errors import UsageError
from protgen.spaces.base import HeatKernel, Manifold

if TYPE_CHECKING:  # the base of samplers steps by these functions
    from protgen.samplers.base import Step


def geodesic_fraction(step: "Step", rate: float) -> float:
    """How much of the way to the estimate a step takes: (t - s) / t, or by the exponential schedule rate (t - s).

    The larger of the two, never more than all. The last step takes all of it.
    """
    straight = (step.t - step.s) / step.t
    if rate and step.s > 0:
        return min(1.0, max(straight, rate * (step.t - step.s)))
    return straight


def follow_geodesic(manifold: Manifold, x: Tensor, x_pred: Tensor, step: "Step", rate: float) -> Tensor:
    """A step of the flow on a curved field."""
    return manifold.geodesic(x, x_pred, torch.tensor(geodesic_fraction(step, rate)))


def reverse_brownian(name: str, x: Tensor, x_pred: Tensor, step: "Step", left: float, noise: float) -> Tensor:
    """A step back along Brownian motion: exp_x(a (a - left) score + noise z), with a the spread at t.

    On a flat field this is estimate + (left / a) (x - estimate) + noise z: `left` is the spread of noise that stays.
    A probability flow keeps left = b and adds none; ancestral sampling has left = b^2 / a and noise^2 = b^2 - left^2.

    Args:
        name: of the field.
        x, x_pred: the point at t and the estimate of x_data.
        step: the step.
        left: radians.
        noise: standard deviation of fresh noise before temperature, radians.
    """
    manifold = step.space.manifolds[name]
    if step.s == 0:
        return manifold.geodesic(x, x_pred, torch.tensor(1.0))
    std, _ = step.stds()
    tangent = std * (std - left) * kernel_score(manifold, x, x_pred, std)
    return manifold.expmap(x, tangent + step.fresh(name, noise) if noise else tangent)


def kernel_score(manifold: Manifold, x: Tensor, x_pred: Tensor, std: float) -> Tensor:
    """Score at x of the heat kernel about the estimate.

    Raises:
        UsageError: if the manifold has no heat kernel.
    """
    if not isinstance(manifold, HeatKernel):
        raise UsageError(f"no Brownian motion is known on {type(manifold).__name__}; use flow_matching")
    return manifold.score(x, x_pred, x.new_full((len(x), 1, 1), std))
