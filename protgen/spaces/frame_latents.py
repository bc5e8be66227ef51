"""Frame latents: equivariant vectors at each position, the first of them a position vector.

A network over the frame's space reads them as a point of that space (`view`). The latents of a backbone are three
vectors for each residue, a noisy CA position and two noisy axes, which any encoder of frames reads. Axes have less
noise than positions. Samplers also move them to their prediction early, by the exponential schedule of rotations (Yim
et al. 2023, FrameFlow, section 3.2).
"""

from typing import cast

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from protgen import registry
from protgen.spaces.base import Space, masked
from protgen.spaces.capabilities import Alignable, EncoderView, Positional, VectorPoints, require
from protgen.spaces.manifolds import Euclidean
from protgen.types import Batch, Features, State


class FrameLatentsHead(nn.Module):
    """The head of the frame's space, its prediction as vectors times gains, plus a fraction of the noisy vectors.

    Frames have axes of length one. The mean of uncertain axes is shorter: the gain, a function of scalars, allows that.
    """

    def __init__(self, frame: Space, scalar_dim: int, vector_dim: int) -> None:
        super().__init__()
        points = require(frame, VectorPoints, "frame latents")
        # Not a submodule: the family owns the space, and a state_dict lists each parameter once.
        object.__setattr__(self, "points", points)
        self.points: VectorPoints
        self.frame = frame.head(scalar_dim, vector_dim)
        self.gain = nn.Linear(scalar_dim, points.vectors)
        self.keep = nn.Parameter(torch.zeros(points.vectors))
        nn.init.zeros_(self.gain.weight)
        nn.init.ones_(self.gain.bias)

    def forward(self, features: Features, state: State) -> State:
        """Prediction of the clean latents."""
        noisy = torch.cat([state["places"], state["axes"]], -1).unflatten(-1, (-1, 3))
        predicted = self.frame(features, self.points.from_vectors(noisy, state.mask))
        gain = self.gain(features.scalars.float())[..., None]
        vectors = gain * self.points.to_vectors(predicted) + self.keep[:, None] * noisy
        return state.with_fields(places=vectors[:, :, 0], axes=vectors[:, :, 1:].flatten(2))


class FrameLatents(Space, Positional, Alignable, EncoderView):
    """Vectors of a frame: `places` (b, l, 3), centred, and `axes` (b, l, 3 (v - 1)); noise is the same in every pose.

    Args:
        frame: the space whose points are equivalent to the vectors.
        axes_noise: standard deviation of the noise of axes, which have length 1; that of positions is 1 unit.

    Raises:
        ConfigError: if points of the frame's space are not vectors.
    """

    early = frozenset({"axes"})

    def __init__(self, frame: Space, axes_noise: float = 0.4) -> None:
        super().__init__()
        points = require(frame, VectorPoints, "frame latents")
        object.__setattr__(self, "frame", frame)
        object.__setattr__(self, "points", points)
        self.frame: Space
        self.points: VectorPoints
        self.axes_noise = axes_noise
        self.dim = 3 * points.vectors
        self.manifolds = {"places": Euclidean(3), "axes": Euclidean(self.dim - 3)}

    @classmethod
    def example(cls) -> "FrameLatents":
        """Those of backbones."""
        return cls(registry.build("spaces", "backbone"))  # by name: families import this module and know no protein

    def encode(self, batch: Batch) -> State:
        """`latents` (b, l, 3 v), places first; centred."""
        places, axes = batch["latents"].split([3, self.dim - 3], -1)
        return self.project(State({"places": places, "axes": axes}, batch.mask))

    def decode(self, state: State) -> Batch:
        """`latents` (b, l, 3 v); the model that they belong to decodes them to data."""
        return Batch({"latents": torch.cat([state["places"], state["axes"]], -1)}, state.mask)

    def view(self, state: State) -> State:
        """The point of the frame's space that the vectors give."""
        return self.points.from_vectors(self.decode(state)["latents"].unflatten(-1, (-1, 3)), state.mask)

    @property
    def normals_per_position(self) -> int:
        """One for each coordinate."""
        return self.dim

    def noise(self, mask: Bool[Tensor, "b l"], normals: Float[Tensor, "b l k"]) -> State:
        """Normal vectors, places centred."""
        return self.project(State({"places": normals[..., :3], "axes": self.axes_noise * normals[..., 3:]}, mask))

    def noise_std(self, mask: Bool[Tensor, "b l"]) -> dict[str, Float[Tensor, " b"]]:
        """1 for places, `axes_noise` for axes."""
        one = torch.ones(len(mask), device=mask.device)
        return {"places": one, "axes": self.axes_noise * one}

    def scale(self, mask: Bool[Tensor, "b l"]) -> dict[str, Float[Tensor, " b"]]:
        """1."""
        return {name: torch.ones(len(mask), device=mask.device) for name in self.manifolds}

    def project(self, state: State) -> State:
        """Places centred, zeros under padding."""
        return State(
            {"places": centred(state["places"], state.mask), "axes": masked(state["axes"], state.mask)}, state.mask
        )

    def project_tangent(self, tangent: State) -> State:
        """Tangent vectors without the motion of the centre of places."""
        return self.project(tangent)

    def field_dof(self, mask: Bool[Tensor, "b l"]) -> dict[str, Float[Tensor, " b"]]:
        """All coordinates, minus three of the places, which are centred."""
        count = mask.sum(-1).float()
        return {"places": 3 * (count - 1), "axes": (self.dim - 3) * count}

    def align(self, noise: State, data: State) -> State:
        """Noise superposed as a whole on the data (least RMSD of places), which shortens the paths."""
        # Places are centred and zero under padding, so their covariance alone gives the rotation (Kabsch 1976).
        covariance = data["places"].transpose(1, 2) @ noise["places"]
        turn = cast(Tensor, roma.special_procrustes(covariance)).transpose(1, 2)
        axes = noise["axes"].unflatten(-1, (-1, 3)) @ turn[:, None]
        return self.project(noise.with_fields(places=noise["places"] @ turn, axes=axes.flatten(2)))

    def head(self, scalar_dim: int, vector_dim: int) -> nn.Module:
        """The head of the frame's space, with a gain."""
        return FrameLatentsHead(self.frame, scalar_dim, vector_dim)


def centred(places: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l 3"]:
    """Places of mean zero, zeros under padding."""
    places = masked(places, mask)
    mean = places.sum(1, keepdim=True) / mask.sum(1)[:, None, None].clamp(min=1)
    return masked(places - mean, mask)
