"""Latents that turn with what they are latents of: a few vectors at each position, the first of them a place.

A network of points of the frame's space reads them as such a point (`view`): a backbone's latents are three vectors a
residue, a noisy CA position and two noisy axes, which any encoder of frames takes. Axes have less noise than places and
settle early besides, by the exponential schedule that samplers of frames have for rotations (Yim et al. 2023,
FrameFlow, section 3.2).
"""

from typing import cast

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from protgen.spaces.base import Euclidean, Space, masked
from protgen.types import Batch, Features, State


class FrameLatentsHead(nn.Module):
    """The frame's own head, its answer as vectors times gains read off scalars, plus a fraction of the noisy ones.

    Frames have axes of length one; the mean of axes that are uncertain is shorter, which the gain can say.
    """

    def __init__(self, frame: Space, scalar_dim: int, vector_dim: int) -> None:
        super().__init__()
        # Not a submodule: a state_dict lists a thing once, and the family owns the space.
        object.__setattr__(self, "space", frame)
        self.space: Space
        self.frame = frame.head(scalar_dim, vector_dim)
        self.gain = nn.Linear(scalar_dim, frame.vectors)
        self.keep = nn.Parameter(torch.zeros(frame.vectors))
        nn.init.zeros_(self.gain.weight)
        nn.init.ones_(self.gain.bias)

    def forward(self, features: Features, state: State) -> State:
        """Prediction of the clean latents."""
        noisy = torch.cat([state["places"], state["axes"]], -1).unflatten(-1, (-1, 3))
        predicted = self.frame(features, self.space.from_vectors(noisy, state.mask))
        gain = self.gain(features.scalars.float())[..., None]
        vectors = gain * self.space.to_vectors(predicted) + self.keep[:, None] * noisy
        return state.with_fields(places=vectors[:, :, 0], axes=vectors[:, :, 1:].flatten(2))


class FrameLatents(Space):
    """Vectors of a frame: `places` (b, l, 3), centred, and `axes` (b, l, 3 (v - 1)); noise is the same in every pose.

    Args:
        frame: the space whose points the vectors tell.
        axes_noise: spread of the noise of axes in units of their own; that of places is 1.
    """

    early = frozenset({"axes"})

    def __init__(self, frame: Space, axes_noise: float = 0.4) -> None:
        super().__init__()
        object.__setattr__(self, "frame", frame)
        self.frame: Space
        self.axes_noise = axes_noise
        self.dim = 3 * frame.vectors
        self.manifolds = {"places": Euclidean(3), "axes": Euclidean(self.dim - 3)}

    def encode(self, batch: Batch) -> State:
        """`latents` (b, l, 3 v), places first; centred."""
        places, axes = batch["latents"].split([3, self.dim - 3], -1)
        return self.project(State({"places": places, "axes": axes}, batch.mask))

    def decode(self, state: State) -> Batch:
        """`latents` (b, l, 3 v); the model they are of makes data of them."""
        return Batch({"latents": torch.cat([state["places"], state["axes"]], -1)}, state.mask)

    def observe(self, state: State) -> Float[Tensor, "b l ..."]:
        """What the point that the vectors tell looks like."""
        return self.frame.observe(self.view(state))

    def view(self, state: State) -> State:
        """The point of the frame's space that the vectors tell."""
        return self.frame.from_vectors(self.decode(state)["latents"].unflatten(-1, (-1, 3)), state.mask)

    @property
    def normals_per_position(self) -> int:
        """One a coordinate."""
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
        """Without the motion of the centre of places."""
        return self.project(tangent)

    def field_dof(self, mask: Bool[Tensor, "b l"]) -> dict[str, Float[Tensor, " b"]]:
        """All coordinates less three of the places, which are centred."""
        count = mask.sum(-1).float()
        return {"places": 3 * (count - 1), "axes": (self.dim - 3) * count}

    def align(self, noise: State, data: State) -> State:
        """Noise turned as a whole onto the data (least RMSD of places), which shortens the paths."""
        # Places are centred and zero under padding, so their covariance alone gives the rotation (Kabsch 1976).
        covariance = data["places"].transpose(1, 2) @ noise["places"]
        turn = cast(Tensor, roma.special_procrustes(covariance)).transpose(1, 2)
        axes = noise["axes"].unflatten(-1, (-1, 3)) @ turn[:, None]
        return self.project(noise.with_fields(places=noise["places"] @ turn, axes=axes.flatten(2)))

    def head(self, scalar_dim: int, vector_dim: int) -> nn.Module:
        """The frame's head, and a gain."""
        return FrameLatentsHead(self.frame, scalar_dim, vector_dim)


def centred(places: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l 3"]:
    """Places of mean zero, zeros under padding."""
    places = masked(places, mask)
    mean = places.sum(1, keepdim=True) / mask.sum(1)[:, None, None].clamp(min=1)
    return masked(places - mean, mask)
