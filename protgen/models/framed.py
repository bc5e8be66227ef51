"""Encoders of frames over spaces of other coordinates: the chain is built, and the encoder reads its frames."""

from jaxtyping import Float
from torch import Tensor

from protgen.encoders.base import Encoder
from protgen.spaces.base import Space
from protgen.spaces.capabilities import Framed
from protgen.types import Conditioning, Features, State


class FramedEncoder(Encoder):
    """An encoder that reads the frames of points which have other coordinates.

    A point of torsions has no frames, and every encoder that is equivariant reads them. Gradients pass through the
    placement of the chain, so that a critic of frames teaches a generator of torsions.

    Args:
        network: reads frames.
        space: of the points, which places them.
    """

    def __init__(self, network: Encoder, space: Framed) -> None:
        super().__init__()
        self.network = network
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
        return self.network(self.space.with_frames(state), t, cond, guess)


def readable(space: Space, network: Encoder) -> Encoder:
    """The network itself, or one that reads the frames of a point where it needs them and the space has none.

    Args:
        space: of the points.
        network: an encoder, a critic or the like.
    """
    missing = set(network.reads) - set(space.manifolds)
    if missing and isinstance(space, Framed) and missing <= set(space.frame_fields):
        return FramedEncoder(network, space)
    return network
