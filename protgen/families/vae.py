"""Variational autoencoders on any space: latents of each position or of the whole, one level or a Markov chain.

The encoder sees x_data at t = 0 and its invariant scalars give q(z | x, y); the decoder starts from the space's blank
point at t = 1 with z beside y, and its head gives the centre of the space's own p(x | z, y). Latents are invariant
under the symmetries of the space, so p(x | y) is as well.

Frame latents turn with the structure instead: each position has a few vectors, a noisy place and noisy axes, and the
decoder starts from the point they tell, as a denoiser does. A prior that is the same in every pose, N(0, I) or an
equivariant one of the family `latent`, leaves p(x | y) invariant all the same.

References:
    Kingma and Welling 2014, Auto-Encoding Variational Bayes, eq. 7 and 10 and appendix B (Gaussian KL).
    Higgins et al. 2017, beta-VAE, eq. 4. Sønderby et al. 2016, Ladder VAE, section 2.3 (warm-up).
    Kingma et al. 2016, Inverse Autoregressive Flow, appendix C.8 (free bits).
    Burda et al. 2016, Importance Weighted Autoencoders, eq. 8 (the bound) and 14 (its gradient).
    Luo 2022, Understanding Diffusion Models, eq. 19-23 (Markovian hierarchical VAE).
    Chen et al. 2023, Analog Bits, section 3.2 (a second pass that sees the first one's answer).
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
from protgen.families.direct import guided, join, one_position, repeat, repeat_state, require_direct
from protgen.families.gaussian import DiagonalGaussian, FramePosterior, GaussianStep
from protgen.families.gaussian import pool as pool_of
from protgen.families.latent_descent import LONGEST, descend
from protgen.samplers.base import Sampler, SamplingTask, draw_normals
from protgen.spaces.base import Space
from protgen.types import Conditioning, Losses, State

LATENT_DIM = 16


def width_of(keywords: Mapping[str, Any]) -> int:
    """Latents of a position as networks read them beside y: none where they are frames."""
    return 0 if keywords.get("frame_latents") else keywords.get("latent_dim", LATENT_DIM)


class VAE(Family, LikelihoodFamily, LatentFamily):
    """AE, VAE, beta-VAE, importance-weighted and hierarchical VAE.

    Guidance extrapolates the decoder (see `guided`). The prior of z does not depend on y, which the decoder reads.

    Args:
        space: where x lives.
        encoder: network of q(z_1 | x, y).
        decoder: network of p(x | z_1, y), which reads z_1 beside y's features of each position.
        latent_dim: width z of a latent.
        beta: weight of the KL divergence; 1 is a VAE, 0 an autoencoder without noise, prior, samples or likelihood.
        warmup: training steps over which beta rises from 0.
        free_bits: nats of each latent dimension below which its KL costs nothing.
        samples: L, latents drawn for each example of a step.
        importance: K of the importance-weighted bound that is trained on; 1 is the ELBO with closed-form KL.
        levels: T of the Markov chain z_1 ... z_T; 1 is a plain VAE.
        settle: training steps during which z_1 is held to N(0, I), and levels above only learn what it is like: a
            chain that has still to learn makes the encoder leave latents unused.
        pool: one latent for the whole instead of one for each position.
        frame_latents: latents are vectors that turn with the structure (`Space.to_vectors`); `latent_dim` is not used.
        noise: least standard deviation of frame latents, and the time at which the decoder is told to be.
        passes: times the decoder runs, each but the first with the answer of the one before as its estimate; gradients
            go through the last alone.
        std: start of the learned width of p(x | z), in units of the data's scale.
        bound_samples: K of `log_prob`.
        observation_noise: whether samples are drawn from p(x | z, y), which makes them samples of p(x | y), or are its
            centre, as pictures of VAEs are by custom.

    Raises:
        UsageError: if a number is out of range, or two cannot go together.
    """

    roles = types.MappingProxyType({"decoder": Role(latents_beside=True)})

    def __init__(
        self,
        space: Space,
        encoder: Encoder,
        decoder: Encoder,
        latent_dim: int = LATENT_DIM,
        beta: float = 1.0,
        warmup: int = 0,
        free_bits: float = 0.0,
        samples: int = 1,
        importance: int = 1,
        levels: int = 1,
        settle: int = 0,
        pool: bool = False,
        frame_latents: bool = False,
        noise: float = 0.1,
        passes: int = 1,
        std: float = 0.5,
        bound_samples: int = 50,
        observation_noise: bool = True,
    ) -> None:
        super().__init__()
        if min(latent_dim, samples, importance, levels, passes, bound_samples) < 1:
            raise UsageError("vae: latent_dim, samples, importance, levels, passes and bound_samples are at least 1")
        if min(beta, warmup, free_bits) < 0:
            raise UsageError("vae: beta, warmup and free_bits cannot be negative")
        if importance > 1 and (beta != 1 or free_bits > 0):
            raise UsageError(
                "vae: the importance-weighted bound has no separate KL; use beta 1 and free_bits 0 with it"
            )
        if frame_latents and (pool or levels > 1 or not space.vectors or not 0 < noise < 1):
            raise UsageError(
                f"vae: frame latents are vectors of each position, which {type(space).__name__} may not have, on one "
                "level, with noise between 0 and 1; leave pool and levels alone, or use frame_latents=false"
            )
        self.space = space
        self.encoder = encoder
        self.decoder = decoder
        self.frame_latents = frame_latents
        self.noise = noise
        self.passes = passes
        self.latent_dim = latent_dim = 3 * space.vectors if frame_latents else latent_dim
        self.beta = beta
        self.warmup = warmup
        self.free_bits = free_bits
        self.samples = samples
        self.importance = importance
        self.settle = settle
        self.bound_samples = bound_samples
        self.observation_noise = observation_noise
        self.pool = pool_of(encoder.scalar_dim, space.grid()) if pool else None
        self.posterior: nn.Module
        if frame_latents:
            self.posterior = FramePosterior(space.vectors, encoder.scalar_dim, encoder.vector_dim, noise)
        else:
            self.posterior = nn.Linear(self.pool.dim if self.pool else encoder.scalar_dim, 2 * latent_dim)
        self.upward = nn.ModuleList(GaussianStep(latent_dim) for _ in range(levels - 1))
        self.downward = nn.ModuleList(GaussianStep(latent_dim) for _ in range(levels - 1))
        self.head = space.head(decoder.scalar_dim, decoder.vector_dim)
        self.observation = space.observation(std)
        # Counts training steps for warm-up; a float, so that averages of weights can average it too.
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
            return self.posterior(self.space.to_vectors(x_data), scalars, features.vectors.float(), x_data.mask)
        return DiagonalGaussian.read(self.posterior(self.pool(scalars, x_data.mask) if self.pool else scalars))

    def run(self, network: Encoder, state: State, t: Tensor, cond: Conditioning, x_pred: State | None = None):
        """A network, in low precision where the machine asks for it; coordinates and losses keep float32."""
        low = self.autocast_dtype or torch.float32
        with torch.autocast(t.device.type, dtype=low, enabled=self.autocast_dtype is not None):
            return network(state, t, cond, x_pred)

    def latent_mask(self, mask: Bool[Tensor, "b l"]) -> Bool[Tensor, "b m"]:
        """Which latents are real."""
        return mask[:, :1] if self.pool else mask

    def encode(self, x_data: State, cond: Conditioning, rng: Generator | None = None) -> Tensor:
        """Latents z_1: drawn from q with a generator, its mean without one; (b, 1, z) where pooled."""
        posterior = self.infer(x_data, cond)
        latents = posterior.mean if rng is None else posterior.draw(rng)
        return latents * self.latent_mask(x_data.mask)[..., None]

    def decode(self, latents: Tensor, mask: Bool[Tensor, "b l"], cond: Conditioning) -> State:
        """Centres of p(x | z_1, y)."""
        t = torch.ones(len(mask), device=mask.device)
        if self.frame_latents:
            start, t = self.space.from_vectors(latents.unflatten(-1, (-1, 3)), mask), self.noise * t
        else:
            start, cond = self.space.blank(mask), join(cond, latents)
        answer = None
        for number in range(self.passes):
            with torch.set_grad_enabled(torch.is_grad_enabled() and number == self.passes - 1):
                features = self.run(self.decoder, start, t, cond, answer)
                answer = self.space.project(self.head(features, start))
        assert answer is not None
        return answer

    def loss(self, x_data: State, cond: Conditioning, rng: Generator) -> Losses:
        """Negative bound in nats for each degree of freedom, plus what the space adds."""
        beta = self.beta
        if self.training:
            beta = self.beta * min(1.0, (float(self.steps) + 1) / (self.warmup + 1))
            self.steps += 1
        dof = self.space.num_dof(x_data.mask)
        if self.importance > 1:
            weights, prediction = self.log_weights(x_data, cond, self.importance, rng)
            bound = weights.logsumexp(1) - math.log(self.importance)
            terms = {"bound": -bound}
            total = (-bound / dof).mean()
            data = repeat_state(x_data, self.importance)
        else:
            reconstruction, divergence, cost, prediction = self.elbo(x_data, cond, rng)
            terms = {"reconstruction": -reconstruction, "kl": divergence}
            total = (-reconstruction / dof).mean() + beta * cost / dof.mean()
            data = repeat_state(x_data, self.samples)
        extra = self.space.auxiliary(prediction, data, torch.zeros(len(data.mask), device=data.mask.device))
        total = total + sum((term.mean() for term in extra.values()), start=total.new_zeros(()))
        return Losses(total, {name: term.mean().detach() for name, term in (terms | extra).items()})

    def elbo(
        self, x_data: State, cond: Conditioning, rng: Generator
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"], Float[Tensor, ""], State]:
        """Parts of the ELBO: E log p(x | z) (b,), KL (b,), the mean KL after free bits, and the predictions.

        Closed form wherever both sides are Gaussian given what was drawn: all of it for one level.
        """
        count = self.samples
        posterior = self.infer(x_data, cond).repeat(count)
        data, y = repeat_state(x_data, count), repeat(cond, count)
        mask = self.latent_mask(data.mask)
        # An autoencoder has no noise: the decoder sees the mean.
        z = posterior.draw(rng) if self.beta > 0 else posterior.mean
        prediction = self.decode(z, data.mask, y)
        parts = []
        below = posterior
        apart = self.training and float(self.steps) <= self.settle and len(self.upward) > 0
        if apart:
            below, z = DiagonalGaussian(posterior.mean.detach(), posterior.log_std.detach()), z.detach()
        for up, down in zip(self.upward, self.downward, strict=True):
            above = up(z)
            z_above = above.draw(rng)
            # z_(t+1) depends on the z_t drawn, so no KL between the two is to be had: the ratio at the draw itself.
            parts.append(below.log_prob(z) - down(z_above).log_prob(z))
            below, z = above, z_above
        parts.append(below.kl_to_standard())
        # (b L, m, z) each; free bits hold for the mean over examples and positions of each dimension of each level.
        kl = torch.stack([part * mask[..., None] for part in parts])
        divergence = kl.sum((0, 2, 3))
        if apart:  # the chain learns what z_1 is like, and z_1 knows nothing of the chain
            kl = torch.cat([kl, (posterior.kl_to_standard() * mask[..., None])[None]])
        positions = mask.sum() / len(mask)
        each = kl.sum((1, 2)) / mask.sum()
        cost = positions * (each.clamp(min=self.free_bits) if self.free_bits else each).sum()
        reconstruction = self.observation.log_prob(prediction, data)
        by_example = [x.unflatten(0, (-1, count)).mean(1) for x in (reconstruction, divergence)]
        return by_example[0], by_example[1], cost, prediction

    def log_weights(
        self, x_data: State, cond: Conditioning, count: int, rng: Generator, frame_latents: bool = False
    ) -> tuple[Float[Tensor, "b k"], State]:
        """log p(x, z) - log q(z | x) for `count` draws of z_1 ... z_T each, and the predictions (b k, ...).

        Args:
            x_data: points of the space.
            cond: their y.
            count: k.
            rng: of latents.
            frame_latents: whether the pose of predictions is drawn as well, where the space has symmetries: the
                weights are then unbiased, and the bound they give is one.
        """
        posterior = self.infer(x_data, cond).repeat(count)
        data, y = repeat_state(x_data, count), repeat(cond, count)
        mask = self.latent_mask(data.mask)
        z = posterior.draw(rng)
        prediction = self.decode(z, data.mask, y)
        log_weight = self.observation.log_prob(prediction, data, rng if frame_latents else None)
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
        """Importance-weighted bound of log p(x | y) in nats; count 1 is the ELBO, and it rises with count.

        Args:
            x_data: points of the space.
            cond: their y.
            rng: of latents.
            count: k, importance samples of each example.
            chunk: most decoder evaluations at a time.
        """
        total = torch.full((len(x_data.mask),), -math.inf, device=x_data.mask.device)
        done = 0
        while done < count:
            now = min(count - done, max(1, chunk // len(x_data.mask)))
            weights, _ = self.log_weights(x_data, cond, now, rng, frame_latents=True)
            total = torch.logaddexp(total, weights.logsumexp(1))
            done += now
        return total - math.log(count)

    def log_prob(self, x_data: State, cond: Conditioning, rng: Generator) -> Likelihood:
        """The importance-weighted bound with `bound_samples`.

        Raises:
            UsageError: for an autoencoder, which has no density.
        """
        self.require_density("a likelihood")
        return Likelihood(self.bound(x_data, cond, rng, self.bound_samples), "lower_bound")

    def require_density(self, wish: str) -> None:
        """Raise UsageError if beta is 0."""
        if self.beta == 0:
            raise UsageError(
                f"vae with beta 0 is an autoencoder without a prior and has not {wish}; train with beta > 0, or put "
                "a prior on its latents with the family `latent`"
            )

    def optimised(
        self,
        z: Float[Tensor, "b m z"],
        mask: Bool[Tensor, "b m"],
        centres: Callable[[Tensor], State],
        task: SamplingTask,
    ) -> Float[Tensor, "b m z"]:
        """Latents, moved until the centres they are decoded to meet the task's energy, where it has one.

        Frame latents have the units of the structure, and move by no more than their own noise at a time.
        """
        if task.energy is None:
            return z
        longest = self.noise if self.frame_latents else LONGEST
        return descend(z, mask, centres, self.space, task.energy, longest=longest)

    @torch.no_grad()
    def sample(self, task: SamplingTask, sampler: Sampler | None = None) -> State:
        """x of p(x | z, y) or its centre, z from the prior, all standard deviations times the temperature.

        With an energy, z goes down it first (`families.latent_descent`).

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
