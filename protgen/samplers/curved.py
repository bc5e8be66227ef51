"""Steps on curved fields, from t to s < t, for every sampler.

Where the path is a geodesic (flow matching), a step covers a fraction of the geodesic to the prediction x_hat. The path
has no noise, so samplers that add noise do so on flat fields and follow the flow here. Any mixture of both has the
same distribution at each time: the drift of the score of a field compensates the noise on it.

Where the path is Brownian motion (diffusion) with standard deviation a at t and b at s, a step follows the score of the
heat kernel about x_hat, plus noise. The coefficients are those of a flat field with alpha = 1, where the score is
(x_hat - x) / a^2. On a manifold they hold for steps that are small against the standard deviation.
"""

from torch import Tensor

from protgen.errors import UsageError
from protgen.spaces.manifolds import HeatKernel, Manifold


def geodesic_fraction(t: float, s: float, rate: float) -> float:
    """Which fraction of the geodesic to the prediction a step covers.

    (t - s) / t, or rate (t - s) by the exponential schedule: the larger of the two, at most 1. The last step covers
    all.

    Args:
        t, s: times before and after the step.
        rate: of the exponential schedule; 0 for none.
    """
    straight = (t - s) / t
    if rate and s > 0:
        return min(1.0, max(straight, rate * (t - s)))
    return straight


def reverse_brownian(
    manifold: Manifold, x: Tensor, x_pred: Tensor, std: float, left: float, noise: Tensor | None
) -> Tensor:
    """A step of reversed Brownian motion: exp_x(a (a - left) score + noise), with a the standard deviation at t.

    On a flat field this is x_hat + (left / a) (x - x_hat) + noise. A probability flow has left = b and no noise;
    ancestral sampling has left = b^2 / a and noise of variance b^2 - left^2.

    Args:
        manifold: of the field.
        x, x_pred: the point at t, and the prediction of x_data.
        std: a, radians.
        left: standard deviation of the noise of x that stays, radians.
        noise: fresh noise, tangent vectors in radians; None for none.
    """
    tangent = std * (std - left) * kernel_score(manifold, x, x_pred, std)
    return manifold.expmap(x, tangent if noise is None else tangent + noise)


def kernel_score(manifold: Manifold, x: Tensor, x_pred: Tensor, std: float) -> Tensor:
    """Score at x of the heat kernel about the prediction.

    Args:
        manifold: of the field.
        x, x_pred: the point, and the prediction of x_data.
        std: standard deviation of the kernel, radians.

    Raises:
        UsageError: if the manifold has no heat kernel.
    """
    if not isinstance(manifold, HeatKernel):
        raise UsageError(f"no Brownian motion is known on {type(manifold).__name__}; use flow_matching")
    return manifold.score(x, x_pred, x.new_full((len(x), 1, 1), std))
