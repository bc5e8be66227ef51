"""What every encoder knows of a position before it looks at x: time, y, and its place along the chain."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from protgen.nn.embedding import fourier_features
from protgen.types import Conditioning


class InputEmbedding(nn.Module):
    """First scalars of positions, and the vector of time and whole-structure y that modulates later layers.

    Args:
        residue_dim, global_dim: widths of the conditioning.
        dim: width of what it returns.
        causal: places are counted from the start alone, so that nothing tells a position what follows it.
        row: places are row and column of a grid with rows of this length, in place of both ends of a chain.
    """

    def __init__(
        self, residue_dim: int, global_dim: int, dim: int, causal: bool = False, row: int | None = None
    ) -> None:
        super().__init__()
        self.causal, self.row = causal, row
        self.residue = nn.Linear(residue_dim + 16 + 1, dim)
        self.globals = nn.Sequential(nn.Linear(global_dim + 64, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(
        self, mask: Bool[Tensor, "b l"], t: Float[Tensor, " b"], cond: Conditioning, known: bool
    ) -> tuple[Float[Tensor, "b l d"], Float[Tensor, "b d"]]:
        """Scalars of positions and of the whole; `known` says whether there is an estimate of x_data."""
        dtype = self.residue.weight.dtype
        globals = self.globals(torch.cat([cond.globals.to(dtype), fourier_features(t * 1000, 64).to(dtype)], dim=-1))
        place = self.place(mask).to(dtype)
        flag = torch.full_like(place[..., :1], float(known))
        scalars = self.residue(torch.cat([cond.residue.to(dtype), place, flag], dim=-1))
        return scalars + globals[:, None], globals

    def place(self, mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l 16"]:
        """Features of the place along the chain, or on the grid; padding at the end of a chain does not matter."""
        b, length = mask.shape
        index = torch.arange(length, device=mask.device, dtype=torch.float32).expand(b, -1)
        if self.row is not None:  # of what is before as well: a place on a grid tells nothing of what follows
            pair = [torch.div(index, self.row, rounding_mode="floor"), index % self.row]
        elif self.causal:
            return fourier_features(index, 16, max_period=1000.0)
        else:
            pair = [index, mask.sum(-1, keepdim=True) - 1 - index]
        return fourier_features(torch.stack(pair, dim=-1), 8, max_period=100.0).flatten(-2)
