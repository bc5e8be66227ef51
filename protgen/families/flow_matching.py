"""Flow matching on any space: paths from noise to data, learned by predicting the data.

On the straight path x_t is the point at fraction t of the geodesic from x_data to x_noise, in each field. The network
predicts x_data, and the loss is its squared error over t^2, which is the squared error of the velocity. Flat fields may
follow the variance-preserving path instead, alpha = cos(pi t / 2) and sigma = sin(pi t / 2), on which the velocity
alpha' x_hat + sigma' (x_t - alpha x_hat) / sigma has (pi / 2)^2 / sigma^2 times the squared error of x_hat.

On a curved field the velocity is -log_x(x_data) / t. Its squared error is that of logarithms, minimised by the mean
E[log_x(x_data) | x_t] that the flow needs. The chordal distance (smooth, as in FrameFlow) has another minimiser where
x_data is very uncertain. The keyword `curved_error` chooses.

References:
    Lipman et al. 2023, Flow Matching for Generative Modeling, eq. 9, 18 and 20.
    Chen and Lipman 2024, Flow Matching on General Geometries, eq. 13.
    Yim et al. 2023, FrameFlow, eq. 5-8 (SE(3), x_data parametrisation, clipped weight).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from protgen.encoders.base import Encoder
from protgen.errors import ConfigError
from protgen.families.base import IterativeFamily, Likelihood, LikelihoodFamily
from protgen.families.minibatch_ot import couple
from protgen.families.ode_likelihood import OdeSettings, cell_time, estimate_by_flow
from protgen.families.targets import Target, check_probability, stratified
from protgen.nn.precision import autocast
from protgen.samplers.base import Denoiser
from protgen.samplers.schedules import Cosine, Linear, Path
from protgen.spaces.base import Space
from protgen.spaces.capabilities import aligned, auxiliary_losses, encoder_view, held
from protgen.spaces.manifolds import Manifold
from protgen.types import Conditioning, Losses, State

PATHS = {"linear": Linear, "variance_preserving": Cosine}


@dataclass(frozen=True)
class FlowSettings:
    """Path, loss and likelihood of flow matching.

    Attributes:
        self_conditioning: probability that a training step reads the prediction of a first pass.
        min_t: lower clip of t in the weight 1 / t^2 of the loss.
        data_bias: exponent b > 0 of the time density (1 - t)^(b - 1); above 1 it favours times near the data, which
            decide the precision.
        path: linear, or variance_preserving for flat fields.
        optimal_transport: assign noise to examples by optimal transport within a batch.
        curved_error: chordal, or tangent for the exact velocity.
        first: first time of likelihoods. By default `min_t`, below which errors weigh no more in training; where values
            are discrete, the earlier time at which they are four standard deviations of the noise apart.

    Raises:
        ConfigError: if there is no such path or error, or a number is out of range.
    """

    self_conditioning: float = 0.5
    min_t: float = 0.1
    data_bias: float = 1.4
    path: str = "linear"
    optimal_transport: bool = False
    curved_error: Literal["chordal", "tangent"] = "chordal"
    first: float | None = None

    def __post_init__(self) -> None:
        if self.path not in PATHS:
            raise ConfigError(
                f"flow_matching has no path {self.path!r}: choose linear or variance_preserving, "
                "or family=diffusion for edm, linear_beta and learned"
            )
        if self.curved_error not in ("chordal", "tangent"):
            raise ConfigError(f"curved_error {self.curved_error!r}: choose chordal or tangent")
        check_probability(self.self_conditioning)
        if not 0 < self.min_t <= 1 or self.data_bias <= 0:
            raise ConfigError(f"min_t {self.min_t} is a time above 0, up to 1; data_bias {self.data_bias} is above 0")
        if self.first is not None and not 0 < self.first < 1:
            raise ConfigError(f"first {self.first}: the first time of likelihoods is between 0 and 1")


class FlowMatching(IterativeFamily, LikelihoodFamily):
    """Conditional flow matching with x_data prediction and self-conditioning.

    Args:
        space: where x lives.
        encoder: the network.
        settings: path, loss and likelihood.
    """

    def __init__(self, space: Space, encoder: Encoder, settings: FlowSettings | None = None) -> None:
        super().__init__()
        settings = settings or FlowSettings()
        self.schedule = PATHS[settings.path]()
        self.path = Path(self.schedule)
        self.target = Target("x", self.path, space)
        self.settings = settings
        self.space = space
        self.encoder = encoder
        by_training = min(settings.min_t, cell_time(space, self.path))
        self.first = by_training if settings.first is None else settings.first
        self.head = space.head(encoder.scalar_dim, encoder.vector_dim)

    def predict(self, x_t: State, t: Tensor, cond: Conditioning, x_pred: State | None) -> State:
        """Prediction of x_data, with the conventions of the space imposed.

        Args:
            x_t: the noisy point.
            t: its time.
            cond: y.
            x_pred: an earlier prediction of x_data, read where steps of training read one too (self-conditioning).
        """
        seen = self.target.inputs(x_t, t)
        with autocast(t.device, self.autocast_dtype):
            guess = encoder_view(self.space, x_pred) if x_pred is not None and self.settings.self_conditioning else None
            features = self.encoder(encoder_view(self.space, seen), self.path.seen(t), cond, guess)
        return self.space.project(self.head(features, seen))

    def interpolate(self, x_data: State, x_noise: State, t: Float[Tensor, " b"]) -> State:
        """x_t on the path from x_data (t = 0) to x_noise (t = 1); on curved fields a geodesic.

        Args:
            x_data: points at t = 0.
            x_noise: points at t = 1.
            t: times.
        """
        fraction = t[:, None, None]
        alpha, sigma = self.target.levels(t)
        fields = {
            name: manifold.geodesic(x_data[name], x_noise[name], fraction)
            if manifold.curved or self.path.straight
            else alpha * x_data[name] + sigma * x_noise[name]
            for name, manifold in self.space.manifolds.items()
        }
        return held(self.space, self.space.project(State(fields, x_data.mask)), x_data)

    def loss(self, x_data: State, cond: Conditioning, rng: Generator) -> Losses:
        """Clipped velocity error of each field, plus auxiliary losses of the space."""
        mask, device = x_data.mask, x_data.mask.device
        b = len(mask)
        # 1 - u^(1/b) has density b (1 - t)^(b - 1); stratification over the batch lowers the variance of the loss.
        u = stratified(b, rng)
        t = (1 - u.pow(1 / self.settings.data_bias)).clamp(1e-3, 1.0).to(device)
        normals = torch.randn(*mask.shape, self.space.normals_per_position, generator=rng).to(device)
        with torch.no_grad():
            x_noise = self.space.noise(mask, normals)
            if self.settings.optimal_transport:
                x_noise = couple(self.space, x_noise, x_data)
            x_noise = aligned(self.space, x_noise, x_data)
            x_t = self.interpolate(x_data, x_noise, t)
        x_pred = None
        if torch.rand((), generator=rng) < self.settings.self_conditioning:
            with torch.no_grad():
                x_pred = self.predict(x_t, t, cond, None)
        prediction = held(self.space, self.predict(x_t, t, cond, x_pred), x_data)
        terms = self.field_losses(x_t, prediction, x_data, t)
        terms |= auxiliary_losses(self.space, prediction, x_data, self.path.seen(t))
        total = torch.stack([term.mean() for term in terms.values()]).sum()
        return Losses(total, {name: term.mean().detach() for name, term in terms.items()})

    def field_losses(
        self, x_t: State, prediction: State, x_data: State, t: Float[Tensor, " b"]
    ) -> dict[str, Float[Tensor, " b"]]:
        """Weighted error of each field, in units of its scale.

        Args:
            x_t: the noisy point.
            prediction: of x_data.
            x_data: the data.
            t: times.
        """
        straight_weight = 1 / t.clamp(min=self.settings.min_t).square()
        scales = self.space.scale(x_data.mask)
        terms = {}
        for name, manifold in self.space.manifolds.items():
            weight = straight_weight if manifold.curved or self.path.straight else self.velocity_weight(t)
            error = self.field_error(manifold, x_t[name], prediction[name], x_data[name])
            terms[name] = weight * self.space.reduce(error, x_data.mask) / scales[name].square()
        return terms

    def field_error(self, manifold: Manifold, x_t: Tensor, prediction: Tensor, x_data: Tensor) -> Float[Tensor, "b l"]:
        """Squared error of the prediction, or of the velocity on curved fields with `curved_error` tangent.

        Args:
            manifold: of the field.
            x_t: the noisy value.
            prediction: of the value at t = 0.
            x_data: the value at t = 0.
        """
        if manifold.curved and self.settings.curved_error == "tangent":
            return (manifold.logmap(x_t, prediction) - manifold.logmap(x_t, x_data)).square().sum(-1)
        return manifold.squared_error(prediction, x_data)

    def velocity_weight(self, t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """(alpha' - alpha sigma' / sigma)^2, the squared factor from errors of x_hat to the velocity; t is clipped."""
        return self.path.flat.data_rate(t.clamp(min=self.settings.min_t)).square()

    def log_prob(
        self, x_data: State, cond: Conditioning, rng: Generator, settings: OdeSettings | None = None
    ) -> Likelihood:
        """log p(x | y) in nats by the probability flow from a noisy point; see `protgen.families.ode_likelihood`.

        An unbiased estimate, but for the size of steps, of a lower bound of the model's log p(x | y).
        """
        settings = settings or OdeSettings(first=self.first, draws=self.draws)
        found = estimate_by_flow(self.denoiser(), self.space, x_data, cond, rng, settings)
        return Likelihood(found.nats, "estimate", found.error)

    def denoiser(self) -> Denoiser:
        """The family behind the interface of samplers."""
        return FlowDenoiser(self)


class FlowDenoiser(Denoiser):
    """The network's prediction of x_data behind the interface of samplers."""

    def __init__(self, family: FlowMatching) -> None:
        self.family = family

    @property
    def path(self) -> Path:
        """The path of the family."""
        return self.family.path

    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None) -> State:
        """E[x_data | x_t, y]."""
        return self.family.predict(x_t, t, cond, x_pred)
