"""Weighted optimal superposition of many pairs of point sets at once, in numpy."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Motion:
    """Rigid motions x -> rotation x + shift, one a pair.

    Attributes:
        rotation: (p, 3, 3).
        shift: (p, 3), Å.
    """

    rotation: np.ndarray
    shift: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Move points (p, n, 3)."""
        return points @ self.rotation.transpose(0, 2, 1) + self.shift[:, None, :]

    def take(self, index: np.ndarray) -> "Motion":
        """The motions at an index or mask of the batch."""
        return Motion(self.rotation[index], self.shift[index])


def superpose(mobile: np.ndarray, target: np.ndarray, weights: np.ndarray) -> Motion:
    """The motions that minimise sum w |R x + t - y|^2.

    References: Kabsch, Acta Cryst. A34, 827 (1978).

    Args:
        mobile: (p, n, 3) points x, Å.
        target: (p, n, 3) points y, Å.
        weights: (p, n), not negative; 0 leaves a point out.

    Returns:
        Proper rotations and shifts, in the precision of `mobile`.
    """
    total = np.maximum(weights.sum(axis=1), 1e-12)[:, None]
    centre_x = np.einsum("pn,pni->pi", weights, mobile) / total
    centre_y = np.einsum("pn,pni->pi", weights, target) / total
    weighted = (mobile - centre_x[:, None]) * weights[..., None]
    covariance = weighted.transpose(0, 2, 1) @ (target - centre_y[:, None])
    u, _, vt = np.linalg.svd(covariance)
    handed = np.linalg.det(u) * np.linalg.det(vt)
    vt[:, 2] *= np.sign(handed)[:, None]
    rotation = (u @ vt).transpose(0, 2, 1)
    return Motion(rotation, centre_y - np.einsum("pij,pj->pi", rotation, centre_x))
