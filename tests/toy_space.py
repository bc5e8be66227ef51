"""A space with nothing to it, for tests with known answers."""

import torch
from torch import nn

from protgen.spaces.base import Euclidean, Space
from protgen.types import Batch, State


class Line(Space):
    """R^2 at one position, without symmetries."""

    def __init__(self):
        super().__init__()
        self.manifolds = {"x": Euclidean(2)}

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

    def align(self, noise, data):
        return noise

    def head(self, scalar_dim, vector_dim):
        class Head(nn.Module):
            def __init__(self):
                super().__init__()
                self.read = nn.Linear(scalar_dim, 2)

            def forward(self, features, state):
                return state.with_fields(x=state["x"] + self.read(features.scalars))

        return Head()
