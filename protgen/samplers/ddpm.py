"""Ancestral sampling: each step draws x_s from q(x_s | x_t, x_data) with the prediction x_hat in place of x_data.

With v = sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2, the variance added between s and t,

    mean = alpha_t / alpha_s  sigma_s^2 / sigma_t^2  x_t + alpha_s v / sigma_t^2  x_hat,
    variance = sigma_s^2 v / sigma_t^2   (of the posterior; the optimal variance is at most v),

for any alpha and sigma. Curved fields: see `protgen.samplers.curved`.

References:
    Ho et al. 2020, Denoising Diffusion Probabilistic Models, eq. 7 and section 3.2 (both variances).
    Nichol and Dhariwal 2021, Improved DDPM, eq. 15 (interpolation).
"""

from torch import Tensor

from protgen.errors import UsageError
from protgen.samplers.base import Step, SteppingSampler
from protgen.samplers.ddim import posterior_std


class DDPM(SteppingSampler):
    """Denoising diffusion probabilistic model.

    Args:
        steps: number of steps, one network evaluation each.
        upper: 0 for the posterior's variance (optimal for data at one point), 1 for its upper bound (optimal for normal
            data), in between a geometric mean.
        rotation_rate: rate of the exponential schedule on curved fields that follow geodesics; 0 for the straight one.
        spacing: exponent of the time grid, t_k = (1 - k / steps)^spacing; above 1 steps are finer near data.
        self_condition: whether each step reads the prediction of the step before.

    Raises:
        UsageError: if steps is not positive, upper not in [0, 1], or the rate negative.
    """

    def __init__(
        self,
        steps: int = 200,
        upper: float = 0.0,
        rotation_rate: float = 10.0,
        spacing: float = 1.0,
        self_condition: bool = True,
    ) -> None:
        super().__init__(steps, rotation_rate, spacing, self_condition)
        if not 0 <= upper <= 1:
            raise UsageError(f"upper {upper}: give 0 (the posterior's variance) to 1 (its upper bound)")
        self.upper = upper

    def brownian(self, step: Step) -> tuple[float, float]:
        """As on flat fields with alpha = 1."""
        at_t, at_s = step.stds()
        return at_s**2 / at_t, self.noise(1.0, at_t, 1.0, at_s)

    def flat_step(self, name: str, x: Tensor, x_pred: Tensor, step: Step) -> Tensor:
        """The posterior given the prediction."""
        if step.s == 0:
            return x_pred
        alpha_t, sigma_t, alpha_s, sigma_s = step.flat()
        ratio = alpha_t / alpha_s
        added = sigma_t**2 - (ratio * sigma_s) ** 2
        mean = ratio * (sigma_s / sigma_t) ** 2 * x + alpha_s * added / sigma_t**2 * x_pred
        return mean + step.fresh(name, self.noise(alpha_t, sigma_t, alpha_s, sigma_s))

    def noise(self, alpha_t: float, sigma_t: float, alpha_s: float, sigma_s: float) -> float:
        """Standard deviation of the noise of a step.

        Args:
            alpha_t, sigma_t: the path at t.
            alpha_s, sigma_s: the path at s < t.
        """
        lower = posterior_std(alpha_t, sigma_t, alpha_s, sigma_s)
        if lower == 0:
            return 0.0
        highest = (sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2) ** 0.5
        return lower ** (1 - self.upper) * highest**self.upper
