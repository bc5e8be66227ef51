"""The target that a network predicts on flat fields, and x_data as a function of it.

A denoiser returns x_data for every target, so that samplers and guides do not depend on it. With x_t = alpha x_data
+ sigma x_noise and c = sqrt(alpha^2 + sigma^2):

    x    x_data itself                                   the network reads x_t / (alpha + sigma)
    eps  x_noise,       x_hat = (x_t - sigma e) / alpha            reads x_t / c
    v    (alpha x_noise - sigma x_data) / c,
                        x_hat = (alpha x_t / c - sigma v) / c      reads x_t / c
    edm  -v on the path with alpha = 1: EDM's preconditioning, c_skip = 1 / c^2, c_out = sigma / c, c_in = 1 / c.

The network reads the fraction of noise sigma / (alpha + sigma) as its time. With the target x, the input on any path
equals that of the straight path at the same ratio of noise to data, so an encoder trained by flow matching can be
reused.

References:
    Ho et al. 2020, Denoising Diffusion Probabilistic Models, eq. 15 (eps).
    Salimans and Ho 2022, Progressive Distillation, appendix D (v). Karras et al. 2022, table 1 and eq. 7 (EDM).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from protgen.errors import ConfigError
from protgen.samplers.schedules import Path, VarianceExploding
from protgen.spaces.base import Space
from protgen.types import State

TARGETS = ("x", "eps", "v", "edm")


@dataclass(frozen=True)
class Target:
    """A target on the flat fields of a space, along a path; curved fields are predicted as the point itself.

    Raises:
        ConfigError: if the target does not exist, or cannot go with the path or the space.
    """

    name: str
    path: Path
    space: Space

    def __post_init__(self) -> None:
        if self.name not in TARGETS:
            raise ConfigError(f"no target {self.name!r}: choose one of {', '.join(TARGETS)}")
        curved = [name for name, manifold in self.space.manifolds.items() if manifold.curved]
        exploding = isinstance(self.path.flat, VarianceExploding)
        if (self.name == "edm" or exploding) and curved:
            raise ConfigError(
                f"EDM's preconditioning adds and scales points, which the curved field {curved[0]!r} does not allow; "
                "use target=x with path=cosine, which diffuses it by Brownian motion"
            )
        if exploding != (self.name == "edm"):
            raise ConfigError("target=edm and path=edm belong together: choose both, or another pair such as x, cosine")
        if self.name != "x" and len(curved) == len(self.space.manifolds):
            raise ConfigError(f"target={self.name} needs a flat field, and the space has none; use target=x")
        if self.name == "eps" and self.path.flat.at(1.0)[0] < 1e-3:
            raise ConfigError(
                "target=eps does not determine x_data at t = 1 on a path with alpha(1) = 0; "
                "use target=v, or path=linear_beta or learned"
            )

    def levels(self, t: Float[Tensor, " b"]) -> tuple[Tensor, Tensor]:
        """alpha and sigma, each (b, 1, 1)."""
        return self.path.flat.alpha(t)[:, None, None], self.path.flat.sigma(t)[:, None, None]

    def inputs(self, x_t: State, t: Float[Tensor, " b"]) -> State:
        """x_t as the network reads it."""
        if self.path.straight:
            return x_t
        alpha, sigma = self.levels(t)
        size = alpha + sigma if self.name == "x" else (alpha.square() + sigma.square()).sqrt()
        return self.on_flat(x_t, lambda name: x_t[name] / size)

    def data(self, output: State, seen: State, x_t: State, t: Float[Tensor, " b"]) -> State:
        """The prediction of x_data from what the head returns.

        Args:
            output: of the head; its flat fields are the target.
            seen: what the network read.
            x_t: the noisy point.
            t: its time.
        """
        if self.name == "x":
            return output
        alpha, sigma = self.levels(t)

        def read(name: str) -> Tensor:
            # A head of x_data may add the noisy point to its output; another target is its output alone.
            value = output[name] - seen[name] if name in self.space.displaced else output[name]
            if self.name == "eps":
                return (x_t[name] - sigma * value) / alpha
            size = (alpha.square() + sigma.square()).sqrt()
            sign = 1 if self.name == "v" else -1
            return (alpha * x_t[name] / size - sign * sigma * value) / size

        return self.on_flat(output, read)

    def weight(self, t: Float[Tensor, " b"], limit: float) -> Float[Tensor, " b"]:
        """The factor from the squared error of x_data, in units of the noise, to that of the target.

        SNR for eps, and SNR + 1 for v and edm. For x it is that of v up to a limit, as SNR is not bounded (Hang et al.
        2023, Min-SNR, eq. 10); the weight of eps would vanish at high noise.

        Args:
            t: times.
            limit: of the weight of x.
        """
        snr = self.path.flat.log_snr(t).exp()
        if self.name == "x":
            return (snr + 1).clamp(max=limit)
        return snr if self.name == "eps" else snr + 1

    def on_flat(self, state: State, function: Callable[[str], Tensor]) -> State:
        """The state with each flat field replaced by a function of its name."""
        flat = [name for name, manifold in self.space.manifolds.items() if not manifold.curved]
        return state.with_fields(**{name: function(name) for name in flat})


def stratified(count: int, rng: torch.Generator) -> Float[Tensor, " b"]:
    """Uniform numbers in [0, 1), one in each of `count` equal parts: sums over them have less variance."""
    return (torch.rand((), generator=rng) + torch.arange(count) / count) % 1


def check_probability(self_conditioning: float) -> None:
    """Raise ConfigError if it is none."""
    if not 0 <= self_conditioning <= 1:
        raise ConfigError(f"self_conditioning {self_conditioning}: a probability, from 0 to 1")
