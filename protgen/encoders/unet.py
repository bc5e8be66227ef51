"""U-Net for images: residual blocks with group norm, attention at the lowest resolution, skips between equal sizes.

An image is a state with one field `pixels` (b, height * width, channels), row by row, without padding. y of each pixel
and x_pred enter as further channels; time and global y scale and shift every block.

References:
    Ronneberger et al. 2015, U-Net.
    Ho et al. 2020, Denoising Diffusion Probabilistic Models, appendix B.
    Dhariwal and Nichol 2021, Diffusion Models Beat GANs, section 3.1 (scale and shift of the group norm).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from protgen.encoders.base import Encoder, ImageShape
from protgen.errors import ConfigError, UsageError
from protgen.nn.embedding import fourier_features
from protgen.types import Conditioning, Features, State


def group_norm(channels: int) -> nn.GroupNorm:
    """Eight groups, or the most that divide the channels."""
    return nn.GroupNorm(math.gcd(8, channels), channels)


def zero(layer: nn.Module) -> None:
    """Start a layer as nothing, so that its residual is the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class ResidualBlock(nn.Module):
    """Two convolutions; the embedding scales and shifts between them. The last one starts at zero."""

    def __init__(self, channels_in: int, channels_out: int, embedding: int) -> None:
        super().__init__()
        self.norm_in = group_norm(channels_in)
        self.conv_in = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * channels_out)
        self.norm_out = group_norm(channels_out)
        self.conv_out = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.skip = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()
        zero(self.conv_out)

    def forward(self, x: Tensor, embedding: Tensor) -> Float[Tensor, "b c h w"]:
        """Features of the same size."""
        hidden = self.conv_in(nn.functional.silu(self.norm_in(x)))
        scale, shift = self.modulation(embedding)[..., None, None].chunk(2, dim=1)
        hidden = nn.functional.silu(self.norm_out(hidden) * (1 + scale) + shift)
        return self.skip(x) + self.conv_out(hidden)


class PixelAttention(nn.Module):
    """Self-attention over all pixels."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        zero(self.out)

    def forward(self, x: Tensor) -> Float[Tensor, "b c h w"]:
        """Features of the same size."""
        b, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(b, 3, self.heads, channels // self.heads, height * width)
        q, k, v = qkv.transpose(-1, -2).unbind(1)
        attended = nn.functional.scaled_dot_product_attention(q, k, v)
        return x + self.out(attended.transpose(-1, -2).reshape(b, channels, height, width))


class Level(nn.Module):
    """The blocks of one resolution, with attention behind each where it is the lowest."""

    def __init__(self, widths: Sequence[tuple[int, int]], embedding: int, heads: int | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(one, two, embedding) for one, two in widths)
        self.attention = nn.ModuleList(PixelAttention(two, heads) for _, two in widths) if heads else None

    def forward(self, x: Tensor, embedding: Tensor) -> Float[Tensor, "b c h w"]:
        """Features of the same size."""
        for number, block in enumerate(self.blocks):
            x = block(x, embedding)
            if self.attention is not None:
                x = self.attention[number](x)
        return x


class UNetEncoder(Encoder):
    """U-Net over an image.

    Args:
        residue_dim: width of the conditioning of each pixel.
        global_dim: width of the conditioning of the image.
        dim: channels at full resolution, and of the scalars it returns.
        image: shape of an image; its fields are keywords of a config.
        multipliers: channels of each resolution in units of dim; each is half as wide and high as the one before.
        blocks: residual blocks of a resolution.
        heads: attention heads at the lowest resolution.

    Raises:
        ConfigError: if there are more resolutions than the image can be halved, one has no channels, or channels do
            not divide by heads.
    """

    symmetry = "none"
    reads = ("pixels",)
    vector_dim = 0
    local = True

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
        image: ImageShape | None = None,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 2,
        heads: int = 4,
    ) -> None:
        super().__init__()
        image = image or ImageShape()
        height, width, channels = image.height, image.width, image.channels
        if any(multiplier < 1 for multiplier in multipliers):
            raise ConfigError(f"multipliers {list(multipliers)}: each is at least 1")
        if min(height, width) < 2 ** (len(multipliers) - 1) or not multipliers:
            raise ConfigError(f"{len(multipliers)} resolutions do not fit an image of {height} x {width} pixels")
        widths = [dim * multiplier for multiplier in multipliers]
        if widths[-1] % heads:
            raise ConfigError(f"{widths[-1]} channels at the lowest resolution do not divide by {heads} heads")
        self.height, self.width, self.channels = height, width, channels
        self.scalar_dim = dim
        inner = 4 * dim
        self.embed = nn.Sequential(nn.Linear(global_dim + 64 + 1, inner), nn.SiLU(), nn.Linear(inner, inner), nn.SiLU())
        self.read = nn.Conv2d(2 * channels + residue_dim, dim, 3, padding=1)
        last = len(widths) - 1
        before = [dim, *widths[:-1]]
        self.down = nn.ModuleList(
            Level([(one, two), *[(two, two)] * (blocks - 1)], inner, heads if i == last else None)
            for i, (one, two) in enumerate(zip(before, widths, strict=True))
        )
        self.halve = nn.ModuleList(nn.Conv2d(w, w, 3, stride=2, padding=1) for w in widths[:-1])
        self.up = nn.ModuleList(
            Level([(widths[i + 1] + widths[i], widths[i]), *[(widths[i], widths[i])] * (blocks - 1)], inner, None)
            for i in reversed(range(last))
        )
        self.norm = group_norm(dim)
        self.write = nn.Conv2d(widths[0], dim, 3, padding=1)

    def forward(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None
    ) -> Features:
        """Scalars (b, height * width, dim) and no vectors.

        Raises:
            UsageError: if the state is no image of this shape.
        """
        dtype = self.read.weight.dtype
        pixels = self.pixels(state)
        guess = torch.zeros_like(pixels) if x_pred is None else self.pixels(x_pred)
        flag = torch.full_like(t[:, None], float(x_pred is not None))
        globals = torch.cat([cond.globals.to(dtype), fourier_features(t * 1000, 64).to(dtype), flag.to(dtype)], dim=-1)
        embedding = self.embed(globals)
        x = torch.cat([pixels.to(dtype), guess.to(dtype), cond.residue.to(dtype)], dim=-1)
        # Channels first in memory too: with channels last, group norm in bfloat16 takes 40 % of a step on a CPU.
        x = self.read(x.transpose(1, 2).unflatten(-1, (self.height, self.width)).contiguous())
        skips = []
        for number, level in enumerate(self.down):
            x = level(x, embedding)
            if number < len(self.halve):
                skips.append(x)
                x = self.halve[number](x)
        for level in self.up:
            skip = skips.pop()
            x = nn.functional.interpolate(x, size=skip.shape[-2:], mode="nearest")
            x = level(torch.cat([x, skip], dim=1), embedding)
        x = self.norm(self.write(x))
        return Features(x.flatten(2).transpose(1, 2), x.new_zeros(len(t), self.height * self.width, 0, 3))

    def pixels(self, state: State) -> Float[Tensor, "b l c"]:
        """The pixels of a state, checked.

        Raises:
            UsageError: if they are missing or have another shape.
        """
        expected = (self.height * self.width, self.channels)
        found = tuple(state["pixels"].shape[1:]) if "pixels" in state.fields else tuple(state.fields)
        if found != expected:
            raise UsageError(f"unet reads pixels {expected} and the state has {found}; set height, width and channels")
        return state["pixels"]
