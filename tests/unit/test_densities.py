"""Density layers: they integrate to 1, their draws follow them, and temperature does what it says."""

import math

import pytest
import torch

from protgen.nn.binned import Binned
from protgen.nn.mixtures import TRIES, Mixture, von_mises

KINDS = ["mixture", "binned"]


def layer(kind: str, circular: list[bool]):
    torch.manual_seed(0)
    made = Mixture(4, circular, 3) if kind == "mixture" else Binned(4, circular, 12)
    return made.double()


def grid(circle: bool, count: int) -> tuple[torch.Tensor, float]:
    """Midpoints of an interval that holds all the mass, and their spacing."""
    reach = math.pi if circle else 40.0
    step = 2 * reach / count
    return torch.arange(count, dtype=torch.float64) * step + step / 2 - reach, step


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("circular", [[True], [False], [True, True], [True, False]])
def test_integrates_to_one(kind, circular):
    """By the midpoint rule, to 1e-3 on R, circles and their products."""
    density = layer(kind, circular)
    # Multiples of the number of bins, so that no cell of the rule straddles two bins of a circle; lines are longer.
    fine = 12_000 if len(circular) == 1 else 3_600
    axes = [grid(circle, 12_000 if len(circular) == 1 else 240 if circle else fine) for circle in circular]
    x = torch.cartesian_prod(*[points for points, _ in axes]).reshape(-1, len(circular))
    features = torch.tensor([0.3, -1.0, 0.5, 2.0], dtype=torch.float64).expand(len(x), 4)
    mass = density.log_prob(features, x, torch.ones_like(x, dtype=torch.bool)).exp().sum()
    assert abs(mass * math.prod(step for _, step in axes) - 1) < 2e-3


@pytest.mark.parametrize("kind", KINDS)
def test_draws_follow_the_density(kind, rng):
    """Mean of log p over draws is the negative entropy, which quadrature gives too; and marginals agree."""
    density = layer(kind, [True, False])
    features = torch.tensor([0.3, -1.0, 0.5, 2.0], dtype=torch.float64)
    uniforms = torch.rand(20_000, density.uniforms, generator=rng, dtype=torch.float64)
    drawn = density.draw(features.expand(20_000, 4), uniforms, 1.0)
    seen = torch.ones_like(drawn, dtype=torch.bool)
    sampled = density.log_prob(features.expand(20_000, 4), drawn, seen).mean()
    (a, da), (b, db) = grid(True, 120), grid(False, 1_200)
    x = torch.cartesian_prod(a, b)
    log_p = density.log_prob(features.expand(len(x), 4), x, torch.ones_like(x, dtype=torch.bool))
    assert abs(sampled - (log_p.exp() * log_p).sum() * da * db) < 0.03
    for moment in (lambda v: v[..., 0].sin(), lambda v: v[..., 0].cos(), lambda v: v[..., 1]):
        assert abs(moment(drawn).mean() - (log_p.exp() * moment(x)).sum() * da * db) < 0.05


def test_leaving_out_a_coordinate_marginalises_a_mixture():
    density = layer("mixture", [True, False])
    features = torch.tensor([0.3, -1.0, 0.5, 2.0], dtype=torch.float64)
    points, step = grid(False, 8_000)
    x = torch.stack([torch.full_like(points, 0.7), points], -1)
    everything = density.log_prob(features.expand(len(x), 4), x, torch.ones_like(x, dtype=torch.bool))
    alone = density.log_prob(features, x[0], torch.tensor([True, False]))
    assert abs((everything.exp().sum() * step).log() - alone) < 1e-4


@pytest.mark.parametrize("kappa", [1e-3, 0.5, 10.0, 1e4])
def test_von_mises_draws_have_the_right_resultant(kappa, rng):
    """E cos x = I1(kappa) / I0(kappa), and draws are symmetric."""
    uniforms = torch.rand(40_000, TRIES, 3, generator=rng, dtype=torch.float64)
    x = von_mises(torch.full((40_000,), kappa, dtype=torch.float64), uniforms)
    k = torch.tensor(kappa, dtype=torch.float64)
    expected = torch.special.i1e(k) / torch.special.i0e(k)
    assert abs((1 - x.cos().mean()) / (1 - expected) - 1) < 0.03
    assert abs(x.sin().mean()) < 4 * x.sin().std() / 200


@pytest.mark.parametrize("kind", KINDS)
def test_low_temperature_raises_the_likelihood_of_draws(kind, rng):
    density = layer(kind, [True, False])
    features = torch.tensor([0.3, -1.0, 0.5, 2.0], dtype=torch.float64).expand(2_000, 4)
    uniforms = torch.rand(2_000, density.uniforms, generator=rng, dtype=torch.float64)
    means = []
    for temperature in (2.0, 1.0, 0.5, 0.0):
        drawn = density.draw(features, uniforms, temperature)
        means.append(density.log_prob(features, drawn, torch.ones_like(drawn, dtype=torch.bool)).mean().item())
    assert means == sorted(means)
    assert means[-1] - means[0] > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_where_values_repeat(kind):
    """Identical data and far-out values: neither infinite densities nor gradients."""
    density = layer(kind, [True, False]).float()
    x = torch.tensor([[math.pi, 0.0], [-math.pi, 12.0], [0.0, -12.0]])
    features = torch.zeros(3, 4, requires_grad=True)
    total = density.log_prob(features, x, torch.ones(3, 2, dtype=torch.bool)).sum()
    total.backward()
    assert torch.isfinite(total)
    assert all(torch.isfinite(p.grad).all() for p in density.parameters() if p.grad is not None)
