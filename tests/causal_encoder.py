"""A small causal network for tests: position i sees positions j <= i alone."""

import torch
from torch import nn

from protgen.encoders.base import Encoder
from protgen.types import Features


class Past(Encoder):
    """A recurrent network over chosen fields, each with its width, and y."""

    symmetry = "none"
    vector_dim = 0

    def __init__(self, fields: dict[str, int], residue_dim: int = 0, global_dim: int = 2, dim: int = 32):
        super().__init__()
        self.scalar_dim = dim
        self.fields = fields
        self.net = nn.GRU(sum(fields.values()) + residue_dim + global_dim, dim, batch_first=True)

    def forward(self, state, t, cond, x_pred=None):
        b, n = state.mask.shape
        fields = [state[name].reshape(b, n, -1) for name in self.fields]
        x = torch.cat([*fields, cond.residue, cond.globals[:, None].expand(b, n, -1)], -1)
        scalars = self.net(x)[0]
        return Features(scalars, x.new_zeros(b, n, 0, 3))
