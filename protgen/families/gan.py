"""Generative adversarial networks on any space: a generator from noise to data, and a critic.

One loss trains both. The critic's part uses detached samples, the generator's part uses the critic with detached
parameters. So each network gets the gradient of its own loss, with one backward pass and one optimizer (simultaneous
gradient descent; Mescheder et al. 2018, section 2). The critic reads pooled invariant scalars of its network, so on
proteins both losses are invariant under rigid motions.

References:
    Goodfellow et al. 2014, Generative Adversarial Nets, section 3 (the non-saturating loss).
    Mescheder et al. 2018, Which Training Methods for GANs do actually Converge?, eq. 9 (R1).
    Arjovsky et al. 2017, Wasserstein GAN. Gulrajani et al. 2017, Improved Training of Wasserstein GANs, eq. 3.
    Miyato et al. 2018, Spectral Normalization for Generative Adversarial Networks.
    Huang et al. 2024, The GAN is dead; long live the GAN! A Modern Baseline GAN, eq. 1 and 5 (relativistic, R1 and R2).
"""

import types
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.parametrizations import spectral_norm

from protgen.encoders.base import Encoder
from protgen.errors import UsageError
from protgen.families.base import Family, Role
from protgen.families.direct import descended, guided, require_direct
from protgen.families.gaussian import pool
from protgen.nn.precision import autocast
from protgen.samplers.base import Sampler, SamplingTask, draw_normals
from protgen.spaces.base import Space
from protgen.spaces.capabilities import aligned, decoder_start, grid_of, within_cells
from protgen.types import Conditioning, Losses, State

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)  # layers with spectral normalisation


class Critic(nn.Module):
    """A score of a point of the space, larger for data.

    Args:
        network: an encoder; the critic reads its invariant scalars.
        spectral: whether every linear and convolutional layer is divided by its largest singular value.
        grid: height and width where positions are cells of a grid, each of which then has weights of its own: a mean
            over cells tells a critic what is in a picture and not where.
    """

    def __init__(self, network: Encoder, spectral: bool, grid: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.network = network
        self.pool = pool(network.scalar_dim, grid)
        self.score = nn.Sequential(nn.Linear(self.pool.dim, network.scalar_dim), nn.SiLU())
        self.out = nn.Linear(network.scalar_dim, 1)
        if spectral:
            for layer in [module for module in self.modules() if isinstance(module, LAYERS)]:
                # A layer of zeros has no singular vectors.
                if not layer.weight.any():
                    nn.init.normal_(layer.weight, std=0.02)
                spectral_norm(layer)

    def forward(self, x: State, cond: Conditioning) -> Float[Tensor, " b"]:
        """Scores (b,)."""
        t = torch.zeros(len(x.mask), device=x.mask.device)
        scalars = self.network(x, t, cond, None).scalars.float()
        return self.out(self.score(self.pool(scalars, x.mask)))[:, 0, 0]


class GAN(Family):
    """Non-saturating GAN with R1, relativistic GAN with R1 and R2, or Wasserstein GAN with a gradient penalty.

    Gradients of penalties are taken in the tangent spaces of the fields, in units of their scale. In steps that train
    the critic alone the generator gets no gradient, and the optimizer does not change it. Guidance extrapolates the
    generator (see `guided`). Momentum makes the two networks oscillate, so Adam has none here (Gulrajani et al. 2017,
    algorithm 1; Mescheder et al. 2018, section 6): with 0.9 the KL divergence from the Gaussian of the contract test is
    0.8 nats, without 0.002.

    A GAN is no `LikelihoodFamily`: the density of the generator's image of the noise is not known.

    Args:
        space: where x lives.
        encoder: network of the generator, which maps noise to data at t = 1.
        critic: network of the critic.
        loss_type: nonsaturating; relativistic, which scores each point against a sample of the same y, so that a
            sample is judged beside data and not alone; or wasserstein.
        penalty: weight of the gradient penalty; None for the usual one, 1 for R1 and R2 and 10 for Wasserstein.
        spectral: whether the critic's layers are spectrally normalised.
        critic_steps: training steps of the critic for each step of the generator.
        penalty_every: training steps from one penalty to the next, which weighs as many times more: its second
            derivatives cost more than all else (Karras et al. 2020, StyleGAN2, section 3.1).
        start: what the head of the generator changes: noise, so that a sample turns with its noise; or blank, the point
            from which decoders start, so that the noise is read and what is made of it is free of it.

    Raises:
        UsageError: if a setting is not known or out of range.
    """

    adam_betas = (0.0, 0.99)
    roles = types.MappingProxyType({"critic": Role(coordinates_beside=True)})
    adversarial = True
    takes_energy = True

    def __init__(
        self,
        space: Space,
        encoder: Encoder,
        critic: Encoder,
        loss_type: Literal["nonsaturating", "relativistic", "wasserstein"] = "nonsaturating",
        penalty: float | None = None,
        spectral: bool = False,
        critic_steps: int = 1,
        penalty_every: int = 1,
        start: Literal["noise", "blank"] = "noise",
    ) -> None:
        super().__init__()
        if loss_type not in ("nonsaturating", "relativistic", "wasserstein"):
            known = "nonsaturating, relativistic or wasserstein"
            raise UsageError(f"gan: loss_type {loss_type!r} is not known; choose {known}")
        if min(critic_steps, penalty_every) < 1 or (penalty is not None and penalty < 0):
            raise UsageError("gan: critic_steps and penalty_every are at least 1, and penalty cannot be negative")
        if start not in ("noise", "blank"):
            raise UsageError(f"gan: start {start!r} is not known; choose noise or blank")
        self.space = space
        self.encoder = encoder
        self.critic = Critic(critic, spectral, grid_of(space))
        self.head = space.head(encoder.scalar_dim, encoder.vector_dim)
        self.wasserstein, self.relativistic = loss_type == "wasserstein", loss_type == "relativistic"
        self.penalty = penalty if penalty is not None else (10.0 if self.wasserstein else 1.0)
        self.critic_steps = critic_steps
        self.penalty_every = penalty_every
        self.blank = start == "blank"
        self.register_buffer("steps", torch.zeros(()))
        self.steps: Tensor

    def generate(self, noise: State, cond: Conditioning) -> State:
        """Samples from noise."""
        t = torch.ones(len(noise.mask), device=noise.mask.device)
        with autocast(t.device, self.autocast_dtype):
            features = self.encoder(noise, t, cond, None)
        start = decoder_start(self.space, noise.mask) if self.blank else noise
        return self.space.project(self.head(features, start))

    def loss(self, x_data: State, cond: Conditioning, rng: Generator) -> Losses:
        """Sum of both networks' losses; each network gets the gradient of its own loss only."""
        mask, x_data = x_data.mask, within_cells(self.space, x_data, rng)
        turn = not self.training or int(self.steps) % self.critic_steps == self.critic_steps - 1
        penalised = self.penalty > 0 and (not self.training or int(self.steps) % self.penalty_every == 0)
        if self.training:
            self.steps += 1
        normals = torch.randn(*mask.shape, self.space.normals_per_position, generator=rng).to(mask.device)
        with torch.set_grad_enabled(turn and torch.is_grad_enabled()):
            fake = self.generate(self.space.noise(mask, normals), cond)
        real_score, fake_score = self.critic(x_data, cond), self.critic(fake.detach(), cond)
        if self.wasserstein:
            critic = (fake_score - real_score).mean()
        elif self.relativistic:
            critic = nn.functional.softplus(fake_score - real_score).mean()
        else:
            critic = (nn.functional.softplus(-real_score) + nn.functional.softplus(fake_score)).mean()
        penalty, weight = critic.new_zeros(()), self.penalty
        if penalised:
            penalty = self.gradient_penalty(x_data, fake.detach(), cond, rng)
            weight = self.penalty * (self.penalty_every if self.training else 1)
        total = critic + weight * penalty
        terms = {"critic": critic, "penalty": penalty, "real": real_score.mean(), "fake": fake_score.mean()}
        if turn:
            # With detached parameters the gradient reaches the sample and not the critic.
            fixed = {name: value.detach() for name, value in self.critic.named_parameters()}
            score = functional_call(self.critic, fixed, (fake, cond))
            lead = score - real_score.detach() if self.relativistic else score
            generator = (-lead if self.wasserstein else nn.functional.softplus(-lead)).mean()
            terms["generator"] = generator
            total = total + generator
        return Losses(total, {name: value.detach() for name, value in terms.items()})

    def gradient_penalty(self, x_data: State, fake: State, cond: Conditioning, rng: Generator) -> Float[Tensor, ""]:
        """R1 at the data, with R2 at samples where relativistic, or WGAN-GP's at random points between the two.

        Args:
            x_data: points of the space.
            fake: samples.
            cond: y of both.
            rng: of the random points.
        """
        if self.relativistic:
            return (self.slopes(x_data, cond) + self.slopes(fake, cond)).mean() / 2
        if not self.wasserstein:
            return self.slopes(x_data, cond).mean() / 2
        fraction = torch.rand(len(x_data.mask), 1, 1, generator=rng).to(x_data.mask.device)
        place = self.between(aligned(self.space, fake, x_data), x_data, fraction)
        return (self.slopes(place, cond).clamp(min=1e-12).sqrt() - 1).square().mean()

    def between(self, x: State, y: State, fraction: Float[Tensor, "b 1 1"]) -> State:
        """The point at a fraction of the geodesics from x to y.

        Args:
            x: where the geodesics start.
            y: where they end.
            fraction: 0 at x, 1 at y.
        """
        fields = {name: m.geodesic(x[name], y[name], fraction) for name, m in self.space.manifolds.items()}
        return self.space.project(State(fields, x.mask))

    def slopes(self, x: State, cond: Conditioning) -> Float[Tensor, " b"]:
        """Squared norm of the critic's gradient in the tangent spaces of the fields, in units of their scale."""
        scales = self.space.scale(x.mask)
        with torch.enable_grad():
            tangents = {
                name: torch.zeros(*x.mask.shape, m.dim, device=x.mask.device, requires_grad=True)
                for name, m in self.space.manifolds.items()
            }
            moved = {
                name: m.expmap(x[name], tangents[name] * scales[name][:, None, None])
                for name, m in self.space.manifolds.items()
            }
            with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
                score = self.critic(State(moved, x.mask), cond).sum()
            gradients = torch.autograd.grad(score, list(tangents.values()), create_graph=True)
        return torch.stack([masked_square(g, x.mask) for g in gradients]).sum(0)

    @torch.no_grad()
    def sample(self, task: SamplingTask, sampler: Sampler | None = None) -> State:
        """The generator on noise of the task's temperature, moved first by gradient descent on the task's energy.

        Raises:
            UsageError: for a sampler or guides.
        """
        require_direct("gan", task, sampler)

        def made(normals: Tensor) -> State:
            noise = self.space.temper(self.space.noise(task.mask, normals), task.temperature)
            return guided(self.space, lambda cond: self.generate(noise, cond), task)

        return made(descended(self.space, draw_normals(task, self.space.normals_per_position), made, task))


def masked_square(gradient: Float[Tensor, "b l d"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
    """Sum of squares over real positions."""
    return torch.where(mask[..., None], gradient, torch.zeros_like(gradient)).square().sum((1, 2))
