"""Flow matching on any space: straight paths from noise to data, learned by predicting the data.

x_t is the point a fraction t of the way from x_data to x_noise on the geodesic of each field; the network predicts
x_data, and the loss is its squared error over t^2, which is the squared error of the velocity.

References:
    Lipman et al. 2023, Flow Matching for Generative Modeling, eq. 9 and 20.
    Chen and Lipman 2024, Flow Matching on General Geometries, eq. 13.
    Yim et al. 2023, FrameFlow, eq. 5-8 (SE(3), x_data parametrisation, clipped weight).
"""

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from protgen.encoders.base import Encoder
from protgen.families.base import IterativeFamily
from protgen.samplers.base import Denoiser
from protgen.spaces.base import Space
from protgen.types import Conditioning, Losses, State


class FlowMatching(IterativeFamily):
    """Conditional flow matching with x_data prediction and self-conditioning.

    Args:
        space: where x lives.
        encoder: the network.
        self_conditioning: probability that a training step sees an estimate from a first pass.
        min_t: lower clip of t in the weight 1 / t^2 of the loss.
        data_bias: exponent b > 0 of the time density (1 - t)^(b - 1); above 1 it favours the data end, where precision
            is decided.
    """

    def __init__(
        self,
        space: Space,
        encoder: Encoder,
        self_conditioning: float = 0.5,
        min_t: float = 0.1,
        data_bias: float = 1.4,
    ) -> None:
        super().__init__()
        self.space = space
        self.encoder = encoder
        self.self_conditioning = self_conditioning
        self.min_t = min_t
        self.data_bias = data_bias
        self.head = space.head(encoder.scalar_dim, encoder.vector_dim)

    def predict(self, x_t: State, t: Tensor, cond: Conditioning, estimate: State | None) -> State:
        """Prediction of x_data, with the conventions of the space imposed."""
        # Only the encoder runs in low precision: coordinates and losses keep float32.
        low = self.autocast_dtype or torch.float32
        with torch.autocast(t.device.type, dtype=low, enabled=self.autocast_dtype is not None):
            features = self.encoder(x_t, t, cond, estimate)
        return self.space.project(self.head(features, x_t))

    def interpolate(self, x_data: State, x_noise: State, t: Float[Tensor, " b"]) -> State:
        """x_t on the geodesics from x_data (t = 0) to x_noise (t = 1)."""
        fraction = t[:, None, None]
        fields = {
            name: manifold.geodesic(x_data[name], x_noise[name], fraction)
            for name, manifold in self.space.manifolds.items()
        }
        return self.space.project(State(fields, x_data.mask))

    def loss(self, x_data: State, cond: Conditioning, rng: Generator) -> Losses:
        """Clipped velocity error of each field, plus what the space adds near the data end."""
        mask, device = x_data.mask, x_data.mask.device
        b = len(mask)
        # (1 - u^(1/b)) has density b (1 - t)^(b - 1): stratified over the batch, which lowers the variance of the loss.
        u = (torch.rand((), generator=rng) + torch.arange(b) / b) % 1
        t = (1 - u.pow(1 / self.data_bias)).clamp(1e-3, 1.0).to(device)
        normals = torch.randn(*mask.shape, self.space.normals_per_position, generator=rng).to(device)
        with torch.no_grad():
            x_noise = self.space.align(self.space.noise(mask, normals), x_data)
            x_t = self.interpolate(x_data, x_noise, t)
        estimate = None
        if torch.rand((), generator=rng) < self.self_conditioning:
            with torch.no_grad():
                estimate = self.predict(x_t, t, cond, None)
        prediction = self.predict(x_t, t, cond, estimate)

        weight = 1 / t.clamp(min=self.min_t).square()
        scales = self.space.scale(mask)
        terms = {}
        for name, manifold in self.space.manifolds.items():
            error = self.space.reduce(manifold.squared_error(prediction[name], x_data[name]), mask)
            terms[name] = weight * error / scales[name].square()
        terms |= self.space.auxiliary(prediction, x_data, t)
        total = torch.stack([term.mean() for term in terms.values()]).sum()
        return Losses(total, {name: term.mean().detach() for name, term in terms.items()})

    def denoiser(self) -> Denoiser:
        """The family behind the interface of samplers."""
        return FlowDenoiser(self)


class FlowDenoiser(Denoiser):
    """The network's prediction of x_data, as samplers and guides ask for it."""

    def __init__(self, family: FlowMatching) -> None:
        self.family = family

    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, estimate: State | None = None) -> State:
        """E[x_data | x_t, y]."""
        return self.family.predict(x_t, t, cond, estimate)
