"""Distances, angles and dihedrals of points in numpy; `protgen.geometry.angles` has the same in torch."""

import numpy as np


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance |a - b| over the last axis, Å; NaN where a point is missing."""
    delta = a - b
    return np.sqrt(np.einsum("...i,...i->...", delta, delta))


def cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Cross product u x v over the last axis; as `np.cross`, which takes five times as long for a chain."""
    a, b, c = u[..., 0], u[..., 1], u[..., 2]
    d, e, f = v[..., 0], v[..., 1], v[..., 2]
    return np.stack([b * f - c * e, c * d - a * f, a * e - b * d], axis=-1)


def angle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Angle a-b-c at b, radians in [0, pi].

    Args:
        a: (..., 3) Å.
        b: (..., 3) Å, the vertex.
        c: (..., 3) Å.

    Returns:
        (...,) radians; NaN where a point is missing or two coincide.
    """
    u, v = a - b, c - b
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = np.einsum("...i,...i->...", u, v) / (np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1))
        return np.arccos(np.clip(cosine, -1.0, 1.0))


def dihedral(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Dihedral a-b-c-d, radians in (-pi, pi], IUPAC sign: positive is clockwise looking from b to c.

    Args:
        a: (..., 3) Å.
        b: (..., 3) Å, the first point of the axis.
        c: (..., 3) Å, the second point of the axis.
        d: (..., 3) Å.

    Returns:
        (...,) radians; NaN where a point is missing.
    """
    u, v, w = b - a, c - b, d - c
    n1, n2 = cross(u, v), cross(v, w)
    x = np.einsum("...i,...i->...", n1, n2)
    y = np.einsum("...i,...i->...", np.linalg.norm(v, axis=-1, keepdims=True) * u, n2)
    return np.arctan2(y, x)
