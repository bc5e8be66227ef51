"""What every family promises, on a toy space with a known answer: it learns a Gaussian and its conditional mean."""

import pytest
import torch
from torch import nn

from protgen import registry
from protgen.encoders.base import Encoder
from protgen.families.base import IterativeFamily
from protgen.samplers.base import Guidance, SamplingTask
from protgen.types import Conditioning, Features, State
from tests.toy_space import Line


class Dense(Encoder):
    """A two-layer perceptron of (x, t, y)."""

    symmetry = "none"
    vector_dim = 0
    scalar_dim = 64

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU())

    def forward(self, state, t, cond, estimate=None):
        b, n = state.mask.shape
        t = t[:, None, None].expand(b, n, 1)
        x = torch.cat([state["x"], t, cond.whole[:, None].expand(b, n, -1)], dim=-1)
        return Features(self.net(x), x.new_zeros(b, n, 0, 3))


def examples(count: int, rng: torch.Generator) -> tuple[State, Conditioning]:
    """x ~ N((2 y, -1), (0.5, 1)^2) for y = +-1, y unknown in a quarter."""
    y = torch.randint(0, 2, (count, 1), generator=rng).float() * 2 - 1
    x = torch.randn(count, 1, 2, generator=rng) * torch.tensor([0.5, 1.0])
    x = x + torch.cat([2 * y, -torch.ones_like(y)], -1)[:, None]
    known = (torch.rand(count, 1, generator=rng) < 0.75).float()
    mask = torch.ones(count, 1, dtype=torch.bool)
    return State({"x": x}, mask), Conditioning(torch.zeros(count, 1, 0), torch.cat([y * known, known], -1))


@pytest.fixture(scope="module", params=registry.names("families"))
def trained(request):
    torch.manual_seed(0)
    family = registry.build("families", request.param, space=Line(), encoder=Dense())
    optimizer = torch.optim.Adam(family.parameters(), 3e-3)
    rng = torch.Generator().manual_seed(0)
    losses = []
    for step in range(1500):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / 1500)
        x, cond = examples(256, rng)
        loss = family.loss(x, cond, rng)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append(loss.total.item())
    return family, losses


def draw(family, y: float, count: int, seed: int = 0, weight: float = 1.0):
    mask = torch.ones(count, 1, dtype=torch.bool)
    cond = Conditioning(torch.zeros(count, 1, 0), torch.tensor([[y, 1.0]]).expand(count, 2))
    free = Conditioning(torch.zeros(count, 1, 0), torch.zeros(count, 2))
    generators = [torch.Generator().manual_seed(seed * 100_000 + i) for i in range(count)]
    task = SamplingTask(mask, cond, generators, guidance=Guidance(free, weight))
    sampler = registry.build("samplers", "euler", steps=50) if isinstance(family, IterativeFamily) else None
    return family.sample(task, sampler)["x"][:, 0]


def test_loss_falls(trained):
    _, losses = trained
    assert sum(losses[-50:]) < 0.8 * sum(losses[:50])


def test_learns_a_gaussian_for_each_condition(trained):
    """KL of the Gaussian fitted to 2,000 samples from the target below 0.05 nats in each dimension."""
    family, _ = trained
    for y in (-1.0, 1.0):
        samples = draw(family, y, 2000)
        mean, std = samples.mean(0), samples.std(0)
        target_mean, target_std = torch.tensor([2 * y, -1.0]), torch.tensor([0.5, 1.0])
        ratio = (std / target_std).square()
        kl = 0.5 * (ratio + ((mean - target_mean) / target_std).square() - 1 - ratio.log())
        assert (kl < 0.05).all(), (mean, std)


def test_guidance_pushes_further_the_same_way(trained):
    family, _ = trained
    plain, pushed = draw(family, 1.0, 400), draw(family, 1.0, 400, weight=2.0)
    assert pushed[:, 0].mean() > plain[:, 0].mean() + 0.05


def test_a_sample_depends_on_its_own_stream_alone(trained):
    family, _ = trained
    many, few = draw(family, 1.0, 7, seed=3), draw(family, 1.0, 3, seed=3)
    assert torch.allclose(many[:3], few, atol=1e-6)


def test_state_dict_round_trip_is_exact(trained):
    family, _ = trained
    copy = type(family)(space=Line(), encoder=Dense())
    copy.load_state_dict(family.state_dict())
    assert torch.equal(draw(family, 1.0, 3), draw(copy, 1.0, 3))
