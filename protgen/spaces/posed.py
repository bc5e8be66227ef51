"""Latents that turn with what they are latents of: a few vectors at each position, the first of them a place.

A network of points of the frame's space reads them as such a point (`view`): a backbone's latents are three vectors a
residue, a noisy CA position and two noisy axes, which any encoder of frames takes.
"""

from typing import cast

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from protgen.spaces.base import Euclidean, Space, masked
from protgen.types import Batch, Features, State


class PosedHead(nn.Module):
    """The frame's own head, its answer as vectors, each times a gain read off scalars, plus a share of the noisy ones.

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
        noisy = state["latents"].unflatten(-1, (-1, 3))
        predicted = self.frame(features, self.space.from_vectors(noisy, state.mask))
        gain = self.gain(features.scalars.float())[..., None]
        vectors = gain * self.space.to_vectors(predicted) + self.keep[:, None] * noisy
        return state.with_fields(latents=vectors.flatten(2))


class PosedLatents(Space):
    """Vectors (b, l, 3 v) in the field `latents`, places centred; noise is standard normal, so the same in every pose.

    Args:
        frame: the space whose points the vectors tell.
    """

    def __init__(self, frame: Space) -> None:
        super().__init__()
        object.__setattr__(self, "frame", frame)
        self.frame: Space
        self.dim = 3 * frame.vectors
        self.manifolds = {"latents": Euclidean(self.dim)}

    def encode(self, batch: Batch) -> State:
        """`latents` (b, l, 3 v), centred."""
        return self.project(State({"latents": batch["latents"]}, batch.mask))

    def decode(self, state: State) -> Batch:
        """The latents themselves; the model they are of makes data of them."""
        return Batch({"latents": state["latents"]}, state.mask)

    def observe(self, state: State) -> Float[Tensor, "b l ..."]:
        """What the point that the vectors tell looks like."""
        return self.frame.observe(self.view(state))

    def view(self, state: State) -> State:
        """The point of the frame's space that the vectors tell."""
        return self.frame.from_vectors(state["latents"].unflatten(-1, (-1, 3)), state.mask)

    @property
    def normals_per_position(self) -> int:
        """One a coordinate."""
        return self.dim

    def noise(self, mask: Bool[Tensor, "b l"], normals: Float[Tensor, "b l k"]) -> State:
        """Standard normals, centred."""
        return self.project(State({"latents": normals}, mask))

    def scale(self, mask: Bool[Tensor, "b l"]) -> dict[str, Float[Tensor, " b"]]:
        """1."""
        return {"latents": torch.ones(len(mask), device=mask.device)}

    def project(self, state: State) -> State:
        """Places centred, zeros under padding."""
        return state.with_fields(latents=self.centred(state["latents"], state.mask))

    def project_tangent(self, tangent: State) -> State:
        """Without the motion of the centre of places."""
        return tangent.with_fields(latents=self.centred(tangent["latents"], tangent.mask))

    def centred(self, latents: Float[Tensor, "b l k"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l k"]:
        """Latents whose first vector has mean zero."""
        places = masked(latents[..., :3], mask)
        centre = places.sum(1, keepdim=True) / mask.sum(1)[:, None, None].clamp(min=1)
        return masked(latents - nn.functional.pad(centre, (0, self.dim - 3)), mask)

    def field_dof(self, mask: Bool[Tensor, "b l"]) -> dict[str, Float[Tensor, " b"]]:
        """All coordinates less three of the places, which are centred."""
        return {"latents": self.dim * mask.sum(-1).float() - 3}

    def align(self, noise: State, data: State) -> State:
        """Noise turned as a whole onto the data (least RMSD of places), which shortens the paths."""
        # Places are centred and zero under padding, so their covariance alone gives the rotation (Kabsch 1976).
        covariance = data["latents"][..., :3].transpose(1, 2) @ noise["latents"][..., :3]
        turn = cast(Tensor, roma.special_procrustes(covariance))
        vectors = noise["latents"].unflatten(-1, (-1, 3)) @ turn[:, None].transpose(-1, -2)
        return self.project(noise.with_fields(latents=vectors.flatten(2)))

    def head(self, scalar_dim: int, vector_dim: int) -> nn.Module:
        """The frame's head, and a gain."""
        return PosedHead(self.frame, scalar_dim, vector_dim)
