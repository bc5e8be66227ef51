"""Euler steps along the path from noise to data, with optional noise on the way.

A step from t to s < t takes the current estimate of x_data and goes the share (t - s) / t of the geodesic towards it,
which is Euler's step for a straight path. On curved fields (rotations) the exponential schedule replaces that share by
rate * (t - s): they settle early, and everything else settles around them (Yim et al. 2023, FrameFlow, section 3.2;
Bose et al. 2023, FoldFlow: without it 4 % of samples are designable, with it 94 %).

Noise on flat fields follows DDIM (Song et al. 2021, eq. 12): part of the noise left in x_t is exchanged for fresh noise
of the given temperature.
"""

import torch
from torch import Tensor

from protgen.errors import UsageError
from protgen.samplers.base import Denoiser, Sampler, SamplingTask, begin, draw_normals
from protgen.spaces.base import Space, masked
from protgen.types import State


class Euler(Sampler):
    """Fixed-step integration from t = 1 (or the task's start) to t = 0.

    Args:
        steps: number of steps, one network evaluation each.
        rotation_rate: rate of the exponential schedule on curved fields; 0 for the straight one.
        churn: rate at which noise is exchanged on flat fields; 0 integrates the ODE.
        spacing: exponent of the time grid, t_k = (1 - k / steps)^spacing; above 1 steps are finer near data.
        self_condition: whether each step sees the estimate of the one before.

    Raises:
        UsageError: if steps is not positive or a rate is negative.
    """

    def __init__(
        self,
        steps: int = 100,
        rotation_rate: float = 10.0,
        churn: float = 0.0,
        spacing: float = 1.0,
        self_condition: bool = True,
    ) -> None:
        if steps < 1:
            raise UsageError(f"steps {steps}: a sampler takes at least 1 step")
        if rotation_rate < 0 or churn < 0 or spacing <= 0:
            raise UsageError("rotation_rate and churn cannot be negative, and spacing must be positive")
        self.steps = steps
        self.rotation_rate = rotation_rate
        self.churn = churn
        self.spacing = spacing
        self.self_condition = self_condition

    @torch.no_grad()
    def sample(self, denoiser: Denoiser, space: Space, task: SamplingTask) -> State:
        """Samples of the space, one for each generator of the task."""
        x = begin(space, task)
        grid = self.grid(task)
        estimate = None
        for step, (t, s) in enumerate(zip(grid[:-1].tolist(), grid[1:].tolist(), strict=True)):
            times = torch.full((len(task.mask),), t, device=task.mask.device)
            estimate = denoiser.denoise(x, times, task.cond, estimate if self.self_condition else None)
            x = self.advance(space, x, estimate, t, s, task)
            if task.on_step is not None:
                task.on_step(step, x, estimate)
        return x

    def grid(self, task: SamplingTask) -> Tensor:
        """Times of the steps, from the task's start to 0."""
        return task.start_time * (1 - torch.linspace(0, 1, self.steps + 1)).pow(self.spacing)

    def advance(self, space: Space, x: State, estimate: State, t: float, s: float, task: SamplingTask) -> State:
        """From t to s. The last step ends on the estimate itself."""
        fields = {}
        for name, manifold in space.manifolds.items():
            straight = (t - s) / t
            if manifold.curved and self.rotation_rate and s > 0:
                share = min(1.0, max(straight, self.rotation_rate * (t - s)))
                fields[name] = manifold.geodesic(x[name], estimate[name], torch.tensor(share))
            elif manifold.curved or not self.churn or s == 0:
                fields[name] = manifold.geodesic(x[name], estimate[name], torch.tensor(straight))
            else:
                fields[name] = self.exchange_noise(space, name, x, estimate, t, s, task)
        return space.project(State(fields, x.mask))

    def exchange_noise(
        self, space: Space, name: str, x: State, estimate: State, t: float, s: float, task: SamplingTask
    ) -> Tensor:
        """The step on a flat field with a share of the noise drawn anew: 1 - (s / t)^churn of its variance."""
        noise = (x[name] - (1 - t) * estimate[name]) / t
        fresh_share = 1 - (s / t) ** self.churn
        sigma = space.scale(x.mask)[name][:, None, None] * task.temperature
        fresh = masked(draw_normals(task, noise.shape[-1]) * sigma, x.mask)
        noise = (1 - fresh_share) ** 0.5 * noise + fresh_share**0.5 * fresh
        return (1 - s) * estimate[name] + s * noise
