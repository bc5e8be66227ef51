"""Manifolds: where the fields of a space live, with their exponential and logarithm maps and heat kernels.

A family asks a manifold for geodesics, distances and, for diffusion, Brownian motion. Nothing here knows proteins.
"""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Manifold(ABC):
    """Where one field of a space lives.

    Tangent vectors are (..., dim): coordinates in an orthonormal frame that exists everywhere and whose fields have no
    divergence (the moving frame of a Lie group), so that coordinates at two points can be averaged, and the divergence
    of a vector field is the trace of the derivatives of its coordinates along the frame.

    Attributes:
        dim: dimension of its tangent space.
        curved: whether it is not R^dim; samplers schedule curved fields separately, and their noise is uniform.
        log_volume: log of its total volume where that is finite, in the unit of tangent vectors to the power dim.
    """

    dim: int
    curved: bool = True
    log_volume: float = math.inf

    @abstractmethod
    def expmap(self, x: Tensor, tangent: Tensor) -> Tensor:
        """The point reached from x along a tangent vector at x."""

    @abstractmethod
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """The tangent vector at x of the shortest geodesic to y."""

    @abstractmethod
    def squared_error(self, prediction: Tensor, target: Tensor) -> Float[Tensor, "b l"]:
        """A smooth squared distance, for losses."""

    def geodesic(self, x: Tensor, y: Tensor, fraction: Tensor) -> Tensor:
        """The point at a fraction of the geodesic from x to y; the fraction broadcasts against tangent vectors.

        Args:
            x: where the geodesic starts.
            y: where it ends.
            fraction: 0 at x, 1 at y; beyond, the geodesic is extended.
        """
        return self.expmap(x, fraction * self.logmap(x, y))

    def log_normaliser(self, std: Tensor) -> Tensor:
        """log of the integral of exp(-d(x, m)^2 / (2 std^2)) over x; that of flat space by default."""
        return self.dim * (std.log() + 0.5 * math.log(2 * math.pi))


class HeatKernel(ABC):
    """A manifold with the heat kernel of its Brownian motion in closed form: diffusion of a curved field needs it.

    The kernel k(x_t | x_data; std) solves dk/dv = 1/2 Laplacian k with v = std^2: for a small std it is a
    normal density in tangent vectors with that standard deviation in each coordinate.
    """

    @abstractmethod
    def diffuse(self, x: Tensor, std: Tensor, normals: Tensor) -> Tensor:
        """A draw of k( . | x; std), made of standard normals (..., dim); std broadcasts against them.

        Args:
            x: where the motion starts.
            std: standard deviation of the motion.
            normals: standard normals.
        """

    @abstractmethod
    def score(self, x_t: Tensor, x_data: Tensor, std: Tensor) -> Tensor:
        """Gradient of log k(x_t | x_data; std) in x_t: a tangent vector at x_t.

        Args:
            x_t: where the score is evaluated.
            x_data: the centre of the kernel.
            std: of the kernel.
        """

    @abstractmethod
    def log_kernel(self, x_t: Tensor, x_data: Tensor, std: Tensor) -> Float[Tensor, "b l"]:
        """log k(x_t | x_data; std), a density with respect to the volume of the manifold.

        Args:
            x_t: where the density is evaluated.
            x_data: the centre of the kernel.
            std: of the kernel.
        """

    @abstractmethod
    def log_ratio(
        self, x_t: Tensor, x_data: Tensor, std: Tensor, exists: Bool[Tensor, "b l d"]
    ) -> Float[Tensor, "b l"]:
        """log of k(x_t | x_data; std) over the uniform density, of the coordinates that exist.

        Args:
            x_t: where the densities are evaluated.
            x_data: the centre of the kernel.
            std: of the kernel.
            exists: which coordinates exist; unless a manifold is a product of circles, all of a position or none.
        """


class Euclidean(Manifold):
    """R^dim with the usual distance."""

    curved = False

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def expmap(self, x: Tensor, tangent: Tensor) -> Tensor:
        """Sum of x and the tangent vector."""
        return x + tangent

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Difference y - x."""
        return y - x

    def squared_error(self, prediction: Tensor, target: Tensor) -> Float[Tensor, "b l"]:
        """Squared Euclidean distance over the last axis."""
        return (prediction - target).square().sum(-1)


class Torus(Manifold, HeatKernel):
    """Angles in [-pi, pi), each coordinate a circle; distances follow the shorter arc.

    Flat, but compact: like rotations it has no scale that noise could be tempered to.

    References:
        Jing et al. 2022, Torsional Diffusion, section 3.2 (wrapped normal and its score).
    """

    curved = True

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.log_volume = dim * math.log(2 * math.pi)

    def expmap(self, x: Tensor, tangent: Tensor) -> Tensor:
        """Sum of x and the tangent vector, wrapped."""
        return wrap(x + tangent)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Difference y - x along the shorter arc."""
        return wrap(y - x)

    def squared_error(self, prediction: Tensor, target: Tensor) -> Float[Tensor, "b l"]:
        """Sum of 2 (1 - cos difference): the squared angle near 0, and smooth everywhere."""
        return (2 - 2 * (prediction - target).cos()).sum(-1)

    def log_normaliser(self, std: Tensor) -> Tensor:
        """That of a normal density cut off half a turn away, circle by circle."""
        inside = torch.erf(math.pi / (std * math.sqrt(2)))
        return self.dim * (std.log() + 0.5 * math.log(2 * math.pi) + inside.log())

    def diffuse(self, x: Tensor, std: Tensor, normals: Tensor) -> Tensor:
        """A wrapped normal about x."""
        return wrap(x + std * normals)

    def score(self, x_t: Tensor, x_data: Tensor, std: Tensor) -> Tensor:
        """Mean of (image of x_data - x_t) / std^2 over the images, weighted by their normal densities."""
        difference, log_weights = self.images(x_t, x_data, std)
        return (log_weights.softmax(-1) * difference).sum(-1) / std.square()

    def log_kernel(self, x_t: Tensor, x_data: Tensor, std: Tensor) -> Float[Tensor, "b l"]:
        """log of the sum of normal densities over the images, summed over coordinates."""
        return self.log_kernels(x_t, x_data, std).sum(-1)

    def log_ratio(
        self, x_t: Tensor, x_data: Tensor, std: Tensor, exists: Bool[Tensor, "b l d"]
    ) -> Float[Tensor, "b l"]:
        """Summed over the circles that exist."""
        return ((self.log_kernels(x_t, x_data, std) + math.log(2 * math.pi)) * exists).sum(-1)

    def log_kernels(self, x_t: Tensor, x_data: Tensor, std: Tensor) -> Tensor:
        """log of the kernel of each circle by itself, (..., dim): what a torus is a product of.

        Args:
            x_t: where the density is evaluated.
            x_data: the centre of the kernel.
            std: of the kernel.
        """
        _, log_weights = self.images(x_t, x_data, std)
        return log_weights.logsumexp(-1) - 0.5 * math.log(2 * math.pi) - std.log()

    def images(self, x_t: Tensor, x_data: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """Differences x_data - x_t with -4 to 4 turns about the circle, and -difference^2 / (2 std^2): (..., dim, 9).

        Beyond 4 turns a difference exceeds 9 pi: a normal of standard deviation 4 rad has no weight there (exp(-25)).

        Args:
            x_t: angles.
            x_data: angles.
            std: standard deviation of each coordinate.
        """
        turns = 2 * math.pi * torch.arange(-4, 5, device=x_t.device, dtype=x_t.dtype)
        difference = wrap(x_data - x_t)[..., None] + turns
        return difference, -difference.square() / (2 * std[..., None].square())


def wrap(angle: Tensor) -> Tensor:
    """The same angle in [-pi, pi), radians."""
    return (angle + math.pi).remainder(2 * math.pi) - math.pi
