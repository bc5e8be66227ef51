"""What a family may know of its data: a space, made of fields that live on manifolds.

Knows nothing of proteins. A family asks a field's manifold for geodesics and a space for noise, losses that only the
space understands, and the head that turns an encoder's features into a point of the space.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from protgen.errors import UsageError
from protgen.nn.binned import Support
from protgen.spaces.observation import Observation, RiemannianNormal
from protgen.types import Batch, State


class Manifold(ABC):
    """Where one field of a space lives.

    Tangent vectors are (..., dim): coordinates in an orthonormal frame that exists everywhere and whose fields have no
    divergence (the moving frame of a Lie group), so that coordinates at two points can be averaged, and the divergence
    of a vector field is the trace of the derivatives of its coordinates along the frame.

    Attributes:
        dim: dimension of its tangent space.
        curved: whether it is not R^dim; samplers schedule curved fields apart, and their noise is uniform.
        log_volume: log of its whole volume where that is finite, in the unit of tangent vectors to the power dim.
    """

    dim: int
    curved: bool = True
    log_volume: float = math.inf

    @abstractmethod
    def expmap(self, x: Tensor, tangent: Tensor) -> Tensor:
        """The point reached from x along a tangent vector at x."""

    @abstractmethod
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """The tangent vector at x that leads to y on the shortest way."""

    @abstractmethod
    def squared_error(self, prediction: Tensor, target: Tensor) -> Float[Tensor, "b l"]:
        """A smooth squared distance, for losses."""

    def geodesic(self, x: Tensor, y: Tensor, fraction: Tensor) -> Tensor:
        """The point a fraction of the way from x to y; the fraction broadcasts against tangent vectors."""
        return self.expmap(x, fraction * self.logmap(x, y))

    def log_normaliser(self, std: Tensor) -> Tensor:
        """log of the integral of exp(-d(x, m)^2 / (2 spread^2)) over x; that of flat space unless overridden."""
        return self.dim * (std.log() + 0.5 * math.log(2 * math.pi))


class HeatKernel(ABC):
    """What a manifold adds on which Brownian motion is known in closed form: the diffusion of a curved field.

    The kernel k(x_t | x_data; spread) solves dk/dv = 1/2 Laplacian k with v = spread^2: for a small spread it is a
    normal in tangent vectors with that standard deviation in each coordinate.
    """

    @abstractmethod
    def diffuse(self, x: Tensor, std: Tensor, normals: Tensor) -> Tensor:
        """A draw of k( . | x; spread), made of standard normals (..., dim); the spread broadcasts against them."""

    @abstractmethod
    def score(self, x_t: Tensor, x_data: Tensor, std: Tensor) -> Tensor:
        """Gradient of log k(x_t | x_data; spread) in x_t: a tangent vector at x_t."""

    @abstractmethod
    def log_kernel(self, x_t: Tensor, x_data: Tensor, std: Tensor) -> Float[Tensor, "b l"]:
        """log k(x_t | x_data; spread), a density with respect to the volume of the manifold."""


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
    """Angles in [-pi, pi), each coordinate a circle; distances go the short way round.

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
        """Difference y - x on the short way round."""
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
        """Mean of (image of x_data - x_t) / spread^2 over the images, weighted by their normal densities."""
        way, log_weights = self.images(x_t, x_data, std)
        return (log_weights.softmax(-1) * way).sum(-1) / std.square()

    def log_kernel(self, x_t: Tensor, x_data: Tensor, std: Tensor) -> Float[Tensor, "b l"]:
        """log of the sum of normal densities over the images, summed over coordinates."""
        _, log_weights = self.images(x_t, x_data, std)
        return (log_weights.logsumexp(-1) - 0.5 * math.log(2 * math.pi) - std.log()).sum(-1)

    def images(self, x_t: Tensor, x_data: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """Ways from x_t to x_data with -4 to 4 turns about the circle, and -way^2 / (2 spread^2): (..., dim, 9).

        Beyond 4 turns a way is longer than 9 pi: a normal of spread 4 rad has no weight left there (exp(-25)).
        """
        turns = 2 * math.pi * torch.arange(-4, 5, device=x_t.device, dtype=x_t.dtype)
        way = wrap(x_data - x_t)[..., None] + turns
        return way, -way.square() / (2 * std[..., None].square())


def wrap(angle: Tensor) -> Tensor:
    """The same angle in [-pi, pi), radians."""
    return (angle + math.pi).remainder(2 * math.pi) - math.pi


class Space(nn.Module, ABC):
    """The data space of a family: what its points are and how they relate to data and noise.

    Attributes:
        manifolds: the manifold of each field, by name.
        displaced: flat fields that `head` reads as a displacement of the noisy point, x_t + what it reads off features,
            rather than as the point itself; a family that predicts something else than x_data takes the displacement.
        early: flat fields that samplers let settle early, as rotations do, where paths are straight.
        volume: what densities are with respect to, in words, with units.
        vectors: how many equivariant vectors tell a position (see `to_vectors`); 0 where there are no such.
    """

    manifolds: Mapping[str, Manifold]
    displaced: frozenset[str] = frozenset()
    early: frozenset[str] = frozenset()
    volume: ClassVar[str] = "the volume of its manifolds, in their own units"
    vectors: ClassVar[int] = 0

    @abstractmethod
    def encode(self, batch: Batch) -> State:
        """Data to a point of the space."""

    @abstractmethod
    def decode(self, state: State) -> Batch:
        """A point of the space back to data."""

    @abstractmethod
    def observe(self, state: State) -> Float[Tensor, "b l ..."]:
        """What a point looks like, differentiable: coordinates in Å, pixels. Energies are functions of it."""

    @abstractmethod
    def noise(self, mask: Bool[Tensor, "b l"], normals: Float[Tensor, "b l k"]) -> State:
        """A sample of the noise distribution, made of given standard normals so that randomness is the caller's.

        Flat fields are normal with the spread of `noise_spread` in each direction that `project` leaves, curved ones
        uniform: likelihoods rest on that.

        Args:
            mask: (b, l) which positions are real.
            normals: (b, l, k) independent standard normals with k = `normals_per_position`.
        """

    def temper(self, noise: State, temperature: float) -> State:
        """Noise of another temperature: flat fields are scaled; a compact one has no scale and stays."""
        fields = {name: x if self.manifolds[name].curved else x * temperature for name, x in noise.fields.items()}
        return State(fields, noise.mask)

    @property
    @abstractmethod
    def normals_per_position(self) -> int:
        """How many standard normals a position of `noise` takes."""

    @abstractmethod
    def scale(self, mask: Bool[Tensor, "b l"]) -> Mapping[str, Float[Tensor, " b"]]:
        """Typical spread of each field, in its unit, used to put losses of different fields on one footing."""

    def noise_std(self, mask: Bool[Tensor, "b l"]) -> Mapping[str, Float[Tensor, " b"]]:
        """Standard deviation of the noise of flat fields; that of the data, `scale`, unless a space says otherwise."""
        scales = self.scale(mask)
        return {name: scales[name] for name, manifold in self.manifolds.items() if not manifold.curved}

    @abstractmethod
    def project(self, state: State) -> State:
        """Impose the conventions of the space: no centre of mass, zero padding."""

    def project_tangent(self, tangent: State) -> State:
        """The part of tangent vectors (b, l, dim) of each field that keeps the conventions; zero under padding."""
        return tangent.map(lambda x: masked(x, tangent.mask))

    def field_dof(self, mask: Bool[Tensor, "b l"]) -> dict[str, Float[Tensor, " b"]]:
        """Dimensions in which each field can vary, after the conventions of `project`."""
        return {name: mask.sum(-1) * float(manifold.dim) for name, manifold in self.manifolds.items()}

    @abstractmethod
    def head(self, scalar_dim: int, vector_dim: int) -> nn.Module:
        """A module (Features, State) -> State that reads an encoder's features as a prediction of x_data."""

    @abstractmethod
    def align(self, noise: State, data: State) -> State:
        """Noise moved by a symmetry of the space to lie as near to the data as it can (the identity if it has none)."""

    def auxiliary(self, prediction: State, target: State, t: Float[Tensor, " b"]) -> dict[str, Float[Tensor, " b"]]:
        """Further loss terms only this space can state, each (b,) and already weighted; none by default."""
        return {}

    def context(self, state: State) -> State:
        """What is before each position, as an encoder reads it: position i depends on the positions before i alone.

        For families that go from position to position. By default each field moved on by one, zeros at the first.
        """
        fields = {name: torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1) for name, x in state.fields.items()}
        return State(fields, state.mask)

    def defined(self, state: State) -> dict[str, Bool[Tensor, "b l d"]]:
        """Which coordinates of each field the state holds; all of them where the mask is True by default.

        Likelihoods are those of the observed coordinates.
        """
        return {name: state.mask[..., None].expand(*state.mask.shape, m.dim) for name, m in self.manifolds.items()}

    def support(self) -> Support | None:
        """The values that coordinates take, where they are discrete; None where they are not."""
        return None

    def grid(self) -> tuple[int, int] | None:
        """Height and width where positions are the cells of a grid, row by row; None where they are a chain."""
        return None

    def admissible(self, state: State) -> Bool[Tensor, " b"]:
        """Whether the last position fits those before it, for families that can choose among draws; by default yes."""
        return torch.ones(len(state.mask), dtype=torch.bool, device=state.mask.device)

    def blank(self, mask: Bool[Tensor, "b l"]) -> State:
        """A point that depends on the mask alone, from which a decoder starts; the middle of the noise by default."""
        return self.noise(mask, torch.zeros(*mask.shape, self.normals_per_position, device=mask.device))

    def view(self, state: State) -> State:
        """A point as an encoder reads it; itself by default."""
        return state

    def to_vectors(self, state: State) -> Float[Tensor, "b l v 3"]:
        """A point as `vectors` vectors of order one a position, which turn with it; the first is a place.

        Raises:
            UsageError: if points of the space are no things that turn.
        """
        raise UsageError(f"points of {type(self).__name__} are not made of vectors; use frame_latents=false")

    def from_vectors(self, vectors: Float[Tensor, "b l v 3"], mask: Bool[Tensor, "b l"]) -> State:
        """The point that vectors tell; any vectors tell one.

        Raises:
            UsageError: if points of the space are no things that turn.
        """
        raise UsageError(f"points of {type(self).__name__} are not made of vectors; use frame_latents=false")

    def observation(self, std: float = 0.5) -> Observation:
        """p(x_data | prediction): how far data may lie from what a decoder says, with a learned spread.

        Args:
            std: its start, in units of the scale of the data.
        """
        return RiemannianNormal(self, std)

    def pose(
        self, prediction: State, target: State, stds: Mapping[str, Tensor], rng: Generator | None
    ) -> tuple[State, Float[Tensor, " b"]]:
        """A prediction moved by a symmetry of the space towards a target, and the weight log p - log q of that motion.

        Spaces with symmetries override it; see `Observation.log_prob`.
        """
        return prediction, torch.zeros(len(target.mask), device=target.mask.device)

    def reduce(self, error: Float[Tensor, "b l"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """Mean over the real positions of each example."""
        return (error * mask).sum(-1) / mask.sum(-1).clamp(min=1)

    def num_dof(self, mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """Degrees of freedom of each example, without symmetries."""
        return torch.stack(list(self.field_dof(mask).values())).sum(0)


def masked(x: Tensor, mask: Bool[Tensor, "b l"]) -> Tensor:
    """x with zeros where the mask is False."""
    return torch.where(mask.reshape(mask.shape + (1,) * (x.ndim - 2)), x, torch.zeros_like(x))
