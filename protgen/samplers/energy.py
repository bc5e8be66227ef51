"""Energy guidance: gradient descent of the predicted x_data on an energy, before the sampler uses the prediction.

`EnergyGuidance` takes the gradient at the prediction itself, so a step costs evaluations of the energy and no backward
pass of the network (He et al. 2024, Manifold Preserving Guided Diffusion, algorithm 1 without the encoder). It suits
energies of the whole structure, such as a radius of gyration. The energy of a few residues moves these alone, and the
network removes such a move as noise.

`PosteriorGuidance` takes the gradient with respect to x_t, through the network (Chung et al. 2023, Diffusion Posterior
Sampling, algorithm 1): positions that the network correlates move together.

Both change the prediction that the next step reads by self-conditioning.
"""

from collections.abc import Callable
from copy import copy

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from protgen.samplers.base import Denoiser, Guide
from protgen.spaces.base import Space
from protgen.spaces.capabilities import Observable, require
from protgen.types import Conditioning, State

Energy = Callable[[Tensor, Bool[Tensor, "b l"]], Float[Tensor, " b"]]


class EnergyGuidance(Guide):
    """Gradient descent of the prediction on an energy of its coordinates.

    Args:
        denoiser: what to guide.
        space: its space, which must be `Observable`.
        energy: (coordinates, mask) -> (b,); coordinates as `space.observe` gives them (backbones: (b, l, 4, 3) Å).
            Each example's energy must depend on that example alone.
        scale: weight of the energy: a descent step is `scale` times the gradient, in units of the fields.
        start: time above which guidance is off: a prediction from noise alone is an average, whose energy has little
            meaning.
        stop: time below which guidance is off.
        steps: descent steps for each prediction.
        longest: largest move of one position in one step, in units of its field (Å, radians): it bounds the steps of
            stiff energies.

    Raises:
        ConfigError: if the space is not observable.
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
        self.observe = require(space, Observable, "energy guidance").observe
        self.energy = energy
        self.scale = scale
        self.start = start
        self.stop = stop
        self.steps = steps
        self.longest = longest

    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None) -> State:
        """E[x_data | x_t, y] after descent on the energy."""
        result = self.denoiser.denoise(x_t, t, cond, x_pred)
        active = (t <= self.start) & (t >= self.stop)
        if not bool(active.any()):
            return result
        for _ in range(self.steps):
            result = self.descend(result, active)
        return result

    def descend(self, x: State, active: Bool[Tensor, " b"]) -> State:
        """One descent step in the tangent space of each field; examples that are not active stay unchanged."""
        with torch.enable_grad():
            moves = {
                name: torch.zeros(*x.mask.shape, manifold.dim, device=x.mask.device, requires_grad=True)
                for name, manifold in self.space.manifolds.items()
            }
            total = self.energy(self.observe(moved(self.space, x, moves)), x.mask).sum()
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
    """A state with some fields moved along tangent vectors.

    Args:
        space: of the point.
        x: the point.
        tangents: tangent vectors of some fields.
    """
    return x.with_fields(**{name: space.manifolds[name].expmap(x[name], tangent) for name, tangent in tangents.items()})


class PosteriorGuidance(Guide):
    """Move the prediction's flat fields along the negative gradient of an energy with respect to x_t.

    With E the energy of the prediction and g its gradient, -E / |g|^2 g is the step of x_t after which the energy would
    be 0 if it were linear in x_t (Polyak 1969). Each sampler step moves x_t by a small fraction of the distance to the
    prediction, so the prediction moves by several such steps.

    Args:
        denoiser: what to guide.
        space: its space, which must be `Observable`; it may name the fields that move (`moved_by_gradients`).
        energy: (coordinates, mask) -> (b,), as of `EnergyGuidance`, and 0 where the condition is met.
        weight: number of such steps by which the prediction moves: one number, or one for each example (b,).
        stop: time below which guidance is off, one number or (b,): the network makes no large moves any more.
        longest: largest move of one position in one of them, in units of its field (Å); longer steps are scaled down as
            a whole.

    Raises:
        ConfigError: if the space is not observable.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        space: Space,
        energy: Energy,
        weight: float | Float[Tensor, " b"] = 10.0,
        stop: float | Float[Tensor, " b"] = 0.0,
        longest: float = 2.0,
    ) -> None:
        super().__init__(denoiser)
        observable = require(space, Observable, "energy guidance")
        self.space = space
        self.observe = observable.observe
        self.energy = energy
        self.weight = weight
        self.stop = stop
        self.longest = longest
        flat = [name for name, manifold in space.manifolds.items() if not manifold.curved]
        allowed = observable.moved_by_gradients
        self.names = flat if allowed is None else [name for name in flat if name in allowed]

    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None) -> State:
        """E[x_data | x_t, y], moved."""
        active = t >= torch.as_tensor(self.stop, device=t.device)
        if not self.names or not bool(active.any()):
            return self.denoiser.denoise(x_t, t, cond, x_pred)
        with torch.enable_grad():
            at = {name: x_t[name].detach().requires_grad_() for name in self.names}
            found = self.denoiser.denoise(x_t.with_fields(**at), t, cond, x_pred)
            energies = self.energy(self.observe(found), x_t.mask)
            found = found.with_fields(**{name: x.detach() for name, x in found.fields.items()})
            if not bool((energies > 0).any()):
                return found  # the backward pass of the network costs as much as the forward pass
            gradients = torch.autograd.grad(energies.sum(), list(at.values()), allow_unused=True)
        real = (active[:, None] & x_t.mask)[..., None]
        slopes = {
            name: torch.where(real & g.isfinite(), g, torch.zeros_like(g))
            for name, g in zip(at, gradients, strict=True)
            if g is not None
        }
        return self.moved(found, slopes, energies.detach().nan_to_num()) if slopes else found

    def moved(self, found: State, slopes: dict[str, Tensor], energies: Float[Tensor, " b"]) -> State:
        """The prediction after `weight` Polyak steps along each field's gradient.

        Args:
            found: the prediction.
            slopes: gradient of the energy in each field of x_t.
            energies: of the prediction.
        """
        steep = torch.stack([g.square().sum((1, 2)) for g in slopes.values()]).sum(0)
        pace = energies / steep.clamp(min=1e-8)
        moves = {}
        for name, g in slopes.items():
            step = -pace[:, None, None] * g
            size = step.norm(dim=-1).amax(1)[:, None, None]
            weight = torch.as_tensor(self.weight, dtype=step.dtype, device=step.device).reshape(-1, 1, 1)
            moves[name] = found[name] + weight * step * (self.longest / size.clamp(min=self.longest))
        return self.space.project(found.with_fields(**moves))


def untwisted(denoiser: Denoiser) -> Denoiser:
    """The denoiser without the guides that move predictions by an energy; other guides stay around it."""
    if not isinstance(denoiser, Guide):
        return denoiser
    inner = untwisted(denoiser.denoiser)
    if isinstance(denoiser, EnergyGuidance | PosteriorGuidance):
        return inner
    if inner is denoiser.denoiser:
        return denoiser
    again = copy(denoiser)
    again.denoiser = inner
    return again
