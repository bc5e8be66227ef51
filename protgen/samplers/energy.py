"""Energy guidance: the estimate of x_data goes down an energy before the sampler uses it.

The gradient is taken at the estimate itself and not through the network, so a step costs one evaluation of the energy
and no backward pass of the model (He et al. 2024, Manifold Preserving Guided Diffusion, algorithm 1 without the
encoder; Chung et al. 2023, DPS, takes it through the network). The next self-conditioned estimate sees what the
energy did.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from protgen.samplers.base import Denoiser, Guide
from protgen.spaces.base import Space
from protgen.types import Conditioning, State

Energy = Callable[[Tensor, Bool[Tensor, "b l"]], Float[Tensor, " b"]]


class EnergyGuidance(Guide):
    """Move the estimate down the gradient of an energy of the coordinates it shows.

    Args:
        denoiser: what to guide.
        space: its space, which shows coordinates (`observe`) and moves along tangent vectors.
        energy: (coordinates, mask) -> (b,); coordinates as `space.observe` gives them (backbones: (b, l, 4, 3) Å).
            Each example's energy must depend on that example alone.
        scale: weight of the energy: a descent step is `scale` times the gradient, in units of the fields.
        start: time above which guidance rests: an estimate made of mere noise is a blur, whose energy says little.
        stop: time below which it rests.
        steps: descent steps for each estimate.
        longest: largest move of one position in one step, in units of its field (Å, radians): keeps stiff energies
            from throwing a position away.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        space: Space,
        energy: Energy,
        scale: float = 1.0,
        start: float = 1.0,
        stop: float = 0.0,
        steps: int = 1,
        longest: float = 0.5,
    ) -> None:
        super().__init__(denoiser)
        self.space = space
        self.energy = energy
        self.scale = scale
        self.start = start
        self.stop = stop
        self.steps = steps
        self.longest = longest

    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, estimate: State | None = None) -> State:
        """E[x_data | x_t, y], moved down the energy."""
        result = self.denoiser.denoise(x_t, t, cond, estimate)
        active = (t <= self.start) & (t >= self.stop)
        if not bool(active.any()):
            return result
        for _ in range(self.steps):
            result = self.descend(result, active)
        return result

    def descend(self, x: State, active: Bool[Tensor, " b"]) -> State:
        """One step down the energy in the tangent space of each field; examples at rest stay where they are."""
        with torch.enable_grad():
            moves = {
                name: torch.zeros(*x.mask.shape, manifold.dim, device=x.mask.device, requires_grad=True)
                for name, manifold in self.space.manifolds.items()
            }
            total = self.energy(self.space.observe(moved(self.space, x, moves)), x.mask).sum()
            gradients = torch.autograd.grad(total, list(moves.values()), allow_unused=True)
        on = (active[:, None] & x.mask)[..., None]
        steps = {}
        for name, gradient in zip(moves, gradients, strict=True):
            if gradient is None:
                continue
            step = torch.where(on & gradient.isfinite(), -self.scale * gradient, torch.zeros_like(gradient))
            size = step.norm(dim=-1, keepdim=True)
            steps[name] = step * (self.longest / size.clamp(min=self.longest))
        return self.space.project(moved(self.space, x, steps))


def moved(space: Space, x: State, tangents: dict[str, Tensor]) -> State:
    """A state with some fields moved along tangent vectors."""
    return x.with_fields(**{name: space.manifolds[name].expmap(x[name], tangent) for name, tangent in tangents.items()})
