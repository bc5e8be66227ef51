"""Guides: denoisers that own a denoiser, so that every sampler works with every one of them."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from protgen.samplers.base import Denoiser, Guidance, Guide
from protgen.spaces.base import Space
from protgen.types import Conditioning, State


class ClassifierFreeGuidance(Guide):
    """Push the estimate away from what the network says without y (Ho and Salimans 2022, eq. 6), or parts of y.

    On each field's manifold: the point at weight w on the geodesic from the free estimate through the asked one,
    x_free + w (x_asked - x_free) where it is flat. Weight 1 is plain conditioning, 0 ignores y. With several parts of y
    each has a weight, and an estimate without it alone (as Liu et al. 2022, Compositional Visual Generation, eq. 11,
    but each part's push given the others, which do not have to be independent).

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
        self.parts = guidance.parts
        self.until = guidance.until

    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None) -> State:
        """Guided E[x_data | x_t, y]; all estimates come from one evaluation of so many times the batch."""
        if not self.parts or bool((t < self.until).all()):
            return self.denoiser.denoise(x_t, t, cond, x_pred)
        conds, count = [cond, *(free for free, _ in self.parts)], len(self.parts) + 1
        pairs = [c.pair for c in conds if c.pair is not None]
        joined = Conditioning(
            torch.cat([c.residue for c in conds]),
            torch.cat([c.globals for c in conds]),
            torch.cat(pairs) if pairs else None,
        )
        found = self.denoiser.denoise(
            times(x_t, count), t.repeat(count), joined, None if x_pred is None else times(x_pred, count)
        )
        parted = {name: x.chunk(count) for name, x in found.fields.items()}
        asked, *without = [State({name: x[i] for name, x in parted.items()}, x_t.mask) for i in range(count)]
        return pushed(self.space, asked, without, [weight for _, weight in self.parts])


def pushed(space: Space, asked: State, without: Sequence[State], weights: Sequence[float]) -> State:
    """The estimate `asked` moved away from those without a part of y, by each part's weight less 1."""
    fields = {}
    for name, manifold in space.manifolds.items():
        if len(without) == 1:
            weight = torch.tensor(weights[0], device=asked.mask.device)
            fields[name] = manifold.geodesic(without[0][name], asked[name], weight)
        else:
            ways = [(1 - w) * manifold.logmap(asked[name], x[name]) for x, w in zip(without, weights, strict=True)]
            fields[name] = manifold.expmap(asked[name], torch.stack(ways).sum(0))
    return space.project(State(fields, asked.mask))


def times(state: State, count: int) -> State:
    """The batch of a state, several times over."""
    return State({name: torch.cat([x] * count) for name, x in state.fields.items()}, state.mask.repeat(count, 1))
