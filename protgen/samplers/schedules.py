"""Paths from data to noise: the factors alpha(t) and sigma(t). The lowest layer of sampling; knows no network.

On flat fields x_t = alpha(t) x_data + sigma(t) x_noise, with x_noise of the standard deviation of the space's noise,
so that alpha and sigma have no unit. t = 0 is data and t = 1 is noise. A sampler starts from sigma(1) x_noise, which is
exact where alpha(1) = 0 and a good approximation where sigma(1) is much larger than alpha(1).

Curved fields have no sum of two points. Their path is either the geodesic from x_data to x_noise (flow matching), or
Brownian motion from x_data (diffusion), whose standard deviation at time t is that of `Brownian`.

References:
    Kingma et al. 2021, Variational Diffusion Models, section 3 (log signal-to-noise ratio as the schedule).
    Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models, table 1.
    Lipman et al. 2023, Flow Matching for Generative Modeling, section 4.1.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from protgen.errors import ConfigError
from protgen.samplers.brownian import Brownian


class Schedule(nn.Module, ABC):
    """alpha(t) and sigma(t) of a flat field; times are tensors of any shape with values in [0, 1].

    It is a module because a schedule can be learned.

    Attributes:
        noisy_data: whether there is noise at t = 0, sigma(0) > 0. A constant, as the parameters of a model that is
            built for its shapes alone (on the meta device) have no values.
    """

    noisy_data: ClassVar[bool] = False

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Factor of x_data: falls with t."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Factor of x_noise: rises with t relative to alpha."""

    @abstractmethod
    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Time derivatives of alpha and sigma."""

    def at(self, t: float) -> tuple[float, float]:
        """alpha and sigma at one time, as numbers in double precision."""
        with torch.no_grad():
            time = torch.tensor(t, dtype=torch.float64, device="cpu")
            return float(self.alpha(time)), float(self.sigma(time))

    def slopes_at(self, t: float) -> tuple[float, float]:
        """Slopes of alpha and sigma at one time, as numbers in double precision."""
        with torch.no_grad():
            alpha, sigma = self.slopes(torch.tensor(t, dtype=torch.float64, device="cpu"))
            return float(alpha), float(sigma)

    def log_snr(self, t: Tensor) -> Tensor:
        """log(alpha^2 / sigma^2), the log signal-to-noise ratio; falls with t."""
        return 2 * (self.alpha(t).log() - self.sigma(t).log())

    def log_snr_slope(self, t: Tensor) -> Tensor:
        """Time derivative of the log signal-to-noise ratio; negative."""
        alpha_slope, sigma_slope = self.slopes(t)
        return 2 * (alpha_slope / self.alpha(t) - sigma_slope / self.sigma(t))

    def data_rate(self, t: Tensor) -> Tensor:
        """alpha' - alpha sigma' / sigma, the derivative of the flow's velocity at x_t by the prediction of x_data."""
        alpha_slope, sigma_slope = self.slopes(t)
        return alpha_slope - self.alpha(t) * sigma_slope / self.sigma(t)

    def time_of(self, ratio: float) -> float:
        """The time in [0, 1] at which sigma / alpha is that number, by bisection: the ratio rises with time."""
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            alpha, sigma = self.at(middle)
            low, high = (middle, high) if sigma < ratio * alpha else (low, middle)
        return (low + high) / 2

    def noise_fraction(self, t: Tensor) -> Tensor:
        """sigma / (alpha + sigma): the time at which the straight path has the same ratio of noise to data."""
        sigma = self.sigma(t)
        return sigma / (self.alpha(t) + sigma)


class Linear(Schedule):
    """The straight path of flow matching and optimal transport: alpha = 1 - t, sigma = t."""

    def alpha(self, t: Tensor) -> Tensor:
        """1 - t."""
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        """t."""
        return t

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """-1 and 1."""
        return -torch.ones_like(t), torch.ones_like(t)


class Cosine(Schedule):
    """Variance-preserving on a quarter circle: alpha = cos(pi t / 2), sigma = sin(pi t / 2).

    References:
        Nichol and Dhariwal 2021, Improved DDPM, eq. 17, without their offset s: samplers here end on the prediction.
    """

    def alpha(self, t: Tensor) -> Tensor:
        """cos(pi t / 2), as the sine of what is left, which is exactly 0 at t = 1."""
        return (math.pi / 2 * (1 - t)).sin()

    def sigma(self, t: Tensor) -> Tensor:
        """sin(pi t / 2)."""
        return (math.pi / 2 * t).sin()

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """-pi/2 sigma and pi/2 alpha."""
        return -math.pi / 2 * self.sigma(t), math.pi / 2 * self.alpha(t)


class LinearBeta(Schedule):
    """Variance-preserving with a noise rate that is linear in time: the schedule of DDPM.

    beta(t) = beta_min + t (beta_max - beta_min) and alpha = exp(-1/2 int_0^t beta), sigma^2 = 1 - alpha^2.

    Args:
        beta_min, beta_max: rates at t = 0 and 1; the defaults are DDPM's 1e-4 and 0.02 a step, at 1,000 steps.

    References:
        Ho et al. 2020, Denoising Diffusion Probabilistic Models, section 4; Song et al. 2021, Score-Based Generative
        Modeling through SDEs, eq. 33.
    """

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        super().__init__()
        if not 0 < beta_min < beta_max:
            raise ConfigError(f"beta_min {beta_min} and beta_max {beta_max}: give 0 < beta_min < beta_max")
        self.beta_min = beta_min
        self.beta_max = beta_max

    def exponent(self, t: Tensor) -> Tensor:
        """int_0^t beta."""
        return self.beta_min * t + (self.beta_max - self.beta_min) * t.square() / 2

    def alpha(self, t: Tensor) -> Tensor:
        """exp(-1/2 int beta)."""
        return (-self.exponent(t) / 2).exp()

    def sigma(self, t: Tensor) -> Tensor:
        """sqrt(1 - exp(-int beta)); expm1 stays accurate near t = 0."""
        return (-torch.expm1(-self.exponent(t))).sqrt()

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """-1/2 beta alpha, and 1/2 beta alpha^2 / sigma since alpha^2 + sigma^2 = 1."""
        beta = self.beta_min + t * (self.beta_max - self.beta_min)
        alpha = self.alpha(t)
        return -beta * alpha / 2, beta * alpha.square() / (2 * self.sigma(t))


class VarianceExploding(Schedule):
    """alpha = 1 and sigma rising on EDM's grid: sigma = (a + t (b - a))^rho with a^rho = sigma_min, b^rho = sigma_max.

    Args:
        sigma_min, sigma_max: in units of the standard deviation of the noise, which is about that of the data: EDM's
            0.002 and 80 at a standard deviation of the data of 0.5.
        rho: EDM's 7; larger puts more of [0, 1] near sigma_min.

    References:
        Karras et al. 2022, eq. 5.
    """

    noisy_data = True

    def __init__(self, sigma_min: float = 0.004, sigma_max: float = 160.0, rho: float = 7.0) -> None:
        super().__init__()
        if not 0 < sigma_min < sigma_max or rho <= 0:
            raise ConfigError(
                f"sigma_min {sigma_min}, sigma_max {sigma_max}, rho {rho}: give 0 < min < max and rho > 0"
            )
        self.low = sigma_min ** (1 / rho)
        self.high = sigma_max ** (1 / rho)
        self.rho = rho

    def alpha(self, t: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """(a + t (b - a))^rho."""
        return (self.low + t * (self.high - self.low)).pow(self.rho)

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """0, and the derivative of the power."""
        base = self.low + t * (self.high - self.low)
        return torch.zeros_like(t), self.rho * (self.high - self.low) * base.pow(self.rho - 1)

    def times_of(self, sigma: Tensor) -> Tensor:
        """The times at which the path has that sigma, kept in [0, 1]."""
        return ((sigma.pow(1 / self.rho) - self.low) / (self.high - self.low)).clamp(0, 1)


class Learned(Schedule):
    """Variance-preserving with a learned, monotone log noise-to-signal ratio gamma(t) = -log SNR(t).

    alpha^2 = sigmoid(-gamma), sigma^2 = sigmoid(gamma). gamma(t) = g0 + (g1 - g0) shape(t) with a monotone network
    `shape` from 0 to 1: the bound of a diffusion model depends on the ends, which are trained on it. It does
    not depend on the shape between them, which is trained to minimise the variance of its estimate.

    Args:
        gamma_min, gamma_max: gamma at t = 0 and t = 1 before training.
        hidden: width of the monotone network.

    References:
        Kingma et al. 2021, Variational Diffusion Models, eq. 3 and appendix H (network), section 5.1 (invariance).
    """

    noisy_data = True

    def __init__(self, gamma_min: float = -10.0, gamma_max: float = 7.0, hidden: int = 64) -> None:
        super().__init__()
        if not gamma_min < gamma_max:
            raise ConfigError(f"gamma_min {gamma_min} and gamma_max {gamma_max}: give the smaller first")
        # softplus makes weights and the width positive. The initial shape is nearly linear.
        self.start = nn.Parameter(torch.tensor(float(gamma_min)))
        self.width = nn.Parameter(inverse_softplus(torch.tensor(float(gamma_max - gamma_min))))
        self.straight = nn.Parameter(inverse_softplus(torch.tensor(1.0)))
        self.outer = nn.Parameter(inverse_softplus(torch.full((hidden,), 0.1 / hidden)))
        self.inner = nn.Parameter(inverse_softplus(torch.full((hidden,), 8.0)))
        self.shift = nn.Parameter(-8.0 * (torch.arange(hidden) + 0.5) / hidden)
        self.on_shape: Callable[[Tensor], Tensor] | None = None  # applied to the gradient of the shape

    def rise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The monotone network before it is scaled to [0, 1], a line plus sigmoids with positive weights; its slope."""
        inner, outer, straight = (softplus(x.to(t)) for x in (self.inner, self.outer, self.straight))
        steps = torch.sigmoid(inner * t[..., None] + self.shift.to(t))
        return straight * t + (outer * steps).sum(-1), straight + (outer * inner * steps * (1 - steps)).sum(-1)

    def shape(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The monotone function from 0 to 1, and its time derivative."""
        first, last = self.rise(t.new_tensor([0.0, 1.0]))[0].unbind()
        height, slope = self.rise(t)
        return (height - first) / (last - first), slope / (last - first)

    def gamma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """gamma(t) and its time derivative."""
        shape, slope = self.shape(t)
        if self.on_shape is not None and shape.requires_grad:
            shape.register_hook(self.on_shape)
            slope.register_hook(self.on_shape)
        return self.between(shape), self.between(slope) - self.start.to(t)

    def between(self, fraction: Tensor) -> Tensor:
        """gamma at a fraction between its first and its last value."""
        return self.start.to(fraction) + softplus(self.width.to(fraction)) * fraction

    def alpha(self, t: Tensor) -> Tensor:
        """sqrt(sigmoid(-gamma))."""
        return torch.sigmoid(-self.gamma(t)[0]).sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        """sqrt(sigmoid(gamma))."""
        return torch.sigmoid(self.gamma(t)[0]).sqrt()

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """-1/2 gamma' alpha sigma^2 and 1/2 gamma' sigma alpha^2."""
        gamma, slope = self.gamma(t)
        alpha, sigma = torch.sigmoid(-gamma).sqrt(), torch.sigmoid(gamma).sqrt()
        return -slope * alpha * sigma.square() / 2, slope * sigma * alpha.square() / 2

    def log_snr(self, t: Tensor) -> Tensor:
        """-gamma."""
        return -self.gamma(t)[0]

    def log_snr_slope(self, t: Tensor) -> Tensor:
        """-gamma'."""
        return -self.gamma(t)[1]

    def noise_fraction(self, t: Tensor) -> Tensor:
        """sigma / (alpha + sigma) = sigmoid(gamma / 2)."""
        return torch.sigmoid(self.gamma(t)[0] / 2)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)): any number to a positive one."""
    return nn.functional.softplus(x)


def inverse_softplus(y: Tensor) -> Tensor:
    """The number whose softplus is y."""
    return cast(Tensor, y + torch.log(-torch.expm1(-y)))


@dataclass(frozen=True)
class Path:
    """The path from data to noise: a schedule on flat fields, geodesics or Brownian motion on curved fields.

    Attributes:
        flat: schedule of flat fields.
        brownian: Brownian motion of curved fields; None for geodesics from x_data to x_noise.
    """

    flat: Schedule = field(default_factory=Linear)
    brownian: Brownian | None = None

    @property
    def straight(self) -> bool:
        """Whether flat fields move from data to noise at constant velocity."""
        return isinstance(self.flat, Linear)

    def same_as(self, other: "Path") -> bool:
        """Whether two paths have the same signal and noise at all times."""
        times = [number / 32 for number in range(33)]
        return self.brownian == other.brownian and all(self.flat.at(t) == other.flat.at(t) for t in times)

    def seen(self, t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The time that an encoder reads: the fraction of noise, the same number at the same noise on every path."""
        return t if self.straight else self.flat.noise_fraction(t)


SCHEDULES = {
    "linear": Linear,
    "cosine": Cosine,
    "linear_beta": LinearBeta,
    "edm": VarianceExploding,
    "learned": Learned,
}
