"""Rotations in three dimensions: exponential, logarithm, geodesics, uniform noise. Radians; the maps come from roma."""

from typing import cast

import roma
import torch
from jaxtyping import Float
from torch import Tensor


def exp(rotvec: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3 3"]:
    """Rotation matrix of a rotation vector (axis times angle)."""
    return roma.rotvec_to_rotmat(rotvec)


def log(rotation: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n 3"]:
    """Rotation vector of a rotation matrix, angle in [0, pi]."""
    return roma.rotmat_to_rotvec(rotation)


def relative_log(source: Float[Tensor, "*n 3 3"], target: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n 3"]:
    """Tangent vector in the frame of `source` that leads to `target`: log(source^T target)."""
    return log(source.transpose(-1, -2) @ target)


def move(source: Float[Tensor, "*n 3 3"], tangent: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3 3"]:
    """Follow a tangent vector given in the frame of `source`: source exp(tangent)."""
    return source @ exp(tangent)


def angle_between(a: Float[Tensor, "*n 3 3"], b: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n"]:
    """Geodesic distance, radians in [0, pi]."""
    return relative_log(a, b).norm(dim=-1)


def chordal_squared(a: Float[Tensor, "*n 3 3"], b: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n"]:
    """||a - b||_F^2 / 2 = 2 (1 - cos angle): the squared angle near 0, and smooth everywhere, pi included."""
    return (a - b).square().sum((-1, -2)) / 2


def uniform(normals: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 3 3"]:
    """Uniform random rotations from independent standard normals: their direction is a uniform unit quaternion."""
    unit = normals / normals.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return roma.unitquat_to_rotmat(unit)


def project(matrix: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n 3 3"]:
    """The nearest rotation: takes away the rounding that long products of matrices gather."""
    return cast(Tensor, roma.special_procrustes(matrix))


def identity_like(rotation: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n 3 3"]:
    """Identity rotations of the same shape, dtype and device."""
    return torch.eye(3, dtype=rotation.dtype, device=rotation.device).expand(rotation.shape)
