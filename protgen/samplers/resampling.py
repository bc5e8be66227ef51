"""Resampling of particles in proportion to their weights.

References:
    Douc, Cappé and Moulines 2005, Comparison of Resampling Schemes for Particle Filtering, section 2.4.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def effective_size(weights: Float[Tensor, " p"]) -> float:
    """1 / sum of squared weights: p where all are equal, 1 where one particle has all (Kong et al. 1994)."""
    return float(1 / weights.square().sum())


def systematic(weights: Float[Tensor, " p"], shift: float) -> Int[Tensor, " p"]:
    """The particle that takes each of p places; particle k gets p w_k places, rounded up or down.

    Args:
        weights: normalised, p of them.
        shift: in [0, 1), the only random number.
    """
    return at(weights, (torch.arange(len(weights), device=weights.device) + shift) / len(weights))


def one(weights: Float[Tensor, " p"], uniform: float) -> int:
    """One particle drawn in proportion to its weight, by a uniform number in [0, 1)."""
    return int(at(weights, torch.tensor([uniform], device=weights.device)))


def at(weights: Float[Tensor, " p"], places: Float[Tensor, " n"]) -> Int[Tensor, " n"]:
    """The particles whose intervals of [0, 1), as long as their weights, contain the places."""
    picks = torch.searchsorted(weights.cumsum(0), places.to(weights), right=True)
    # Rounding may leave the sum of weights below 1, and a place above it: no particle of weight 0 may take it.
    return picks.clamp(max=int(weights.nonzero().max()))
