"""The tensor contract: the small frozen containers that spaces, encoders, families and samplers pass around.

Shapes: b batch, l residues (or pixels), d channels. Å and radians. `mask` is True where real, and everything under
False is zero (rotations: identity). Time runs from t = 0 (data) to t = 1 (noise).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from protgen.errors import DataError

CHAIN_GAP = 3  # positions: no residue has one of another chain among its neighbours along the chain


@dataclass(frozen=True)
class Batch:
    """Examples as a data set gives them, dense and padded.

    Attributes:
        arrays: named tensors whose first axis is b, and second l where they are per residue.
        mask: (b, l) True where a residue is real.
    """

    arrays: Mapping[str, Tensor]
    mask: Bool[Tensor, "b l"]

    def __getitem__(self, name: str) -> Tensor:
        """A field.

        Raises:
            DataError: if the batch does not have it.
        """
        if name not in self.arrays:
            raise DataError(f"the batch has no field {name!r}; it has {', '.join(self.arrays) or 'none'}")
        return self.arrays[name]

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        return Batch({k: v.to(device) for k, v in self.arrays.items()}, self.mask.to(device))


@dataclass(frozen=True)
class State:
    """A point of a space: one tensor for each of its fields, (b, l, ...), and the mask they share."""

    fields: Mapping[str, Tensor]
    mask: Bool[Tensor, "b l"]

    def __getitem__(self, name: str) -> Tensor:
        return self.fields[name]

    def map(self, function: Callable[[Tensor], Tensor]) -> "State":
        """The state with a function applied to each field."""
        return State({k: function(v) for k, v in self.fields.items()}, self.mask)

    def with_fields(self, **fields: Tensor) -> "State":
        """The state with some fields replaced."""
        return replace(self, fields={**self.fields, **fields})

    def detach(self) -> "State":
        """The state cut from the gradient tape."""
        return self.map(Tensor.detach)


@dataclass(frozen=True)
class Conditioning:
    """What is known of y, as an encoder reads it: values, and flags for whether each is given.

    A condition that is not given has value 0 and flag 0: the null token of classifier-free guidance.

    Attributes:
        residue: (b, l, c) features of each residue.
        globals: (b, g) features of the whole structure.
        pair: (b, l, l, p) features of pairs of residues, for encoders that read them; None for none.
        chains: (b, l) number of the chain of each position, from 0 and ascending, for encoders that tell chains apart;
            None for one chain. Between two chains are `CHAIN_GAP` positions that are not real.
    """

    residue: Float[Tensor, "b l c"]
    globals: Float[Tensor, "b g"]
    pair: Float[Tensor, "b l l p"] | None = None
    chains: Int[Tensor, "b l"] | None = None

    def rows(self, change: Callable[[Tensor], Tensor]) -> "Conditioning":
        """The conditioning with a change of the first axis, the batch, made to each of its parts."""
        return Conditioning(
            change(self.residue),
            change(self.globals),
            None if self.pair is None else change(self.pair),
            None if self.chains is None else change(self.chains),
        )


@dataclass(frozen=True)
class Features:
    """What an encoder returns.

    Attributes:
        scalars: (b, l, d) invariant features.
        vectors: (b, l, v, 3) equivariant vectors, which turn with the structure and ignore its position. By convention
            the first three are the proposals a frame head reads: displacement (Å), and changes of the x and y axes.
    """

    scalars: Float[Tensor, "b l d"]
    vectors: Float[Tensor, "b l v 3"]


@dataclass(frozen=True)
class Losses:
    """A training loss: the scalar to minimise, and its named parts for the log."""

    total: Float[Tensor, ""]
    terms: Mapping[str, Tensor]


JSON = dict[str, Any]
