"""Spaces with nothing to them, for tests with known answers: flat, rotations, and a torus."""

import math

import torch
from torch import nn

from protgen.geometry import frames, so3
from protgen.spaces.backbone import Rotations
from protgen.spaces.base import Space
from protgen.spaces.capabilities import Observable
from protgen.spaces.manifolds import Euclidean, Torus, wrap
from protgen.types import Batch, State


class Line(Space, Observable):
    """R^2 at one position, without symmetries."""

    def __init__(self):
        super().__init__()
        self.manifolds = {"x": Euclidean(2)}
        self.displaced = frozenset({"x"})

    normals_per_position = 2

    def encode(self, batch: Batch) -> State:
        return State({"x": batch["x"]}, batch.mask)

    def decode(self, state: State) -> Batch:
        return Batch({"x": state["x"]}, state.mask)

    def observe(self, state: State):
        return state["x"]

    def noise(self, mask, normals):
        return State({"x": normals}, mask)

    def scale(self, mask):
        return {"x": torch.ones(len(mask))}

    def project(self, state):
        return state

    def head(self, scalar_dim, vector_dim):
        class Head(nn.Module):
            def __init__(self):
                super().__init__()
                self.read = nn.Linear(scalar_dim, 2)

            def forward(self, features, state):
                return state.with_fields(x=state["x"] + self.read(features.scalars))

        return Head()


class Turn(Line):
    """One rotation, SO(3), without symmetries; the head turns the noisy rotation by a matrix made orthogonal."""

    normals_per_position = 4

    def __init__(self):
        super().__init__()
        self.manifolds = {"rots": Rotations()}
        self.displaced = frozenset()
        self.centre = so3.exp(torch.tensor([[0.5, -1.0, 1.2]]))

    def noise(self, mask, normals):
        return State({"rots": so3.uniform(normals)}, mask)

    def scale(self, mask):
        return {"rots": torch.ones(len(mask))}

    def head(self, scalar_dim, vector_dim):
        return Rotated(scalar_dim)


class Rotated(nn.Module):
    """Two axes from the features, beside those of the noisy rotation, by Gram-Schmidt."""

    def __init__(self, scalar_dim):
        super().__init__()
        self.read = nn.Linear(scalar_dim, 6)

    def forward(self, features, state):
        x, y = self.read(features.scalars).chunk(2, dim=-1)
        first, second = state["rots"][..., 0] + x, state["rots"][..., 1] + y
        return state.with_fields(rots=frames.gram_schmidt(first, second))


class Circle(Line):
    """Two angles on a torus; the head turns each noisy angle by a direction."""

    normals_per_position = 2

    def __init__(self):
        super().__init__()
        self.manifolds = {"angles": Torus(2)}
        self.displaced = frozenset()
        self.centre = torch.tensor([[[3.0, -1.0]]])

    def noise(self, mask, normals):
        return State({"angles": wrap(2 * math.pi * torch.special.ndtr(normals))}, mask)

    def scale(self, mask):
        return {"angles": torch.ones(len(mask))}

    def head(self, scalar_dim, vector_dim):
        return Swung(scalar_dim)


class Swung(nn.Module):
    """A turn of each angle, read as a direction on its circle."""

    def __init__(self, scalar_dim):
        super().__init__()
        self.read = nn.Linear(scalar_dim, 4)

    def forward(self, features, state):
        x, y = self.read(features.scalars).chunk(2, dim=-1)
        return state.with_fields(angles=wrap(state["angles"] + torch.atan2(y, 1 + x)))
