"""What diffusion is told (path, target, loss and likelihood), and which spaces it can be of."""

from dataclasses import dataclass
from typing import Literal

from protgen.errors import ConfigError
from protgen.families.targets import check_probability
from protgen.nn.binned import Support
from protgen.samplers.brownian import BROWNIAN
from protgen.samplers.schedules import SCHEDULES
from protgen.spaces.base import Space
from protgen.spaces.capabilities import support_of
from protgen.spaces.manifolds import HeatKernel


@dataclass(frozen=True)
class DiffusionSettings:
    """Path, target, loss and likelihood of diffusion.

    Attributes:
        path: alpha and sigma of flat fields: cosine, linear_beta, linear, edm or learned.
        target: what the network predicts on flat fields: x, eps, v or edm; see `protgen.families.targets`.
        brownian: standard deviation of the Brownian motion of curved fields: geometric or linear in time. Linear is
            learned in far fewer steps; models of before this keyword, `diffusion-small` too, have geometric.
        weighting: simple, the error of the target (of x where its weight is at most `max_weight`, with the auxiliary
            losses of the space), a mean over the coordinates of a field; velocity, the error of the velocity of each
            field, for the targets x and v; or bound, the variational bound in nats for each degree of freedom.
        self_conditioning: probability that a training step reads the prediction of a first pass.
        max_weight: limit of the weight of squared errors of x: 1 / variance of the noise, so that 100 is a noise of
            0.1, or the squared rate of the velocity, where 100 is about t = 0.1.
        data_bias: exponent b > 0 of the time density (1 - t)^(b - 1) of the simple weighting; above 1 favours times
            near the data.
        likelihood: what `log_prob` is: bound, or ode, an estimate by the probability flow. Ode is not reliable where a
            field is curved: see `protgen.families.ode_likelihood`.
        first: first time of likelihoods where a path has no noise at t = 0 (where grey values are discrete, the time at
            which they are four standard deviations of the noise apart, whatever this is). A network that predicts x
            has an error of about 1 / sqrt(max_weight): with target x choose a time with at least half that noise.

    Raises:
        ConfigError: if a value is not known or out of range, or path and weighting cannot be combined.
    """

    path: str = "cosine"
    target: str = "x"
    weighting: Literal["simple", "velocity", "bound"] = "simple"
    self_conditioning: float = 0.5
    max_weight: float = 100.0
    data_bias: float = 1.0
    likelihood: Literal["bound", "ode"] = "bound"
    first: float = 0.01
    brownian: str = "geometric"

    def __post_init__(self) -> None:
        if self.path not in SCHEDULES:
            raise ConfigError(f"no path {self.path!r}: choose one of {', '.join(SCHEDULES)}")
        if self.brownian not in BROWNIAN:
            raise ConfigError(f"no Brownian motion {self.brownian!r}: choose one of {', '.join(BROWNIAN)}")
        if self.weighting not in ("simple", "velocity", "bound") or self.likelihood not in ("bound", "ode"):
            raise ConfigError(
                f"weighting {self.weighting!r} is simple, velocity or bound, likelihood {self.likelihood!r} bound or "
                "ode"
            )
        if self.weighting == "velocity" and self.target not in ("x", "v"):
            raise ConfigError(
                f"weighting=velocity is for the targets x and v, and target is {self.target}; use weighting=simple"
            )
        check_probability(self.self_conditioning)
        if not 0 < self.first < 1 or self.max_weight <= 0 or self.data_bias <= 0:
            raise ConfigError(
                f"first {self.first} is between 0 and 1; max_weight {self.max_weight} and data_bias {self.data_bias} "
                "above 0"
            )
        if self.path == "learned" and self.weighting != "bound":
            raise ConfigError("a learned path is trained on the bound; use weighting=bound, or path=cosine")


def require_heat_kernels(space: Space) -> None:
    """Refuse a space with a curved field without Brownian motion.

    Raises:
        ConfigError: with what to use instead.
    """
    for name, manifold in space.manifolds.items():
        if manifold.curved and not isinstance(manifold, HeatKernel):
            raise ConfigError(
                f"no Brownian motion is known on {type(manifold).__name__} of field {name!r}; use flow_matching"
            )


def exact_values(space: Space, target: str) -> Support | None:
    """The discrete values of a space that have probabilities rather than cells with a density; None elsewhere.

    Raises:
        ConfigError: for another target than x: the head of such a space predicts means between the values.
    """
    support = support_of(space)
    if support is None or support.volume != 1:
        return None
    if target != "x":
        raise ConfigError(
            f"target={target} has no bounds, and the head of {type(space).__name__} predicts means of discrete values, "
            "which have; use target=x"
        )
    return support
