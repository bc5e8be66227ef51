"""The interface of encoders: noisy points of a space in, invariant scalars and equivariant vectors out."""

from abc import ABC, abstractmethod
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from protgen.types import Conditioning, Features, State

Symmetry = Literal["E3", "SE3", "none"]


class Encoder(nn.Module, ABC):
    """A network over the positions of a state.

    Attributes:
        symmetry: the group under which scalars are invariant and vectors turn: E3 (reflections too), SE3, or none.
        scalar_dim: d of the scalars it returns.
        vector_dim: v of the vectors it returns, at least 3 where a head reads frames.
        reads: the fields a state must have for it; empty where it reads any.
    """

    symmetry: Symmetry
    scalar_dim: int
    vector_dim: int
    reads: tuple[str, ...] = ()

    @abstractmethod
    def forward(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None
    ) -> Features:
        """Encode a noisy state.

        Args:
            state: the noisy point x_t.
            t: (b,) time, 0 at data and 1 at noise.
            cond: what is known of y.
            x_pred: an earlier prediction of x_data for self-conditioning, None if there is none.
        """
