"""The input features of every encoder beside x: time, y, and the place along the chain."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from protgen.nn.embedding import fourier_features
from protgen.types import Conditioning


class InputEmbedding(nn.Module):
    """Initial scalars of positions, and the vector of time and whole-structure y that modulates later layers.

    Args:
        residue_dim, global_dim: widths of the conditioning.
        dim: width of both.
        causal: places are counted from the start only, so that no feature depends on later positions.
        row: length of a row of a grid; places are then row and column, and not the distances to both ends of a chain.
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
        """Scalars of positions and of the whole.

        Args:
            mask: which positions are real.
            t: times.
            cond: y.
            known: whether there is a prediction of x_data for self-conditioning.
        """
        dtype = self.residue.weight.dtype
        globals = self.globals(torch.cat([cond.globals.to(dtype), fourier_features(t * 1000, 64).to(dtype)], dim=-1))
        place = self.place(mask).to(dtype)
        flag = torch.full_like(place[..., :1], float(known))
        scalars = self.residue(torch.cat([cond.residue.to(dtype), place, flag], dim=-1))
        return scalars + globals[:, None], globals

    def place(self, mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l 16"]:
        """Features of the place along the chain, or on the grid; they do not depend on padding at the end."""
        b, length = mask.shape
        index = torch.arange(length, device=mask.device, dtype=torch.float32).expand(b, -1)
        if self.row is not None:  # also for causal ones: a place on a grid does not depend on later positions
            pair = [torch.div(index, self.row, rounding_mode="floor"), index % self.row]
        elif self.causal:
            return fourier_features(index, 16, max_period=1000.0)
        else:
            pair = [index, mask.sum(-1, keepdim=True) - 1 - index]
        return fourier_features(torch.stack(pair, dim=-1), 8, max_period=100.0).flatten(-2)
