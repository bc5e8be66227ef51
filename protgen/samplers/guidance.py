"""Guides: denoisers that own a denoiser, so that every sampler works with every one of them."""

import torch
from jaxtyping import Float
from torch import Tensor

from protgen.samplers.base import Denoiser, Guidance, Guide
from protgen.spaces.base import Space
from protgen.types import Conditioning, State


class ClassifierFreeGuidance(Guide):
    """Push the estimate away from what the network says without y (Ho and Salimans 2022, eq. 6).

    On each field's manifold: the point at weight w on the geodesic from the free estimate through the asked one,
    x_free + w (x_asked - x_free) where it is flat. Weight 1 is plain conditioning, 0 ignores y.

    Args:
        denoiser: what to guide.
        space: its space, for geodesics.
        guidance: the conditioning with y unknown, the weight w, and the time below which the estimate is left as it
            is: late guidance no longer changes what y is about and bends local geometry (Kynkäänniemi et al. 2024,
            Guidance in a Limited Interval); it saves half the work too.
    """

    def __init__(self, denoiser: Denoiser, space: Space, guidance: Guidance) -> None:
        super().__init__(denoiser)
        self.space = space
        self.free = guidance.free
        self.weight = guidance.weight
        self.until = guidance.until

    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, estimate: State | None = None) -> State:
        """Guided E[x_data | x_t, y]; both estimates come from one evaluation of twice the batch."""
        if self.weight == 1 or bool((t < self.until).all()):
            return self.denoiser.denoise(x_t, t, cond, estimate)
        both = Conditioning(torch.cat([cond.residue, self.free.residue]), torch.cat([cond.whole, self.free.whole]))
        result = self.denoiser.denoise(
            twice(x_t), torch.cat([t, t]), both, None if estimate is None else twice(estimate)
        )
        b = len(x_t.mask)
        weight = torch.tensor(self.weight, device=t.device)
        fields = {
            name: manifold.geodesic(result[name][b:], result[name][:b], weight)
            for name, manifold in self.space.manifolds.items()
        }
        return self.space.project(State(fields, x_t.mask))


def twice(state: State) -> State:
    """The batch of a state, two times over."""
    return State({name: torch.cat([x, x]) for name, x in state.fields.items()}, torch.cat([state.mask, state.mask]))
