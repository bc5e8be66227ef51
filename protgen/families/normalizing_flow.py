"""Normalizing flows by coupling: an invertible map to noise, with exact likelihood and exact inverse in one pass.

    log p(x | y) = log p_noise(f(x)) + sum over steps of log |det df_k|

Each step transforms half of the coordinates by a function of the others and y. The encoder reads them with the
transformed half masked; its time t is the number of the step. On lines the function is affine (Real NVP) or a spline,
on circles a circular spline. With `mixing` each step first scales and mixes coordinates (Glow), and images are squeezed
level by level.

With `conditional_base` the noise itself depends on y: a last map of every coordinate by itself, whose parameters y
alone gives (Winkler et al. 2019, Learning Likelihoods with Conditional Normalizing Flows, eq. 4). On lines it is a
normal with a mean and a standard deviation of each y, on circles a spline density. Networks that read y among much else
hardly learn it in a short training; this map has it from the first step.

References: see `protgen.families.coupling`.
"""

import math
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from protgen.encoders.base import Encoder
from protgen.errors import ConfigError
from protgen.families.base import Family, Likelihood, LikelihoodFamily
from protgen.families.coupling import ByCondition, Mix, affine, grid_plans, spline
from protgen.families.direct import descended, guided, require_direct
from protgen.nn.precision import autocast
from protgen.samplers.base import Sampler, SamplingTask, draw_normals
from protgen.spaces.base import Space
from protgen.spaces.capabilities import context_before, defined_coordinates, grid_of, within_cells
from protgen.spaces.manifolds import Euclidean, Torus
from protgen.types import Conditioning, Losses, State


class NormalizingFlow(Family, LikelihoodFamily):
    """Real NVP, Glow and spline coupling flows.

    Where the values of the space are discrete cells (grey values), training uses uniform dequantisation (Theis et al.
    2016); `log_prob` is the exact density at the given points.

    Args:
        space: where x lives; its fields must be Euclidean or tori.
        encoder: the network, shared by all steps.
        steps: coupling steps; of each level on images with `mixing`.
        coupling: "affine" or "spline" on lines; circles always have splines.
        bins: of splines.
        mixing: whether each step first scales and mixes coordinates on lines.
        levels: how often images are squeezed with `mixing`.
        conditional_base: whether the density of the noise depends on y, where there is any.
        residue_dim, global_dim: widths of y.

    Raises:
        ConfigError: if a field has another manifold, or a value is not known.
    """

    reads_context = True
    exact_loss = True
    mean_over = "positions"
    dequantised = True
    takes_energy = True

    def __init__(
        self,
        space: Space,
        encoder: Encoder,
        steps: int = 8,
        coupling: str = "affine",
        bins: int = 8,
        mixing: bool = False,
        levels: int = 2,
        conditional_base: bool = False,
        residue_dim: int = 0,
        global_dim: int = 0,
    ) -> None:
        super().__init__()
        if coupling not in ("affine", "spline"):
            raise ConfigError(f"coupling {coupling!r}: choose affine or spline")
        if min(steps, levels) < 1 or bins < 2:
            raise ConfigError(f"steps {steps} and levels {levels} are at least 1, bins {bins} at least 2")
        self.space, self.encoder = space, encoder
        self.coupling, self.bins = coupling, bins
        self.widths = [cast(int, m.dim) for m in space.manifolds.values()]
        self.circular = circular_coordinates(space)
        grid = grid_of(space)
        self.plans = None if grid is None else grid_plans(*grid, len(self.circular), steps, levels if mixing else 0)
        lines = len(self.circular) - sum(self.circular)
        sizes = [lines] * steps if self.plans is None else [plan.groups.shape[1] for plan in self.plans]
        self.mixes = nn.ModuleList(Mix(size) for size in sizes if size) if mixing else nn.ModuleList()
        self.per = max(2, 3 * bins - 1 if coupling == "spline" or any(self.circular) else 0)
        self.heads = nn.ModuleList(nn.Linear(encoder.scalar_dim, len(self.circular) * self.per) for _ in sizes)
        for head in self.heads:  # the initial map is the identity
            nn.init.zeros_(cast(nn.Linear, head).weight)
            nn.init.zeros_(cast(nn.Linear, head).bias)
        self.base: ByCondition | None = None
        if conditional_base and (global_dim if grid else residue_dim + global_dim):
            pixels = None if grid is None else grid[0] * grid[1]
            per = 3 * bins - 1 if any(self.circular) else 2
            self.base = ByCondition(residue_dim, global_dim, len(self.circular), per, pixels)

    def joined(self, x: State) -> Float[Tensor, "b l c"]:
        """The coordinates of all fields, concatenated."""
        return torch.cat([x[name] for name in self.space.manifolds], -1)

    def parted(self, values: Float[Tensor, "b l c"], mask: Bool[Tensor, "b l"]) -> State:
        """The state with these concatenated coordinates."""
        return State(dict(zip(self.space.manifolds, values.split(self.widths, -1), strict=True)), mask)

    def defined(self, mask: Bool[Tensor, "b l"]) -> Bool[Tensor, "b l c"]:
        """The coordinates that exist in points without chain breaks; others keep the values of the conventions."""
        return self.exist(State({}, mask))

    def exist(self, at: State) -> Bool[Tensor, "b l c"]:
        """The coordinates that exist at a point; the others keep the values they have there."""
        found = defined_coordinates(self.space, at)
        return torch.cat([found[name] for name in self.space.manifolds], -1)

    def moved(self, step: int, at: State) -> Bool[Tensor, "b l c"]:
        """The coordinates that a step transforms: by its plan on a grid, every second one on a chain."""
        length, width, device = at.mask.shape[1], len(self.circular), at.mask.device
        if self.plans is not None:
            half = self.plans[step].moved.to(device).view(length, width)
        else:
            place = torch.arange(length, device=device)[:, None] + torch.arange(width, device=device)
            half = place % 2 == step % 2
        return half & self.exist(at)

    def couple(
        self, step: int, values: Tensor, at: State, cond: Conditioning, inverse: bool
    ) -> tuple[Float[Tensor, "b l c"], Float[Tensor, " b"]]:
        """One half of the coordinates transformed given the other half, and the log-determinant.

        Args:
            step: number of the step.
            values: coordinates of all fields.
            at: which coordinates exist.
            cond: y.
            inverse: whether to invert.
        """
        mask = at.mask
        moved = self.moved(step, at)
        shown = self.parted(values.masked_fill(moved, 0.0), mask)
        if any(name not in shown.fields for name in self.encoder.reads):
            shown = context_before(self.space, shown)
        t = torch.full((len(mask),), step / len(self.heads), device=mask.device)
        with autocast(t.device, self.autocast_dtype):
            scalars = self.encoder(shown, t, cond).scalars
        parameters = self.heads[step](scalars.to(values.dtype)).unflatten(-1, (-1, self.per))
        return self.mapped(values, parameters, moved, inverse, self.coupling == "spline")

    def mapped(
        self, values: Tensor, parameters: Float[Tensor, "b l c p"], moved: Tensor, inverse: bool, splines: bool
    ) -> tuple[Float[Tensor, "b l c"], Float[Tensor, " b"]]:
        """Coordinates transformed, each by a function of its own, and the log-determinant.

        Args:
            values: coordinates of all fields.
            parameters: of the function of each.
            moved: which ones are transformed; the others stay.
            inverse: whether to invert.
            splines: whether functions are splines on lines too.
        """
        found = []
        for c, circle in enumerate(self.circular):
            x, own = values[..., c], parameters[..., c, :]
            if circle or splines:
                found.append(spline(x, own[..., : 3 * self.bins - 1], inverse, self.bins, circle))
            else:
                found.append(affine(x, own, inverse))
        values = torch.where(moved, torch.stack([y for y, _ in found], -1), values)
        return values, (torch.stack([slope for _, slope in found], -1) * moved).sum((1, 2))

    def standardise(
        self, values: Tensor, at: State, cond: Conditioning, inverse: bool
    ) -> tuple[Float[Tensor, "b l c"], Float[Tensor, " b"] | float]:
        """Noise of y to standard noise, and the log-determinant; nothing happens without `conditional_base`.

        Args:
            values: coordinates of all fields.
            at: which coordinates exist.
            cond: y.
            inverse: whether to invert.
        """
        if self.base is None:
            return values, 0.0
        return self.mapped(values, self.base(cond, values), self.exist(at), inverse, splines=False)

    def grouped(self, step: int, values: Tensor) -> Float[Tensor, "b g m"]:
        """The coordinates that a step mixes, in groups."""
        if self.plans is not None:
            return values.flatten(1)[:, self.plans[step].groups.to(values.device)]
        return values[..., [c for c, circle in enumerate(self.circular) if not circle]]

    def ungrouped(self, step: int, values: Tensor, groups: Tensor, real: Tensor) -> Float[Tensor, "b l c"]:
        """The coordinates with mixed groups written back; groups that are not real stay unchanged.

        Args:
            step: number of the step.
            values: coordinates of all fields.
            groups: mixed groups.
            real: which groups are real.
        """
        groups = torch.where(real[..., None], groups, self.grouped(step, values))
        if self.plans is not None:
            index = self.plans[step].groups.to(values.device)
            flat = values.flatten(1).clone()
            flat[:, index] = groups
            return flat.view_as(values)
        values = values.clone()
        values[..., [c for c, circle in enumerate(self.circular) if not circle]] = groups
        return values

    def to_noise(self, x: State, cond: Conditioning) -> tuple[Float[Tensor, "b l c"], Float[Tensor, " b"]]:
        """The noise that maps to x, and the log-determinant of the map."""
        values, total = self.joined(x), torch.zeros(len(x.mask), device=x.mask.device)
        for step in range(len(self.heads)):
            if step < len(self.mixes):
                mix, groups, real = cast(Mix, self.mixes[step]), self.grouped(step, values), self.real(step, x)
                if self.training and not bool(mix.seen):
                    mix.start(groups.detach(), real)
                values = self.ungrouped(step, values, mix(groups), real)
                total = total + mix.log_det() * real.sum(-1)
            values, log_det = self.couple(step, values, x, cond, inverse=False)
            total = total + log_det
        values, log_det = self.standardise(values, x, cond, inverse=False)
        return values, total + log_det

    def from_noise(self, values: Float[Tensor, "b l c"], mask: Tensor, cond: Conditioning) -> State:
        """The point of a noise: the inverse map.

        Args:
            values: noise.
            mask: which positions are real.
            cond: y.
        """
        at = State({}, mask)
        values, _ = self.standardise(values, at, cond, inverse=True)
        for step in reversed(range(len(self.heads))):
            values, _ = self.couple(step, values, at, cond, inverse=True)
            if step < len(self.mixes):
                mixed = cast(Mix, self.mixes[step]).inverse(self.grouped(step, values))
                values = self.ungrouped(step, values, mixed, self.real(step, at))
        return self.parted(values, mask)

    def real(self, step: int, at: State) -> Bool[Tensor, "b g"]:
        """Groups of which all coordinates exist."""
        return self.grouped(step, self.exist(at)).all(-1)

    def nats(self, x: State, cond: Conditioning) -> Float[Tensor, " b"]:
        """Exact log-density of the coordinates that exist; noise is standard normal on lines, uniform on circles."""
        noise, total = self.to_noise(x, cond)
        on_line = -0.5 * noise.square() - 0.5 * math.log(2 * math.pi)
        circle = torch.tensor(self.circular, device=noise.device)
        base = torch.where(circle, torch.full_like(noise, -math.log(2 * math.pi)), on_line)
        return total + (base * self.exist(x)).sum((1, 2))

    @torch.no_grad()
    def begin(self, x_data: State, cond: Conditioning, rng: Generator) -> None:
        """Start the activation normalisations from the first batch."""
        self.to_noise(within_cells(self.space, x_data, rng, every=True), cond)

    def loss(self, x_data: State, cond: Conditioning, rng: Generator) -> Losses:
        """Negative log-likelihood in nats per position."""
        x_data = within_cells(self.space, x_data, rng, every=True)
        total = -self.nats(x_data, cond).sum() / x_data.mask.sum()
        return Losses(total, {"nats_per_position": total.detach()})

    def log_prob(self, x_data: State, cond: Conditioning, rng: Generator) -> Likelihood:
        """Exact log-density at the given points, nats; the generator is not used."""
        return Likelihood(self.nats(x_data, cond), "exact")

    @torch.no_grad()
    def sample(self, task: SamplingTask, sampler: Sampler | None = None) -> State:
        """Noise through the inverse. Temperature scales noise on lines; guidance extrapolates, see `guided`.

        An energy first moves the noise by gradient descent.

        Raises:
            UsageError: if a sampler or guides are given.
        """
        require_direct("normalizing_flow", task, sampler)

        def made(normals: Tensor) -> State:
            noise = self.noise(normals, task.mask, task.temperature)
            return self.space.project(guided(self.space, lambda y: self.from_noise(noise, task.mask, y), task))

        return made(descended(self.space, draw_normals(task, len(self.circular)), made, task))

    def noise(self, normals: Float[Tensor, "b l c"], mask: Tensor, temperature: float) -> Float[Tensor, "b l c"]:
        """Standard normals as noise: uniform on circles, tempered on lines."""
        angles = 2 * math.pi * torch.special.ndtr(normals) - math.pi
        circle = torch.tensor(self.circular, device=normals.device)
        noise = torch.where(circle, angles, normals * temperature)
        # Coordinates that do not exist start, and stay, at the values of the space's conventions.
        fixed = self.joined(self.space.project(self.parted(torch.zeros_like(noise), mask)))
        return torch.where(self.defined(mask), noise, fixed)


def circular_coordinates(space: Space) -> list[bool]:
    """For each coordinate of a space, field after field, whether it is on a circle.

    Raises:
        ConfigError: for a field that is neither Euclidean nor a torus.
    """
    circular: list[bool] = []
    for name, manifold in space.manifolds.items():
        if not isinstance(manifold, Euclidean | Torus):
            raise ConfigError(
                f"normalizing_flow has no coupling for the field {name!r} ({type(manifold).__name__}) of "
                f"{type(space).__name__}; use the space torsions for proteins, or the family flow_matching"
            )
        circular += [isinstance(manifold, Torus)] * cast(int, manifold.dim)
    return circular
