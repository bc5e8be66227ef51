"""Layers over scalars and vectors in the global frame: geometric vector perceptrons, vector norms, a frame read-out.

Vectors are (n, 3, v): channels last, so that a mixing of channels is a matrix product.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from protgen.nn.precision import full_precision

Mixed = tuple[Float[Tensor, "n s"], Float[Tensor, "n 3 v"]]


class VectorPerceptron(nn.Module):
    """Geometric vector perceptron with vector gating: (s, V) -> (s', V').

    s' = act(W_m [|W_h V|, s] + b), V' = sigmoid(W_g s' + b) * W_v W_h V.

    References: Jing et al. 2021, Learning from Protein Structure with GVPs, algorithm 1; Jing et al. 2021, Equivariant
    Graph Neural Networks for 3D Macromolecular Structure, eq. 5 (gating).

    Args:
        scalars_in, vectors_in: channels it reads.
        scalars_out, vectors_out: channels it returns.
        activation: whether scalars pass an activation.
    """

    def __init__(
        self, scalars_in: int, vectors_in: int, scalars_out: int, vectors_out: int, activation: bool = True
    ) -> None:
        super().__init__()
        hidden = max(vectors_in, vectors_out)
        self.activation = activation
        self.hidden = nn.Linear(vectors_in, hidden, bias=False)
        self.scalars = nn.Linear(scalars_in + hidden, scalars_out)
        self.vectors = nn.Linear(hidden, vectors_out, bias=False)
        self.gate = nn.Linear(scalars_out, vectors_out)

    def forward(self, s: Float[Tensor, "n s"], v: Float[Tensor, "n 3 v"]) -> Mixed:
        """New scalars and vectors."""
        hidden = self.hidden(v)
        norms = (hidden.float() if hidden.dtype == torch.bfloat16 else hidden).square().sum(-2)
        s = self.scalars(torch.cat([s, (norms + 1e-8).sqrt().to(s.dtype)], dim=-1))
        s = nn.functional.silu(s) if self.activation else s
        return s, self.vectors(hidden) * torch.sigmoid(self.gate(s))[:, None]


def normalise_vectors(v: Float[Tensor, "n 3 v"]) -> Float[Tensor, "n 3 v"]:
    """Vectors over the root mean square of the channels' lengths (Jing et al. 2021, layer norm of vectors)."""
    return v / (v.square().sum(-2, keepdim=True).mean(-1, keepdim=True) + 1e-4).sqrt()


class FrameReadout(nn.Module):
    """The vectors of a frame head: displacement (Å), changes of the x and y axes.

    Each is a mixture of vector channels plus a vector in the residue's own axes; all are zero at the start.
    """

    def __init__(self, scalar_dim: int, vector_dim: int) -> None:
        super().__init__()
        self.mix = nn.Linear(vector_dim, 3, bias=False)
        self.own = nn.Linear(scalar_dim, 9)
        for parameter in (self.mix.weight, self.own.weight, self.own.bias):
            nn.init.zeros_(parameter)

    @full_precision
    def forward(
        self, s: Float[Tensor, "n s"], v: Float[Tensor, "n 3 v"], rots: Tensor, step: Float[Tensor, "n 1"]
    ) -> Float[Tensor, "n 3 3"]:
        """Three vectors for each node; `step` in Å is the size of a unit displacement.

        Args:
            s: scalars of nodes.
            v: vectors of nodes.
            rots: rotations of nodes.
            step: size of a unit displacement, Å.
        """
        dtype = self.own.weight.dtype
        own = self.own(s.to(dtype)).to(rots.dtype).unflatten(-1, (3, 3))
        vectors = self.mix(v.to(dtype)).to(rots.dtype).transpose(-1, -2) + own @ rots.transpose(-1, -2)
        return torch.cat([vectors[:, :1] * step[..., None], vectors[:, 1:]], dim=1)
