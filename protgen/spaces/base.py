"""The interface of spaces: what every family may ask of its data. Knows nothing of proteins.

A space is a set of fields, each on a manifold. It encodes data as points, decodes points, states the noise distribution
and the conventions of points, and builds the head that turns an encoder's features into a point. Whatever only some
families need is a capability of its own: `protgen.spaces.capabilities`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from protgen.spaces.manifolds import Manifold
from protgen.types import Batch, State


class Space(nn.Module, ABC):
    """The data space of a family: what its points are, and how they relate to data and noise.

    Attributes:
        manifolds: the manifold of each field, by name.
        displaced: flat fields that `head` predicts as a displacement of the noisy point, x_t + what it computes from
            features. A family that predicts another target than x_data takes the displacement alone.
        early: flat fields that samplers move to their prediction early, as they do rotations, where paths are straight.
        volume: the measure of densities, in words, with units.
    """

    manifolds: Mapping[str, Manifold]
    displaced: frozenset[str] = frozenset()
    early: frozenset[str] = frozenset()
    volume: ClassVar[str] = "the volume of its manifolds, in their own units"

    @classmethod
    def example(cls) -> "Space":
        """A small instance, for tests: by the defaults of its constructor unless a class says otherwise."""
        return cls()

    @abstractmethod
    def encode(self, batch: Batch) -> State:
        """Data as a point of the space."""

    @abstractmethod
    def decode(self, state: State) -> Batch:
        """A point of the space as data."""

    @property
    @abstractmethod
    def normals_per_position(self) -> int:
        """How many standard normals `noise` takes for each position."""

    @abstractmethod
    def noise(self, mask: Bool[Tensor, "b l"], normals: Float[Tensor, "b l k"]) -> State:
        """A sample of the noise distribution, a function of given standard normals: the caller owns the randomness.

        Flat fields are normal with standard deviation `noise_std` in each direction that `project` leaves, curved
        fields are uniform. Likelihoods rely on both.

        Args:
            mask: (b, l) which positions are real.
            normals: (b, l, k) independent standard normals with k = `normals_per_position`.
        """

    def temper(self, noise: State, temperature: float) -> State:
        """Noise at another temperature: flat fields are scaled; curved fields, whose noise is uniform, stay."""
        fields = {name: x if self.manifolds[name].curved else x * temperature for name, x in noise.fields.items()}
        return State(fields, noise.mask)

    @abstractmethod
    def scale(self, mask: Bool[Tensor, "b l"]) -> Mapping[str, Float[Tensor, " b"]]:
        """Typical standard deviation of each field, in its unit; losses of fields are divided by it."""

    def noise_std(self, mask: Bool[Tensor, "b l"]) -> Mapping[str, Float[Tensor, " b"]]:
        """Standard deviation of the noise of flat fields; `scale`, that of the data, by default."""
        scales = self.scale(mask)
        return {name: scales[name] for name, manifold in self.manifolds.items() if not manifold.curved}

    @abstractmethod
    def project(self, state: State) -> State:
        """Impose the conventions of the space: no centre of mass, zero padding."""

    def project_tangent(self, tangent: State) -> State:
        """The part of tangent vectors (b, l, dim) of each field that keeps the conventions; zero under padding."""
        return tangent.map(lambda x: masked(x, tangent.mask))

    def field_dof(self, mask: Bool[Tensor, "b l"]) -> dict[str, Float[Tensor, " b"]]:
        """Degrees of freedom of each field after the conventions of `project`."""
        return {name: mask.sum(-1) * float(manifold.dim) for name, manifold in self.manifolds.items()}

    def num_dof(self, mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """Degrees of freedom of each example after the conventions of `project`."""
        return torch.stack(list(self.field_dof(mask).values())).sum(0)

    @abstractmethod
    def head(self, scalar_dim: int, vector_dim: int) -> nn.Module:
        """A module (Features, State) -> State that predicts x_data from an encoder's features and the noisy point."""

    def reduce(self, error: Float[Tensor, "b l"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """Mean over the real positions of each example."""
        return (error * mask).sum(-1) / mask.sum(-1).clamp(min=1)


def masked(x: Tensor, mask: Bool[Tensor, "b l"]) -> Tensor:
    """x with zeros where the mask is False."""
    return torch.where(mask.reshape(mask.shape + (1,) * (x.ndim - 2)), x, torch.zeros_like(x))
