"""Classifier-free guidance: a denoiser that wraps another, so that it works with every sampler."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from protgen.samplers.base import Denoiser, Guidance, Guide
from protgen.spaces.base import Space
from protgen.types import Conditioning, State


class ClassifierFreeGuidance(Guide):
    """Extrapolate from the unconditional to the conditional prediction (Ho and Salimans 2022, eq. 6).

    On each field's manifold: the point at weight w on the geodesic from the unconditional prediction through the
    conditional one, x_free + w (x_cond - x_free) where it is flat. Weight 1 is plain conditioning, 0 ignores y. With
    several parts of y each part has a weight, and a prediction without that part alone (as Liu et al. 2022,
    Compositional Visual Generation, eq. 11, but given the other parts, which need not be independent).

    Args:
        denoiser: what to guide.
        space: its space, for geodesics.
        guidance: the unconditional conditioning, the weight w, and the interval of times outside which the conditional
            prediction is used: late guidance no longer changes what y refers to, and distorts local geometry; the
            earliest narrows what is drawn (Kynkäänniemi et al. 2024, Applying Guidance in a Limited Interval Improves
            Sample and Distribution Quality, NeurIPS, eq. 5). Where it rests half the evaluations are saved.
    """

    def __init__(self, denoiser: Denoiser, space: Space, guidance: Guidance) -> None:
        super().__init__(denoiser)
        self.space = space
        self.parts = guidance.parts
        self.interval = guidance.interval

    def denoise(self, x_t: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None) -> State:
        """Guided E[x_data | x_t, y]; one evaluation of a larger batch gives all predictions."""
        low, high = self.interval
        if not self.parts or bool(((t < low) | (t > high)).all()):
            return self.denoiser.denoise(x_t, t, cond, x_pred)
        conds, count = [cond, *(free for free, _ in self.parts)], len(self.parts) + 1
        found = self.denoiser.denoise(
            times(x_t, count), t.repeat(count), side_by_side(conds), None if x_pred is None else times(x_pred, count)
        )
        parted = {name: x.chunk(count) for name, x in found.fields.items()}
        conditional, *without = [State({name: x[i] for name, x in parted.items()}, x_t.mask) for i in range(count)]
        return extrapolated(self.space, conditional, without, [weight for _, weight in self.parts])


def extrapolated(space: Space, conditional: State, without: Sequence[State], weights: Sequence[float]) -> State:
    """The conditional prediction moved away from those without a part of y, each by its weight minus 1.

    Args:
        space: of the points.
        conditional: the prediction with all of y.
        without: predictions without one part of y each.
        weights: of the parts.
    """
    fields = {}
    for name, manifold in space.manifolds.items():
        if len(without) == 1:
            weight = torch.tensor(weights[0], device=conditional.mask.device)
            fields[name] = manifold.geodesic(without[0][name], conditional[name], weight)
        else:
            tangents = [
                (1 - w) * manifold.logmap(conditional[name], x[name]) for x, w in zip(without, weights, strict=True)
            ]
            fields[name] = manifold.expmap(conditional[name], torch.stack(tangents).sum(0))
    return space.project(conditional.with_fields(**fields))


def side_by_side(conds: Sequence[Conditioning]) -> Conditioning:
    """The rows of several y one after the other."""
    pairs = [c.pair for c in conds if c.pair is not None]
    chains = [c.chains for c in conds if c.chains is not None]
    return Conditioning(
        torch.cat([c.residue for c in conds]),
        torch.cat([c.globals for c in conds]),
        torch.cat(pairs) if pairs else None,
        torch.cat(chains) if chains else None,
    )


def times(state: State, count: int) -> State:
    """The batch of a state repeated `count` times."""
    return State({name: torch.cat([x] * count) for name, x in state.fields.items()}, state.mask.repeat(count, 1))
