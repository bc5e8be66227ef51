"""DDIM: from no noise (a probability flow) to the noise of ancestral sampling, by one parameter eta.

    x_s = alpha_s x_hat + sqrt(sigma_s^2 - d^2) (x_t - alpha_t x_hat) / sigma_t + d z,
    d = eta sigma_s / sigma_t sqrt(sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2),

for any alpha and sigma. Curved fields: see `protgen.samplers.curved`.

References:
    Song et al. 2021, Denoising Diffusion Implicit Models, eq. 12 and 16.
"""

from torch import Tensor

from protgen.errors import UsageError
from protgen.samplers.base import Step, SteppingSampler


class DDIM(SteppingSampler):
    """Denoising diffusion implicit model.

    Args:
        steps: number of steps, one network evaluation each.
        eta: 0 for a deterministic map from noise to data, 1 for the noise of DDPM.
        rotation_rate: rate of the exponential schedule on curved fields that follow geodesics; 0 for the straight one.
        spacing: exponent of the time grid, t_k = (1 - k / steps)^spacing; above 1 steps are finer near data.
        self_condition: whether each step reads the prediction of the step before.

    Raises:
        UsageError: if steps is not positive, eta not in [0, 1], or the rate negative.
    """

    def __init__(
        self,
        steps: int = 50,
        eta: float = 0.0,
        rotation_rate: float = 10.0,
        spacing: float = 1.0,
        self_condition: bool = True,
    ) -> None:
        super().__init__(steps, rotation_rate, spacing, self_condition)
        if not 0 <= eta <= 1:
            raise UsageError(f"eta {eta}: give 0 (no noise) to 1 (the noise of DDPM)")
        self.eta = eta

    def brownian(self, step: Step) -> tuple[float, float]:
        """As on flat fields with alpha = 1."""
        at_t, at_s = step.stds()
        noise = posterior_std(1.0, at_t, 1.0, at_s) * self.eta
        return (at_s**2 - noise**2) ** 0.5, noise

    def flat_step(self, name: str, x: Tensor, x_pred: Tensor, step: Step) -> Tensor:
        """The formula above."""
        alpha_t, sigma_t, alpha_s, sigma_s = step.flat()
        noise = posterior_std(alpha_t, sigma_t, alpha_s, sigma_s) * self.eta
        left = (sigma_s**2 - noise**2) ** 0.5
        moved = alpha_s * x_pred + left * (x - alpha_t * x_pred) / sigma_t
        return moved + step.fresh(name, noise) if noise else moved


def posterior_std(alpha_t: float, sigma_t: float, alpha_s: float, sigma_s: float) -> float:
    """Standard deviation of q(x_s | x_t, x_data), in units of the noise.

    Args:
        alpha_t, sigma_t: the path at t.
        alpha_s, sigma_s: the path at s < t.
    """
    added = max(0.0, sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2)
    return sigma_s / sigma_t * added**0.5
