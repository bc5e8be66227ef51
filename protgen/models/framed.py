"""Encoders of frames over spaces of other coordinates: the chain is built, and the encoder reads its frames."""

from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from protgen.encoders.base import Encoder
from protgen.spaces.base import Space
from protgen.spaces.capabilities import Framed
from protgen.spaces.manifolds import Torus
from protgen.types import Conditioning, Features, State


class FramedEncoder(Encoder):
    """An encoder that reads the frames of points which have other coordinates.

    A point of torsions has no frames, and every encoder that is equivariant reads them. Gradients pass through the
    placement of the chain, so that a critic of frames teaches a generator of torsions.

    In frames a torsion is seen by how it moves all that follows. A critic whose slopes are penalised may then tell
    little of torsions, so it can read the coordinates as well, beside y.

    Args:
        network: reads frames, and where coordinates are read y with `coordinate_width` more features of each position.
        space: of the points, which places them.
        coordinates: whether the coordinates are read too, angles by cosine and sine.
    """

    def __init__(self, network: Encoder, space: Framed, coordinates: bool = False) -> None:
        super().__init__()
        self.network = network
        self.coordinates = coordinates
        # Not a submodule: the family owns the space, and a state_dict lists each parameter once.
        object.__setattr__(self, "space", space)
        self.space: Framed
        self.symmetry, self.scalar_dim, self.vector_dim = network.symmetry, network.scalar_dim, network.vector_dim
        self.exact_gradients = network.exact_gradients

    def forward(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None
    ) -> Features:
        """Features of the frames; arguments as of `Encoder.forward`."""
        guess = None if x_pred is None else self.space.with_frames(x_pred)
        if self.coordinates:
            own = coordinates_of(cast(Space, self.space), state)
            cond = replace(cond, residue=torch.cat([cond.residue, own.to(cond.residue.dtype)], -1))
        return self.network(self.space.with_frames(state), t, cond, guess)


def coordinates_of(space: Space, state: State) -> Float[Tensor, "b l f"]:
    """The coordinates of each position, those on circles by cosine and sine; what does not exist has a fixed value."""
    state = space.project(state)
    found = []
    for name, manifold in space.manifolds.items():
        values = state[name].flatten(2)
        found += [values.cos(), values.sin()] if isinstance(manifold, Torus) else [values]
    return torch.cat(found, -1) * state.mask[..., None]


def coordinate_width(space: Space) -> int:
    """Features of a position that `coordinates_of` gives."""
    return sum((2 if isinstance(m, Torus) else 1) * m.dim for m in space.manifolds.values())


def needs_frames(space: Space, network: Encoder | type[Encoder]) -> bool:
    """Whether a network reads frames that a space builds and does not have."""
    missing = set(network.reads) - set(space.manifolds)
    return bool(missing) and isinstance(space, Framed) and missing <= set(space.frame_fields)


def readable(space: Space, network: Encoder, coordinates: bool = False) -> Encoder:
    """The network itself, or one that reads the frames of a point where it needs them and the space has none.

    Args:
        space: of the points.
        network: an encoder, a critic or the like.
        coordinates: whether the network reads the coordinates beside the frames.
    """
    return FramedEncoder(network, cast(Framed, space), coordinates) if needs_frames(space, network) else network
