"""The heat kernel of rotations, IGSO(3): density, score and sampling of Brownian motion on SO(3).

With respect to the uniform (Haar) measure of total 1, a rotation at angle w from the start of the Brownian
motion has the density

    f(w; s) = sum_{l >= 0} (2 l + 1) exp(-l (l + 1) s^2 / 2) sin((l + 1/2) w) / sin(w / 2),

where s is the standard deviation of each coordinate of the rotation vector when it is small. The angle
itself has the density (1 - cos w) / pi f(w; s) on [0, pi]. The series needs many terms for a small s. Poisson
summation turns it into a sum over the images w - 2 pi k, of which a few are enough there:

    f(w; s) = sqrt(8 pi) s^-3 exp(s^2 / 8) w / (2 sin(w / 2)) exp(-w^2 / (2 s^2)) M(w; s),
    M(w; s) = 1 + 2 sum_{k >= 1} (-1)^k exp(-2 pi^2 k^2 / s^2) [cosh(a_k) - (2 pi k)^2 / s^2 sinh(a_k) / a_k],

with a_k = 2 pi k w / s^2. Both are exact; each is used where its terms fall fast. Inside all is in double precision,
or in float32 on devices that know no other (mps), which costs 1e-4 of the score.

References:
    Nikolayev and Savyolov 1997, Normal distribution on the rotation group SO(3), eq. 10 and 13.
    Leach et al. 2022, Denoising Diffusion Probabilistic Models on SO(3) for Rotational Alignment, section 3.
    Yim et al. 2023, FrameDiff, proposition 3.1 and appendix E.
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from protgen.device import widest

CROSSOVER = 1.0  # rad; below it images, above it the series: at 1 both need 3 to 8 terms
TERMS = 12  # of the series: exp(-12 * 13 / 2) at the crossover
IMAGES = 3  # exp(-2 pi^2 k^2 (1 - 1 / k)) at the crossover and w = pi: exp(-118) for the third
SMALL = 1e-3  # rad; below it the angle's functions are replaced by their limits, whose error is O(w^2)


def log_density(angle: Float[Tensor, "*n"], std: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """log f(w; s): log-density of a rotation at that angle, with respect to the Haar measure of total 1.

    Args:
        angle: w in [0, pi], radians.
        std: s, radians; the two broadcast.
    """
    w, s = broadcast(angle, std)
    small = s < CROSSOVER
    by_images = log_by_images(w, torch.where(small, s, torch.full_like(s, 0.5)))
    by_series = series(w, torch.where(small, torch.full_like(s, 2.0), s)).clamp(min=least(w)).log()
    return torch.where(small, by_images, by_series).to(angle.dtype)


def score_over_angle(angle: Float[Tensor, "*n"], std: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """-(d log f / dw) / w: what the rotation vector back to the start is multiplied with to give the score.

    It is 1 / s^2 - 1 / 12 for a small angle, the score of a normal, and goes to 0 for a large s.

    Args:
        angle: w in [0, pi], radians.
        std: s, radians; the two broadcast.
    """
    w, s = broadcast(angle, std)
    small = s < CROSSOVER
    by_images = slope_by_images(w, torch.where(small, s, torch.full_like(s, 0.5)))
    by_series = slope_by_series(w, torch.where(small, torch.full_like(s, 2.0), s))
    return torch.where(small, by_images, by_series).to(angle.dtype)


def broadcast(angle: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the widest precision of the device and of one shape; angles kept off 0, where they would divide."""
    wide = widest(angle.device)
    w, s = torch.broadcast_tensors(angle.to(wide), std.to(wide))
    return w.clamp(min=SMALL), s


def least(x: Tensor) -> float:
    """A positive number that no density or sum here comes near, in the precision of x."""
    return 1e-300 if x.dtype == torch.float64 else 1e-37


def series(w: Tensor, s: Tensor) -> Tensor:
    """f by its series."""
    n = torch.arange(TERMS, device=w.device, dtype=w.dtype)
    weights = (2 * n + 1) * torch.exp(-n * (n + 1) * s[..., None].square() / 2)
    return (weights * ((n + 0.5) * w[..., None]).sin()).sum(-1) / (w / 2).sin()


def slope_by_series(w: Tensor, s: Tensor) -> Tensor:
    """-(df/dw) / (f w) by the series; d/dw [sin((l + 1/2) w) / sin(w / 2)] written as -sum_m 2 m sin(m w), m = 1..l."""
    n = torch.arange(TERMS, device=w.device, dtype=w.dtype)
    weights = (2 * n + 1) * torch.exp(-n * (n + 1) * s[..., None].square() / 2)
    # sin((l + 1/2) w) / sin(w / 2) = 1 + 2 sum_{m=1}^{l} cos(m w), so nothing cancels near 0.
    slopes = (2 * n * (n * w[..., None]).sin()).cumsum(-1)
    return (weights * slopes).sum(-1) / (series(w, s).clamp(min=least(w)) * w)


def image_sums(w: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """M(w; s) and its derivative in w. Each term is a sum of exponentials that never exceed 1."""
    value, slope = torch.ones_like(w), torch.zeros_like(w)
    for k in range(1, IMAGES + 1):
        turn = 2 * math.pi * k
        rate = turn / s.square()  # a = rate w
        grow = torch.exp(rate * w - turn**2 / (2 * s.square()))
        fall = torch.exp(-rate * w - turn**2 / (2 * s.square()))
        cosh, sinh = (grow + fall) / 2, (grow - fall) / 2
        # (turn / s)^2 sinh(a) / a = turn sinh(a) / w
        sign = 2 * (-1) ** k
        value = value + sign * (cosh - turn * sinh / w)
        slope = slope + sign * (rate * sinh - turn * rate * cosh / w + turn * sinh / w.square())
    return value, slope


def log_by_images(w: Tensor, s: Tensor) -> Tensor:
    """log f by images."""
    value, _ = image_sums(w, s)
    constant = 0.5 * math.log(8 * math.pi) - 3 * s.log() + s.square() / 8
    return constant + (w / (2 * (w / 2).sin())).log() - w.square() / (2 * s.square()) + value.clamp(min=least(w)).log()


def slope_by_images(w: Tensor, s: Tensor) -> Tensor:
    """-(d log f / dw) / w by images."""
    value, slope = image_sums(w, s)
    # 1 / w - cot(w / 2) / 2 is w / 12 + w^3 / 720 + w^5 / 30240 near 0, where the difference loses its digits.
    near = w / 12 + w**3 / 720 + w**5 / 30240
    exact = 1 / w - 0.5 / (w / 2).tan()
    frame = torch.where(w < (0.1 if w.dtype == torch.float64 else 0.5), near, exact)
    return 1 / s.square() - (frame + slope / value.clamp(min=least(w))) / w


def sample_angle(uniform: Float[Tensor, "b n"], std: Float[Tensor, " b"]) -> Float[Tensor, "b n"]:
    """Angles drawn by the inverse of their distribution function, which is tabulated for each s.

    Args:
        uniform: uniform numbers on [0, 1], in double precision.
        std: one for each row, radians.

    Returns:
        Angles in [0, pi], radians. The table has 1,024 points on [0, min(pi, 9 s)]; linear between them, the
        distribution function is met to 1e-5.
    """
    fraction = torch.linspace(0, 1, 1024, dtype=torch.float64, device=uniform.device)
    w = (9 * std.double()).clamp(max=math.pi)[:, None] * fraction
    # (1 - cos w) f: sin^2 keeps its digits for small angles.
    density = 2 * (w / 2).sin().square() * log_density(w, std.double()[:, None]).exp()
    steps = (density[:, 1:] + density[:, :-1]) / 2 * (w[:, 1:] - w[:, :-1])
    cumulative = torch.cat([torch.zeros_like(steps[:, :1]), steps.cumsum(-1)], -1)
    cumulative = cumulative / cumulative[:, -1:]
    right = torch.searchsorted(cumulative, uniform).clamp(1, w.shape[1] - 1)
    u0, u1 = cumulative.gather(1, right - 1), cumulative.gather(1, right)
    w0, w1 = w.gather(1, right - 1), w.gather(1, right)
    fraction = ((uniform - u0) / (u1 - u0).clamp(min=1e-300)).clamp(0, 1)
    return w0 + fraction * (w1 - w0)


@lru_cache(maxsize=1)
def stretch_table() -> Float[Tensor, "s r"]:
    """Angle over s where the normals have the length r: rows by log s, columns by r; r if flat."""
    stds = torch.linspace(math.log(LEAST), math.log(MOST), ROWS, dtype=torch.float64).exp()
    radii = torch.linspace(0, REACH, COLUMNS, dtype=torch.float64)
    # The distribution function of a chi variable of three degrees.
    uniform = torch.erf(radii / math.sqrt(2)) - math.sqrt(2 / math.pi) * radii * torch.exp(-radii.square() / 2)
    return sample_angle(uniform.expand(ROWS, -1).contiguous(), stds) / stds[:, None]


@lru_cache(maxsize=2)
def table_in(dtype: torch.dtype) -> Float[Tensor, "s r"]:
    """`stretch_table` in another precision, on the CPU."""
    return stretch_table().to(dtype)


# The table: s from 0.01 rad, where SO(3) is flat for all purposes, to 5, where rotations are uniform; normals of a
# length up to 6, beyond which one in 10^7 lies. Linear interpolation in it is good to 1e-3 of the angle.
LEAST, MOST, ROWS = 0.01, 5.0, 300
REACH, COLUMNS = 6.0, 601


def sample_rotvec(normals: Float[Tensor, "b *n 3"], std: Float[Tensor, " b"]) -> Float[Tensor, "b *n 3"]:
    """Rotation vectors of IGSO(3), made of three standard normals each.

    Their direction gives the axis. Their length, whose distribution function is that of a chi variable of three
    degrees, gives the uniform number from which the angle is drawn, by a table made once: for a small s the result
    is s times normals.
    """
    wide = widest(normals.device)
    table, std = table_in(wide).to(normals.device), std.to(wide)
    length = normals.to(wide).norm(dim=-1)
    row = (std / LEAST).log() / math.log(MOST / LEAST) * (ROWS - 1)
    row = row.clamp(0, ROWS - 1).reshape(-1, *[1] * (length.ndim - 1))
    column = (length / REACH * (COLUMNS - 1)).clamp(0, COLUMNS - 1)
    i, j = row.floor().long().clamp(max=ROWS - 2), column.floor().long().clamp(max=COLUMNS - 2)
    a, b = row - i, column - j
    low = table[i, j] * (1 - b) + table[i, j + 1] * b
    high = table[i + 1, j] * (1 - b) + table[i + 1, j + 1] * b
    stretch = (1 - a) * low + a * high
    std = std.clamp(max=MOST).reshape(row.shape)
    return (normals.to(wide) * (stretch * std / length.clamp(min=1e-12))[..., None]).to(normals.dtype)
