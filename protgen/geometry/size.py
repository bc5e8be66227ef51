"""How large and how round a set of CA atoms is, in torch; `protgen.structure.trace` has Rg in numpy."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_EPSILON = 1e-8  # Å^2; keeps the gradient of a square root finite at 0


def centred(ca: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l 3"]:
    """Positions from their centre, zero under padding, Å."""
    weight = mask[..., None].to(ca.dtype)
    centre = (ca * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
    return (ca - centre) * weight


def radius_of_gyration(ca: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
    """sqrt(mean |x - mean x|^2) of CA positions, Å, with a finite gradient everywhere."""
    count = mask.sum(-1).clamp(min=1)
    return (centred(ca, mask).square().sum((1, 2)) / count + _EPSILON).sqrt()


def gyration_variances(ca: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b 3"]:
    """Variances of CA positions along the principal axes, ascending, Å^2; their sum is Rg squared."""
    x = centred(ca, mask)
    tensor = x.transpose(1, 2) @ x / mask.sum(-1).clamp(min=1)[:, None, None]
    return torch.linalg.eigvalsh(tensor).clamp(min=0)
