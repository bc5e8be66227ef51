"""A learned prior over the latents of a VAE: an autoencoder first, flow matching or diffusion in its latents after.

The first stage is an autoencoder with a light KL, whose latents keep what x is and fill no shape in particular; the
second learns that shape, p(z | y). With `first_stage` steps of the one before the other, or both at once.

References:
    Rombach et al. 2022, High-Resolution Image Synthesis with Latent Diffusion Models, sections 3.1-3.2.
    Vahdat et al. 2021, Score-based Generative Modeling in Latent Space, eq. 2 (the bound).
"""

import math
import types
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen import registry
from protgen.encoders.base import Encoder
from protgen.errors import UsageError
from protgen.families.base import Family, IterativeFamily, LatentFamily, Likelihood, LikelihoodFamily, Role
from protgen.families.direct import repeat, repeat_state
from protgen.families.vae import LATENT_DIM, VAE, width_of
from protgen.samplers.base import Sampler, SamplingTask, draw_normals
from protgen.spaces.base import Space
from protgen.spaces.frame_latents import FrameLatents
from protgen.spaces.latent import LatentSpace
from protgen.types import Batch, Conditioning, Losses, State


class Latent(Family, LikelihoodFamily, LatentFamily):
    """VAE first, an iterating family in its latent space after.

    `loss` does what its step asks for: while the count of training steps (a buffer, so kept in checkpoints) is below
    `first_stage` it is the VAE's, then the prior's with the VAE frozen, for its parameters then get no gradient.
    The VAE is never told y (it sees the null token): latents hold all of x, so that y acts through p(z | y) alone and
    classifier-free guidance of the prior is guidance of x.

    Args:
        space: where x lives.
        encoder: network of q(z | x).
        decoder: network of p(x | z).
        prior: network over latents, a state with the field `latents`.
        latent_dim: width z of a latent.
        first_stage: training steps of the VAE before those of the prior.
        frame_latents: latents are vectors that turn with the structure, and the prior's network reads them as a
            point of the space; see `VAE`.
        joint: train both at every step in place of one after the other; the prior's loss does not shape the latents.
        family: which family the prior is: flow_matching or diffusion.
        vae: keywords of the VAE; beta is 0.1 unless given, and levels is 1.
        second: keywords of the prior's family. Likelihoods of frame latents begin (`first`) at the time at which the
            prior's noise is the latents' own, unless it is given, or the prior is trained on its bound: it would learn
            no earlier time then, and samplers ask for them.
        bound_samples: latents drawn for each example by `log_prob`.

    Raises:
        UsageError: if the parts do not go together.
    """

    takes_sampler = True
    roles = types.MappingProxyType({"decoder": Role(latents_beside=True), "prior": Role(reads="latents")})

    def __init__(
        self,
        space: Space,
        encoder: Encoder,
        decoder: Encoder,
        prior: Encoder,
        latent_dim: int = LATENT_DIM,
        first_stage: int = 500,
        frame_latents: bool = False,
        joint: bool = False,
        family: str = "flow_matching",
        vae: Mapping[str, Any] | None = None,
        second: Mapping[str, Any] | None = None,
        bound_samples: int = 1,
    ) -> None:
        super().__init__()
        keywords = {"beta": 0.1} | dict(vae or {})
        if keywords.get("levels", 1) != 1:
            raise UsageError("latent: the prior takes the place of further levels; leave levels at 1")
        if first_stage < 0 or bound_samples < 1:
            raise UsageError("latent: first_stage cannot be negative, bound_samples is at least 1")
        if not issubclass(registry.find("families", family), IterativeFamily):
            raise UsageError(f"latent: {family} does not iterate from noise; choose flow_matching or diffusion")
        parts = {
            "space": space,
            "encoder": encoder,
            "decoder": decoder,
            "latent_dim": latent_dim,
            "frame_latents": frame_latents,
        }
        self.first: VAE = registry.build("families", "vae", **parts, **keywords)
        latents = FrameLatents(space) if frame_latents else LatentSpace(latent_dim)
        keywords = dict(second or {})
        self.second: IterativeFamily = registry.build("families", family, space=latents, encoder=prior, **keywords)
        if isinstance(latents, FrameLatents) and "first" not in keywords and keywords.get("weighting") != "bound":
            # The prior's head reads latents as frames and so takes their noise away, however near the data it is asked.
            # A flow followed from nearer to the data than that noise would carry it along, grown a hundredfold: the
            # density is of what the flow has made by the time at which its own noise is no less, on any field.
            self.second.first = self.second.path.flat.time_of(self.first.noise / min(1.0, latents.axes_noise))
        self.first_stage = first_stage
        self.joint = joint
        self.bound_samples = bound_samples
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
        """The loss of the stage; of both where joint, and where not training, so that validation sees both."""
        self.share_precision()
        steps = float(self.steps)
        both = self.joint or not self.training
        if self.training:
            self.steps += 1
        total = torch.zeros((), device=x_data.mask.device)
        terms: dict[str, Tensor] = {}
        if both or steps < self.first_stage:
            losses = self.first.loss(x_data, blind(cond), rng)
            total = total + losses.total
            terms |= {f"vae_{name}": value for name, value in losses.terms.items()}
        if both or steps >= self.first_stage or self.training:
            with torch.no_grad():
                z = self.first.encode(x_data, blind(cond), rng if self.first.beta else None)
        if self.training and (self.joint or steps < self.first_stage):
            self.follow(z, self.first.latent_mask(x_data.mask))
        if both or steps >= self.first_stage:
            losses = self.second.loss(self.point(z, x_data.mask), self.seen(cond, x_data.mask), rng)
            total = total + losses.total
            terms |= {f"prior_{name}": value for name, value in losses.terms.items()}
        return Losses(total, terms)

    def share_precision(self) -> None:
        """Both stages compute as this family was told to."""
        self.first.autocast_dtype = self.second.autocast_dtype = self.autocast_dtype

    @torch.no_grad()
    def follow(self, z: Float[Tensor, "b m z"], mask: Bool[Tensor, "b m"]) -> None:
        """Moving averages of the first two moments of latents that the prior sees normalised, over some 100 steps."""
        rate = max(0.01, 1 / float(self.steps))
        if (
            self.first.frame_latents
        ):  # they have units of their own, in which a prior can begin from a network of frames
            self.drift.lerp_(self.centre(z, mask).square().mean(), rate)
        else:
            self.mean.lerp_(z[mask].mean(0), rate)
            self.square.lerp_(z[mask].square().mean(0), rate)

    def centre(self, z: Float[Tensor, "b m z"], mask: Bool[Tensor, "b m"]) -> Float[Tensor, "b 3"]:
        """The coordinates of frame latents that centring removes: the mean place times the root of their number."""
        return (z[..., :3] * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).sqrt()

    @property
    def std(self) -> Float[Tensor, " z"]:
        """Standard deviation of each dimension of the latents; 1 for frame_latents ones."""
        return (self.square - self.mean.square()).clamp(min=1e-6).sqrt()

    def normalise(self, z: Tensor) -> Tensor:
        """Latents of mean 0 and spread 1."""
        return (z - self.mean) / self.std

    def point(self, z: Float[Tensor, "b m z"], mask: Bool[Tensor, "b l"]) -> State:
        """Latents as a point of the prior's space."""
        return self.second.space.encode(Batch({"latents": self.normalise(z)}, self.first.latent_mask(mask)))

    def seen(self, cond: Conditioning, mask: Bool[Tensor, "b l"]) -> Conditioning:
        """y as the prior sees it: where one latent stands for all positions, the mean of their features."""
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
        """Latents from the prior by the sampler, moved down the task's energy if it has one, and decoded.

        `task.on_step` is told latents.

        Raises:
            UsageError: for guides: they act on x, which is not there before the last step.
        """
        if task.guides:
            raise UsageError(
                "latent goes from noise to latents, on which guides of x cannot act; give `energy` of the task, for "
                "which latents are optimised, or choose flow_matching or diffusion on x itself"
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
        """E_q [log p(x | z) + log p(z | y) - log q(z | x)] <= log p(x | y), the prior's term as it can tell it.

        The kind is that of the prior where it is an estimate, else a lower bound.

        Raises:
            UsageError: if the prior's family has no likelihood, or the first stage is without noise.
        """
        if not isinstance(self.second, LikelihoodFamily):
            kind = type(self.second).__name__
            raise UsageError(f"latent: its prior, {kind}, has no likelihood; choose a family with one for `family`")
        if self.first.beta == 0:
            raise UsageError("latent: an autoencoder without noise (beta 0) has no density; train with beta above 0")
        count = self.bound_samples
        with torch.no_grad():
            data, y = repeat_state(x_data, count), repeat(cond, count)
            mask = self.first.latent_mask(data.mask)
            posterior = self.first.infer(data, blind(y))
            z = posterior.draw(rng) * mask[..., None]
            nats = self.first.observation.log_prob(self.decode(z, data.mask, y), data, rng)
            nats = nats - (posterior.log_prob(z) * mask[..., None]).sum((1, 2))
            # A density of normalised latents is one of latents after division by the volume of their unit.
            nats = nats - mask.sum(1) * self.std.log().sum()
            if self.first.frame_latents:
                nats = nats + self.log_centre(z, mask)
        prior = self.second.log_prob(self.point(z, data.mask), self.seen(y, data.mask), rng)
        total = (nats + prior.nats.to(nats)).unflatten(0, (-1, count)).mean(1)
        return Likelihood(total, "estimate" if prior.kind == "estimate" else "lower_bound")

    def log_centre(self, z: Float[Tensor, "b m z"], mask: Bool[Tensor, "b m"]) -> Float[Tensor, " b"]:
        """log-density of what centring removes, of which the prior knows nothing: normal, as wide as it was seen to be.

        The volume of the unit of all latents was divided by already; that of these three is given back.
        """
        width = self.drift.sqrt()
        normal = -0.5 * (self.centre(z, mask) / width).square() - 0.5 * math.log(2 * math.pi) - width.log()
        return normal.sum(-1) + self.std[:3].log().sum()


def blind(cond: Conditioning) -> Conditioning:
    """The null token of the same shape."""
    return cond.rows(torch.zeros_like)
