"""Log-likelihood by the probability flow: integrate from a point to noise, with the change of volume.

A denoiser and its path define a velocity dx/dt = v(x, t) whose flow takes the model's distribution at t = 0 to the
noise at t = 1, and

    log p(x) = log p_noise(x_1) + int_0^1 div v(x_t, t) dt.

Velocities, with x_hat the prediction of x_data:

    flat                 alpha' x_hat + sigma' (x - alpha x_hat) / sigma
    curved, geodesics    -log_x(x_hat) / t
    curved, Brownian     -1/2 (std^2)' score of the heat kernel about x_hat

The divergence is the trace of the derivatives of v's coordinates along the moving frame, whose own fields have no
divergence. It is estimated by e . (dv/dx) e with random signs e (Hutchinson), restricted to the directions that keep
the conventions of the space. The measure is volume: of the subspace of centred positions where positions are centred
(orthonormal coordinates, as many as degrees of freedom), and of the manifold where a field is curved (8 pi^2 in total
for rotations, (2 pi)^d for a torus). Noise has the density 1 / volume there.

Where a path has no noise at t = 0, the flow of a network is not known down to it: x_hat there is as good as its
training, which weighs errors no more below some noise, and is divided by t. A density that is read off at a smaller
time is decided by that time and not by the data. So the integral begins at a time `first` at which the network is
trained, and the model is closed by an observation: p(x) = integral of p(x_first) k(x | x_first), where p(x_first) is
the flow's and k undoes the noise of that time, with no help of the network. For any k, by Jensen's inequality,

    log p(x) >= E[log p(x_first) + log k(x | x_first) - log q(x_first | x)],    x_first drawn from the path's q(. | x).

With k normal about x_first / alpha with standard deviation sigma / alpha (on curved fields: the kernel of the path,
which is symmetric) the last two terms are a constant, the number of flat degrees of freedom times log alpha. Where
coordinates have discrete values, k is the probability of each value, proportional to q(x_first | value), and the bound
is one of probabilities, here divided by the volume of a cell. Each of `draws` takes another x_first and other probes,
and their scatter gives the standard error. Without draws, p(x) is approximated by p(x_first) at alpha x.

With Brownian motion the estimate is not reliable where data are concentrated. For a small network trained for 700 steps
on a torus, the density integrated to 1.6e7 with data of standard deviation 0.5 rad (20 Heun steps, exact trace, 28 x 28
points), and to 1.00004 with uniform data. A probable cause, not proved: the score about x_hat changes sign where x_hat
passes the point opposite to x, over a width of about std^2, and near the data no solver resolves so steep a step. Use
the bound of diffusion there.

References:
    Chen et al. 2018, Neural ODEs, eq. 8. Grathwohl et al. 2019, FFJORD, eq. 7. Song et al. 2021, section 4.3.
    Chen and Lipman 2024, Flow Matching on General Geometries, section 4 (the divergence on a manifold).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import lambertw
from torch import Generator, Tensor

from protgen.families.flow_divergence import make_probes, moved, velocity_and_divergence
from protgen.nn.binned import Support
from protgen.samplers.base import Denoiser, between
from protgen.samplers.schedules import Path
from protgen.spaces.base import Space, masked
from protgen.spaces.capabilities import defined_coordinates, freedoms, held, support_of, tangent_of_defined
from protgen.types import Conditioning, State

# Standard deviations of the noise between two values. At 4 noise hides which value it is in 5 % of coordinates, for 0.1
# nats each, and networks are not asked for what they cannot see at less noise.
APART = 4.0
# Steps in t for each step in log t where t is 1.
EVEN = 3.0


@dataclass(frozen=True)
class OdeSettings:
    """Accuracy of the integration.

    Attributes:
        steps: Heun's steps from data to noise, two evaluations of the network with a gradient each.
        probes: random vectors of the trace estimate; its variance is inverse to their number.
        exact: take the exact trace instead, with as many gradients as there are dimensions.
        first: first time where the path has no noise at t = 0.
        draws: of the noisy point at the first time, each with probes of its own; 0 starts at alpha x instead.
    """

    steps: int = 50
    probes: int = 1
    exact: bool = False
    first: float = 1e-3
    draws: int = 0


@dataclass(frozen=True)
class FlowEstimate:
    """log p(x) of each example, and what is known of it.

    Attributes:
        nats: (b,) the mean over draws.
        error: (b,) its standard error by their scatter; nan for fewer than two draws.
    """

    nats: Float[Tensor, " b"]
    error: Float[Tensor, " b"]


def first_time(path: Path, first: float) -> float:
    """The first time of a likelihood: 0 where the path has noise there, else `first`."""
    return 0.0 if path.flat.noisy_data else first


def cell_time(space: Space, path: Path) -> float:
    """The first time of likelihoods of discrete values: the one at which they are `APART` standard deviations apart.

    1 where values are continuous, or probable in themselves (binary), or where the path has noise at t = 0.
    """
    support = support_of(space)
    if support is None or support.volume == 1 or path.flat.noisy_data:
        return 1.0
    return path.flat.time_of(support.step / APART)


def warped(u: Tensor, first: float) -> tuple[Tensor, Tensor]:
    """Times from `first` (u = 0) to 1 (u = 1), finer near data, and dt/du: t = (a + u (1 - a))^7 as EDM's grid.

    The identity if `first` is 0: schedules with noise at t = 0 contain a grid of their own.
    """
    if first == 0:
        return u, torch.ones_like(u)
    low = first ** (1 / 7)
    base = low + u * (1 - low)
    return base.pow(7), 7 * (1 - low) * base.pow(6)


def grid(first: float, steps: int) -> Tensor:
    """(steps + 1,) times from `first` to 1, evenly spaced in log t + `EVEN` t; in t if `first` is 0.

    Near the data the flow changes by the factor by which t grows. Towards the noise that would leave few steps, and
    there the network's answer changes most: of a chain of 61 residues `flow-small` gave 4.1, 4.6 and 5.3 nats a residue
    at 10, 20 and 40 steps of EDM's grid, and the differences came from t > 0.5.
    """
    if first == 0:
        return torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    place = np.linspace(math.log(first) + EVEN * first, EVEN, steps + 1)
    times = torch.from_numpy(lambertw(EVEN * np.exp(place)).real / EVEN)
    times[0], times[-1] = first, 1.0  # not as they round
    return times


def log_prob_by_flow(
    denoiser: Denoiser, space: Space, x_data: State, cond: Conditioning, rng: Generator, settings: OdeSettings
) -> Float[Tensor, " b"]:
    """log p(x | y) in nats.

    Args:
        denoiser: of a family; guides change the flow, and with it the distribution.
        space: where x lives.
        x_data: points.
        cond: their y.
        rng: of the probes, and of draws at the first time.
        settings: accuracy.
    """
    return estimate_by_flow(denoiser, space, x_data, cond, rng, settings).nats


def estimate_by_flow(
    denoiser: Denoiser, space: Space, x_data: State, cond: Conditioning, rng: Generator, settings: OdeSettings
) -> FlowEstimate:
    """log p(x | y) in nats and its standard error; arguments of `log_prob_by_flow`."""
    path = denoiser.path
    first = first_time(path, settings.first)
    alpha, _ = path.flat.at(first)
    support = support_of(space) if settings.draws else None
    found = []
    for _ in range(max(1, settings.draws)):
        start = State({name: x_data[name] for name in space.manifolds}, x_data.mask)
        start = on_flat(space, start, lambda value: value * alpha)
        volume = flat_freedoms(space, x_data) * math.log(alpha)
        if settings.draws:
            data = x_data if support is None else snapped(space, x_data, support)
            start = noisy_start(path, space, data, first, rng)
            volume = volume if support is None else values_given(space, start, support, path.flat.at(first))
        found.append(log_prob_at(denoiser, space, start, x_data, cond, rng, replace(settings, first=first)) + volume)
    nats = torch.stack(found)
    error = nats.std(0) / len(found) ** 0.5 if len(found) > 1 else torch.full_like(nats[0], math.nan)
    return FlowEstimate(nats.mean(0), error)


def log_prob_at(
    denoiser: Denoiser, space: Space, x: State, x_data: State, cond: Conditioning, rng: Generator, settings: OdeSettings
) -> Float[Tensor, " b"]:
    """log-density of the flow at the time `settings.first`, nats.

    Args:
        denoiser: of the flow.
        space: of the points.
        x: points at that time.
        x_data: says which coordinates exist.
        cond: y.
        rng: of the probes.
        settings: accuracy; `first` is where to begin.
    """
    path, mask = denoiser.path, x.mask
    times = grid(settings.first, settings.steps)
    sizes = [size_and_growth(path, t) for t in times.tolist()]
    flat_dof = flat_freedoms(space, x_data)
    probes = make_probes(space, x_data, rng, settings.probes, settings.exact)

    def at(x: State, number: int) -> tuple[State, Tensor]:
        """Velocity and its divergence at a time of the grid, for points whose flat fields are divided by c."""
        size, growth = sizes[number]
        here = on_flat(space, x, lambda value: value * size)
        speed, divergence = velocity_and_divergence(denoiser, space, here, float(times[number]), cond, probes)
        speed = tangent_of_defined(space, speed, x_data)
        fields = {
            name: value if space.manifolds[name].curved else value / size - growth * x[name]
            for name, value in speed.fields.items()
        }
        return tangent_of_defined(space, State(fields, mask), x_data), divergence - growth * flat_dof

    x = on_flat(space, x, lambda value: value / sizes[0][0])
    change = -flat_dof * math.log(sizes[0][0])  # a change of units is a factor for each degree of freedom
    for number in range(settings.steps):
        width = float(times[number + 1] - times[number])
        start, start_div = at(x, number)
        end, end_div = at(moved(space, x, start, width), number + 1)
        mean = State({name: (start[name] + end[name]) / 2 for name in start.fields}, mask)
        x = moved(space, x, mean, width)
        change = change + width * (start_div + end_div) / 2
    change = change + flat_dof * math.log(sizes[-1][0])
    return log_noise(space, path, on_flat(space, x, lambda value: value * sizes[-1][0]), x_data) + change


def flat_freedoms(space: Space, x_data: State) -> Float[Tensor, " b"]:
    """Degrees of freedom of the flat fields of points."""
    found = freedoms(space, x_data)
    flat = [dof for name, dof in found.items() if not space.manifolds[name].curved]
    return sum(flat, torch.zeros(len(x_data.mask), device=x_data.mask.device))


def noisy_start(path: Path, space: Space, x_data: State, first: float, rng: Generator) -> State:
    """A draw of the path at its first time; coordinates that do not exist stay where they are.

    Args:
        path: from data to noise.
        space: of the points.
        x_data: data.
        first: the time.
        rng: of the draw.
    """

    def normals(width: int) -> Tensor:
        return torch.randn(*x_data.mask.shape, width, generator=rng).to(x_data.mask.device)

    noise = space.noise(x_data.mask, normals(space.normals_per_position))
    return held(space, between(path, space, x_data, noise, first, normals), x_data)


def snapped(space: Space, x_data: State, support: Support) -> State:
    """Discrete coordinates at the values of their cells, for data that are dequantised."""
    values = support.values(x_data.mask.device)
    return State(
        {name: masked(values[support.index(x_data[name])], x_data.mask) for name in space.manifolds}, x_data.mask
    )


def values_given(space: Space, x: State, support: Support, levels: tuple[float, float]) -> Float[Tensor, " b"]:
    """log k(x | x_first) - log q(x_first | x) of discrete values, less the log-volume of their cells, nats.

    k is q over its sum over all values, so the difference is minus the log of that sum.

    Args:
        space: of the points.
        x: points at the first time.
        support: the values.
        levels: alpha and sigma there.
    """
    alpha, sigma = levels
    total = torch.zeros(len(x.mask), device=x.mask.device)
    values = support.values(x.mask.device)
    for name, std in space.noise_std(x.mask).items():
        width = (sigma * std)[:, None, None]
        log_q = -0.5 * ((x[name][..., None] - alpha * values) / width[..., None]).square()
        log_sum = log_q.logsumexp(-1) - width.log() - 0.5 * math.log(2 * math.pi)
        total = total - masked(log_sum + math.log(support.volume), x.mask).flatten(1).sum(-1)
    return total


def size_and_growth(path: Path, t: float) -> tuple[float, float]:
    """c = sqrt(alpha^2 + sigma^2) and c' / c: the flow of x / c does not grow on average."""
    alpha, sigma = path.flat.at(t)
    alpha_slope, sigma_slope = path.flat.slopes_at(t)
    square = alpha**2 + sigma**2
    # At t = 0 the slope of sigma may be infinite where sigma is 0; likelihoods begin later.
    return square**0.5, (alpha * alpha_slope + sigma * sigma_slope) / square


def on_flat(space: Space, x: State, function: Callable[[Tensor], Tensor]) -> State:
    """A state with a function applied to its flat fields.

    Args:
        space: of the point.
        x: the point.
        function: of a field.
    """
    fields = {name: value if space.manifolds[name].curved else function(value) for name, value in x.fields.items()}
    return State(fields, x.mask)


def log_noise(space: Space, path: Path, x: State, at: State | None = None) -> Float[Tensor, " b"]:
    """log-density of the noise: normal with sigma(1) times the std of the noise, uniform where curved.

    Args:
        space: of the noise.
        path: its standard deviation at t = 1.
        x: the noise.
        at: the point that says which coordinates exist; the noise itself by default.
    """
    at = x if at is None else at
    stds, dof, exists = space.noise_std(x.mask), freedoms(space, at), defined_coordinates(space, at)
    _, sigma = path.flat.at(1.0)
    total = torch.zeros(len(x.mask), device=x.mask.device)
    for name, manifold in space.manifolds.items():
        if manifold.curved:
            total = total - dof[name] * (manifold.log_volume / manifold.dim)
        else:
            std = sigma * stds[name]
            square = (x[name] * exists[name]).square().flatten(1).sum(-1)
            total = total - square / (2 * std.square()) - dof[name] * (std.log() + 0.5 * math.log(2 * math.pi))
    return total
