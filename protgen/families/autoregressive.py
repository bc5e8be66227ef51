"""Autoregressive models: p(x | y) = prod_i p(x_i | x_1 ... x_(i-1), y), one position after the other.

A causal encoder reads what the space says is before each position (`Space.context`: for proteins the chain placed so
far, for images the pixels so far), and a density layer turns its features into the density of the next position's
coordinates: a mixture of products of von Mises and Gaussian densities, or histograms (`bins`), which with a plain
transformer is a GPT over discretised coordinates. The likelihood is exact: with `bins` that of a piecewise constant
density. All of y may be looked at from every position: a small convolutional network reads ahead in it.

References:
    Uria, Murray and Larochelle 2013, RNADE (mixtures of Gaussians, one coordinate after another).
    Bishop 1994, Mixture Density Networks.
    Ho and Salimans 2022, Classifier-Free Diffusion Guidance, eq. 6 (as a density; see `sample`).
"""

from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn

from protgen.encoders.base import Encoder
from protgen.errors import ConfigError, UsageError
from protgen.families.base import Family, Likelihood, LikelihoodFamily
from protgen.families.direct import repeat, require_direct
from protgen.nn.binned import Binned
from protgen.nn.densities import Density
from protgen.nn.embedding import fourier_features
from protgen.nn.mixtures import Mixture
from protgen.samplers.base import Sampler, SamplingTask
from protgen.samplers.resampling import effective_size, one, systematic
from protgen.spaces.base import Euclidean, Space, Torus
from protgen.types import Conditioning, Losses, State


class Autoregressive(Family, LikelihoodFamily):
    """One position after the other, with an exact likelihood.

    Args:
        space: where x lives; its fields must be flat (Euclidean or tori).
        encoder: a causal network: its features at position i depend on positions up to i alone.
        residue_dim, global_dim: widths of the y to read ahead in.
        components: of the mixture.
        bins: number of bins a coordinate of a histogram in place of the mixture; 0 for the mixture. Where the values of
            the space are discrete (pixels), the histogram is over them and this is not used.
        width: of the layers between encoder and density.
        window: how many positions before are also read directly.
        plan_dim: width of the network that reads ahead in y.
        exposure_noise: noise on what the encoder sees in training, in units of each field's spread: a model then
            knows contexts as it makes them itself (Bengio et al. 2015 on exposure bias).
        candidates: draws to choose from at each position when sampling: one that the space finds admissible.
        particles: samples grown side by side for each one asked for; where one can go on in few admissible ways, or in
            none, another may take its place.

    Raises:
        ConfigError: if a field has no density here.
        UsageError: if a number is out of range.
    """

    causal = True
    reads_context = True
    exact_loss = True

    def __init__(
        self,
        space: Space,
        encoder: Encoder,
        residue_dim: int = 0,
        global_dim: int = 0,
        components: int = 24,
        bins: int = 0,
        width: int = 256,
        window: int = 6,
        plan_dim: int = 64,
        exposure_noise: float = 0.0,
        candidates: int = 8,
        particles: int = 1,
    ) -> None:
        super().__init__()
        if candidates < 1 or particles < 1:
            raise UsageError(f"autoregressive: candidates {candidates} and particles {particles} are at least 1")
        self.space = space
        self.encoder = encoder
        self.circular = coordinates(space)
        self.window = window
        self.exposure_noise = exposure_noise
        self.candidates = candidates
        self.particles = particles
        self.plan = Plan(residue_dim + global_dim, plan_dim)
        given = encoder.scalar_dim + plan_dim + window * (len(self.circular) + sum(self.circular))
        self.trunk = nn.Sequential(
            nn.LayerNorm(given), nn.Linear(given, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        support = space.support()
        self.density: Density
        if bins or support is not None:
            self.density = Binned(width, self.circular, bins, support)
        else:
            self.density = Mixture(width, self.circular, components)

    def joined(self, x: State) -> Float[Tensor, "b l c"]:
        """The coordinates of all fields, side by side."""
        return torch.cat([x[name] for name in self.space.manifolds], -1)

    def parted(self, values: Float[Tensor, "b l c"], mask: Bool[Tensor, "b l"]) -> State:
        """The state whose coordinates stand side by side."""
        widths = [m.dim for m in self.space.manifolds.values()]
        return State(dict(zip(self.space.manifolds, values.split(widths, -1), strict=True)), mask)

    def recent(self, x: State) -> Float[Tensor, "b l w"]:
        """Coordinates of the positions just before each one, angles as sine and cosine; zeros before the first."""
        circle = torch.tensor(self.circular, device=x.mask.device)
        values = self.joined(x)
        values = torch.cat([values[..., ~circle], values[..., circle].sin(), values[..., circle].cos()], -1)
        padded = nn.functional.pad(values * x.mask[..., None], (0, 0, self.window, 0))[
            :, : values.shape[1] + self.window
        ]
        shifted = [padded[:, k : k + values.shape[1]] for k in range(self.window)]
        return torch.cat([*shifted, values[..., :0]], -1)

    def features(self, x: State, cond: Conditioning, plan: Float[Tensor, "b l p"]) -> Float[Tensor, "b l d"]:
        """Features of each position, of the positions before it and y alone."""
        low = self.autocast_dtype or torch.float32
        t = torch.zeros(len(x.mask), device=x.mask.device)
        seen = self.space.context(x)  # outside: a chain placed in low precision ends Å from where it should
        with torch.autocast(t.device.type, dtype=low, enabled=self.autocast_dtype is not None):
            scalars = self.encoder(seen, t, cond).scalars
        return self.trunk(torch.cat([scalars.float(), plan, self.recent(x)], -1))

    def nats(self, x_data: State, seen: State, cond: Conditioning) -> Float[Tensor, "b l"]:
        """Log-density of each position given those before it as `seen`; zero under padding."""
        features = self.features(seen, cond, self.plan(cond, x_data.mask))
        observed = self.space.defined(x_data)
        observed = torch.cat([observed[name] for name in self.space.manifolds], -1)
        return self.density.log_prob(features, self.joined(x_data), observed) * x_data.mask

    def loss(self, x_data: State, cond: Conditioning, rng: Generator) -> Losses:
        """Negative log-likelihood in nats per position."""
        seen = x_data
        if self.exposure_noise:
            scales = self.space.scale(x_data.mask)
            fields = {}
            for name, manifold in self.space.manifolds.items():
                noise = torch.randn(x_data[name].shape, generator=rng).to(x_data[name])
                step = self.exposure_noise * scales[name][:, None, None] * noise
                fields[name] = manifold.expmap(x_data[name], step)
            seen = self.space.project(x_data.with_fields(**fields))
        total = -self.nats(x_data, seen, cond).sum() / x_data.mask.sum()
        return Losses(total, {"nats_per_position": total.detach()})

    def log_prob(self, x_data: State, cond: Conditioning, rng: Generator) -> Likelihood:
        """Exact log-density of the observed coordinates, nats; the generator is not used."""
        return Likelihood(self.nats(x_data, x_data, cond).sum(-1), "exact")

    @torch.no_grad()
    def sample(self, task: SamplingTask, sampler: Sampler | None = None) -> State:
        """Samples, position by position.

        At each position `candidates` draws are made and one is chosen among those the space finds admissible (among
        all where none is). Temperature T sharpens each position's density to about its power 1 / T. Guidance of
        weight w chooses among the draws in proportion to (p(x_i | y) / p(x_i))^(w - 1), which by importance resampling
        is a draw of p(x_i)^(1 - w) p(x_i | y)^w as far as the candidates reach.

        With several `particles` this is sequential Monte Carlo of the samples that are admissible throughout: each is
        weighted by the fraction of its candidates that are, and they are resampled when weights are uneven (Doucet and
        Johansen 2009, section 3.5). Without, a chain that has run into itself can only go on through itself.

        Raises:
            UsageError: if a sampler or guides are asked for.
        """
        require_direct("autoregressive", task, sampler)
        asked, count = task, self.particles
        task = widened(task, count)
        mask, guidance = task.mask, task.guidance
        values = torch.zeros(*mask.shape, len(self.circular), device=mask.device)
        logs = torch.zeros(len(asked.mask), count, device=mask.device)
        plan = self.plan(task.cond, mask)
        parts = guidance.parts if guidance is not None else []
        plans = [self.plan(free, mask) for free, _ in parts]
        for i in range(mask.shape[1]):
            seen = self.space.project(self.parted(values[:, : i + 1], mask[:, : i + 1]))
            features = self.features(seen, first(task.cond, i + 1), plan[:, : i + 1])[:, i]
            free = [
                self.features(seen, first(without, i + 1), own[:, : i + 1])[:, i]
                for (without, _), own in zip(parts, plans, strict=True)
            ]
            draws, gumbel = self.uniforms(asked, i)
            values[:, i], fraction = self.choose(seen, features, free, task, i, draws, gumbel)
            if count > 1:
                rows, logs = self.survivors(logs + fraction.view(-1, count).log(), asked, i)
                values = values[rows]
            if asked.on_step is not None:
                state = self.space.project(self.parted(values[::count], asked.mask))
                asked.on_step(i, state, state)
        return self.space.project(self.parted(values[::count], asked.mask))

    def survivors(
        self, logs: Float[Tensor, "b k"], task: SamplingTask, i: int
    ) -> tuple[Int[Tensor, " bk"], Float[Tensor, "b k"]]:
        """Which rows go on after position i, and their log-weights; after the last position only one does."""
        count = self.particles
        rows = torch.arange(logs.numel(), device=logs.device).view(-1, count)
        lengths = task.mask.sum(-1).tolist()
        # Where all are stuck there is nothing to choose between; under padding nothing happens.
        logs = torch.where(logs.isinf().all(-1, keepdim=True) | ~task.mask[:, i, None], torch.zeros_like(logs), logs)
        for row, generator in enumerate(task.generators):
            if i >= lengths[row]:
                continue
            shift = float(torch.rand((), generator=generator))
            weights = logs[row].softmax(-1)
            if i == lengths[row] - 1:
                rows[row] = row * count + one(weights, shift)  # the one that is handed out
            elif effective_size(weights) <= count / 2:
                rows[row] = row * count + systematic(weights, shift)
                logs[row] = 0
        return rows.flatten(), logs

    def choose(
        self,
        seen: State,
        features: Tensor,
        free: list[Tensor],
        task: SamplingTask,
        i: int,
        draws: Float[Tensor, "b m u"],
        gumbel: Float[Tensor, "b m"],
    ) -> tuple[Float[Tensor, "b c"], Float[Tensor, " b"]]:
        """The coordinates of position i, one of a number of draws, and the fraction of those that are admissible."""
        b, m = len(features), self.candidates
        candidates = self.density.draw(features[:, None].expand(-1, m, -1), draws, task.temperature)
        if m == 1 and self.particles == 1:
            return candidates[:, 0], torch.ones(b, device=candidates.device)
        score = gumbel.to(candidates)
        if free and task.guidance is not None:
            counted = self.space.defined(State({}, task.mask))
            counted = torch.cat([counted[name][:, i, None] for name in self.space.manifolds], -1).expand(-1, m, -1)
            asked = self.density.log_prob(features[:, None].expand(-1, m, -1), candidates, counted)
            for left, (_, weight) in zip(free, task.guidance.parts, strict=True):
                without = self.density.log_prob(left[:, None].expand(-1, m, -1), candidates, counted)
                score = score + (weight - 1) * (asked - without)
        tried = self.joined(seen)[:, None].expand(-1, m, -1, -1).clone()
        tried[:, :, i] = candidates
        mask = seen.mask[:, None].expand(-1, m, -1).flatten(0, 1)
        fits = self.space.admissible(self.parted(tried.flatten(0, 1), mask)).view(b, m)
        chosen = torch.where(fits, score, score - 1e6).argmax(-1)
        return candidates[torch.arange(b, device=chosen.device), chosen], fits.float().mean(-1)

    def uniforms(self, task: SamplingTask, i: int) -> tuple[Float[Tensor, "bk m u"], Float[Tensor, "bk m"]]:
        """Uniform numbers for the draws and Gumbel noise for the choice, each sample's from its own generator."""
        width, count = self.density.uniforms + 1, self.particles * self.candidates
        drawn = torch.full((len(task.mask), count, width), 0.5, dtype=torch.float64)
        for row, (real, generator) in enumerate(zip(task.mask[:, i].tolist(), task.generators, strict=True)):
            if real:
                drawn[row] = torch.rand(count, width, generator=generator, dtype=torch.float64)
        drawn = drawn.view(-1, self.candidates, width)
        gumbel = -(-drawn[..., -1].clamp(1e-12, 1 - 1e-12).log()).log()
        return drawn[..., :-1], gumbel


class Plan(nn.Module):
    """Reads ahead in y: residual convolutions over y and the distances to both ends, 104 positions wide.

    Args:
        given_dim: width of y, of a position and of the whole together; where it is 0 only the ends are read.
        dim: width of the result; 0 for none.
    """

    def __init__(self, given_dim: int, dim: int) -> None:
        super().__init__()
        self.given_dim = given_dim
        self.read = nn.Linear(given_dim + 32, dim)
        self.steps = nn.ModuleList(
            nn.Conv1d(dim, dim, 9, padding=4 * dilation, dilation=dilation) for dilation in (1, 4, 8) if dim
        )

    def forward(self, cond: Conditioning, mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l p"]:
        """Features of each position; padding does not reach them."""
        b, length = mask.shape
        index = torch.arange(length, device=mask.device, dtype=torch.float32).expand(b, -1)
        ends = torch.stack([index, mask.sum(-1, keepdim=True) - 1 - index], -1)
        place = fourier_features(ends, 16, max_period=1000.0).flatten(-2)
        given = torch.cat([cond.residue, cond.globals[:, None].expand(-1, length, -1)], -1)[..., : self.given_dim]
        real = mask[..., None].to(place.dtype)
        x = self.read(torch.cat([given.to(place.dtype), place], -1)) * real
        for step in self.steps:
            x = (x + nn.functional.silu(step(x.transpose(1, 2)).transpose(1, 2))) * real
        return x


def widened(task: SamplingTask, count: int) -> SamplingTask:
    """The task with each row `count` times, rows of one sample together."""
    if count == 1:
        return task
    guidance = task.guidance
    if guidance is not None:
        guidance = guidance.changed(lambda free: repeat(free, count))
    return replace(task, mask=task.mask.repeat_interleave(count, 0), cond=repeat(task.cond, count), guidance=guidance)


def first(cond: Conditioning, count: int) -> Conditioning:
    """What is known of y up to a position."""
    return Conditioning(cond.residue[:, :count], cond.globals)


def coordinates(space: Space) -> list[bool]:
    """For each coordinate of a space, field after field, whether it is on a circle.

    Raises:
        ConfigError: for a field whose manifold has no density here.
    """
    circular = []
    for name, manifold in space.manifolds.items():
        if not isinstance(manifold, Euclidean | Torus):
            kind = type(manifold).__name__
            raise ConfigError(
                f"autoregressive has no density for the field {name!r} ({kind}) of {type(space).__name__}; "
                "use the space torsions for proteins, or the family flow_matching"
            )
        circular += [isinstance(manifold, Torus)] * cast(int, manifold.dim)
    return circular
