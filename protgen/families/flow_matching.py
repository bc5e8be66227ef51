"""Flow matching on any space: paths from noise to data, learned by predicting the data.

On the straight path x_t is the point a fraction t of the way from x_data to x_noise on the geodesic of each field; the
network predicts x_data, and the loss is its squared error over t^2, which is the squared error of the velocity. Flat
fields may follow the variance-preserving path instead, alpha = cos(pi t / 2) and sigma = sin(pi t / 2), on which the
velocity alpha' x_hat + sigma' (x_t - alpha x_hat) / sigma has (pi / 2)^2 / sigma^2 times the squared error of x_hat.

On a curved field the velocity is -log_x(x_data) / t. Its squared error is that of logarithms, whose least is the mean
E[log_x(x_data) | x_t] that the flow needs; the chordal distance (smooth, and as in FrameFlow) has another one where
x_data is uncertain by much. The keyword `curved_error` chooses.

References:
    Lipman et al. 2023, Flow Matching for Generative Modeling, eq. 9, 18 and 20.
    Chen and Lipman 2024, Flow Matching on General Geometries, eq. 13.
    Yim et al. 2023, FrameFlow, eq. 5-8 (SE(3), x_data parametrisation, clipped weight).
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from protgen.encoders.base import Encoder
from protgen.errors import ConfigError
from protgen.families.base import IterativeFamily, Likelihood, LikelihoodFamily
from protgen.families.minibatch_ot import couple
from protgen.families.ode_likelihood import OdeSettings, log_prob_by_flow
from protgen.families.targets import Target, stratified
from protgen.samplers.base import Denoiser
from protgen.samplers.schedules import Cosine, Linear, Path
from protgen.spaces.base import Space
from protgen.types import Conditioning, Losses, State

PATHS = {"linear": Linear, "variance_preserving": Cosine}


class FlowMatching(IterativeFamily, LikelihoodFamily):
    """Conditional flow matching with x_data prediction and self-conditioning.

    Args:
        space: where x lives.
        encoder: the network.
        self_conditioning: probability that a training step sees an estimate from a first pass.
        min_t: lower clip of t in the weight 1 / t^2 of the loss.
        data_bias: exponent b > 0 of the time density (1 - t)^(b - 1); above 1 it favours the data end, where precision
            is decided.
        path: linear, or variance_preserving for flat fields.
        optimal_transport: assign noise to examples by optimal transport within a batch.
        curved_error: chordal, or tangent for the exact velocity.
        first: time at which likelihoods begin.

    Raises:
        ConfigError: if there is no such path or error, or `first` is not between 0 and 1.
    """

    def __init__(
        self,
        space: Space,
        encoder: Encoder,
        self_conditioning: float = 0.5,
        min_t: float = 0.1,
        data_bias: float = 1.4,
        path: str = "linear",
        optimal_transport: bool = False,
        curved_error: Literal["chordal", "tangent"] = "chordal",
        first: float = 1e-3,
    ) -> None:
        super().__init__()
        if path not in PATHS:
            raise ConfigError(
                f"flow_matching has no path {path!r}: choose linear or variance_preserving, "
                "or family=diffusion for edm, linear_beta and learned"
            )
        if curved_error not in ("chordal", "tangent"):
            raise ConfigError(f"curved_error {curved_error!r}: choose chordal or tangent")
        if not 0 < first < 1:
            raise ConfigError(f"first {first}: the time at which likelihoods begin is between 0 and 1")
        self.schedule = PATHS[path]()
        self.path = Path(self.schedule)
        self.target = Target("x", self.path, space)
        self.optimal_transport = optimal_transport
        self.curved_error = curved_error
        self.space = space
        self.encoder = encoder
        self.self_conditioning = self_conditioning
        self.min_t = min_t
        self.first = first
        self.data_bias = data_bias
        self.head = space.head(encoder.scalar_dim, encoder.vector_dim)

    def predict(self, x_t: State, t: Tensor, cond: Conditioning, x_pred: State | None) -> State:
        """Prediction of x_data, with the conventions of the space imposed."""
        seen = self.target.inputs(x_t, t)
        # Only the encoder runs in low precision: coordinates and losses keep float32.
        low = self.autocast_dtype or torch.float32
        with torch.autocast(t.device.type, dtype=low, enabled=self.autocast_dtype is not None):
            view = self.space.view
            guess = None if x_pred is None else view(x_pred)
            features = self.encoder(view(seen), self.path.seen(t), cond, guess)
        return self.space.project(self.head(features, seen))

    def interpolate(self, x_data: State, x_noise: State, t: Float[Tensor, " b"]) -> State:
        """x_t on the path from x_data (t = 0) to x_noise (t = 1); on curved fields a geodesic."""
        fraction = t[:, None, None]
        alpha, sigma = self.target.levels(t)
        fields = {
            name: manifold.geodesic(x_data[name], x_noise[name], fraction)
            if manifold.curved or self.path.straight
            else alpha * x_data[name] + sigma * x_noise[name]
            for name, manifold in self.space.manifolds.items()
        }
        return self.space.project(State(fields, x_data.mask))

    def loss(self, x_data: State, cond: Conditioning, rng: Generator) -> Losses:
        """Clipped velocity error of each field, plus what the space adds near the data end."""
        mask, device = x_data.mask, x_data.mask.device
        b = len(mask)
        # (1 - u^(1/b)) has density b (1 - t)^(b - 1): stratified over the batch, which lowers the variance of the loss.
        u = stratified(b, rng)
        t = (1 - u.pow(1 / self.data_bias)).clamp(1e-3, 1.0).to(device)
        normals = torch.randn(*mask.shape, self.space.normals_per_position, generator=rng).to(device)
        with torch.no_grad():
            x_noise = self.space.noise(mask, normals)
            if self.optimal_transport:
                x_noise = couple(self.space, x_noise, x_data)
            x_noise = self.space.align(x_noise, x_data)
            x_t = self.interpolate(x_data, x_noise, t)
        x_pred = None
        if torch.rand((), generator=rng) < self.self_conditioning:
            with torch.no_grad():
                x_pred = self.predict(x_t, t, cond, None)
        prediction = self.predict(x_t, t, cond, x_pred)

        straight_weight = 1 / t.clamp(min=self.min_t).square()
        scales = self.space.scale(mask)
        terms = {}
        for name, manifold in self.space.manifolds.items():
            weight = straight_weight if manifold.curved or self.path.straight else self.velocity_weight(t)
            if manifold.curved and self.curved_error == "tangent":
                found = manifold.logmap(x_t[name], prediction[name]) - manifold.logmap(x_t[name], x_data[name])
                error = found.square().sum(-1)
            else:
                error = manifold.squared_error(prediction[name], x_data[name])
            terms[name] = weight * self.space.reduce(error, mask) / scales[name].square()
        terms |= self.space.auxiliary(prediction, x_data, self.path.seen(t))
        total = torch.stack([term.mean() for term in terms.values()]).sum()
        return Losses(total, {name: term.mean().detach() for name, term in terms.items()})

    def velocity_weight(self, t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """(alpha' - alpha sigma' / sigma)^2, what an error of x_hat is in the velocity, at t no less than min_t."""
        t = t.clamp(min=self.min_t)
        alpha_slope, sigma_slope = self.path.flat.slopes(t)
        return (alpha_slope - self.path.flat.alpha(t) * sigma_slope / self.path.flat.sigma(t)).square()

    def log_prob(
        self, x_data: State, cond: Conditioning, rng: Generator, settings: OdeSettings | None = None
    ) -> Likelihood:
        """log p(x | y) in nats by the probability flow; measure and method: `protgen.families.ode_likelihood`."""
        settings = settings or OdeSettings(first=self.first)
        nats = log_prob_by_flow(self.denoiser(), self.space, x_data, cond, rng, settings)
        return Likelihood(nats, "estimate")

    def denoiser(self) -> Denoiser:
        """The family behind the interface of samplers."""
        return FlowDenoiser(self)


class FlowDenoiser(Denoiser):
    """The network's prediction of x_data, as samplers and guides ask for it."""

    def __init__(self, family: FlowMatching) -> None:
        self.family = family

    @property
    def path(self) -> Path:
        """That of the family."""
        return self.family.path

    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None) -> State:
        """E[x_data | x_t, y]."""
        return self.family.predict(x_t, t, cond, x_pred)
