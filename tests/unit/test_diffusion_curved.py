"""Diffusion on curved fields, for each Brownian motion: bound and weights of losses against closed forms."""

import math

import pytest
import torch

from protgen.errors import ConfigError
from protgen.families.diffusion import Diffusion
from protgen.families.diffusion_settings import DiffusionSettings
from protgen.families.flow_divergence import velocity
from protgen.geometry import igso3
from protgen.samplers.brownian import BROWNIAN
from protgen.samplers.schedules import Cosine
from protgen.spaces.backbone import Backbone
from protgen.types import State
from tests.toy_families import Dense, conditioning
from tests.toy_space import Circle, Turn

SPREAD = 0.5  # rad, standard deviation of the heat kernel that the data have


def entropy(space, std: float) -> float:
    """Of the heat kernel, nats with respect to volume, by trapezoids: of an angle of IGSO(3), or of two circles."""
    if isinstance(space, Turn):
        angle = torch.linspace(1e-6, math.pi, 20_001, dtype=torch.float64)
        log_density = igso3.log_density(angle, torch.tensor(std).double())
        density = log_density.exp() * (1 - angle.cos()) / math.pi
        return -float(torch.trapezoid(density * log_density, angle)) + space.manifolds["rots"].log_volume
    angle = torch.linspace(-math.pi, math.pi, 20_001, dtype=torch.float64)
    turns = 2 * math.pi * torch.arange(-4, 5, dtype=torch.float64)
    density = torch.exp(-(angle[:, None] + turns).square() / (2 * std**2)).sum(-1) / (std * math.sqrt(2 * math.pi))
    return -2 * float(torch.trapezoid(density * density.log(), angle))


def exact(space, brownian: str, monkeypatch) -> Diffusion:
    """Diffusion whose network has the score of p(x_t): the kernel about the centre, as variances of kernels add."""
    family = Diffusion(space, Dense(space), DiffusionSettings(brownian=brownian))
    ((name, manifold),) = space.manifolds.items()

    def errors(x_t, prediction, x_data, t):
        std = family.std(t)
        wanted = manifold.score(x_t[name], x_data[name], std)
        centre = space.centre.expand_as(x_t[name])
        found = manifold.score(x_t[name], centre, (std.square() + SPREAD**2).sqrt())
        return {name: (found - wanted).square().sum(-1)}

    monkeypatch.setattr(family, "errors", errors)
    return family


@pytest.mark.parametrize(("brownian", "first"), [("geometric", math.log(20) / math.log(150)), ("linear", 0.38 / 2.18)])
@pytest.mark.parametrize("space", [Turn(), Circle()], ids=["rotations", "circles"])
def test_the_bound_of_the_exact_score_is_the_entropy_of_the_noisy_data(space, brownian, first, monkeypatch, rng):
    """By de Bruijn's identity its mean is H(p_first) + log volume - H(p_1), p_t the kernel of variance s(t)^2 + d^2.

    At its first time s is 0.4, where the entropy of a normal, which the bound takes, is above that of the kernel.
    -log p(x) of each point is taken off, as its mean is known. Over 600 points and 16 times each the rest has a
    standard error of 0.04 nats, and the integral, which (s^2)' multiplies, is 3.4 nats on circles, 5 on rotations.
    """
    family = exact(space, brownian, monkeypatch)
    family.first = first
    ((name, manifold),) = space.manifolds.items()
    mask, std = torch.ones(600, 1, dtype=torch.bool), torch.full((600, 1, 1), SPREAD)
    centre = space.centre.expand_as(space.noise(mask, torch.ones(600, 1, space.normals_per_position))[name])
    data = manifold.diffuse(centre, std, torch.randn(600, 1, manifold.dim, generator=rng))
    found = family.bound(State({name: data}, mask), conditioning(torch.zeros(600, 1)), rng, times=16)
    excess = -found.nats + manifold.log_kernel(data, centre, std)[:, 0]
    noise, start, end = 0.4, math.hypot(0.4, SPREAD), math.hypot(family.path.brownian.at(1.0), SPREAD)
    above = manifold.dim * (math.log(noise) + 0.5 * math.log(2 * math.pi * math.e)) - entropy(space, noise)
    wanted = above + entropy(space, start) + manifold.log_volume - entropy(space, end) - entropy(space, SPREAD)
    assert float(excess.mean()) == pytest.approx(wanted, abs=0.1)


def test_a_bound_by_one_time_is_that_of_the_time_and_has_no_error():
    """Its terms are those of `one_time` at the same draws."""
    family = Diffusion(Turn(), Dense(Turn()))
    x = State({"rots": Turn().centre.expand(3, 1, 3, 3)}, torch.ones(3, 1, dtype=torch.bool))
    cond = conditioning(torch.zeros(3, 1))
    with torch.no_grad():
        found = family.bound(x, cond, torch.Generator().manual_seed(5), times=1)
        rng = torch.Generator().manual_seed(5)
        offset = torch.rand(3, generator=rng)
        alone = family.one_time(x, cond, offset, rng, train=False)
    assert found.error is None
    assert torch.equal(found.nats, alone.nats)


def frames(count: int, rng) -> tuple[Backbone, State, State]:
    """Backbones of twelve residues, the last one of nine, with noise of 0.8 times their scale."""
    space = Backbone(noise_scale=0.8)
    mask = torch.ones(count, 12, dtype=torch.bool)
    mask[-1, 9:] = False
    x, other = (space.noise(mask, torch.randn(count, 12, 7, generator=rng)) for _ in range(2))
    return space, x, other


@pytest.mark.parametrize("brownian", BROWNIAN)
def test_the_velocity_weighting_is_the_error_of_the_velocity_of_the_flow(brownian, rng):
    """As likelihoods compute it, mean over residues of |v(x_hat) - v(x_data)|^2 / scale^2, within 1e-4 of it."""
    space, x_data, x_pred = frames(3, rng)
    family = Diffusion(space, Dense(space), DiffusionSettings(weighting="velocity", brownian=brownian))
    for time in (0.3, 0.8):
        t = torch.full((3,), time)
        x_t = family.diffuse(x_data, t, rng)
        ours, wanted = (velocity(family.path, space, x_t, at, time) for at in (x_pred, x_data))
        weights, errors = family.velocity_weights(x_data, t), family.errors(x_t, x_pred, x_data, t)
        for name, scale in space.scale(x_data.mask).items():
            exact = space.reduce((ours[name] - wanted[name]).square().sum(-1), x_data.mask) / scale.square()
            torch.testing.assert_close(
                weights[name] * space.reduce(errors[name], x_data.mask), exact, rtol=1e-4, atol=0
            )


@pytest.mark.parametrize("brownian", BROWNIAN)
def test_near_the_data_weights_are_limited(brownian, rng):
    """At t = 0.01 on a cosine path a rate of (1 / t)^2 would be 10^4; max_weight 100, noise 0.8 of the scale."""
    space, x_data, _ = frames(2, rng)
    settings = DiffusionSettings(weighting="velocity", brownian=brownian)
    family, t = Diffusion(space, Dense(space), settings), torch.full((2,), 0.01)
    weights, std = family.velocity_weights(x_data, t), family.path.brownian.at(0.01)
    torch.testing.assert_close(weights["trans"], torch.full((2,), 100 * 0.8**2))
    rate = {"geometric": math.log(150) ** 2, "linear": 100.0}[brownian]
    torch.testing.assert_close(weights["rots"], torch.full((2,), rate * std**4))


def test_the_simple_weighting_is_a_mean_over_coordinates(rng):
    """1 / sigma^2 / 3 of positions and s^2 / 3 of the score of rotations, where neither is limited."""
    space, _, _ = frames(2, rng)
    family, t = Diffusion(space, Dense(space)), torch.tensor([0.5, 0.9])
    weights = family.simple_weights(t)
    torch.testing.assert_close(weights["trans"], 1 / Cosine().sigma(t).square() / 3)
    torch.testing.assert_close(
        weights["rots"], (0.02 * 150**t).square() / 3 * (100 * (0.02 * 150**t) ** 2).clamp(max=1)
    )


def test_settings_are_checked_and_without_keywords_mean_what_they_meant():
    settings = DiffusionSettings()
    assert (settings.brownian, settings.weighting) == ("geometric", "simple")
    with pytest.raises(ConfigError, match="geometric, linear"):
        DiffusionSettings(brownian="straight")
    with pytest.raises(ConfigError, match="weighting=simple"):
        DiffusionSettings(target="eps", path="linear_beta", weighting="velocity")
