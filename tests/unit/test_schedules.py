"""Paths from data to noise against their definitions and autograd."""

import pytest
import torch

from protgen.errors import ConfigError
from protgen.samplers.brownian import BROWNIAN
from protgen.samplers.schedules import SCHEDULES, Path

TIMES = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)


@pytest.fixture(params=SCHEDULES)
def schedule(request):
    torch.manual_seed(0)
    return SCHEDULES[request.param]()


def test_slopes_are_derivatives(schedule):
    t = TIMES.clone().requires_grad_()
    found = schedule.slopes(t)
    for value, slope in zip((schedule.alpha(t), schedule.sigma(t)), found, strict=True):
        if value.requires_grad:
            (exact,) = torch.autograd.grad(value.sum(), t, retain_graph=True, allow_unused=True)
            exact = torch.zeros_like(t) if exact is None else exact
            assert torch.allclose(slope, exact, rtol=1e-6, atol=1e-9)
    (exact,) = torch.autograd.grad(schedule.log_snr(t).sum(), t)
    assert torch.allclose(schedule.log_snr_slope(t), exact, rtol=1e-6, atol=1e-9)


def test_noise_rises_and_data_falls(schedule):
    assert (schedule.log_snr(TIMES).diff() < 0).all()
    (alpha, sigma), (alpha_end, sigma_end) = schedule.at(0.0), schedule.at(1.0)
    assert alpha > 0.99
    assert sigma < 0.02
    assert schedule.noisy_data == (sigma > 0)
    assert alpha_end / sigma_end < 0.05
    fraction = schedule.noise_fraction(TIMES)
    assert ((fraction > 0) & (fraction < 1)).all()


@pytest.mark.parametrize("name", ["cosine", "linear_beta", "learned"])
def test_variance_is_preserved(name):
    schedule = SCHEDULES[name]()
    total = schedule.alpha(TIMES).square() + schedule.sigma(TIMES).square()
    assert torch.allclose(total, torch.ones_like(total), atol=1e-12)


def test_times_of_noise_levels():
    schedule = SCHEDULES["edm"]()
    assert torch.allclose(schedule.times_of(schedule.sigma(TIMES)), TIMES, atol=1e-9)


def test_a_learned_schedule_stays_monotone_with_any_weights():
    schedule = SCHEDULES["learned"]()
    for parameter in schedule.parameters():
        torch.nn.init.normal_(parameter, std=5.0)
    gamma, slope = schedule.gamma(torch.linspace(0, 1, 200, dtype=torch.float64))
    assert (gamma.diff() >= 0).all()
    assert (slope >= 0).all()


def test_the_straight_path_tells_the_time_as_it_is():
    t = torch.rand(5)
    assert Path().seen(t) is t
    assert torch.allclose(Path(SCHEDULES["cosine"]()).seen(torch.tensor([0.5])), torch.tensor([0.5]))


@pytest.mark.parametrize(("name", "middle"), [("geometric", (0.1 * 2.0) ** 0.5), ("linear", 1.05)])
def test_brownian_motion_spreads_as_its_name_says(name, middle):
    """Half way the geometric or the arithmetic mean of the ends; (s^2)' by differences of s^2, exact to 1e-6."""
    brownian, step = BROWNIAN[name](0.1, 2.0), 1e-4
    assert [brownian.at(t) for t in (0.0, 0.5, 1.0)] == pytest.approx([0.1, middle, 2.0])
    torch.testing.assert_close(brownian.std(TIMES), torch.tensor([brownian.at(t) for t in TIMES.tolist()]).to(TIMES))
    change = brownian.std(TIMES + step).square() - brownian.std(TIMES - step).square()
    torch.testing.assert_close(brownian.variance_slope(TIMES), change / (2 * step), rtol=1e-6, atol=1e-6)
    rise = brownian.std(TIMES + step) - brownian.std(TIMES - step)
    torch.testing.assert_close(brownian.slope(TIMES), rise / (2 * step), rtol=1e-6, atol=1e-6)


def test_the_ends_of_brownian_motion_are_those_that_models_were_trained_with():
    assert {name: (kind().low, kind().high) for name, kind in BROWNIAN.items()} == {
        "geometric": (0.02, 3.0),
        "linear": (0.02, 2.2),
    }


def test_impossible_schedules_are_refused():
    for kind in BROWNIAN.values():
        with pytest.raises(ConfigError, match="0 < low < high"):
            kind(1.0, 0.5)
    for name, bad in (("linear_beta", {"beta_min": 0.0}), ("edm", {"sigma_min": 9.0, "sigma_max": 1.0}),
                      ("learned", {"gamma_min": 3.0, "gamma_max": 1.0})):  # fmt: skip
        with pytest.raises(ConfigError):
            SCHEDULES[name](**bad)


def test_signal_to_noise_and_noise_fraction_are_those_of_alpha_and_sigma(schedule):
    alpha, sigma = schedule.alpha(TIMES), schedule.sigma(TIMES)
    assert torch.allclose(schedule.log_snr(TIMES), 2 * (alpha / sigma).log(), rtol=1e-6, atol=1e-9)
    assert torch.allclose(schedule.noise_fraction(TIMES), sigma / (alpha + sigma), rtol=1e-6, atol=1e-9)
