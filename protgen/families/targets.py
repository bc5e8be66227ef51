"""What a network is asked to predict on flat fields, and how x_data is read from it.

Whatever the target, a denoiser answers with x_data, so that samplers and guides need not know. With x_t = alpha x_data
+ sigma x_noise and c = sqrt(alpha^2 + sigma^2):

    x    x_data itself                                 the network sees x_t / (alpha + sigma)
    eps  x_noise,       x_hat = (x_t - sigma e) / alpha            sees x_t / c
    v    (alpha x_noise - sigma x_data) / c,
                        x_hat = (alpha x_t / c - sigma v) / c      sees x_t / c
    edm  -v on the path with alpha = 1: EDM's preconditioning, c_skip = 1 / c^2, c_out = sigma / c, c_in = 1 / c.

The network is told the fraction of noise sigma / (alpha + sigma) as its time. With the target x this makes the input on
any path the one of the straight path at the same ratio of noise to data: an encoder trained by flow matching
is at home.

References:
    Ho et al. 2020, Denoising Diffusion Probabilistic Models, eq. 15 (eps).
    Salimans and Ho 2022, Progressive Distillation, appendix D (v). Karras et al. 2022, table 1 and eq. 7 (EDM).
"""

from dataclasses import dataclass
from typing import Literal

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
            raise ConfigError(f"target={self.name} is of flat fields, of which the space has none; use target=x")
        if self.name == "eps" and self.path.flat.at(1.0)[0] < 1e-3:
            raise ConfigError(
                "target=eps says nothing of x_data at t = 1 on a path that leaves none of it; "
                "use target=v, or path=linear_beta or learned"
            )

    def levels(self, t: Float[Tensor, " b"]) -> tuple[Tensor, Tensor]:
        """alpha and sigma, each (b, 1, 1)."""
        return self.path.flat.alpha(t)[:, None, None], self.path.flat.sigma(t)[:, None, None]

    def inputs(self, x_t: State, t: Float[Tensor, " b"]) -> State:
        """x_t as the network sees it."""
        if self.path.straight:
            return x_t
        alpha, sigma = self.levels(t)
        size = alpha + sigma if self.name == "x" else (alpha.square() + sigma.square()).sqrt()
        return self.on_flat(x_t, lambda name: x_t[name] / size)

    def data(self, output: State, seen: State, x_t: State, t: Float[Tensor, " b"]) -> State:
        """The prediction of x_data from what the head returns.

        Args:
            output: the head's; its flat fields are the target.
            seen: what the network saw.
            x_t: the noisy point.
            t: its time.
        """
        if self.name == "x":
            return output
        alpha, sigma = self.levels(t)

        def read(name: str) -> Tensor:
            # Heads made to predict x_data may start from the noisy point; another target is the rest alone.
            value = output[name] - seen[name] if name in self.space.displaced else output[name]
            if self.name == "eps":
                return (x_t[name] - sigma * value) / alpha
            size = (alpha.square() + sigma.square()).sqrt()
            sign = 1 if self.name == "v" else -1
            return (alpha * x_t[name] / size - sign * sigma * value) / size

        return self.on_flat(output, read)

    def weight(self, t: Float[Tensor, " b"], limit: float) -> Float[Tensor, " b"]:
        """What the squared error of x_data, in units of the noise, is multiplied with to be that of the target.

        SNR for eps and SNR + 1 for v and edm; for x that of v up to a limit, as it has no bound and the error no floor
        (Hang et al. 2023, Min-SNR, eq. 10): not that of eps, which teaches nothing where there is little but noise.
        """
        snr = self.path.flat.log_snr(t).exp()
        if self.name == "x":
            return (snr + 1).clamp(max=limit)
        return snr if self.name == "eps" else snr + 1

    def on_flat(self, state: State, function) -> State:
        """The state with a function of its name for each flat field."""
        flat = [name for name, manifold in self.space.manifolds.items() if not manifold.curved]
        return state.with_fields(**{name: function(name) for name in flat})


WeightingName = Literal["simple", "bound"]


def stratified(count: int, rng: torch.Generator) -> Float[Tensor, " b"]:
    """Uniform numbers on [0, 1), one in each of `count` equal parts of it: sums over them vary less."""
    return (torch.rand((), generator=rng) + torch.arange(count) / count) % 1
