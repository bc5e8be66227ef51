"""A learned prior over the latents of a VAE: latent flow matching or latent diffusion.

The first stage is an autoencoder with a small weight of the KL, whose latents reconstruct x well and have no simple
distribution. The second stage learns their distribution p(z | y), after `first_stage` steps of the first or jointly.

References:
    Rombach et al. 2022, High-Resolution Image Synthesis with Latent Diffusion Models, sections 3.1-3.2.
    Vahdat et al. 2021, Score-based Generative Modeling in Latent Space, eq. 2 (the bound).
"""

import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen import registry
from protgen.encoders.base import Encoder
from protgen.errors import UsageError
from protgen.families.base import Family, IterativeFamily, LatentFamily, Likelihood, LikelihoodFamily, Role
from protgen.families.direct import repeat, repeat_state
from protgen.families.vae import VAE
from protgen.families.vae_settings import LATENT_DIM, width_of
from protgen.samplers.base import Sampler, SamplingTask, draw_normals
from protgen.spaces.base import Space
from protgen.spaces.frame_latents import FrameLatents
from protgen.spaces.latent import LatentSpace
from protgen.types import Batch, Conditioning, Losses, State


@dataclass(frozen=True)
class LatentSettings:
    """Stages of a latent model.

    Attributes:
        first_stage: training steps of the VAE before those of the prior.
        joint: train both in every step instead; the prior's loss does not change the latents.
        family: of the prior: flow_matching or diffusion.
        vae: keywords of the VAE; beta is 0.1 by default, and levels must be 1.
        second: keywords of the prior's family. Likelihoods of frame latents begin (`first`) at the time at which the
            prior's noise equals the latents' own, unless `second` gives it or the prior is trained on its bound. Such a
            prior would not be trained at earlier times, which samplers need.
        bound_samples: latents drawn for each example by `log_prob`.

    Raises:
        UsageError: if a value is out of range.
    """

    first_stage: int = 500
    joint: bool = False
    family: str = "flow_matching"
    vae: Mapping[str, Any] | None = None
    second: Mapping[str, Any] | None = None
    bound_samples: int = 1

    def __post_init__(self) -> None:
        if (self.vae or {}).get("levels", 1) != 1:
            raise UsageError("latent: the prior replaces further levels; leave levels at 1")
        if self.first_stage < 0 or self.bound_samples < 1:
            raise UsageError("latent: first_stage cannot be negative, bound_samples is at least 1")
        if not issubclass(registry.find("families", self.family), IterativeFamily):
            raise UsageError(f"latent: {self.family} does not iterate from noise; choose flow_matching or diffusion")


class Latent(Family, LikelihoodFamily, LatentFamily):
    """A VAE, and an iterative family in its latent space.

    `loss` depends on the number of training steps (a buffer, so kept in checkpoints): below `first_stage` it is that of
    the VAE, then that of the prior, with no gradient for the VAE. The VAE never reads y (it gets the null token):
    latents hold all of x, so that y acts through p(z | y) alone, and classifier-free guidance of the prior is guidance
    of x.

    Args:
        space: where x lives.
        encoder: network of q(z | x).
        decoder: network of p(x | z).
        prior: network over latents, a state with the field `latents`.
        latent_dim: width z of a latent.
        frame_latents: latents are equivariant vectors, and the prior's network reads them as a point of the space; see
            `VAE`.
        settings: stages and their keywords.

    Raises:
        UsageError: if the parts cannot be combined.
    """

    takes_sampler = True
    guidance_weight = 2.0  # of the second stage, which iterates
    takes_energy = True
    roles = types.MappingProxyType({"decoder": Role(latents_beside=True), "prior": Role(reads="latents")})

    def __init__(
        self,
        space: Space,
        encoder: Encoder,
        decoder: Encoder,
        prior: Encoder,
        latent_dim: int = LATENT_DIM,
        frame_latents: bool = False,
        settings: LatentSettings | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings = settings or LatentSettings()
        parts = {
            "space": space,
            "encoder": encoder,
            "decoder": decoder,
            "latent_dim": latent_dim,
            "frame_latents": frame_latents,
        }
        self.first: VAE = registry.build("families", "vae", **parts, **({"beta": 0.1} | dict(settings.vae or {})))
        self.second = second_stage(self.first, prior, settings)
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(self.first.latent_dim))
        self.register_buffer("square", torch.ones(self.first.latent_dim))
        self.register_buffer("drift", torch.ones(()))
        self.steps: Tensor
        self.drift: Tensor
        self.mean: Tensor
        self.square: Tensor

    @classmethod
    def example(cls) -> dict[str, Any]:
        """Keywords of a small one."""
        return {"latent_dim": 2, "joint": True}

    @classmethod
    def latent_width(cls, keywords: Mapping[str, Any]) -> int:
        """`latent_dim`; 0 for frame latents, which networks read as points."""
        return width_of(keywords)

    # Owned by the first stage: a second registration would list their weights twice.
    @property
    def space(self) -> Space:  # pyright: ignore - an attribute of the base
        """Where x lives."""
        return self.first.space

    @property
    def encoder(self) -> Encoder:  # pyright: ignore - an attribute of the base
        """Network of q(z | x)."""
        return self.first.encoder

    def loss(self, x_data: State, cond: Conditioning, rng: Generator) -> Losses:
        """The loss of the stage; of both stages if `joint`, and in evaluation mode, so that validation shows both."""
        self.share_precision()
        steps = float(self.steps)
        both = self.settings.joint or not self.training
        first = both or steps < self.settings.first_stage
        second = both or steps >= self.settings.first_stage
        if self.training:
            self.steps += 1
        found: dict[str, Losses] = {}
        if first:
            found["vae"] = self.first.loss(x_data, blind(cond), rng)
        with torch.no_grad():
            z = self.first.encode(x_data, blind(cond), rng if self.first.beta else None)
        if self.training and first:
            self.follow(z, self.first.latent_mask(x_data.mask))
        if second:
            found["prior"] = self.second.loss(self.point(z, x_data.mask), self.seen(cond, x_data.mask), rng)
        total = sum((losses.total for losses in found.values()), start=torch.zeros((), device=x_data.mask.device))
        terms = {f"{part}_{name}": value for part, losses in found.items() for name, value in losses.terms.items()}
        return Losses(total, terms)

    def share_precision(self) -> None:
        """Pass the autocast type of this family to both stages."""
        self.first.autocast_dtype = self.second.autocast_dtype = self.autocast_dtype

    @torch.no_grad()
    def follow(self, z: Float[Tensor, "b m z"], mask: Bool[Tensor, "b m"]) -> None:
        """Moving averages of the first two moments of latents over about 100 steps, by which they are normalised."""
        rate = max(0.01, 1 / float(self.steps))
        if self.first.frame_latents:  # their units are those of frames, so that a prior can start from a trained flow
            self.drift.lerp_(self.centre(z, mask).square().mean(), rate)
        else:
            self.mean.lerp_(z[mask].mean(0), rate)
            self.square.lerp_(z[mask].square().mean(0), rate)

    def centre(self, z: Float[Tensor, "b m z"], mask: Bool[Tensor, "b m"]) -> Float[Tensor, "b 3"]:
        """The coordinates of frame latents that centring removes: the mean position times the root of their number."""
        return (z[..., :3] * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).sqrt()

    @property
    def std(self) -> Float[Tensor, " z"]:
        """Standard deviation of each dimension of the latents; 1 for frame latents."""
        return (self.square - self.mean.square()).clamp(min=1e-6).sqrt()

    def normalise(self, z: Tensor) -> Tensor:
        """Latents with mean 0 and standard deviation 1."""
        return (z - self.mean) / self.std

    def point(self, z: Float[Tensor, "b m z"], mask: Bool[Tensor, "b l"]) -> State:
        """Latents as a point of the prior's space."""
        return self.second.space.encode(Batch({"latents": self.normalise(z)}, self.first.latent_mask(mask)))

    def seen(self, cond: Conditioning, mask: Bool[Tensor, "b l"]) -> Conditioning:
        """y as the prior reads it: with one latent for all positions, the mean of their features."""
        if self.first.pool is None:
            return cond
        weights = mask[..., None] / mask.sum(1)[:, None, None]
        return Conditioning((cond.residue * weights).sum(1, keepdim=True), cond.globals)

    def encode(self, x_data: State, cond: Conditioning, rng: Generator | None = None) -> Tensor:
        """Latents of the first stage."""
        return self.first.encode(x_data, blind(cond), rng)

    def decode(self, latents: Tensor, mask: Bool[Tensor, "b l"], cond: Conditioning) -> State:
        """Centres of p(x | z)."""
        return self.first.decode(latents, mask, blind(cond))

    def sample(self, task: SamplingTask, sampler: Sampler | None = None) -> State:
        """Latents from the prior by the sampler, moved by gradient descent on the task's energy, and decoded.

        `task.on_step` gets latents.

        Raises:
            UsageError: for guides, which act on x: no x exists before the last step.
        """
        if task.guides:
            raise UsageError(
                "latent samples latents, on which guides of x cannot act; give the task an `energy`, on which latents "
                "are optimised, or choose flow_matching or diffusion on x itself"
            )
        self.share_precision()
        guidance = task.guidance
        if guidance is not None:
            guidance = guidance.changed(lambda free: self.seen(free, task.mask))
        mask = self.first.latent_mask(task.mask)
        inner = replace(task, mask=mask, cond=self.seen(task.cond, task.mask), guidance=guidance, energy=None)
        drawn = self.second.space.decode(self.second.sample(inner, sampler))

        def centres(latents: Tensor) -> State:
            return self.decode((latents * self.std + self.mean) * mask[..., None], task.mask, task.cond)

        with torch.no_grad():
            centre = centres(self.first.optimised(drawn["latents"], mask, centres, task))
            if not self.first.observation_noise:
                return centre
            width = sum(manifold.dim for manifold in self.space.manifolds.values())
            return self.first.observation.draw(centre, draw_normals(task, width), task.temperature)

    def log_prob(self, x_data: State, cond: Conditioning, rng: Generator) -> Likelihood:
        """E_q [log p(x | z) + log p(z | y) - log q(z | x)] <= log p(x | y), with the prior's own likelihood.

        The kind is estimate if that of the prior is, else lower_bound.

        Raises:
            UsageError: if the prior's family has no likelihood, or the first stage is without noise.
        """
        if not isinstance(self.second, LikelihoodFamily):
            kind = type(self.second).__name__
            raise UsageError(f"latent: its prior, {kind}, has no likelihood; choose a family with one for `family`")
        if self.first.beta == 0:
            raise UsageError("latent: an autoencoder without noise (beta 0) has no density; train with beta above 0")
        count = self.settings.bound_samples
        with torch.no_grad():
            data, y = repeat_state(x_data, count), repeat(cond, count)
            mask = self.first.latent_mask(data.mask)
            posterior = self.first.infer(data, blind(y))
            z = posterior.draw(rng) * mask[..., None]
            nats = self.first.observation.log_prob(self.decode(z, data.mask, y), data, rng)
            nats = nats - (posterior.log_prob(z) * mask[..., None]).sum((1, 2))
            # The density of latents is that of normalised latents divided by the volume of their unit.
            nats = nats - mask.sum(1) * self.std.log().sum()
            if self.first.frame_latents:
                nats = nats + self.log_centre(z, mask)
        prior = self.second.log_prob(self.point(z, data.mask), self.seen(y, data.mask), rng)
        total = (nats + prior.nats.to(nats)).unflatten(0, (-1, count)).mean(1)
        return Likelihood(total, "estimate" if prior.kind == "estimate" else "lower_bound")

    def log_centre(self, z: Float[Tensor, "b m z"], mask: Bool[Tensor, "b m"]) -> Float[Tensor, " b"]:
        """log-density of the coordinates that centring removes, which the prior does not model: normal, width `drift`.

        The caller divides by the volume of the unit of all latents; that of these three is restored.
        """
        width = self.drift.sqrt()
        normal = -0.5 * (self.centre(z, mask) / width).square() - 0.5 * math.log(2 * math.pi) - width.log()
        return normal.sum(-1) + self.std[:3].log().sum()


def second_stage(first: VAE, prior: Encoder, settings: LatentSettings) -> IterativeFamily:
    """The family of the prior, over the latent space of the first stage.

    Args:
        first: the first stage.
        prior: the network.
        settings: name and keywords of the family.
    """
    latents = FrameLatents(first.space) if first.frame_latents else LatentSpace(first.latent_dim)
    keywords = dict(settings.second or {})
    second: IterativeFamily = registry.build("families", settings.family, space=latents, encoder=prior, **keywords)
    if isinstance(latents, FrameLatents) and "first" not in keywords and keywords.get("weighting") != "bound":
        # The prior's head reads latents as frames, and so removes their noise, at every time however early. A flow from
        # an earlier time than that of their noise would amplify it a hundredfold. So the density is that of the flow's
        # result at the time when its own noise is as large in every field.
        second.first = second.path.flat.time_of(first.noise / min(1.0, latents.axes_noise))
        second.draws = 0  # latents have that noise already
    return second


def blind(cond: Conditioning) -> Conditioning:
    """The null token of the same shape."""
    return cond.rows(torch.zeros_like)
