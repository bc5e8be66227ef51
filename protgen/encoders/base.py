"""The interface of encoders: noisy points of a space in, invariant scalars and equivariant vectors out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from protgen.types import Conditioning, Features, State

Symmetry = Literal["E3", "SE3", "none"]
Causality = Literal["never", "optional", "always"]


@dataclass(frozen=True)
class Memory:
    """What a causal encoder keeps of the positions that it has read.

    Attributes:
        blocks: for each block tensors (b, ...), of all positions so far or of those that later ones look at.
    """

    blocks: tuple[tuple[Tensor, ...], ...]

    def chosen(self, rows: Int[Tensor, " b"]) -> "Memory":
        """The memory of a batch that consists of these rows of this one."""
        return Memory(tuple(tuple(kept[rows] for kept in block) for block in self.blocks))


@dataclass(frozen=True)
class ImageShape:
    """Shape of the images that an encoder reads.

    Attributes:
        height: in pixels.
        width: in pixels.
        channels: values of a pixel.
    """

    height: int = 28
    width: int = 28
    channels: int = 1


class Encoder(nn.Module, ABC):
    """A network over the positions of a state.

    Its constructor takes `residue_dim` and `global_dim`, the widths of y, and further keywords with defaults. What a
    subclass declares here is what models and contract tests need to know of it.

    Attributes:
        symmetry: the group under which scalars are invariant and vectors turn: E3 (reflections too), SE3, or none.
        scalar_dim: d of the scalars it returns.
        vector_dim: v of the vectors it returns, at least 3 where a head reads frames.
        reads: the fields a state must have for it; empty where it reads any.
        causality: whether features at position i can be made to depend on positions up to i alone: never, with the
            keyword `causal=True` (optional), or always.
        exact_gradients: whether its derivatives by coordinates are those of its output. An encoder may cut some, for
            speed.
        tells_chains_apart: whether it reads the chains of a state (`Conditioning.chains`); for the others there is one.
        local: whether a change at one position is felt most near it, as in convolutions.
    """

    symmetry: Symmetry
    scalar_dim: int
    vector_dim: int
    reads: tuple[str, ...] = ()
    causality: ClassVar[Causality] = "never"
    exact_gradients: bool = True
    tells_chains_apart: ClassVar[bool] = False
    local: ClassVar[bool] = False

    @classmethod
    def example(cls) -> dict[str, Any]:
        """Keywords that make a small instance for tests, other than `residue_dim` and `global_dim`."""
        return {}

    @classmethod
    def on_grid(cls, height: int, width: int, channels: int) -> dict[str, Any] | None:
        """Keywords that make it read images in row-major order, field `pixels` (b, height * width, channels).

        Returns:
            None where it reads no images.
        """
        return None

    @classmethod
    def on_fields(cls, widths: Mapping[str, int], circles: Sequence[str]) -> dict[str, Any]:
        """Keywords that make it read a space of lines and circles, where it needs any.

        Args:
            widths: numbers of a position in each field.
            circles: the fields that are angles.
        """
        return {}

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


class Incremental(ABC):
    """A causal encoder that reads one position more at the price of one, not of all before it."""

    @abstractmethod
    def extend(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, memory: Memory | None
    ) -> tuple[Float[Tensor, "b d"], Memory]:
        """Scalars of the last position, equal to those of `forward` over the whole state.

        Args:
            state: the positions so far (b, i + 1), the last one new.
            t: (b,) times, those of the positions before.
            cond: y of the positions so far.
            memory: of the first i positions; None at the first.

        Returns:
            The scalars, which say nothing where the last position is padding, and the memory of i + 1 positions.
        """
