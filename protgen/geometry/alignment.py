"""Superposition of point sets under a mask (Kabsch 1976), batched, by roma, in torch and with gradients.

`protgen.geometry.superposition` has the same in numpy, for many pairs at once.
"""

from typing import cast

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor


def masked_mean(x: Float[Tensor, "*b l 3"], mask: Bool[Tensor, "*b l"]) -> Float[Tensor, "*b 1 3"]:
    """Centre of the points under the mask, Å."""
    weights = mask[..., None].to(x.dtype)
    return (x * weights).sum(-2, keepdim=True) / weights.sum(-2, keepdim=True).clamp(min=1)


def kabsch(
    mobile: Float[Tensor, "b l 3"], target: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"]
) -> tuple[Float[Tensor, "b 3 3"], Float[Tensor, "b 3"]]:
    """Rotation R and translation t that minimise the RMSD of `R @ mobile + t` to `target`; never a reflection.

    Args:
        mobile: points to move, Å.
        target: points to move them onto, Å.
        mask: True where a point counts.
    """
    centre_m, centre_t = masked_mean(mobile, mask), masked_mean(target, mask)
    weights = mask[..., None].to(mobile.dtype)
    covariance = ((target - centre_t) * weights).transpose(-1, -2) @ ((mobile - centre_m) * weights)
    rotation = cast(Tensor, roma.special_procrustes(covariance))
    return rotation, centre_t[..., 0, :] - torch.einsum("bij,bj->bi", rotation, centre_m[..., 0, :])


def superpose(
    mobile: Float[Tensor, "b l 3"], target: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"]
) -> Float[Tensor, "b l 3"]:
    """`mobile` moved onto `target` with least RMSD over the masked points, Å.

    Args:
        mobile: points to move, Å.
        target: points to move them onto, Å.
        mask: True where a point counts.
    """
    rotation, translation = kabsch(mobile, target, mask)
    return mobile @ rotation.transpose(-1, -2) + translation[:, None]


def rmsd(a: Float[Tensor, "b l 3"], b: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
    """Least root-mean-square deviation over the masked points, Å.

    Args:
        a: points, Å.
        b: the same number of points, Å.
        mask: True where a point counts.
    """
    squared = (superpose(a, b, mask) - b).square().sum(-1)
    return ((squared * mask).sum(-1) / mask.sum(-1).clamp(min=1)).sqrt()
