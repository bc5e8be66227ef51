"""The latents of another model as a space: R^dim at each position, without symmetries."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from protgen.spaces.base import Space, masked
from protgen.spaces.capabilities import Positional
from protgen.spaces.manifolds import Euclidean
from protgen.types import Batch, Features, State


class LatentHead(nn.Module):
    """Predicts latents: a learned fraction of the noisy latents, plus a linear function of an encoder's scalars.

    The fraction is 1 at the start: the head is the identity, which is the answer near the data.

    Args:
        scalar_dim: of the encoder's features.
        dim: width of a latent.
        field: the name of their field.
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


class LatentSpace(Space, Positional):
    """Latents (b, l, dim) in the field `latents`, of mean 0 and standard deviation 1; noise is standard normal.

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
        """The latents themselves; the model that they belong to decodes them to data."""
        return Batch({"latents": state["latents"]}, state.mask)

    @property
    def normals_per_position(self) -> int:
        """One for each dimension."""
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

    def head(self, scalar_dim: int, vector_dim: int) -> nn.Module:
        """A linear map of the scalars."""
        return LatentHead(scalar_dim, self.dim)
