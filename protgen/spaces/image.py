"""Images as one vector a pixel: the space [-1, 1]^(h w c), Euclidean, or {-1, 1}^(h w c) where binary.

Field `pixels` (b, l, c) with l = height * width in row-major order; no padding. A grey value v of `levels` sits at the
middle of its cell of width 2 / levels, so that uniform dequantisation (v + u with u in [0, 1)) fills [-1, 1] evenly.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from protgen.errors import UsageError
from protgen.nn.binned import Support
from protgen.spaces.base import Space, masked
from protgen.spaces.capabilities import DiscreteValues, Grid, Observable, Positional
from protgen.spaces.manifolds import Euclidean
from protgen.spaces.observation import DiscretisedLogistic, Observation, ObservationModel, ScaledBernoulli
from protgen.types import Batch, Features, State


class PixelHead(nn.Module):
    """Pixels as a linear function of an encoder's scalars; a mean between -1 and 1 where they are binary.

    A learned fraction of the noisy pixels is added, 0 at the start: near the data the noisy pixels are the answer, and
    the blank image of a decoder adds nothing.
    """

    def __init__(self, scalar_dim: int, channels: int, binary: bool) -> None:
        super().__init__()
        self.read = nn.Linear(scalar_dim, channels)
        # Rows of norm one: with a single scalar, a small initial weight would slow the training of all layers below.
        nn.init.orthogonal_(self.read.weight)
        self.keep = nn.Parameter(torch.zeros(channels))
        self.binary = binary

    def forward(self, features: Features, state: State) -> State:
        """Prediction of the clean pixels."""
        pixels = self.read(features.scalars.float()) + self.keep * state["pixels"]
        return state.with_fields(pixels=pixels.tanh() if self.binary else pixels)


class Image(Space, Positional, Observable, DiscreteValues, Grid, ObservationModel):
    """Images of one size.

    Args:
        height, width: in pixels.
        channels: values of a pixel.
        levels: number of grey values of the data, 256 for bytes.
        binary: whether pixels are 0 or 1; `levels` is then 2.

    Raises:
        UsageError: if a size is not positive.

    Example:
        >>> space = Image(height=8, width=8, levels=17)
        >>> pixels = torch.randint(0, 17, (2, 64, 1))
        >>> bool((space.decode(space.encode(Batch({"pixels": pixels}, space.full_mask(2))))["pixels"] == pixels).all())
        True
    """

    def __init__(
        self, height: int = 28, width: int = 28, channels: int = 1, levels: int = 256, binary: bool = False
    ) -> None:
        super().__init__()
        if min(height, width, channels) < 1 or levels < 2:
            raise UsageError(
                f"image of {height} x {width} x {channels} with {levels} levels: "
                "sizes are at least 1, levels at least 2"
            )
        self.height = height
        self.width = width
        self.channels = channels
        self.binary = binary
        self.levels = 2 if binary else levels
        self.manifolds = {"pixels": Euclidean(channels)}

    def full_mask(self, count: int) -> Bool[Tensor, "b l"]:
        """The mask of that many images: every pixel is real."""
        return torch.ones(count, self.height * self.width, dtype=torch.bool)

    @classmethod
    def example(cls) -> "Image":
        """Four by five pixels of 17 grey values."""
        return cls(height=4, width=5, levels=17)

    def encode(self, batch: Batch) -> State:
        """Pixels on [-1, 1].

        Args:
            batch: `pixels` (b, l, c): whole grey values 0 to levels - 1, or, as floats, values dequantised already,
                in [0, levels] (see `protgen.data.images.dequantise`).

        Raises:
            UsageError: if the images have another size than the space.
        """
        pixels = batch["pixels"]
        if pixels.shape[1:] != (self.height * self.width, self.channels):
            raise UsageError(
                f"images have shape {tuple(pixels.shape[1:])} but the space is {self.height} x {self.width} x "
                f"{self.channels}; give (b, {self.height * self.width}, {self.channels})"
            )
        if self.binary:
            return State({"pixels": 2 * pixels.float() - 1}, batch.mask)
        value = pixels if pixels.is_floating_point() else pixels.float() + 0.5
        return State({"pixels": value * (2 / self.levels) - 1}, batch.mask)

    def decode(self, state: State) -> Batch:
        """The nearest grey values, `pixels` (b, l, c) uint8."""
        value = ((state["pixels"] + 1) / 2 * self.levels).floor().clamp(0, self.levels - 1)
        return Batch({"pixels": value.to(torch.uint8)}, state.mask)

    def observe(self, state: State) -> Float[Tensor, "b h w c"]:
        """Pictures with brightness 0 to 1, differentiable; a prediction may go a little beyond."""
        value = (state["pixels"] + 1) / 2
        # Grey value 0 sits half a cell above -1: black is black.
        value = value if self.binary else (value * self.levels - 0.5) / (self.levels - 1)
        return value.unflatten(1, (self.height, self.width))

    def bits_per_dim(self, nats: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Bits for each value from log p(x) of points of this space.

        For grey values: log P(v) >= E_u log p(v + u), and a cell has the volume 2 / levels, hence
        bits = -(nats / d + log(2 / levels)) / log 2. Binary pixels have a probability to begin with.

        References:
            Theis et al. 2016, A note on the evaluation of generative models, section 3.1.
        """
        log_volume = 0.0 if self.binary else math.log(2 / self.levels)
        return -(nats / (self.height * self.width * self.channels) + log_volume) / math.log(2)

    @property
    def normals_per_position(self) -> int:
        """One for each channel."""
        return self.channels

    def noise(self, mask: Bool[Tensor, "b l"], normals: Float[Tensor, "b l k"]) -> State:
        """Standard normal pixels."""
        return State({"pixels": masked(normals, mask)}, mask)

    def scale(self, mask: Bool[Tensor, "b l"]) -> dict[str, Float[Tensor, " b"]]:
        """1: half the range, and the standard deviation of the noise."""
        return {"pixels": torch.ones(len(mask), device=mask.device)}

    def project(self, state: State) -> State:
        """Zeros where the mask is False."""
        return state.map(lambda x: masked(x, state.mask))

    def head(self, scalar_dim: int, vector_dim: int) -> nn.Module:
        """A linear map of the scalars of a pixel."""
        return PixelHead(scalar_dim, self.channels, self.binary)

    def observation(self, std: float = 0.5) -> Observation:
        """Bernoulli where binary, else a discretised logistic."""
        return ScaledBernoulli() if self.binary else DiscretisedLogistic(self.levels, std)

    def support(self) -> Support:
        """Grey values at the centres of their cells, or two binary values, whose probabilities are exact."""
        if self.binary:
            return Support(-1.0, 2.0, 2, 1.0)
        return Support(1 / self.levels - 1, 2 / self.levels, self.levels, 2 / self.levels)

    def grid(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width
