"""Autoregressive models: p(x | y) = prod_i p(x_i | x_1 ... x_(i-1), y), one position after the other.

A causal encoder reads what precedes each position (`PositionalContext`: for proteins the chain placed so far, for
images the pixels so far). A density layer turns its features into the density of the next position's coordinates: a
mixture of products of von Mises and Gaussian densities, or histograms (`bins`), which with a plain transformer is a GPT
over discretised coordinates. The likelihood is exact: with `bins` that of a piecewise constant density. Every position
depends on all of y, which a small convolutional network reads.

References:
    Uria, Murray and Larochelle 2013, RNADE (mixtures of Gaussians, one coordinate after another).
    Bishop 1994, Mixture Density Networks.
    Whiteley and Lee 2014, Twisted Particle Filters.
    Ho and Salimans 2022, Classifier-Free Diffusion Guidance, eq. 6 (as a density; see `sample`).
"""

from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn

from protgen.encoders.base import Encoder, Incremental, Memory
from protgen.errors import ConfigError
from protgen.families.autoregressive_settings import AutoregressiveSettings
from protgen.families.base import Family, Likelihood, LikelihoodFamily
from protgen.families.direct import repeat, require_direct
from protgen.nn.binned import Binned
from protgen.nn.densities import Density
from protgen.nn.mixtures import Mixture
from protgen.nn.plan import Plan
from protgen.nn.precision import autocast
from protgen.samplers.base import Sampler, SamplingTask
from protgen.samplers.guidance import side_by_side, times
from protgen.samplers.resampling import effective_size, one, systematic
from protgen.spaces.base import Space
from protgen.spaces.capabilities import (
    Promising,
    context_before,
    defined_coordinates,
    is_admissible,
    require,
    support_of,
)
from protgen.spaces.manifolds import Euclidean, Torus
from protgen.types import Conditioning, Losses, State


class Autoregressive(Family, LikelihoodFamily):
    """One position after the other, with an exact likelihood.

    Args:
        space: where x lives; its fields must be Euclidean or tori.
        encoder: a causal network: its features at position i depend on positions up to i only.
        residue_dim, global_dim: widths of y.
        settings: density and sampling.

    Raises:
        ConfigError: if a field has another manifold.
    """

    causal = True
    guidance_weight = 2.0  # of densities, which it sharpens
    reads_context = True
    exact_loss = True
    mean_over = "positions"

    def __init__(
        self,
        space: Space,
        encoder: Encoder,
        residue_dim: int = 0,
        global_dim: int = 0,
        settings: AutoregressiveSettings | None = None,
    ) -> None:
        super().__init__()
        settings = settings or AutoregressiveSettings()
        self.space = space
        self.encoder = encoder
        self.circular = coordinates(space)
        self.window = settings.window
        self.exposure_noise = settings.exposure_noise
        self.candidates = settings.candidates
        self.particles = settings.particles
        self.twist = settings.twist
        if self.twist:
            require(space, Promising, "autoregressive with a twist")
        self.plan = Plan(residue_dim + global_dim, settings.plan_dim)
        width = settings.width
        given = encoder.scalar_dim + settings.plan_dim + settings.window * (len(self.circular) + sum(self.circular))
        self.trunk = nn.Sequential(
            nn.LayerNorm(given), nn.Linear(given, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        support = support_of(space)
        self.density: Density
        if settings.bins or support is not None:
            self.density = Binned(width, self.circular, settings.bins, support)
        else:
            self.density = Mixture(width, self.circular, settings.components)

    def joined(self, x: State) -> Float[Tensor, "b l c"]:
        """The coordinates of all fields, concatenated."""
        return torch.cat([x[name] for name in self.space.manifolds], -1)

    def parted(self, values: Float[Tensor, "b l c"], mask: Bool[Tensor, "b l"]) -> State:
        """The state with these concatenated coordinates."""
        widths = [m.dim for m in self.space.manifolds.values()]
        return State(dict(zip(self.space.manifolds, values.split(widths, -1), strict=True)), mask)

    def recent(self, x: State) -> Float[Tensor, "b l w"]:
        """Coordinates of the `window` preceding positions, angles as sine and cosine; zeros before the first."""
        circle = torch.tensor(self.circular, device=x.mask.device)
        values = self.joined(x)
        values = torch.cat([values[..., ~circle], values[..., circle].sin(), values[..., circle].cos()], -1)
        padded = nn.functional.pad(values * x.mask[..., None], (0, 0, self.window, 0))[
            :, : values.shape[1] + self.window
        ]
        shifted = [padded[:, k : k + values.shape[1]] for k in range(self.window)]
        return torch.cat([*shifted, values[..., :0]], -1)

    def features(self, x: State, cond: Conditioning, plan: Float[Tensor, "b l p"]) -> Float[Tensor, "b l d"]:
        """Features of each position, which depend on the positions before it and y only.

        Args:
            x: the point.
            cond: its y.
            plan: features of y ahead (`Plan`).
        """
        t = torch.zeros(len(x.mask), device=x.mask.device)
        seen = context_before(self.space, x)  # outside autocast: a chain placed in low precision is off by Å
        with autocast(t.device, self.autocast_dtype):
            scalars = self.encoder(seen, t, cond).scalars
        return self.trunk(torch.cat([scalars.float(), plan, self.recent(x)], -1))

    def features_of_last(
        self, x: State, cond: Conditioning, plan: Float[Tensor, "b l p"], memory: Memory | None
    ) -> tuple[Float[Tensor, "b d"], Memory | None]:
        """Features of the last position, and what an `Incremental` encoder keeps for the next.

        Args:
            x: the positions so far of b rows; the last is not read.
            cond: y of b rows, or of k times as many, the rows of x k times over.
            plan: features of y ahead, as many.
            memory: what was returned for the position before; None at the first.
        """
        copies = len(plan) // len(x.mask)
        seen, recent = times(context_before(self.space, x), copies), self.recent(x)[:, -1:].repeat(copies, 1, 1)
        t = torch.zeros(len(plan), device=x.mask.device)
        with autocast(t.device, self.autocast_dtype):
            if isinstance(self.encoder, Incremental):
                scalars, memory = self.encoder.extend(seen, t, cond, memory)
            else:
                scalars = self.encoder(seen, t, cond).scalars[:, -1]
        return self.trunk(torch.cat([scalars.float(), plan[:, -1], recent[:, 0]], -1)), memory

    def nats(self, x_data: State, seen: State, cond: Conditioning) -> Float[Tensor, "b l"]:
        """Log-density of each position given the positions before it in `seen`; zero under padding.

        Args:
            x_data: the point.
            seen: what the network reads of it.
            cond: its y.
        """
        features = self.features(seen, cond, self.plan(cond, x_data.mask))
        return self.density.log_prob(features, self.joined(x_data), self.defined(x_data)) * x_data.mask

    def defined(self, x: State) -> Bool[Tensor, "b l c"]:
        """Which coordinates exist, those of all fields concatenated."""
        found = defined_coordinates(self.space, x)
        return torch.cat([found[name] for name in self.space.manifolds], -1)

    def loss(self, x_data: State, cond: Conditioning, rng: Generator) -> Losses:
        """Negative log-likelihood in nats per position."""
        seen = self.exposed(x_data, rng) if self.exposure_noise else x_data
        total = -self.nats(x_data, seen, cond).sum() / x_data.mask.sum()
        return Losses(total, {"nats_per_position": total.detach()})

    def exposed(self, x_data: State, rng: Generator) -> State:
        """The data with exposure noise."""
        scales = self.space.scale(x_data.mask)
        fields = {}
        for name, manifold in self.space.manifolds.items():
            noise = torch.randn(x_data[name].shape, generator=rng).to(x_data[name])
            step = self.exposure_noise * scales[name][:, None, None] * noise
            fields[name] = manifold.expmap(x_data[name], step)
        return self.space.project(x_data.with_fields(**fields))

    def log_prob(self, x_data: State, cond: Conditioning, rng: Generator) -> Likelihood:
        """Exact log-density of the coordinates that exist, nats; the generator is not used."""
        return Likelihood(self.nats(x_data, x_data, cond).sum(-1), "exact")

    @torch.no_grad()
    def sample(self, task: SamplingTask, sampler: Sampler | None = None) -> State:
        """Samples, position by position.

        At each position `candidates` draws are made, and one of the admissible draws is chosen (one of all draws if
        none is admissible). Temperature T raises each position's density to about the power 1 / T^2:
        standard deviations are T times theirs. Guidance of weight w
        chooses among the draws in proportion to (p(x_i | y) / p(x_i))^(w - 1). By importance resampling this is a draw
        of p(x_i)^(1 - w) p(x_i | y)^w, within the range of the candidates.

        With several `particles` this is sequential Monte Carlo of samples that are admissible at every position. The
        weight of a particle is the fraction of its draws that are admissible, and particles are resampled when weights
        are uneven (Doucet and Johansen 2009, section 3.5). A `twist` makes promising beginnings heavier, by how much
        their promise has changed with the position (Whiteley and Lee 2014). With one particle, a chain without
        admissible draws continues through itself.

        Raises:
            UsageError: if a sampler or guides are given.
        """
        require_direct("autoregressive", task, sampler)
        asked, count = task, self.particles
        task = widened(task, count)
        mask = task.mask
        values = torch.zeros(*mask.shape, len(self.circular), device=mask.device)
        logs = torch.zeros(len(asked.mask), count, device=mask.device)
        promise = logs.flatten()
        parts = task.guidance.parts if task.guidance is not None else []
        # All of y, and y without each part of it, go through the network side by side.
        copies = 1 + len(parts)
        cond = side_by_side([task.cond, *(free for free, _ in parts)])
        plan, memory = self.plan(cond, mask.repeat(copies, 1)), None
        for i in range(mask.shape[1]):
            seen = self.space.project(self.parted(values[:, : i + 1], mask[:, : i + 1]))
            found, memory = self.features_of_last(seen, first(cond, i + 1), plan[:, : i + 1], memory)
            features, *free = found.chunk(copies)
            draws, gumbel = self.uniforms(asked, i)
            candidates = self.density.draw(repeated(features, self.candidates), draws, task.temperature)
            score = self.guided(gumbel.to(candidates), candidates, (features, free), task, i)
            values[:, i], fraction = self.choose(seen, candidates, score, i)
            if count > 1:
                last, promise = promise, self.promised(values[:, : i + 1], mask, i)
                gained = fraction.log() + promise - last
                rows, logs = self.survivors(logs + gained.view(-1, count), asked, i)
                values, promise = values[rows], promise[rows]
                if memory is not None:
                    memory = memory.chosen(torch.cat([rows + k * len(mask) for k in range(copies)]))
            if asked.on_step is not None:
                state = self.space.project(self.parted(values[::count], asked.mask))
                asked.on_step(i, state, state)
        return self.space.project(self.parted(values[::count], asked.mask))

    def promised(self, values: Float[Tensor, "bk i c"], mask: Bool[Tensor, "bk l"], i: int) -> Float[Tensor, " bk"]:
        """Log-weight of the positions up to i by their promise; 0 without a twist.

        Args:
            values: coordinates up to i.
            mask: of all positions.
            i: the position.
        """
        if not self.twist or not isinstance(self.space, Promising):
            return values.new_zeros(len(values))
        seen = self.space.project(self.parted(values, mask[:, : i + 1]))
        return self.twist * self.space.promise(seen, mask.sum(-1))

    def survivors(
        self, logs: Float[Tensor, "b k"], task: SamplingTask, i: int
    ) -> tuple[Int[Tensor, " bk"], Float[Tensor, "b k"]]:
        """The rows that continue after position i, and their log-weights; after the last position one per sample.

        Args:
            logs: log-weights of the particles of each sample.
            task: with one row for each sample.
            i: the position.
        """
        count = self.particles
        rows = torch.arange(logs.numel(), device=logs.device).view(-1, count)
        lengths = task.mask.sum(-1).tolist()
        # If no particle has an admissible draw, weights are equal; padding has no weights.
        logs = torch.where(logs.isinf().all(-1, keepdim=True) | ~task.mask[:, i, None], torch.zeros_like(logs), logs)
        for row, generator in enumerate(task.generators):
            if i >= lengths[row]:
                continue
            shift = float(torch.rand((), generator=generator))
            weights = logs[row].softmax(-1)
            if i == lengths[row] - 1:
                rows[row] = row * count + one(weights, shift)  # the particle that is returned
            elif effective_size(weights) <= count / 2:
                rows[row] = row * count + systematic(weights, shift)
                logs[row] = 0
        return rows.flatten(), logs

    def guided(
        self,
        score: Float[Tensor, "b m"],
        candidates: Float[Tensor, "b m c"],
        features: tuple[Tensor, list[Tensor]],
        task: SamplingTask,
        i: int,
    ) -> Float[Tensor, "b m"]:
        """Scores plus log-weights by guidance, sums of (w - 1) (log p(x_i | y) - log p(x_i | y without a part)).

        Args:
            score: of each candidate.
            candidates: draws of position i.
            features: of position i (b, d) with all of y, and without each part of y.
            task: its guidance has the weights.
            i: the position.
        """
        conditional, free = features
        m = candidates.shape[1]
        if not free or task.guidance is None:
            return score
        counted = self.defined(State({}, task.mask))[:, i, None].expand(-1, m, -1)
        asked = self.density.log_prob(repeated(conditional, m), candidates, counted)
        for left, (_, weight) in zip(free, task.guidance.parts, strict=True):
            without = self.density.log_prob(repeated(left, m), candidates, counted)
            score = score + (weight - 1) * (asked - without)
        return score

    def choose(
        self, seen: State, candidates: Float[Tensor, "b m c"], score: Float[Tensor, "b m"], i: int
    ) -> tuple[Float[Tensor, "b c"], Float[Tensor, " b"]]:
        """The admissible candidate with the highest score, and the fraction of candidates that are admissible.

        Args:
            seen: positions up to i; the last is not read.
            candidates: draws of position i.
            score: of each candidate.
            i: the position.
        """
        b, m = candidates.shape[:2]
        if m == 1 and self.particles == 1:
            return candidates[:, 0], torch.ones(b, device=candidates.device)
        tried = self.joined(seen)[:, None].expand(-1, m, -1, -1).clone()
        tried[:, :, i] = candidates
        mask = seen.mask[:, None].expand(-1, m, -1).flatten(0, 1)
        fits = is_admissible(self.space, self.parted(tried.flatten(0, 1), mask)).view(b, m)
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


def widened(task: SamplingTask, count: int) -> SamplingTask:
    """The task with each row `count` times, copies of one sample next to each other."""
    if count == 1:
        return task
    guidance = task.guidance
    if guidance is not None:
        guidance = guidance.changed(lambda free: repeat(free, count))
    return replace(task, mask=task.mask.repeat_interleave(count, 0), cond=repeat(task.cond, count), guidance=guidance)


def repeated(features: Float[Tensor, "b d"], count: int) -> Float[Tensor, "b m d"]:
    """The same features for each candidate."""
    return features[:, None].expand(-1, count, -1)


def first(cond: Conditioning, count: int) -> Conditioning:
    """y of the first `count` positions."""
    return Conditioning(cond.residue[:, :count], cond.globals)


def coordinates(space: Space) -> list[bool]:
    """For each coordinate of a space, field after field, whether it is on a circle.

    Raises:
        ConfigError: for a field that is neither Euclidean nor a torus.
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
