"""What is asked ahead of a position, for networks that otherwise see only what precedes it."""

import warnings

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from protgen.nn.embedding import fourier_features
from protgen.types import Conditioning


class Plan(nn.Module):
    """Features of y ahead of a position: residual convolutions over y and the distances to both ends, 104 wide.

    Args:
        given_dim: width of y, of a position and of the whole together; if 0 only the distances are read.
        dim: width of the result; 0 for none.
    """

    def __init__(self, given_dim: int, dim: int) -> None:
        super().__init__()
        self.given_dim = given_dim
        with warnings.catch_warnings():  # torch warns of a layer without outputs
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")
            self.read = nn.Linear(given_dim + 32, dim)
        self.steps = nn.ModuleList(
            nn.Conv1d(dim, dim, 9, padding=4 * dilation, dilation=dilation) for dilation in (1, 4, 8) if dim
        )

    def forward(self, cond: Conditioning, mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l p"]:
        """Features of each position; they do not depend on padding."""
        b, length = mask.shape
        index = torch.arange(length, device=mask.device, dtype=torch.float32).expand(b, -1)
        ends = torch.stack([index, mask.sum(-1, keepdim=True) - 1 - index], -1)
        place = fourier_features(ends, 16, max_period=1000.0).flatten(-2)
        given = torch.cat([cond.residue, cond.globals[:, None].expand(-1, length, -1)], -1)[..., : self.given_dim]
        real = mask[..., None].to(place.dtype)
        x = self.read(torch.cat([given.to(place.dtype), place], -1)) * real
        for step in self.steps:
            x = (x + nn.functional.silu(step(x.transpose(1, 2)).transpose(1, 2))) * real
        return x
