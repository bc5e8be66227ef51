"""The velocity of the probability flow, and its divergence by Hutchinson's estimate: parts of `ode_likelihood`."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from protgen.samplers.base import Denoiser
from protgen.samplers.curved import kernel_score
from protgen.samplers.schedules import Path
from protgen.spaces.base import Space
from protgen.spaces.capabilities import tangent_of_defined
from protgen.types import Conditioning, State


def velocity(path: Path, space: Space, x: State, x_pred: State, t: float) -> State:
    """Velocity of the probability flow at x, as tangent vectors (b, l, dim) of each field.

    Args:
        path: of the flow.
        space: of the points.
        x: the point at t.
        x_pred: the prediction of x_data there.
        t: the time.
    """
    alpha, sigma = path.flat.at(t)
    alpha_slope, sigma_slope = path.flat.slopes_at(t)
    fields = {}
    for name, manifold in space.manifolds.items():
        if not manifold.curved:
            noise = (x[name] - alpha * x_pred[name]) / sigma
            fields[name] = alpha_slope * x_pred[name] + sigma_slope * noise
        elif path.brownian is None:
            fields[name] = -manifold.logmap(x[name], x_pred[name]) / t
        else:
            rate = float(path.brownian.variance_slope(torch.tensor(t, dtype=torch.float64)))
            fields[name] = -0.5 * rate * kernel_score(manifold, x[name], x_pred[name], path.brownian.at(t))
    return space.project_tangent(State(fields, x.mask))


def moved(space: Space, x: State, tangent: State, width: float) -> State:
    """The point after a step along tangent vectors.

    Args:
        space: of the point.
        x: the point.
        tangent: velocity.
        width: the time.
    """
    fields = {name: manifold.expmap(x[name], width * tangent[name]) for name, manifold in space.manifolds.items()}
    return space.project(State(fields, x.mask))


def make_probes(space: Space, x: State, rng: Generator, number: int, exact: bool) -> list[State]:
    """Tangent vectors for the trace: random signs, or all unit vectors.

    Args:
        space: of the points.
        x: a point, for its shape.
        rng: of random signs.
        number: of probes with random signs.
        exact: whether all unit vectors are taken in their place.
    """
    shape = x.mask.shape
    blank = {
        name: torch.zeros(*shape, manifold.dim, device=x.mask.device) for name, manifold in space.manifolds.items()
    }
    if not exact:
        drawn = []
        for _ in range(number):
            signs = {k: (torch.randint(0, 2, v.shape, generator=rng) * 2.0 - 1).to(v) for k, v in blank.items()}
            drawn.append(tangent_of_defined(space, State(signs, x.mask), x))
        return drawn
    units = []
    for name, zeros in blank.items():
        for position in range(shape[1]):
            for axis in range(zeros.shape[-1]):
                unit = zeros.clone()
                unit[:, position, axis] = 1
                units.append(tangent_of_defined(space, State(blank | {name: unit}, x.mask), x))
    # The caller averages over probes; the trace is the sum over unit vectors.
    return [unit.map(lambda v: v * len(units) ** 0.5) for unit in units]


def velocity_and_divergence(
    denoiser: Denoiser, space: Space, x: State, t: float, cond: Conditioning, probes: list[State]
) -> tuple[State, Float[Tensor, " b"]]:
    """Velocity at (x, t) and the estimate of its divergence.

    Args:
        denoiser: of the flow.
        space: of the points.
        x: the point at t.
        t: the time.
        cond: y.
        probes: tangent vectors for the trace.
    """
    times = torch.full((len(x.mask),), t, device=x.mask.device)
    with torch.enable_grad():
        shifts = {name: torch.zeros_like(value).requires_grad_() for name, value in probes[0].fields.items()}
        fields = {name: manifold.expmap(x[name].detach(), shifts[name]) for name, manifold in space.manifolds.items()}
        shifted = State(fields, x.mask)
        speed = velocity(denoiser.path, space, shifted, denoiser.denoise(shifted, times, cond), t)
        divergence = torch.zeros(len(x.mask), device=x.mask.device)
        for probe in probes:
            along = torch.stack([(speed[name] * probe[name]).sum() for name in speed.fields]).sum()
            gradients = torch.autograd.grad(along, list(shifts.values()), retain_graph=True)
            for name, gradient in zip(shifts, gradients, strict=True):
                divergence = divergence + (gradient * probe[name]).flatten(1).sum(-1) / len(probes)
    return speed.detach(), divergence.detach()
