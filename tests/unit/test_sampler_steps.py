"""Single steps of samplers against their formulas: what the distributions that they reach tell only slowly."""

import math
from dataclasses import replace

import pytest
import torch

from protgen.errors import ConfigError
from protgen.families.coupling import affine
from protgen.families.gaussian import AttentionPool
from protgen.samplers.base import SamplingTask, Step
from protgen.samplers.brownian import GeometricBrownian
from protgen.samplers.curved import reverse_brownian
from protgen.samplers.energy import PosteriorGuidance
from protgen.samplers.euler import Euler
from protgen.samplers.heun import Heun, add_noise
from protgen.samplers.schedules import SCHEDULES, Cosine, Linear, Path, VarianceExploding
from protgen.samplers.sde import SDE
from protgen.samplers.smc import SequentialMonteCarlo, as_long_as
from protgen.types import Conditioning, State
from tests.exact_denoisers import ExactGaussian
from tests.toy_space import Circle, Line

CIRCLES = Circle()
TORUS = CIRCLES.manifolds["angles"]


def step_of(space, path: Path, t: float = 0.5, s: float = 0.4) -> Step:
    mask = torch.ones(1, 1, dtype=torch.bool)
    cond = Conditioning(torch.zeros(1, 1, 0), torch.zeros(1, 0))
    return Step(t, s, path, space, SamplingTask(mask, cond, [torch.Generator().manual_seed(0)]))


def test_reversed_brownian_motion_goes_to_the_prediction_as_on_a_line():
    """x_hat + (left / std) (x - x_hat), where the circle is much longer than the noise."""
    x, x_pred = torch.full((1, 1, 2), 0.3), torch.full((1, 1, 2), 0.1)
    found = reverse_brownian(TORUS, x, x_pred, 0.2, 0.1, None)
    torch.testing.assert_close(found, torch.full((1, 1, 2), 0.2))


def test_a_step_of_exchanged_noise_moves_with_the_prediction_by_its_share():
    euler, step = Euler(churn=0.8), step_of(Line(), Path(Cosine()))
    x = torch.zeros(1, 1, 2)
    moved = euler.mean("x", x, x + 1, step) - euler.mean("x", x, x, step)
    torch.testing.assert_close(moved, torch.full((1, 1, 2), euler.share_of_prediction("x", step)))


def test_only_steps_that_leave_noise_on_a_line_exchange_some():
    """1 - (s / t)^churn; none without churn, in the last step, on circles, or on fields that go before others."""
    line, early, path = Line(), Line(), Path(Linear())
    early.early = frozenset({"x"})
    assert Euler(churn=0.8).fresh_fraction("x", step_of(line, path)) == pytest.approx(1 - 0.8**0.8)
    assert Euler(churn=0.8).fresh_std("x", step_of(line, path)) == pytest.approx(0.4 * (1 - 0.8**0.8) ** 0.5)
    assert Euler(churn=0.0).fresh_fraction("x", step_of(line, path)) == 0
    assert Euler(churn=0.8).fresh_fraction("x", step_of(line, path, s=0)) == 0
    assert Euler(churn=0.8).fresh_fraction("x", step_of(early, path)) == 0
    for brownian in (None, GeometricBrownian()):
        assert Euler(churn=0.8).fresh_fraction("angles", step_of(CIRCLES, Path(Linear(), brownian))) == 0


@pytest.mark.parametrize("noise", [1.0, 0.5])
def test_a_step_of_the_sde_is_that_of_its_equation(noise):
    """On the straight path g^2 = 2 t + 2 t^2 / (1 - t), at t = 0.5 it is 2; of 0.3 at most half of the noise goes."""
    x, x_pred = torch.full((1, 1, 2), 0.3), torch.full((1, 1, 2), 1.1)
    normals = torch.randn(1, 2, generator=torch.Generator().manual_seed(0))
    implied = (x - 0.5 * x_pred) / 0.5
    for s, full in ((0.49, 2.0), (0.2, 0.25 / 0.3)):
        width, rate = 0.5 - s, full * noise**2
        found = SDE(noise=noise).flat_step("x", x, x_pred, step_of(Line(), Path(Linear()), s=s))
        wanted = x + width * x_pred - width * (1 + rate / (2 * 0.5)) * implied
        torch.testing.assert_close(found, wanted + (rate * width) ** 0.5 * normals)
    assert SDE().flat_step("x", x, x_pred, step_of(Line(), Path(Linear()), s=0)) is x_pred


def test_the_sde_drifts_along_the_score_of_brownian_motion():
    """(1 + noise^2) / 2 (a^2 - b^2) / a less is left of the noise, and noise sqrt(a^2 - b^2) is fresh."""
    brownian = GeometricBrownian(low=0.02, high=0.5)
    a, b = brownian.at(0.5), brownian.at(0.4)
    left, fresh = SDE(noise=0.5).brownian(step_of(CIRCLES, Path(Cosine(), brownian)))
    assert left == pytest.approx(a - 0.625 * (a**2 - b**2) / a)
    assert fresh == pytest.approx(0.5 * math.sqrt(a**2 - b**2))


def test_polyak_steps_are_those_of_each_example():
    """-E / |g|^2 g, twice; where a position would move farther than the longest, all of it is scaled down."""
    guide = PosteriorGuidance(ExactGaussian(), Line(), lambda x, mask: x.sum((1, 2)), weight=2.0, longest=1.0)
    found = State({"x": torch.zeros(3, 1, 2)}, torch.ones(3, 1, dtype=torch.bool))
    slopes = {"x": torch.tensor([[[3.0, 4.0]], [[0.0, 2.0]], [[0.0, 1.0]]])}
    moved = guide.moved(found, slopes, torch.tensor([5.0, 1.0, 4.0]))["x"]
    torch.testing.assert_close(moved, torch.tensor([[[-1.2, -1.6]], [[0.0, -1.0]], [[0.0, -2.0]]]))


@pytest.mark.parametrize("bad", [{"sigma_min": 0.0}, {"sigma_min": 2.0, "sigma_max": 1.0}, {"rho": 0.0}])
def test_an_exploding_variance_has_limits_in_order(bad):
    with pytest.raises(ConfigError, match="give 0 < min < max and rho > 0"):
        VarianceExploding(**bad)


@pytest.mark.parametrize("at_end", [False, True])
def test_heun_follows_the_score_of_brownian_motion_at_both_ends(at_end):
    """The velocity score times std, with the std of the time at which it is taken."""
    brownian = GeometricBrownian(low=0.02, high=0.5)
    step, x, x_pred = step_of(CIRCLES, Path(Cosine(), brownian)), torch.full((1, 1, 2), 0.1), torch.zeros(1, 1, 2)
    found = Heun().curved_tangent(TORUS, x, x_pred, step, at_end=at_end)
    first, last = brownian.at(0.5), brownian.at(0.4)
    torch.testing.assert_close(found, (first - last) / (last if at_end else first) * (x_pred - x))


def test_heun_follows_the_geodesic_at_its_end():
    """At s the rest of the way has 1 / s of the velocity: (t - s) / s of the logarithm."""
    step, x, x_pred = step_of(CIRCLES, Path(Linear())), torch.full((1, 1, 2), 0.3), torch.zeros(1, 1, 2)
    found = Heun(rotation_rate=0.0).curved_tangent(TORUS, x, x_pred, step, at_end=True)
    torch.testing.assert_close(found, 0.25 * (x_pred - x))


def test_noise_added_to_a_curved_field_has_the_difference_of_variances():
    brownian, x = GeometricBrownian(), torch.zeros(1, 1, 2)
    step = step_of(CIRCLES, Path(Cosine(), brownian))
    found = add_noise(State({"angles": x}, step.task.mask), step)["angles"]
    normals = torch.randn(1, 2, generator=torch.Generator().manual_seed(0))
    deviation = math.sqrt(brownian.at(0.5) ** 2 - brownian.at(0.4) ** 2)
    torch.testing.assert_close(found[0], deviation * normals)


def test_noise_added_to_a_line_makes_the_point_of_the_later_time():
    """alpha_t / alpha_s x and what is missing of sigma_t: on the straight path from 0.4 to 0.5."""
    x, normals = torch.full((1, 1, 2), 3.0), torch.randn(1, 2, generator=torch.Generator().manual_seed(0))
    found = add_noise(State({"x": x}, torch.ones(1, 1, dtype=torch.bool)), step_of(Line(), Path(Linear())))["x"]
    torch.testing.assert_close(found[0], 0.5 / 0.6 * x[0] + math.sqrt(0.25 - (0.4 * 0.5 / 0.6) ** 2) * normals)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_time_of_a_ratio_has_that_ratio(name):
    torch.manual_seed(0)
    schedule = SCHEDULES[name]()
    for ratio in (0.3, 2.0):
        alpha, sigma = schedule.at(schedule.time_of(ratio))
        assert sigma / alpha == pytest.approx(ratio, rel=1e-6)


def test_times_of_noise_stay_between_data_and_noise():
    schedule = VarianceExploding(sigma_min=0.01, sigma_max=10.0)
    found = schedule.times_of(torch.tensor([0.001, 0.01, 10.0, 100.0]))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 1.0, 1.0]), atol=1e-6, rtol=0)


def test_twists_are_made_no_longer_than_others():
    """Of length 2 and at most 1: halved. Of length 2 and at most 8: left."""
    long, short = torch.full((1, 1, 4), 1.0), torch.full((1, 1, 4), 0.5)
    torch.testing.assert_close(as_long_as({"x": long}, {"x": short})["x"], short)
    torch.testing.assert_close(as_long_as({"x": long}, {"x": 4 * long})["x"], long)


def test_one_particle_is_enough():
    sampler = SequentialMonteCarlo(particles=1, steps=2)
    made = sampler.sample(
        ExactGaussian(), Line(), replace(step_of(Line(), Path()).task, energy=lambda x, _: x[:, 0, 0])
    )
    assert made["x"].shape == (1, 1, 2)


def test_an_affine_coupling_scales_and_shifts():
    """exp(2 tanh(s / 2)) x + t, and its log-slope."""
    made, slope = affine(torch.tensor([3.0]), torch.tensor([[1.0, 0.5]]), inverse=False)
    assert float(slope) == pytest.approx(2 * math.tanh(0.5))
    assert float(made) == pytest.approx(3 * math.exp(2 * math.tanh(0.5)) + 0.5)


def test_attention_does_not_see_padding(rng):
    pool, scalars = AttentionPool(4, 2), torch.randn(1, 5, 4, generator=rng)
    mask = torch.tensor([[True, True, True, False, False]])
    torch.testing.assert_close(pool(scalars, mask), pool(scalars[:, :3], mask[:, :3]))
