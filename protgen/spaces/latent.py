"""Latents of another model as a space of their own: R^dim at each position, without symmetries."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from protgen.spaces.base import Euclidean, Space, masked
from protgen.types import Batch, Features, State


class LatentHead(nn.Module):
    """Latents as what they are with noise, times a learned share, plus a linear function of an encoder's scalars.

    The share makes the identity, which is the answer near the data, free of charge; it starts as that.

    Args:
        scalar_dim: of the encoder's features.
        dim: width of a latent.
        field: that holds them.
    """

    def __init__(self, scalar_dim: int, dim: int, field: str = "latents") -> None:
        super().__init__()
        self.field = field
        self.read = nn.Linear(scalar_dim, dim)
        self.keep = nn.Parameter(torch.ones(dim))
        nn.init.zeros_(self.read.weight)
        nn.init.zeros_(self.read.bias)

    def forward(self, features: Features, state: State) -> State:
        """Prediction of the clean latents."""
        values = self.keep * state[self.field] + self.read(features.scalars.float())
        return state.with_fields(**{self.field: values})


class LatentSpace(Space):
    """Latents (b, l, dim) in the field `latents`, of mean 0 and spread 1; noise is standard normal.

    Args:
        dim: width of a latent.
    """

    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.dim = dim
        self.manifolds = {"latents": Euclidean(dim)}

    def encode(self, batch: Batch) -> State:
        """`latents` (b, l, dim) as they are."""
        return self.project(State({"latents": batch["latents"]}, batch.mask))

    def decode(self, state: State) -> Batch:
        """The latents themselves; the model they are of makes data of them."""
        return Batch({"latents": state["latents"]}, state.mask)

    def observe(self, state: State) -> Float[Tensor, "b l z"]:
        """The latents themselves."""
        return state["latents"]

    @property
    def normals_per_position(self) -> int:
        """One a dimension."""
        return self.dim

    def noise(self, mask: Bool[Tensor, "b l"], normals: Float[Tensor, "b l k"]) -> State:
        """Standard normals."""
        return State({"latents": masked(normals, mask)}, mask)

    def scale(self, mask: Bool[Tensor, "b l"]) -> dict[str, Float[Tensor, " b"]]:
        """1."""
        return {"latents": torch.ones(len(mask), device=mask.device)}

    def project(self, state: State) -> State:
        """Zeros under padding."""
        return state.map(lambda x: masked(x, state.mask))

    def align(self, noise: State, data: State) -> State:
        """Latents have no symmetry: the noise itself."""
        return noise

    def head(self, scalar_dim: int, vector_dim: int) -> nn.Module:
        """A linear map of the scalars."""
        return LatentHead(scalar_dim, self.dim)
