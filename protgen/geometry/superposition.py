"""Weighted optimal superposition of many pairs of point sets at once, in numpy.

`protgen.geometry.alignment` has the same in torch.

Batches are the last axis, so that every step is elementwise arithmetic over the whole batch. The rotation is found
without a singular value decomposition: its largest attainable overlap is a root of a quartic, and the rotation itself
a polynomial of the covariance.

References: Kabsch, Acta Cryst. A34, 827 (1978), for the problem; Theobald, Acta Cryst. A61, 478 (2005), for the quartic
and its root by Newton's method; Markley, J. Astronaut. Sci. 41, 261 (1993), eq. 16 (FOAM), for the rotation.
"""

from dataclasses import dataclass

import numpy as np

_NEWTON_STEPS = 30  # at most; about seven unless two roots meet
_CONVERGED = 1e-9  # of a covariance scaled to norm 1; the step after this one would be about its square
_FLAT = 1e-7  # slope of the quartic below which a step means nothing
_VAGUE = 1e-4  # (s1 + s2)(s2 + s3)(s3 + s1) of the singular values below which the rotation is ill-determined
_NEXT, _AFTER = [1, 2, 0], [2, 0, 1]


@dataclass(frozen=True)
class Motion:
    """Rigid motions x -> rotation x + shift, one a pair.

    Attributes:
        rotation: (3, 3, p).
        shift: (3, p), Å.
    """

    rotation: np.ndarray
    shift: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Move points (3, n, p)."""
        turn = self.rotation[:, :, None]
        moved = turn[:, 0] * points[0]
        moved += turn[:, 1] * points[1]
        moved += turn[:, 2] * points[2]
        moved += self.shift[:, None]
        return moved

    def take(self, index: np.ndarray) -> "Motion":
        """The motions at an index or mask of the batch."""
        return Motion(self.rotation[..., index], self.shift[:, index])


def superpose(mobile: np.ndarray, target: np.ndarray, weights: np.ndarray) -> Motion:
    """The motions that minimise sum w |R x + t - y|^2.

    Args:
        mobile: (3, n, p) points x, Å.
        target: (3, n, p) points y, Å.
        weights: (n, p), not negative; 0 leaves a point out.

    Returns:
        Proper rotations and shifts, in the precision of `mobile`.
    """
    total = np.maximum(weights.sum(axis=0), 1e-12)
    weighted = mobile * weights
    centre_x = weighted.sum(axis=1) / total
    centre_y = (target * weights).sum(axis=1) / total
    weighted -= centre_x[:, None] * weights
    covariance = np.empty((3, 3, weights.shape[1]))
    for j in range(3):
        covariance[:, j] = (weighted * (target[j] - centre_y[j])).sum(axis=1)
    turn = best_rotation(covariance).astype(mobile.dtype, copy=False)
    return Motion(turn, centre_y - (turn * centre_x[None]).sum(axis=1))


def best_rotation(covariance: np.ndarray) -> np.ndarray:
    """Rotations R that maximise sum y . R x.

    Args:
        covariance: (3, 3, p) sums of x y^T over points about their centres.

    Returns:
        (3, 3, p) float64.
    """
    b = _scaled(covariance.swapaxes(0, 1))
    square = _product(b.swapaxes(0, 1), b)
    cofactors = b[_NEXT][:, _NEXT] * b[_AFTER][:, _AFTER] - b[_NEXT][:, _AFTER] * b[_AFTER][:, _NEXT]
    determinant = (b[0] * cofactors[0]).sum(axis=0)
    root = _largest_root(determinant, np.square(square).sum(axis=(0, 1)))
    kappa = (root * root - 1.0) / 2
    zeta = kappa * root - determinant
    clear = (zeta > _VAGUE) & (np.abs(b).sum(axis=(0, 1)) > 0.5)
    vague = np.flatnonzero(~clear)  # points on a line, or one point
    turn = (kappa + 1.0) * b + root * cofactors - _product(b, square)
    turn /= np.where(clear, zeta, 1.0)
    if len(vague):
        turn[..., vague] = _by_line(b[..., vague])
    return turn


def _scaled(matrix: np.ndarray) -> np.ndarray:
    """Matrices (3, 3, p) in float64 with Frobenius norm 1."""
    matrix = matrix.astype(np.float64)
    size = np.sqrt(np.square(matrix).sum(axis=(0, 1)))
    return matrix / np.maximum(size, 1e-30)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Matrix products of (3, 3, p) with (3, 3, p)."""
    result = a[:, 0, None] * b[None, 0]
    result += a[:, 1, None] * b[None, 1]
    result += a[:, 2, None] * b[None, 2]
    return result


def _largest_root(determinant: np.ndarray, quartic: np.ndarray) -> np.ndarray:
    """(p,) s1 + s2 + s3 (with the sign of the determinant on the least) of matrices of norm 1.

    The largest root of v^4 - 2 v^2 - 8 det v + 2 |M^T M|^2 - 1, by Newton's method from above all roots.

    Args:
        determinant: (p,) det M.
        quartic: (p,) |M^T M|^2, the sum of the fourth powers of the singular values.
    """
    value = np.full(len(determinant), np.sqrt(3.0))
    constant = 2 * quartic - 1.0
    linear = 8 * determinant
    for _ in range(_NEWTON_STEPS):
        square = value * value
        slope = 4 * value * (square - 1.0) - linear
        excess = (square - 2.0) * square - linear * value + constant
        # At a double root the slope vanishes too, and what is left of both is rounding.
        step = np.where(slope > _FLAT, np.clip(excess / np.maximum(slope, _FLAT), 0.0, 1.0), 0.0)
        value -= step
        if step.max(initial=0.0) < _CONVERGED:
            break
    return value


def _by_line(b: np.ndarray) -> np.ndarray:
    """Rotations (3, 3, p) where points lie on a line, and one about it is free: the shortest from line to line.

    Args:
        b: (3, 3, p) transposed covariances.
    """
    u, _, vt = np.linalg.svd(np.moveaxis(b, -1, 0))
    to, of = u[:, :, 0], vt[:, 0]
    half, cosine = to + of, 1.0 + (to * of).sum(axis=1)
    outer = np.einsum("pi,pj->pij", half, half) / np.maximum(cosine, 1e-6)[:, None, None]
    turn = np.eye(3) - outer + 2.0 * np.einsum("pi,pj->pij", to, of)
    back = cosine < 1e-6  # half a turn, about any axis across the line: 2 p p^T - 1
    across = np.eye(3)[np.abs(of).argmin(axis=1)]
    across -= (across * of).sum(axis=1, keepdims=True) * of
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    turn[back] = 2.0 * np.einsum("pi,pj->pij", across, across)[back] - np.eye(3)
    turn[np.abs(b).sum(axis=(0, 1)) < 0.5] = np.eye(3)  # one point
    return np.moveaxis(turn, 0, -1)
