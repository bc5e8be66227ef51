"""Resampling of particles: which go on, and how often, in proportion to their weights.

References:
    Douc, Cappé and Moulines 2005, Comparison of Resampling Schemes for Particle Filtering, section 2.4.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def effective_size(weights: Float[Tensor, " p"]) -> float:
    """1 / sum of squared normalised weights: p where all are equal, 1 where one has all (Kong et al. 1994)."""
    return float(1 / weights.square().sum())


def systematic(weights: Float[Tensor, " p"], shift: float) -> Int[Tensor, " p"]:
    """The particle that takes each of p places; particle k gets p w_k places, rounded up or down.

    Args:
        weights: normalised, p of them.
        shift: in [0, 1), the one random number it takes.
    """
    return at(weights, (torch.arange(len(weights), device=weights.device) + shift) / len(weights))


def one(weights: Float[Tensor, " p"], uniform: float) -> int:
    """One particle in proportion to its weight, from a number in [0, 1)."""
    return int(at(weights, torch.tensor([uniform], device=weights.device)))


def at(weights: Float[Tensor, " p"], places: Float[Tensor, " n"]) -> Int[Tensor, " n"]:
    """The particles whose fractions of [0, 1) hold the places."""
    picks = torch.searchsorted(weights.cumsum(0), places.to(weights), right=True)
    # Rounding may leave the sum of weights short of 1, and a place beyond it: no one without weight gets that.
    return picks.clamp(max=int(weights.nonzero().max()))
