"""A perceptron over all pixels at once: the smallest thing that learns an image, and the network of the first VAEs.

Every pixel has weights of its own, so it knows one size of image. y and latents of pixels enter by their mean over the
image, which for what is the same everywhere (a pooled latent) is that itself.

References:
    Kingma and Welling 2014, Auto-Encoding Variational Bayes, appendix C.
    Burda et al. 2016, Importance Weighted Autoencoders, section 5.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from protgen.encoders.base import Encoder
from protgen.errors import UsageError
from protgen.nn.embedding import fourier_features
from protgen.types import Conditioning, Features, State


class PerceptronEncoder(Encoder):
    """Hidden layers over the joined pixels, and a few scalars for each pixel out.

    Args:
        residue_dim: width of the conditioning of each pixel.
        global_dim: width of the conditioning of the image.
        dim: width of hidden layers.
        blocks: number of hidden layers.
        height, width, channels: shape of an image.
        scalar_dim: scalars of each pixel.
    """

    symmetry = "none"
    reads = ("pixels",)
    vector_dim = 0

    @classmethod
    def example(cls) -> dict[str, Any]:
        """Keywords of a narrow one."""
        return {"dim": 32}

    @classmethod
    def on_grid(cls, height: int, width: int, channels: int) -> dict[str, Any] | None:
        """Keywords for images of that shape."""
        return {"height": height, "width": width, "channels": channels}

    def __init__(
        self,
        residue_dim: int,
        global_dim: int,
        dim: int = 400,
        blocks: int = 2,
        height: int = 28,
        width: int = 28,
        channels: int = 1,
        scalar_dim: int = 8,
    ) -> None:
        super().__init__()
        self.scalar_dim = scalar_dim
        self.shape = (height * width, channels)
        values = height * width * channels
        self.image = nn.Linear(values, dim, bias=False)
        self.x_pred = nn.Linear(values, dim, bias=False)
        self.rest = nn.Linear(residue_dim + global_dim + 64 + 1, dim)
        self.hidden = nn.ModuleList(nn.Linear(dim, dim) for _ in range(blocks - 1))
        self.write = nn.Linear(dim, height * width * scalar_dim)

    def forward(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None
    ) -> Features:
        """Scalars (b, height * width, scalar_dim) and no vectors.

        Raises:
            UsageError: if the state is no image of this shape.
        """
        found = tuple(state["pixels"].shape[1:]) if "pixels" in state.fields else tuple(state.fields)
        if found != self.shape:
            raise UsageError(
                f"perceptron reads pixels {self.shape} and the state has {found}; set height, width and channels"
            )
        dtype = self.image.weight.dtype
        known = torch.full_like(t[:, None], float(x_pred is not None))
        rest = [cond.residue.mean(1), cond.globals, fourier_features(t * 1000, 64), known]
        x = self.rest(torch.cat([part.to(dtype) for part in rest], dim=-1))
        x = x + self.image(state["pixels"].flatten(1).to(dtype))
        if x_pred is not None:
            x = x + self.x_pred(x_pred["pixels"].flatten(1).to(dtype))
        x = nn.functional.silu(x)
        for layer in self.hidden:
            x = nn.functional.silu(layer(x))
        scalars = self.write(x).unflatten(-1, (self.shape[0], self.scalar_dim))
        return Features(scalars, scalars.new_zeros(*state.mask.shape, 0, 3))
