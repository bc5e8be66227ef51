"""Euler-Maruyama steps of the reverse stochastic differential equation.

For every rate w(t) >= 0 the equation, backwards in time,

    dx = [-v(x, t) + w(t) / 2 grad log p_t(x)] d(-t) + sqrt(w(t)) dW

has the distributions of the probability flow dx/dt = v. Here w = noise^2 g^2 with g^2 = 2 sigma sigma' - 2 sigma^2
alpha' / alpha of the forward process; noise = 1 is its time reversal, 0 the flow itself. With the prediction x_hat and
the noise that it implies, e = (x - alpha x_hat) / sigma: v = alpha' x_hat + sigma' e and grad log p = -e / sigma (in
units of the noise). g^2 diverges where alpha goes to 0. Any smaller w is valid too, so w is limited to what a step can
resolve.

On curved fields with Brownian motion of standard deviation a at t and b at s: exp_x((1 + noise^2) / 2 (a^2 - b^2) score
+ noise sqrt(a^2 - b^2) z). Temperature scales dW and the initial noise: below 1, samples are more probable.

References:
    Song et al. 2021, Score-Based Generative Modeling through SDEs, eq. 6 and 13.
    Karras et al. 2022, eq. 6-8 (noise of any rate). Ingraham et al. 2023, Chroma, appendix B (low temperature).
"""

from torch import Tensor

from protgen.errors import UsageError
from protgen.samplers.base import Step, SteppingSampler


class SDE(SteppingSampler):
    """Euler-Maruyama from t = 1 to t = 0.

    Args:
        steps: number of steps, one network evaluation each.
        noise: 1 for the reverse of the forward process, 0 for its probability flow; larger values decorrelate faster.
        rotation_rate: rate of the exponential schedule on curved fields that follow geodesics; 0 for the straight one.
        spacing: exponent of the time grid, t_k = (1 - k / steps)^spacing; above 1 steps are finer near data.
        self_condition: whether each step reads the prediction of the step before.

    Raises:
        UsageError: if steps is not positive, or noise or the rate negative.
    """

    def __init__(
        self,
        steps: int = 200,
        noise: float = 1.0,
        rotation_rate: float = 10.0,
        spacing: float = 1.0,
        self_condition: bool = True,
    ) -> None:
        super().__init__(steps, rotation_rate, spacing, self_condition)
        if noise < 0:
            raise UsageError(f"noise {noise}: cannot be negative; 0 is the probability flow")
        self.noise = noise

    def brownian(self, step: Step) -> tuple[float, float]:
        """Drift along the score, and the noise that the forward Brownian motion added."""
        at_t, at_s = step.stds()
        variance = at_t**2 - at_s**2
        return at_t - (1 + self.noise**2) / 2 * variance / at_t, self.noise * variance**0.5

    def flat_step(self, name: str, x: Tensor, x_pred: Tensor, step: Step) -> Tensor:
        """The step of a flat field."""
        if step.s == 0:
            return x_pred
        width = step.t - step.s
        alpha, sigma, _, _ = step.flat()
        alpha_slope, sigma_slope = step.path.flat.slopes_at(step.t)
        # A step removes at most half of the noise by this term; more would overshoot.
        rate = sigma**2 / width
        if alpha > 0:
            rate = min(rate, 2 * sigma * sigma_slope - 2 * sigma**2 * alpha_slope / alpha)
        rate = rate * self.noise**2
        implied = (x - alpha * x_pred) / sigma
        drift = alpha_slope * x_pred + (sigma_slope + rate / (2 * sigma)) * implied
        moved = x - width * drift
        return moved + step.fresh(name, (rate * width) ** 0.5) if rate > 0 else moved
