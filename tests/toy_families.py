"""How contracts make, train and draw from a family: any registered one, on any toy space, with a small dense network.

A family gets a dense network for each of its roles, as `protgen.models.model.networks` makes them, and the keywords of
its example.
"""

import inspect
from collections.abc import Callable

import torch
from torch import Generator, nn

from protgen import registry
from protgen.encoders.base import Encoder
from protgen.families.base import Family, IterativeFamily
from protgen.samplers.base import Guidance, SamplingTask
from protgen.spaces.base import Space
from protgen.spaces.latent import LatentSpace
from protgen.spaces.manifolds import Torus
from protgen.types import Conditioning, Features, State

GLOBAL_DIM = 2  # of the toy conditions: y where it is known, and whether it is


class Dense(Encoder):
    """A two-layer perceptron of (x, t, y) at each position; time is absent for families without one (t None)."""

    symmetry = "none"
    vector_dim = 0

    def __init__(self, space: Space, residue_dim: int = 0, dim: int = 64):
        super().__init__()
        self.scalar_dim = dim
        self.names = list(space.manifolds)
        blank = space.noise(torch.ones(1, 1, dtype=torch.bool), torch.ones(1, 1, space.normals_per_position))
        self.flat = {name: not isinstance(manifold, Torus) for name, manifold in space.manifolds.items()}
        width = sum(blank[name][0, 0].numel() * (1 if self.flat[name] else 2) for name in self.names)
        inputs = width + 1 + residue_dim + GLOBAL_DIM
        self.net = nn.Sequential(nn.Linear(inputs, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU())

    def forward(self, state, t, cond, x_pred=None):
        b, n = state.mask.shape
        fields = [state[name].reshape(b, n, -1) for name in self.names]
        # Angles in as they are would be cut at pi.
        pairs = zip(self.names, fields, strict=True)
        fields = [x if self.flat[name] else torch.cat([x.cos(), x.sin()], -1) for name, x in pairs]
        parts = [t[:, None, None].expand(b, n, 1), cond.residue, cond.globals[:, None].expand(b, n, -1)]
        x = self.net(torch.cat([*fields, *parts], dim=-1))
        return Features(x, x.new_zeros(b, n, 0, 3))


def make(name: str, space: Space, **keywords) -> Family:
    """A small family of that name over dense networks; keywords go to its constructor."""
    cls = registry.find("families", name)
    keywords = cls.example() | keywords
    if "global_dim" in inspect.signature(cls).parameters:
        keywords = {"global_dim": GLOBAL_DIM} | keywords
    latent_dim = cls.latent_width(keywords)
    for role, what in cls.roles.items():
        read = LatentSpace(latent_dim) if what.reads == "latents" and latent_dim else space
        keywords[role] = Dense(read, residue_dim=latent_dim if what.latents_beside else 0)
    return registry.build("families", name, space=space, encoder=Dense(space), **keywords)


def conditioning(y: torch.Tensor, known: torch.Tensor | None = None) -> Conditioning:
    """y (b, 1) as the toy encoders read it: (y, 1) where it is known, (0, 0) elsewhere."""
    known = torch.ones_like(y) if known is None else known
    return Conditioning(torch.zeros(len(y), 1, 0), torch.cat([y * known, known], -1))


def train(
    family: Family,
    examples: Callable[[int, Generator], tuple[State, Conditioning]],
    steps: int = 1500,
    batch: int = 256,
    lr: float = 3e-3,
) -> list[float]:
    """Adam with a learning rate that falls to 0; returns the loss of each step."""
    optimizer = torch.optim.Adam(family.parameters(), lr, betas=family.adam_betas, fused=True)
    rng = Generator().manual_seed(0)
    losses = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 - step / steps)
        x, cond = examples(batch, rng)
        loss = family.loss(x, cond, rng)
        optimizer.zero_grad()
        if loss.total.requires_grad:
            loss.total.backward()
        optimizer.step()
        losses.append(loss.total.item())
    return losses


def draw(
    family: Family, y: float, count: int, seed: int = 0, weight: float = 1.0, sampler: str = "euler", **settings
) -> State:
    """Samples given y, each from its own stream; families that iterate take 50 steps of the sampler."""
    mask = torch.ones(count, 1, dtype=torch.bool)
    cond = conditioning(torch.full((count, 1), y))
    free = conditioning(torch.zeros(count, 1), torch.zeros(count, 1))
    generators = [Generator().manual_seed(seed * 100_000 + i) for i in range(count)]
    task = SamplingTask(mask, cond, generators, guidance=Guidance(free, weight))
    iterative = isinstance(family, IterativeFamily)
    return family.sample(task, registry.build("samplers", sampler, **{"steps": 50} | settings) if iterative else None)
