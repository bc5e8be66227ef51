"""Layers that time and y modulate."""

from jaxtyping import Float
from torch import Tensor, nn


class Modulation(nn.Module):
    """Layer norm whose scale and shift follow time and y (Perez et al. 2018, FiLM; Peebles and Xie 2023, adaLN).

    At the start it is a plain layer norm.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.read = nn.Linear(dim, 2 * dim)
        nn.init.zeros_(self.read.weight)
        nn.init.zeros_(self.read.bias)

    def forward(self, x: Float[Tensor, "*n d"], globals: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """Normalised features, scaled and shifted."""
        scale, shift = self.read(globals).chunk(2, dim=-1)
        return self.norm(x) * (1 + scale) + shift
