"""Gated PixelCNN: masked convolutions over an image, for families that go from pixel to pixel.

A vertical stack sees all rows above, a horizontal stack the row so far; together they see every earlier pixel, without
the blind spot of a single masked stack. Position i sees positions j <= i of the state: families hand it what is before
each pixel (`PositionalContext`; pixels before it by default), so the pixel itself never enters.

References:
    van den Oord et al. 2016, Conditional Image Generation with PixelCNN Decoders, section 2.2 and eq. 2-4.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from protgen.encoders.base import Encoder
from protgen.errors import ConfigError, UsageError
from protgen.nn.inputs import InputEmbedding
from protgen.types import Conditioning, Features, State


class Gate(nn.Module):
    """tanh times sigmoid of two halves, shifted by what is known of the whole."""

    def __init__(self, dim: int, global_dim: int) -> None:
        super().__init__()
        self.shift = nn.Linear(global_dim, 2 * dim)

    def forward(self, x: Float[Tensor, "b c h w"], globals: Float[Tensor, "b d"]) -> Float[Tensor, "b k h w"]:
        """Half as many channels."""
        a, b = (x + self.shift(globals)[..., None, None]).chunk(2, dim=1)
        return a.tanh() * b.sigmoid()


class Layer(nn.Module):
    """One layer of both stacks; the vertical one feeds the horizontal one, never the other way round."""

    def __init__(self, dim: int, kernel: int, last: bool) -> None:
        super().__init__()
        self.reach = kernel // 2
        # Rows above and columns to both sides; shifted down by a row on its way to the horizontal stack.
        self.vertical = nn.Conv2d(dim, 2 * dim, (self.reach + 1, kernel))
        self.across = nn.Conv2d(2 * dim, 2 * dim, 1)
        self.horizontal = nn.Conv2d(dim, 2 * dim, (1, self.reach + 1))
        self.gate_vertical = None if last else Gate(dim, dim)
        self.gate_horizontal = Gate(dim, dim)
        self.out = nn.Conv2d(dim, dim, 1)

    def forward(self, above: Tensor, row: Tensor, globals: Tensor) -> tuple[Tensor, Tensor]:
        """Updated vertical and horizontal stacks, (b, d, h, w) each."""
        down = self.vertical(nn.functional.pad(above, (self.reach, self.reach, self.reach, 0)))
        # The vertical stack at row r has seen row r itself, of which later columns are still to come.
        earlier = nn.functional.pad(down, (0, 0, 1, 0))[:, :, :-1]
        along = self.horizontal(nn.functional.pad(row, (self.reach, 0, 0, 0))) + self.across(earlier)
        above = down if self.gate_vertical is None else self.gate_vertical(down, globals)
        return above, row + self.out(self.gate_horizontal(along, globals))


class PixelCNNEncoder(Encoder):
    """Gated PixelCNN over images in row-major order.

    Args:
        residue_dim, global_dim: widths of the conditioning it reads.
        dim: channels of a stack.
        blocks: number of layers.
        kernel: width of the convolutions, odd.
        height, width: of the image, in pixels.
        channels: values of a pixel.
        causal: there is no other way; given for families that ask for it.

    Raises:
        ConfigError: if the kernel is even, or `causal` is False.
    """

    symmetry = "none"
    reads = ("pixels",)
    vector_dim = 0
    causality = "always"

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
        dim: int = 64,
        blocks: int = 8,
        kernel: int = 5,
        height: int = 28,
        width: int = 28,
        channels: int = 1,
        causal: bool = True,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0 or not causal:
            raise ConfigError(f"pixelcnn is causal and its kernel odd; causal={causal}, kernel={kernel} do not fit")
        self.scalar_dim = dim
        self.height, self.width = height, width
        self.inputs = InputEmbedding(residue_dim, global_dim, dim, row=width)
        self.read = nn.Linear(channels, dim)
        self.layers = nn.ModuleList(Layer(dim, kernel, number == blocks - 1) for number in range(blocks))
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None
    ) -> Features:
        """Scalars (b, l, dim); a state may end before the image does.

        Raises:
            UsageError: if it has more pixels than the image.
        """
        length = state.mask.shape[1]
        if length > self.height * self.width:
            raise UsageError(f"{length} pixels, but the images of this pixelcnn are {self.height} x {self.width}")
        scalars, globals = self.inputs(state.mask, t, cond, False)
        pixels = self.read(state["pixels"].to(scalars.dtype))
        # What is before a pixel comes shifted by one along the rows. The rows above are whole and are set straight
        # again, or the pixel above the last of a row would stand at the other side of the image.
        straight = torch.cat([pixels[:, 1:], torch.zeros_like(pixels[:, :1])], 1)
        above, row = (
            nn.functional.pad(scalars + x, (0, 0, 0, -length % self.width))
            .transpose(1, 2)
            .unflatten(-1, (-1, self.width))
            for x in (straight, pixels)
        )
        for layer in self.layers:
            above, row = layer(above, row, globals)
        out = row.flatten(2).transpose(1, 2)[:, :length]
        return Features(self.norm(out), out.new_zeros(*out.shape[:2], 0, 3))
