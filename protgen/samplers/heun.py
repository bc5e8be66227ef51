"""Heun's second-order steps of the probability flow: two predictions for each step, the second at its end.

With alpha, sigma at t and a, s at the end of the step, both of these are exact on any path:

    x_s = a / alpha x_t + (s - sigma a / alpha) <noise>        averaged in sigma / alpha (EDM's form, where alpha = 1)
    x_s = s / sigma x_t + (a - alpha s / sigma) <x_data>       averaged in alpha / sigma

The mean of the two values of the noise, or of x_data, at the ends of the step is accurate to second order. The first
form is used where sigma <= alpha and the second elsewhere, so that neither end of the path is singular. Curved fields
take the mean of the two velocities in the moving frame, which is of second order on a Lie group. The last step ends on
the prediction itself, as in EDM; its error is of second order too.

Churn first adds noise, back by a fraction of the step, and starts from there (EDM's algorithm 2).

References:
    Karras et al. 2022, algorithms 1 and 2.
    Iserles et al. 2000, Lie-group methods, section 3 (order of methods in the moving frame).
"""

import torch
from torch import Tensor

from protgen.errors import UsageError
from protgen.samplers.base import Denoiser, Sampler, SamplingTask, Step, begin
from protgen.samplers.curved import geodesic_fraction, kernel_score
from protgen.samplers.grid import check_grid, check_rate, time_grid
from protgen.spaces.base import Space
from protgen.spaces.manifolds import Manifold
from protgen.types import State


class Heun(Sampler):
    """Second-order integration from t = 1 to t = 0.

    Args:
        steps: number of steps, two network evaluations each, one in the last.
        churn: by which fraction of a step noise is added before it; 0 integrates the ODE.
        rotation_rate: rate of the exponential schedule on curved fields that follow geodesics; 0 for the straight one.
        spacing: exponent of the time grid, t_k = (1 - k / steps)^spacing; above 1 steps are finer near data.
        self_condition: whether each evaluation reads the prediction of the one before.

    Raises:
        UsageError: if steps is not positive or a rate is negative.
    """

    def __init__(
        self,
        steps: int = 50,
        churn: float = 0.0,
        rotation_rate: float = 10.0,
        spacing: float = 1.0,
        self_condition: bool = True,
    ) -> None:
        check_grid(steps, spacing)
        check_rate(rotation_rate)
        if churn < 0:
            raise UsageError(f"churn {churn}: cannot be negative; 0 integrates the ODE")
        self.steps = steps
        self.churn = churn
        self.rotation_rate = rotation_rate
        self.spacing = spacing
        self.self_condition = self_condition

    @torch.no_grad()
    def sample(self, denoiser: Denoiser, space: Space, task: SamplingTask) -> State:
        """Samples of the space, one for each generator of the task.

        Raises:
            UsageError: if noise is to be added to a curved field whose path is a geodesic.
        """
        path = denoiser.path
        if self.churn and path.brownian is None and any(m.curved for m in space.manifolds.values()):
            raise UsageError("heun cannot churn where curved fields follow geodesics; use churn=0, or euler with churn")

        def predict(x: State, t: float, before: State | None) -> State:
            times = torch.full((len(task.mask),), t, device=task.mask.device)
            return denoiser.denoise(x, times, task.cond, before if self.self_condition else None)

        x = begin(path, space, task)
        x_pred = None
        for number, (t, s) in enumerate(time_grid(self.steps, self.spacing, task.start_time)):
            back = min(1.0, t + self.churn * (t - s))
            if back > t:
                x = add_noise(x, Step(back, t, path, space, task))
            step = Step(back, s, path, space, task)
            x_pred = predict(x, step.t, x_pred)
            end = self.advance(x, x_pred, None, None, step)
            if s > 0:
                second = predict(end, s, x_pred)
                end = self.advance(x, x_pred, end, second, step)
                x_pred = second
            x = end
            if task.on_step is not None:
                task.on_step(number, x, x_pred)
        return x

    def advance(self, x: State, first: State, end: State | None, second: State | None, step: Step) -> State:
        """The point at s.

        Args:
            x: the point at t.
            first: the prediction there.
            end: where a step by `first` alone ends; None to take that step.
            second: the prediction at `end`.
            step: the times.
        """
        fields = {}
        for name, manifold in step.space.manifolds.items():
            if step.s == 0:
                fields[name] = manifold.geodesic(x[name], first[name], torch.tensor(1.0))
            elif manifold.curved or step.geodesic(name):
                tangent = self.curved_tangent(manifold, x[name], first[name], step, at_end=False)
                if end is not None and second is not None:
                    other = self.curved_tangent(manifold, end[name], second[name], step, at_end=True)
                    tangent = (tangent + other) / 2
                fields[name] = manifold.expmap(x[name], tangent)
            elif end is None or second is None:
                alpha, sigma, a, s = step.flat()
                fields[name] = s / sigma * x[name] + (a - alpha * s / sigma) * first[name]
            else:
                fields[name] = flat_step(x[name], first[name], end[name], second[name], step)
        return step.space.project(State(fields, x.mask))

    def curved_tangent(self, manifold: Manifold, x: Tensor, x_pred: Tensor, step: Step, at_end: bool) -> Tensor:
        """Velocity at the start or at the end of the step, times its length: a tangent vector.

        Args:
            manifold: of the field.
            x: its value.
            x_pred: the prediction of x_data there.
            step: the times, the path and the task.
            at_end: whether x is the point at step.s.
        """
        if manifold.curved and step.path.brownian is not None:
            # dx = std score d(-std)
            stds = step.stds()
            std = stds[1] if at_end else stds[0]
            return std * (stds[0] - stds[1]) * kernel_score(manifold, x, x_pred, std)
        if not at_end:
            return geodesic_fraction(step.t, step.s, self.rotation_rate) * manifold.logmap(x, x_pred)
        fraction = (step.t - step.s) * max(1 / step.s, self.rotation_rate)
        return min(1.0, fraction) * manifold.logmap(x, x_pred)


def flat_step(x: Tensor, first: Tensor, end: Tensor, second: Tensor, step: Step) -> Tensor:
    """The second-order step of a flat field from x at t; arguments as of `Heun.advance`."""
    alpha, sigma, a, s = step.flat()
    if sigma > alpha:
        return s / sigma * x + (a - alpha * s / sigma) * (first + second) / 2
    noise = ((x - alpha * first) / sigma + (end - a * second) / s) / 2
    return a / alpha * x + (s - sigma * a / alpha) * noise


def add_noise(x: State, step: Step) -> State:
    """Noise added along the path from step.s to step.t."""
    fields = {}
    for name, manifold in step.space.manifolds.items():
        if manifold.curved:
            at_t, at_s = step.stds()
            fields[name] = manifold.expmap(x[name], step.fresh(name, (at_t**2 - at_s**2) ** 0.5))
        else:
            alpha_t, sigma_t, alpha_s, sigma_s = step.flat()
            ratio = alpha_t / alpha_s
            added = max(0.0, sigma_t**2 - (ratio * sigma_s) ** 2)
            fields[name] = ratio * x[name] + step.fresh(name, added**0.5)
    return step.space.project(State(fields, x.mask))
