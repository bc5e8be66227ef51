"""Energy guidance: the estimate of x_data goes down an energy before the sampler uses it.

`EnergyGuidance` takes the gradient at the estimate itself, so a step costs evaluations of the energy and no backward
pass of the model (He et al. 2024, Manifold Preserving Guided Diffusion, algorithm 1 without the encoder). It suits
energies of the whole, such as a radius. One of a few residues moves these alone, and the network takes what it did for
noise and removes it again.

`PosteriorGuidance` takes the gradient with respect to x_t, through the network (Chung et al. 2023, Diffusion Posterior
Sampling, algorithm 1): whatever the network holds together moves together.

In both the next self-conditioned estimate sees what the energy did.
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

    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None) -> State:
        """E[x_data | x_t, y], moved down the energy."""
        result = self.denoiser.denoise(x_t, t, cond, x_pred)
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


class PosteriorGuidance(Guide):
    """Move the estimate's flat fields down the gradient of an energy with respect to x_t.

    With E the energy of the estimate and g its gradient, E / |g|^2 g is the step of x_t after which the estimate would
    have no energy left, were it linear in x_t (Polyak 1969). A sampler gives x_t a small part of the way to the
    estimate at each step, so the estimate moves by several times that.

    Args:
        denoiser: what to guide.
        space: its space, which shows coordinates (`observe`).
        energy: (coordinates, mask) -> (b,), as of `EnergyGuidance`, and 0 where all is well.
        push: how many such steps the estimate goes: one number, or one for each example (b,).
        stop: time below which it rests, one number or (b,): what is far has come by then, and fine moves are no longer
            the network's.
        longest: largest move of one position in one of them, in units of its field (Å); beyond it the whole step is
            made shorter.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        space: Space,
        energy: Energy,
        push: float | Float[Tensor, " b"] = 10.0,
        stop: float | Float[Tensor, " b"] = 0.0,
        longest: float = 2.0,
    ) -> None:
        super().__init__(denoiser)
        self.space = space
        self.energy = energy
        self.push = push
        self.stop = stop
        self.longest = longest
        self.names = [name for name, manifold in space.manifolds.items() if not manifold.curved]

    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None) -> State:
        """E[x_data | x_t, y], moved."""
        active = t >= torch.as_tensor(self.stop, device=t.device)
        if not bool(active.any()):
            return self.denoiser.denoise(x_t, t, cond, x_pred)
        with torch.enable_grad():
            at = {name: x_t[name].detach().requires_grad_() for name in self.names}
            found = self.denoiser.denoise(x_t.with_fields(**at), t, cond, x_pred)
            energies = self.energy(self.space.observe(found), x_t.mask)
            found = found.with_fields(**{name: x.detach() for name, x in found.fields.items()})
            if not bool((energies > 0).any()):
                return found  # the way back through the network costs as much as the way forth
            gradients = torch.autograd.grad(energies.sum(), list(at.values()), allow_unused=True)
        real = (active[:, None] & x_t.mask)[..., None]
        slopes = {
            name: torch.where(real & g.isfinite(), g, torch.zeros_like(g))
            for name, g in zip(at, gradients, strict=True)
            if g is not None
        }
        if not slopes:
            return found
        steep = torch.stack([g.square().sum((1, 2)) for g in slopes.values()]).sum(0)
        pace = energies.detach().nan_to_num() / steep.clamp(min=1e-8)
        moves = {}
        for name, g in slopes.items():
            step = -pace[:, None, None] * g
            size = step.norm(dim=-1).amax(1)[:, None, None]
            push = torch.as_tensor(self.push, dtype=step.dtype, device=step.device).reshape(-1, 1, 1)
            moves[name] = found[name] + push * step * (self.longest / size.clamp(min=self.longest))
        return self.space.project(found.with_fields(**moves))
