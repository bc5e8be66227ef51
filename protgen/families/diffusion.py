"""Diffusion on any space: noise is added to the data, and a network learns to remove it.

Flat fields: x_t = alpha(t) x_data + sigma(t) x_noise. Curved fields (rotations, torsions): Brownian motion from x_data
with standard deviation s(t), whose heat kernel k the manifold has. One class, by its keywords:

    DDPM   path=linear_beta target=eps          ancestral sampling: the samplers `ddpm`, `ddim` (eta), `sde`
    VDM    path=learned target=v weighting=bound    learned schedule, continuous time, trained on the bound
    EDM    path=edm target=edm                  preconditioning and noise levels of Karras et al.; sampler `heun`
    ours   path=cosine target=x brownian=linear weighting=velocity    proteins: positions and rotations

The loss of a flat field is the squared error of the target. That of a curved field is the squared error of the score,
|grad log k(x_t | x_hat) - grad log k(x_t | x_data)|^2. Its minimiser x_hat has the score of p(x_t), E[grad log k(x_t |
x_data) | x_t]; such an x_hat always exists. Samplers then have the exact score, though x_hat itself is not a mean.

Fields are balanced by the weighting. `velocity` takes the squared error of the velocity of the probability flow of each
field, in units of its scale, as flow matching does: (alpha' - alpha sigma' / sigma)^2 |x - x_hat|^2 / scale^2 where it
is flat and (s' s)^2 |score difference|^2 where it is curved. Auxiliary losses of a space are weighted for these units.

The bound, in nats, with r(t) = alpha^2 / sigma^2 and squared errors in units of the noise, is in continuous time

    -log p(x) <= KL(q(x_1 | x) || p_noise) + E[-log p(x | x_first)]
                 + int_first^1 E[ -1/2 r'(t) |x - x_hat|^2 + 1/2 (s^2)'(t) |score difference|^2 ] dt,

summed over flat and curved fields: both integrands are 1/2 g^2 |score difference|^2 by Girsanov's theorem, which holds
on any manifold. p(x | x_first) is normal about x_first / alpha with the standard deviation sigma / alpha of the first
time, or the kernel with s(first). Where coordinates have discrete values (pixels), it is the probability of each value
given x_first, proportional to the density of x_first given the value (VDM, eq. 13), and the bound is one of
probabilities, divided by the volume of a cell where values have cells; data within a cell count as its value.

References:
    Ho et al. 2020, Denoising Diffusion Probabilistic Models.
    Kingma et al. 2021, Variational Diffusion Models, eq. 11-18.
    Karras et al. 2022, EDM, table 1. Song et al. 2021, Maximum Likelihood Training of Score-Based Diffusion Models,
    theorem 3. De Bortoli et al. 2022, Riemannian Score-Based Generative Modelling. Yim et al. 2023, FrameDiff.
    Chen et al. 2023, Analog Bits, section 3.2 (self-conditioning).
"""

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from protgen.device import widest
from protgen.encoders.base import Encoder
from protgen.families.base import IterativeFamily, Likelihood, LikelihoodFamily
from protgen.families.diffusion_settings import DiffusionSettings, exact_values, require_heat_kernels
from protgen.families.ode_likelihood import OdeSettings, cell_time, estimate_by_flow, first_time, snapped, warped
from protgen.families.targets import Target, stratified
from protgen.families.variational_bound import Bound, surprise
from protgen.nn.precision import autocast
from protgen.samplers.base import Denoiser
from protgen.samplers.brownian import BROWNIAN
from protgen.samplers.schedules import SCHEDULES, Learned, Path, VarianceExploding
from protgen.spaces.base import Space, masked
from protgen.spaces.capabilities import (
    auxiliary_losses,
    defined_coordinates,
    encoder_view,
    freedoms,
    held,
    num_freedoms,
    support_of,
)
from protgen.spaces.manifolds import HeatKernel
from protgen.types import Conditioning, Losses, State

# EDM's normal distribution of log sigma: mean -1.2 and standard deviation 1.2 for data of std 0.5; ours have std 1.
EDM_LOG_SIGMA = (-1.2 + math.log(2), 1.2)
FIRST = 1e-3  # smallest time of the simple weighting


class Diffusion(IterativeFamily, LikelihoodFamily):
    """Denoising diffusion with any path and target, on flat and curved fields.

    Args:
        space: where x lives.
        encoder: the network.
        settings: path, target, loss and likelihood.

    Raises:
        ConfigError: if settings and space cannot be combined.
    """

    def __init__(self, space: Space, encoder: Encoder, settings: DiffusionSettings | None = None) -> None:
        super().__init__()
        settings = settings or DiffusionSettings()
        require_heat_kernels(space)
        self.settings = settings
        self.space = space
        self.encoder = encoder
        self.head = space.head(encoder.scalar_dim, encoder.vector_dim)
        self.values = exact_values(space, settings.target)
        self.schedule = SCHEDULES[settings.path]()
        if self.values and isinstance(self.schedule, Learned):
            # Values nine standard deviations apart are distinguished with certainty: less noise teaches nothing.
            self.schedule = Learned(gamma_min=2 * math.log(self.values.step / 9))
        self.path = Path(self.schedule, BROWNIAN[settings.brownian]())
        self.target = Target(settings.target, self.path, space)
        self.likelihood = settings.likelihood
        self.support = support_of(space)
        cells = cell_time(space, self.path)
        self.first = settings.first if cells == 1 else cells

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
        return self.space.project(self.target.data(self.head(features, seen), seen, x_t, t))

    def diffuse(self, x_data: State, t: Float[Tensor, " b"], rng: Generator) -> State:
        """A draw of q(x_t | x_data).

        Args:
            x_data: points of the space.
            t: times.
            rng: generator on the CPU.
        """
        mask, device = x_data.mask, x_data.mask.device
        normals = torch.randn(*mask.shape, self.space.normals_per_position, generator=rng).to(device)
        noise = self.space.noise(mask, normals)
        alpha, sigma = self.target.levels(t)
        fields = {}
        for name, manifold in self.space.manifolds.items():
            if isinstance(manifold, HeatKernel):
                steps = torch.randn(*mask.shape, manifold.dim, generator=rng).to(device)
                fields[name] = manifold.diffuse(x_data[name], self.std(t), steps)
            else:
                fields[name] = alpha * x_data[name] + sigma * noise[name]
        return held(self.space, self.space.project(State(fields, mask)), x_data)

    def std(self, t: Float[Tensor, " b"]) -> Float[Tensor, "b 1 1"]:
        """Standard deviation of the Brownian motion of curved fields, radians."""
        assert self.path.brownian is not None
        return self.path.brownian.std(t)[:, None, None]

    def errors(self, x_t: State, prediction: State, x_data: State, t: Float[Tensor, " b"]) -> dict[str, Tensor]:
        """Squared errors of each field at each position (b, l): of x_data in units of the noise, or of the score.

        Args:
            x_t: the noisy point.
            prediction: of x_data.
            x_data: the data.
            t: times.
        """
        stds = self.space.noise_std(x_data.mask)
        found = {}
        for name, manifold in self.space.manifolds.items():
            if isinstance(manifold, HeatKernel):
                # x_t and x_data are given; only the score about the prediction has a gradient.
                wanted = manifold.score(x_t[name], x_data[name], self.std(t))
                score = manifold.score(x_t[name], prediction[name], self.std(t))
                found[name] = masked((score - wanted).square().sum(-1), x_data.mask)
            else:
                error = manifold.squared_error(prediction[name], x_data[name]) / stds[name][:, None].square()
                found[name] = masked(error, x_data.mask)
        return found

    def loss(self, x_data: State, cond: Conditioning, rng: Generator) -> Losses:
        """Weighted error of each field, or the bound in nats for each degree of freedom."""
        return (
            self.bound_loss(x_data, cond, rng)
            if self.settings.weighting == "bound"
            else self.simple_loss(x_data, cond, rng)
        )

    def simple_loss(self, x_data: State, cond: Conditioning, rng: Generator) -> Losses:
        """Weighted error of each field, plus auxiliary losses of the space.

        Args:
            x_data: points of the space.
            cond: their y.
            rng: generator on the CPU.
        """
        mask = x_data.mask
        t = self.training_times(stratified(len(mask), rng).to(mask.device))
        x_t, prediction = self.noisy_and_predicted(x_data, t, cond, rng)
        velocity = self.settings.weighting == "velocity"
        weights = self.velocity_weights(x_data, t) if velocity else self.simple_weights(t)
        errors = self.errors(x_t, prediction, x_data, t)
        terms = {name: weights[name] * self.space.reduce(error, mask) for name, error in errors.items()}
        if self.target.name == "x":
            terms |= auxiliary_losses(self.space, prediction, x_data, self.path.seen(t))
        total = torch.stack([term.mean() for term in terms.values()]).sum()
        return Losses(total, {name: term.mean().detach() for name, term in terms.items()})

    def simple_weights(self, t: Float[Tensor, " b"]) -> dict[str, Float[Tensor, " b"]]:
        """Factors of the errors of each field to a mean over its coordinates, of the target where it is flat."""
        limit, variance = self.settings.max_weight, self.std(t)[:, 0, 0].square()
        flat = self.target.weight(t, limit)
        # variance / dim bounds the error of the score by 1; `max_weight` limits the weight of an error of x.
        curved = variance * (limit * variance).clamp(max=1)
        return {name: (curved if m.curved else flat) / m.dim for name, m in self.space.manifolds.items()}

    def velocity_weights(self, x_data: State, t: Float[Tensor, " b"]) -> dict[str, Float[Tensor, " b"]]:
        """Factors of the errors of each field to the squared error of its velocity, in units of its scale.

        On a curved field variance^2 |score difference|^2 is the squared error of x where noise is small, and that of x
        has the weight (s' / s)^2.

        Args:
            x_data: the data, for its lengths.
            t: times.
        """
        assert self.path.brownian is not None
        limit, std = self.settings.max_weight, self.path.brownian.std(t)
        flat = self.path.flat.data_rate(t).square().clamp(max=limit)
        curved = (self.path.brownian.slope(t) / std).square().clamp(max=limit) * std.pow(4)
        scales, noise = self.space.scale(x_data.mask), self.space.noise_std(x_data.mask)
        return {
            name: curved / scales[name].square() if m.curved else flat * (noise[name] / scales[name]).square()
            for name, m in self.space.manifolds.items()
        }

    def training_times(self, u: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Times of the simple weighting from uniform numbers; on EDM's path log sigma is normal."""
        if isinstance(self.schedule, VarianceExploding):
            mean, deviation = EDM_LOG_SIGMA
            normal = torch.special.ndtri(u.to(widest(u.device)).clamp(1e-6, 1 - 1e-6))
            return self.schedule.times_of((mean + deviation * normal).exp()).float()
        return (1 - u.pow(1 / self.settings.data_bias)).clamp(FIRST, 1.0)

    def noisy_and_predicted(
        self, x_data: State, t: Float[Tensor, " b"], cond: Conditioning, rng: Generator
    ) -> tuple[State, State]:
        """x_t and the prediction from it; a fraction of the calls read the prediction of a first pass.

        Args:
            x_data: points of the space.
            t: times.
            cond: y.
            rng: generator on the CPU.
        """
        x_t = self.diffuse(x_data, t, rng)
        x_pred = None
        if torch.rand((), generator=rng) < self.settings.self_conditioning:
            with torch.no_grad():
                x_pred = self.predict(x_t, t, cond, None)
        return x_t, held(self.space, self.predict(x_t, t, cond, x_pred), x_data)

    def bound_loss(self, x_data: State, cond: Conditioning, rng: Generator) -> Losses:
        """The bound at one time for each example.

        The ends of a learned schedule are trained on the bound. The shape between them minimises the variance of the
        estimate of the bound: d(l^2) = 2 l dl for the loss l of an example (VDM, appendix I).

        Args:
            x_data: points of the space.
            cond: their y.
            rng: generator on the CPU.
        """
        u = stratified(len(x_data.mask), rng).to(x_data.mask.device)
        found: list[Tensor] = []
        if isinstance(self.schedule, Learned):
            # Called in the backward pass, after the losses are computed.
            self.schedule.on_shape = lambda gradient: gradient * 2 * found[0].to(gradient)
        try:
            bound = self.one_time(x_data, cond, u, rng, train=True)
        finally:
            if isinstance(self.schedule, Learned):
                self.schedule.on_shape = None
        found.append((bound.diffusion / bound.dof).detach())
        terms = {name: getattr(bound, name) / bound.dof for name in ("prior", "reconstruction", "diffusion")}
        total = torch.stack([term.mean() for term in terms.values()]).sum()
        return Losses(total, {name: term.mean().detach() for name, term in terms.items()})

    def one_time(
        self, x_data: State, cond: Conditioning, u: Float[Tensor, " b"], rng: Generator, *, train: bool
    ) -> Bound:
        """The parts of the bound, with the integral estimated at one time for each example.

        Args:
            x_data: points of the space.
            cond: their y.
            u: uniform numbers in [0, 1] that give the times.
            rng: of noise.
            train: whether to self-condition as in training.
        """
        mask = x_data.mask
        if self.support is not None:
            x_data = snapped(self.space, x_data, self.support)
        t, density = warped(u.to(widest(u.device)), first_time(self.path, self.first))
        t, density = t.float(), density.float()
        if train:
            x_t, prediction = self.noisy_and_predicted(x_data, t, cond, rng)
        else:
            x_t = self.diffuse(x_data, t, rng)
            prediction = held(self.space, self.predict(x_t, t, cond, None), x_data)
        diffusion = torch.zeros(len(mask), device=mask.device)
        rate = self.path.flat.log_snr(t).exp() * -self.path.flat.log_snr_slope(t)
        assert self.path.brownian is not None
        for name, error in self.errors(x_t, prediction, x_data, t).items():
            curved = self.space.manifolds[name].curved
            gain = self.path.brownian.variance_slope(t) if curved else rate
            diffusion = diffusion + 0.5 * density * gain * error.sum(-1)
        prior, reconstruction = self.ends(x_data, rng)
        return Bound(prior, reconstruction, diffusion, num_freedoms(self.space, x_data))

    def ends(self, x_data: State, rng: Generator) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """KL(q(x_1 | x) || p_noise) and E[-log p(x | x_first)], nats."""
        mask = x_data.mask
        dof, stds = freedoms(self.space, x_data), self.space.noise_std(mask)
        exists = defined_coordinates(self.space, x_data)
        one = torch.ones(len(mask), device=mask.device)
        first = first_time(self.path, self.first) * one
        last_snr, first_snr = self.path.flat.log_snr(one), self.path.flat.log_snr(first)
        prior, reconstruction = torch.zeros_like(one), torch.zeros_like(one)
        for name, manifold in self.space.manifolds.items():
            if isinstance(manifold, HeatKernel):
                steps = torch.randn(*mask.shape, manifold.dim, generator=rng).to(mask.device)
                x_1 = manifold.diffuse(x_data[name], self.std(one), steps)
                prior = prior + manifold.log_ratio(x_1, x_data[name], self.std(one), exists[name]).sum(-1)
                # The entropy of a normal: that of the kernel is lower, on rotations by 3/8 s^2, 7e-4 nats at 0.042 rad.
                log_std = self.std(first)[:, 0, 0].log()
            else:
                square = (x_data[name] * exists[name]).square().flatten(1).sum(-1) / stds[name].square()
                prior = prior + 0.5 * last_snr.exp() * square
                log_std = stds[name].log() - first_snr / 2
                if self.support is not None:
                    found = surprise(x_data[name], log_std, self.support, mask, rng)
                    reconstruction = reconstruction + found + dof[name] * math.log(self.support.volume)
                    continue
            reconstruction = reconstruction + dof[name] * (0.5 * math.log(2 * math.pi * math.e) + log_std)
        return prior, reconstruction

    @torch.no_grad()
    def bound(self, x_data: State, cond: Conditioning, rng: Generator, times: int = 64) -> Bound:
        """The variational bound, each example's integral estimated at `times` stratified times.

        Args:
            x_data: points of the space.
            cond: their y.
            rng: of times and noise.
            times: evaluations of the network.
        """
        offset = torch.rand(len(x_data.mask), generator=rng).to(x_data.mask.device)
        parts = [self.one_time(x_data, cond, (offset + k) / times, rng, train=False) for k in range(times)]
        each = {
            name: torch.stack([getattr(part, name) for part in parts])
            for name in ("prior", "reconstruction", "diffusion")
        }
        # Neighbours of a stratified grid differ by twice the variance within strata: that of a mean of such times.
        total = torch.stack(list(each.values())).sum(0)
        error = None
        if times > 1:
            error = (total[1:] - total[:-1]).square().mean(0).div(2 * times).sqrt()
        return Bound(**{name: value.mean(0) for name, value in each.items()}, dof=parts[0].dof, error=error)

    def log_prob(
        self,
        x_data: State,
        cond: Conditioning,
        rng: Generator,
        times: int = 64,
        settings: OdeSettings | None = None,
    ) -> Likelihood:
        """log p(x | y) in nats, with respect to volume (see `protgen.families.ode_likelihood`).

        Args:
            x_data: points of the space.
            cond: their y.
            rng: of times and noise, or of probes.
            times: evaluations of the network for the bound.
            settings: of the probability flow, where `likelihood` is ode.
        """
        if self.likelihood == "bound":
            bound = self.bound(x_data, cond, rng, times)
            return Likelihood(bound.nats, "lower_bound", bound.error)
        settings = settings or OdeSettings(first=self.first, draws=self.draws)
        found = estimate_by_flow(self.denoiser(), self.space, x_data, cond, rng, settings)
        return Likelihood(found.nats, "estimate", found.error)

    def denoiser(self) -> Denoiser:
        """The family behind the interface of samplers."""
        return DiffusionDenoiser(self)


class DiffusionDenoiser(Denoiser):
    """The network's prediction of x_data behind the interface of samplers."""

    def __init__(self, family: Diffusion) -> None:
        self.family = family

    @property
    def path(self) -> Path:
        """The path of the family."""
        return self.family.path

    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None) -> State:
        """E[x_data | x_t, y] where fields are flat, the point with the score of p(x_t | y) where they are curved."""
        return self.family.predict(x_t, t, cond, x_pred)
