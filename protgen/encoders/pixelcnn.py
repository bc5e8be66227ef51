"""Gated PixelCNN: masked convolutions over an image, for families that go from pixel to pixel.

A vertical stack sees all rows above, a horizontal stack the row so far; together they see every earlier pixel, without
the blind spot of a single masked stack. Position i sees positions j <= i of the state: families hand it what is before
each pixel (`PositionalContext`; pixels before it by default), so the pixel itself never enters.

References:
    van den Oord et al. 2016, Conditional Image Generation with PixelCNN Decoders, section 2.2 and eq. 2-4.
    Ramachandran et al. 2017, Fast Generation for Convolutional Autoregressive Models (what `extend` keeps).
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from protgen.encoders.base import Encoder, ImageShape, Incremental, Memory
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
    """One layer of both stacks; the vertical one feeds the horizontal one, never the other way round.

    Args:
        dim: channels of a stack.
        kernel: width of the convolutions.
        last: whether no layer follows, which would read the vertical stack.
        dilation: pixels from one place that a convolution reads to the next.
        residual: whether the vertical stack is added to, as the horizontal one is, in place of made anew.
    """

    def __init__(self, dim: int, kernel: int, last: bool, dilation: int = 1, residual: bool = False) -> None:
        super().__init__()
        self.reach, self.residual = kernel // 2 * dilation, residual
        # Rows above and columns to both sides; shifted down by a row on its way to the horizontal stack.
        self.vertical = nn.Conv2d(dim, 2 * dim, (kernel // 2 + 1, kernel), dilation=dilation)
        self.across = nn.Conv2d(2 * dim, 2 * dim, 1)
        self.horizontal = nn.Conv2d(dim, 2 * dim, (1, kernel // 2 + 1), dilation=dilation)
        self.gate_vertical = None if last else Gate(dim, dim)
        self.gate_horizontal = Gate(dim, dim)
        self.out = nn.Conv2d(dim, dim, 1)

    def forward(self, above: Tensor, row: Tensor, globals: Tensor) -> tuple[Tensor, Tensor]:
        """Updated vertical and horizontal stacks, (b, d, h, w) each."""
        down = self.vertical(nn.functional.pad(above, (self.reach, self.reach, self.reach, 0)))
        # The vertical stack at row r has seen row r itself, of which later columns are still to come.
        earlier = nn.functional.pad(down, (0, 0, 1, 0))[:, :, :-1]
        along = self.horizontal(nn.functional.pad(row, (self.reach, 0, 0, 0))) + self.across(earlier)
        return self.next_above(above, down, globals), row + self.out(self.gate_horizontal(along, globals))

    def next_above(self, above: Tensor, down: Tensor, globals: Tensor) -> Tensor:
        """What the next layer reads of the rows above; nothing reads it behind the last one.

        Args:
            above: vertical stack before the layer.
            down: what its convolution makes of it.
            globals: y and time of the whole.
        """
        if self.gate_vertical is None:
            return down
        gated = self.gate_vertical(down, globals)
        return above + gated if self.residual else gated

    def blank(self, row: Float[Tensor, "b d"], width: int) -> tuple[Tensor, ...]:
        """What `extend` keeps before the first pixel: no rows above, none of which says anything, and none before.

        Args:
            row: the horizontal stack at a pixel, for its shape and precision.
            width: of the image.
        """
        rows = row.new_zeros(*row.shape, self.reach, width)
        nothing = self.across(row.new_zeros(len(row), self.across.in_channels, 1, width))
        return rows, nothing[:, :, 0], row.new_zeros(*row.shape, self.reach)

    def extend(
        self, above: Tensor | None, row: Tensor, globals: Tensor, column: int, kept: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, Tensor, tuple[Tensor, ...]]:
        """Both stacks one pixel further.

        Args:
            above: vertical stack of the row above (b, d, 1, w) where the pixel is the first of a row; None elsewhere.
            row: horizontal stack at the pixel (b, d).
            globals: y and time of the whole.
            column: of the pixel.
            kept: the last rows of the vertical stack (b, d, reach, w), what the row above says to this one (b, 2 d, w),
                and the last pixels of the horizontal stack (b, d, reach).

        Returns:
            Vertical and horizontal stack behind the layer, and what is kept.
        """
        rows, said, before = kept
        if column == 0:
            before = torch.zeros_like(before)
        if above is not None:
            rows = torch.cat([rows, above.to(rows.dtype)], 2)
            down = self.vertical(nn.functional.pad(rows, (self.reach, self.reach, 0, 0)))
            rows, said = rows[:, :, 1:], self.across(down)[:, :, 0]
            above = self.next_above(above, down, globals)
        before = torch.cat([before, row[:, :, None].to(before.dtype)], -1)
        along = self.horizontal(before[:, :, None]) + said[:, :, None, column : column + 1]
        row = row + self.out(self.gate_horizontal(along, globals))[..., 0, 0]
        return above, row, (rows, said, before[:, :, 1:])


class PixelCNNEncoder(Encoder, Incremental):
    """Gated PixelCNN over images in row-major order.

    Args:
        residue_dim, global_dim: widths of the conditioning it reads.
        dim: channels of a stack.
        blocks: number of layers.
        kernel: width of the convolutions, odd.
        image: shape of an image; its fields are keywords of a config.
        dilations: of the layers in turn, so that few layers see far (van den Oord et al. 2016, WaveNet, section 2.1).
        residual: whether the vertical stack is added to from layer to layer, as the horizontal one is.
        causal: always True; accepted because families that need a causal encoder pass it.

    Raises:
        ConfigError: if the kernel is even, `causal` is False, or a dilation is below 1 or wider than the image.
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
        image: ImageShape | None = None,
        causal: bool = True,
        dilations: Sequence[int] = (1,),
        residual: bool = False,
    ) -> None:
        super().__init__()
        image = image or ImageShape()
        if kernel % 2 == 0 or not causal:
            raise ConfigError(f"pixelcnn is causal and its kernel odd; causal={causal}, kernel={kernel} do not fit")
        widest = max(image.height, image.width)
        if not dilations or min(dilations) < 1 or max(dilations) > widest:
            raise ConfigError(f"dilations {list(dilations)}: give one or more, from 1 to the image's {widest} pixels")
        self.scalar_dim = dim
        self.height, self.width = image.height, image.width
        self.inputs = InputEmbedding(residue_dim, global_dim, dim, row=image.width)
        self.read = nn.Linear(image.channels, dim)
        self.layers = nn.ModuleList(
            Layer(dim, kernel, number == blocks - 1, dilations[number % len(dilations)], residual)
            for number in range(blocks)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None
    ) -> Features:
        """Scalars (b, l, dim); a state may end before the image does.

        Raises:
            UsageError: if it has more pixels than the image.
        """
        length = self.checked_length(state)
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

    def extend(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, memory: Memory | None
    ) -> tuple[Float[Tensor, "b d"], Memory]:
        """Scalars of the last pixel; the vertical stack is extended by the row above at the first pixel of a row."""
        last, width = self.checked_length(state) - 1, self.width
        scalars, globals = self.inputs(state.mask, t, cond, False)
        pixels = self.read(state["pixels"].to(scalars.dtype))
        row, above = scalars[:, last] + pixels[:, last], None
        if last and last % width == 0:  # set straight: the pixel that a place of the row above holds is that place
            straight = scalars[:, last - width : last] + pixels[:, last - width + 1 : last + 1]
            above = straight.transpose(1, 2)[:, :, None]
        blocks = []
        for place, layer in enumerate(cast(Iterable[Layer], self.layers)):
            kept = memory.blocks[place] if memory else layer.blank(row, width)
            above, row, kept = layer.extend(above, row, globals, last % width, kept)
            blocks.append(kept)
        return self.norm(row), Memory(tuple(blocks))

    def checked_length(self, state: State) -> int:
        """How many pixels a state has.

        Raises:
            UsageError: if they are more than the image has.
        """
        length = state.mask.shape[1]
        if length > self.height * self.width:
            raise UsageError(f"{length} pixels, but the images of this pixelcnn are {self.height} x {self.width}")
        return length
