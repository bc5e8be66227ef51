"""Variational autoencoders on any space: latents of each position or of the whole, one level or a Markov chain.

The encoder reads x_data at t = 0, and its invariant scalars give q(z | x, y). The decoder starts from the space's start
for decoders at t = 1 and reads z and y; its head gives the centre of the space's observation model p(x | z, y).
Latents are invariant under the symmetries of the space, so p(x | y) is invariant too.

Frame latents are equivariant instead: each position has a few vectors, a noisy position and noisy axes, and the decoder
starts from the point that they give, as a denoiser does. With an invariant prior, N(0, I) or an equivariant one of the
family `latent`, p(x | y) is invariant too.

References:
    Kingma and Welling 2014, Auto-Encoding Variational Bayes, eq. 7 and 10 and appendix B (Gaussian KL).
    Higgins et al. 2017, beta-VAE, eq. 4. Sønderby et al. 2016, Ladder VAE, section 2.3 (warm-up).
    Kingma et al. 2016, Inverse Autoregressive Flow, appendix C.8 (free bits).
    Burda et al. 2016, Importance Weighted Autoencoders, eq. 8 (the bound) and 14 (its gradient).
    Luo 2022, Understanding Diffusion Models, eq. 19-23 (Markovian hierarchical VAE).
    Chen et al. 2023, Analog Bits, section 3.2 (self-conditioning).
"""

import math
import types
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from protgen.encoders.base import Encoder
from protgen.errors import UsageError
from protgen.families.base import Family, LatentFamily, Likelihood, LikelihoodFamily, Role
from protgen.families.direct import descended, guided, join, one_position, repeat, repeat_state, require_direct
from protgen.families.gaussian import DiagonalGaussian, FramePosterior, GaussianStep
from protgen.families.gaussian import pool as pool_of
from protgen.families.latent_descent import LONGEST
from protgen.families.vae_settings import LATENT_DIM, VAESettings, width_of
from protgen.nn.precision import autocast
from protgen.samplers.base import Sampler, SamplingTask, draw_normals
from protgen.spaces.base import Space
from protgen.spaces.capabilities import (
    VectorPoints,
    auxiliary_losses,
    decoder_start,
    grid_of,
    num_freedoms,
    require,
)
from protgen.spaces.observation import check_spread, observation_of, with_spread
from protgen.types import Conditioning, Features, Losses, State


class VAE(Family, LikelihoodFamily, LatentFamily):
    """AE, VAE, beta-VAE, importance-weighted and hierarchical VAE.

    Guidance extrapolates the decoder (see `guided`). The prior of z does not depend on y, which the decoder reads.

    Args:
        space: where x lives.
        encoder: network of q(z_1 | x, y).
        decoder: network of p(x | z_1, y), which reads z_1 and y's features of each position.
        latent_dim: width z of a latent.
        frame_latents: latents are equivariant vectors (`VectorPoints`); `latent_dim` is not used.
        settings: objective, latents and sampling.

    Raises:
        UsageError: if parts cannot be combined.
    """

    takes_energy = True
    roles = types.MappingProxyType({"decoder": Role(latents_beside=True)})

    def __init__(
        self,
        space: Space,
        encoder: Encoder,
        decoder: Encoder,
        latent_dim: int = LATENT_DIM,
        frame_latents: bool = False,
        settings: VAESettings | None = None,
    ) -> None:
        super().__init__()
        settings = settings or VAESettings()
        if latent_dim < 1:
            raise UsageError("vae: latent_dim, samples, importance, levels, passes and bound_samples are at least 1")
        vectors = frame_vectors(space, settings) if frame_latents else 0
        self.settings = settings
        self.space = space
        self.encoder = encoder
        self.decoder = decoder
        self.frame_latents = frame_latents
        self.noise = settings.noise
        self.latent_dim = latent_dim = 3 * vectors if frame_latents else latent_dim
        self.beta = settings.beta
        self.observation_noise = settings.observation_noise
        self.pool = pool_of(encoder.scalar_dim, grid_of(space)) if settings.pool else None
        self.posterior: nn.Module
        if frame_latents:
            self.posterior = FramePosterior(vectors, encoder.scalar_dim, encoder.vector_dim, settings.noise)
        else:
            self.posterior = nn.Linear(self.pool.dim if self.pool else encoder.scalar_dim, 2 * latent_dim)
        self.upward = nn.ModuleList(GaussianStep(latent_dim) for _ in range(settings.levels - 1))
        self.downward = nn.ModuleList(GaussianStep(latent_dim) for _ in range(settings.levels - 1))
        self.head = space.head(decoder.scalar_dim, decoder.vector_dim)
        self.observation = observation_of(space, settings.std)
        self.spread = spread_head(space, decoder.scalar_dim) if settings.local_std else None
        # Counts training steps for the warm-up; a float, so that averages of weights can include it.
        self.register_buffer("steps", torch.zeros(()))
        self.steps: Tensor

    @classmethod
    def latent_width(cls, keywords: Mapping[str, Any]) -> int:
        """`latent_dim`; 0 for frame latents, which networks read as points."""
        return width_of(keywords)

    def infer(self, x_data: State, cond: Conditioning) -> DiagonalGaussian:
        """q(z_1 | x, y) with latents (b, l, z), or (b, 1, z) where pooled."""
        t = torch.zeros(len(x_data.mask), device=x_data.mask.device)
        features = self.run(self.encoder, x_data, t, cond)
        scalars = features.scalars.float()
        if self.frame_latents:
            vectors = require(self.space, VectorPoints, "frame latents").to_vectors(x_data)
            return self.posterior(vectors, scalars, features.vectors.float(), x_data.mask)
        return DiagonalGaussian.read(self.posterior(self.pool(scalars, x_data.mask) if self.pool else scalars))

    def run(
        self, network: Encoder, state: State, t: Tensor, cond: Conditioning, x_pred: State | None = None
    ) -> Features:
        """Features of a network, in low precision if `autocast_dtype` is set; arguments as of `Encoder.forward`."""
        with autocast(t.device, self.autocast_dtype):
            return network(state, t, cond, x_pred)

    def latent_mask(self, mask: Bool[Tensor, "b l"]) -> Bool[Tensor, "b m"]:
        """Which latents are real."""
        return mask[:, :1] if self.pool else mask

    def encode(self, x_data: State, cond: Conditioning, rng: Generator | None = None) -> Tensor:
        """Latents z_1: drawn from q with a generator, the mean of q without one; (b, 1, z) where pooled."""
        posterior = self.infer(x_data, cond)
        latents = posterior.mean if rng is None else posterior.draw(rng)
        return latents * self.latent_mask(x_data.mask)[..., None]

    def decode(self, latents: Tensor, mask: Bool[Tensor, "b l"], cond: Conditioning) -> State:
        """Centres of p(x | z_1, y)."""
        t = torch.ones(len(mask), device=mask.device)
        if self.frame_latents:
            points = require(self.space, VectorPoints, "frame latents")
            start, t = points.from_vectors(latents.unflatten(-1, (-1, 3)), mask), self.noise * t
        else:
            start, cond = decoder_start(self.space, mask), join(cond, latents)
        prediction, spread, passes = None, None, self.settings.passes
        for number in range(passes):
            with torch.set_grad_enabled(torch.is_grad_enabled() and number == passes - 1):
                features = self.run(self.decoder, start, t, cond, prediction)
                prediction = self.space.project(self.head(features, start))
                spread = None if self.spread is None else self.spread(features.scalars.float())
        assert prediction is not None
        return prediction if spread is None else with_spread(prediction, spread)

    def loss(self, x_data: State, cond: Conditioning, rng: Generator) -> Losses:
        """Negative bound in nats for each degree of freedom, plus auxiliary losses of the space."""
        beta = self.beta
        if self.training:
            beta = self.beta * min(1.0, (float(self.steps) + 1) / (self.settings.warmup + 1))
            self.steps += 1
        dof = num_freedoms(self.space, x_data)
        count = self.settings.importance
        if count > 1 and not (self.training and float(self.steps) <= self.settings.elbo_steps):
            weights, prediction = self.log_weights(x_data, cond, count, rng)
            bound = weights.logsumexp(1) - math.log(count)
            terms = {"bound": -bound}
            total = (-bound / dof).mean()
            data = repeat_state(x_data, count)
        else:
            reconstruction, divergence, cost, prediction = self.elbo(x_data, cond, rng)
            terms = {"reconstruction": -reconstruction, "kl": divergence}
            total = (-reconstruction / dof).mean() + beta * cost / dof.mean()
            data = repeat_state(x_data, self.settings.samples)
        extra = auxiliary_losses(self.space, prediction, data, torch.zeros(len(data.mask), device=data.mask.device))
        total = total + sum((term.mean() for term in extra.values()), start=total.new_zeros(()))
        return Losses(total, {name: term.mean().detach() for name, term in (terms | extra).items()})

    def elbo(
        self, x_data: State, cond: Conditioning, rng: Generator
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"], Float[Tensor, ""], State]:
        """Parts of the ELBO: E log p(x | z) (b,), KL (b,), the mean KL after free bits, and the predictions.

        In closed form where both distributions are Gaussian given the draws: all of it with one level.

        Args:
            x_data: points of the space.
            cond: their y.
            rng: of latents.
        """
        count = self.settings.samples
        posterior = self.infer(x_data, cond).repeat(count)
        data, y = repeat_state(x_data, count), repeat(cond, count)
        mask = self.latent_mask(data.mask)
        # An autoencoder has no noise: the decoder reads the mean.
        z = posterior.draw(rng) if self.beta > 0 else posterior.mean
        prediction = self.decode(z, data.mask, y)
        apart = self.training and float(self.steps) <= self.settings.settle and len(self.upward) > 0
        # (b L, m, z) for each level.
        kl = torch.stack([part * mask[..., None] for part in self.divergences(posterior, z, apart, rng)])
        divergence = kl.sum((0, 2, 3))
        if apart:  # the chain is trained to model z_1, and z_1 does not depend on the chain
            kl = torch.cat([kl, (posterior.kl_to_standard() * mask[..., None])[None]])
        cost = self.cost_of(kl, mask)
        reconstruction = self.observation.log_prob(prediction, data)
        by_example = [x.unflatten(0, (-1, count)).mean(1) for x in (reconstruction, divergence)]
        return by_example[0], by_example[1], cost, prediction

    def divergences(
        self, posterior: DiagonalGaussian, z: Float[Tensor, "b m z"], apart: bool, rng: Generator
    ) -> list[Float[Tensor, "b m z"]]:
        """KL of each level of the chain.

        Args:
            posterior: q(z_1 | x, y).
            z: z_1, a draw of it.
            apart: whether gradients stop between z_1 and the chain.
            rng: of the levels above.
        """
        parts, below = [], posterior
        if apart:
            below, z = DiagonalGaussian(posterior.mean.detach(), posterior.log_std.detach()), z.detach()
        for up, down in zip(self.upward, self.downward, strict=True):
            above = up(z)
            z_above = above.draw(rng)
            # z_(t+1) depends on the drawn z_t, so the KL has no closed form: the log-ratio at the draw itself.
            parts.append(below.log_prob(z) - down(z_above).log_prob(z))
            below, z = above, z_above
        return [*parts, below.kl_to_standard()]

    def cost_of(self, kl: Float[Tensor, "t b m z"], mask: Bool[Tensor, "b m"]) -> Float[Tensor, ""]:
        """Mean KL of an example; free bits hold for the mean over examples and positions of each dimension."""
        each = kl.sum((1, 2)) / mask.sum()
        if self.settings.free_bits:
            each = each.clamp(min=self.settings.free_bits)
        return mask.sum() / len(mask) * each.sum()

    def log_weights(
        self, x_data: State, cond: Conditioning, count: int, rng: Generator, draw_pose: bool = False
    ) -> tuple[Float[Tensor, "b k"], State]:
        """log p(x, z) - log q(z | x) for `count` draws of z_1 ... z_T each, and the predictions (b k, ...).

        Args:
            x_data: points of the space.
            cond: their y.
            count: k.
            rng: of latents.
            draw_pose: whether the pose of predictions is drawn as well, in a space with symmetries: the weights are
                then unbiased, and give a bound.
        """
        posterior = self.infer(x_data, cond).repeat(count)
        data, y = repeat_state(x_data, count), repeat(cond, count)
        mask = self.latent_mask(data.mask)
        z = posterior.draw(rng)
        prediction = self.decode(z, data.mask, y)
        log_weight = self.observation.log_prob(prediction, data, rng if draw_pose else None)
        below = posterior
        for up, down in zip(self.upward, self.downward, strict=True):
            above = up(z)
            z_above = above.draw(rng)
            log_weight = log_weight + ((down(z_above).log_prob(z) - below.log_prob(z)) * mask[..., None]).sum((1, 2))
            below, z = above, z_above
        prior = DiagonalGaussian.standard_like(z)
        log_weight = log_weight + ((prior.log_prob(z) - below.log_prob(z)) * mask[..., None]).sum((1, 2))
        return log_weight.unflatten(0, (-1, count)), prediction

    @torch.no_grad()
    def bound(
        self, x_data: State, cond: Conditioning, rng: Generator, count: int = 50, chunk: int = 500
    ) -> Float[Tensor, " b"]:
        """Importance-weighted bound of log p(x | y) in nats; count 1 is the ELBO, and the bound increases with count.

        Args:
            x_data: points of the space.
            cond: their y.
            rng: of latents.
            count: k, importance samples of each example.
            chunk: largest number of decoder evaluations at a time.
        """
        total = torch.full((len(x_data.mask),), -math.inf, device=x_data.mask.device)
        done = 0
        while done < count:
            now = min(count - done, max(1, chunk // len(x_data.mask)))
            weights, _ = self.log_weights(x_data, cond, now, rng, draw_pose=True)
            total = torch.logaddexp(total, weights.logsumexp(1))
            done += now
        return total - math.log(count)

    def log_prob(self, x_data: State, cond: Conditioning, rng: Generator) -> Likelihood:
        """The importance-weighted bound with `bound_samples`.

        Raises:
            UsageError: for an autoencoder, which has no density.
        """
        self.require_density("likelihood")
        return Likelihood(self.bound(x_data, cond, rng, self.settings.bound_samples), "lower_bound")

    def require_density(self, wish: str) -> None:
        """Raise UsageError if beta is 0."""
        if self.beta == 0:
            raise UsageError(
                f"vae with beta 0 is an autoencoder without a prior and has no {wish}; train with beta > 0, or put "
                "a prior on its latents with the family `latent`"
            )

    def optimised(
        self,
        z: Float[Tensor, "b m z"],
        mask: Bool[Tensor, "b m"],
        centres: Callable[[Tensor], State],
        task: SamplingTask,
    ) -> Float[Tensor, "b m z"]:
        """Latents after gradient descent on the task's energy of their decoded centres; unchanged without an energy.

        Frame latents have the units of the structure, and a step moves them by at most their own noise.

        Args:
            z: latents.
            mask: which are real.
            centres: the decoder.
            task: its energy.

        Raises:
            ConfigError: if the space is not observable.
        """
        return descended(self.space, z, centres, task, mask, self.noise if self.frame_latents else LONGEST)

    @torch.no_grad()
    def sample(self, task: SamplingTask, sampler: Sampler | None = None) -> State:
        """x of p(x | z, y) or its centre, z from the prior, all standard deviations times the temperature.

        An energy first moves z by gradient descent (`families.latent_descent`).

        Raises:
            UsageError: for a sampler or guides, and for an autoencoder.
        """
        require_direct("vae", task, sampler)
        self.require_density("samples")
        place = one_position(task) if self.pool else task
        z = draw_normals(place, self.latent_dim) * task.temperature
        for down in reversed(self.downward):
            step = down(z)
            z = step.mean + step.log_std.exp() * draw_normals(place, self.latent_dim) * task.temperature
            z = z * place.mask[..., None]

        def centres(latents: Tensor) -> State:
            return guided(self.space, lambda cond: self.decode(latents, task.mask, cond), task)

        centre = centres(self.optimised(z, place.mask, centres, task))
        if not self.observation_noise:
            return centre
        width = sum(manifold.dim for manifold in self.space.manifolds.values())
        return self.observation.draw(centre, draw_normals(task, width), task.temperature)


def spread_head(space: Space, dim: int) -> nn.Linear:
    """A layer that gives a factor of the standard deviation of each coordinate; 1 at the start.

    Raises:
        UsageError: if the space has none.
    """
    check_spread(space)
    head = nn.Linear(dim, sum(manifold.dim for manifold in space.manifolds.values()))
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def frame_vectors(space: Space, settings: VAESettings) -> int:
    """How many vectors a position has in a space that frame latents need.

    Raises:
        UsageError: if the space or the settings do not allow frame latents.
    """
    if not isinstance(space, VectorPoints) or settings.pool or settings.levels > 1 or not 0 < settings.noise < 1:
        raise UsageError(
            f"vae: frame latents are vectors of each position, which {type(space).__name__} may not have, on one "
            "level, with noise between 0 and 1; leave pool and levels alone, or use frame_latents=false"
        )
    return space.vectors


def is_autoencoder(family: Family) -> bool:
    """Whether a family is a VAE with beta 0, which has no prior: neither samples nor a likelihood."""
    return isinstance(family, VAE) and family.beta == 0
