"""Likelihoods by the probability flow against closed forms, with exact denoisers."""

import math
from dataclasses import replace

import pytest
import torch

from protgen.families.ode_likelihood import (
    OdeSettings,
    estimate_by_flow,
    grid,
    log_noise,
    log_prob_by_flow,
    values_given,
)
from protgen.geometry import so3
from protgen.samplers.brownian import BROWNIAN
from protgen.samplers.schedules import SCHEDULES, Path
from protgen.spaces.backbone import Backbone
from protgen.spaces.image import Image
from protgen.types import Conditioning, State
from tests.toy_space import Line
from tests.unit.test_samplers import MEAN, STD, ExactGaussian, ExactRotations, Towards, Turns

NONE = Conditioning(torch.zeros(6, 1, 0), torch.zeros(6, 0))


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_gaussian_has_its_density(name, exact, rng):
    """Within 0.03 nats (0.1 on the learned path).

    Hutchinson's estimate too, as the flow of this one has a multiple of the identity as its gradient.
    """
    x = MEAN + STD * torch.randn(6, 1, 2, generator=rng)
    wanted = (-((x - MEAN) / STD).square() / 2 - math.log(STD) - 0.5 * math.log(2 * math.pi)).sum((1, 2))
    state = State({"x": x}, torch.ones(6, 1, dtype=torch.bool))
    denoiser = ExactGaussian(Path(SCHEDULES[name]()))
    found = log_prob_by_flow(denoiser, Line(), state, NONE, rng, OdeSettings(steps=60, exact=exact))
    # The learned path leaves 3 % of the data at t = 1, where noise is taken to have the mean 0.
    assert (found - wanted).abs().max() < (0.1 if name == "learned" else 0.03)


@pytest.mark.parametrize("brownian", BROWNIAN)
def test_rotations_have_the_density_of_their_kernel(brownian, rng):
    """IGSO(3) with respect to volume, within 0.15 nats, by a flow on the manifold and its trace in the moving frame."""
    space, std = Turns(), torch.full((1, 1, 1), 0.7)
    mask = torch.ones(4, 1, dtype=torch.bool)
    centre = so3.identity_like(torch.empty(4, 1, 3, 3))
    rots = space.manifolds["rots"].diffuse(centre, std.expand(4, 1, 1), torch.randn(4, 1, 3, generator=rng))
    cond = Conditioning(torch.zeros(4, 1, 0), torch.zeros(4, 0))
    settings = OdeSettings(steps=40, exact=True, first=1e-3)
    found = log_prob_by_flow(ExactRotations(0.7, brownian), space, State({"rots": rots}, mask), cond, rng, settings)
    assert torch.allclose(found, space.manifolds["rots"].log_kernel(rots, centre, std)[:, 0], atol=0.15)


def test_uniform_rotations_have_the_density_of_their_volume(rng):
    """1 / (8 pi^2) rad^-3, where the denoiser leaves every point where it is."""
    space = Turns()
    state = space.noise(torch.ones(3, 1, dtype=torch.bool), torch.randn(3, 1, 4, generator=rng))

    class Still(ExactRotations):
        def denoise(self, x_t, t, cond, x_pred=None):
            return x_t

    cond = Conditioning(torch.zeros(3, 1, 0), torch.zeros(3, 0))
    found = log_prob_by_flow(Still(1.0), space, state, cond, rng, OdeSettings(steps=3, exact=True))
    assert torch.allclose(found, torch.full((3,), -math.log(8 * math.pi**2)), atol=1e-3)


def test_noise_is_measured_on_the_centred_subspace(rng):
    """Against the normal density in an orthonormal basis of centred positions, times that of uniform rotations."""
    space = Backbone(noise_scale=1.3)
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[1, 5:] = False
    state = space.noise(mask, torch.randn(2, 7, 7, generator=rng))
    found = log_noise(space, Path(), state)
    for row, n in enumerate((7, 5)):
        ones = torch.full((n, 1), n**-0.5)
        basis = torch.linalg.svd(torch.eye(n) - ones @ ones.T).U[:, : n - 1]
        std = 1.3 * float(space.scale(mask)["trans"][row])
        coordinates = basis.T @ state["trans"][row, :n]
        normal = torch.distributions.Normal(0.0, std).log_prob(coordinates).sum()
        assert float(found[row]) == pytest.approx(float(normal) - n * math.log(8 * math.pi**2), rel=1e-4)


def test_a_flow_to_one_structure_counts_the_dimensions_of_the_subspace(rng):
    """Where the prediction is always one structure, x_1 = (x - (1 - t) x_hat) / t: volumes grow by 1 / t, dof times.

    dof is 3 (l - 1) for centred positions, and 3 l for rotations, here at the prediction itself.
    """
    space, first = Backbone(), 0.1
    target, other = (space.noise(torch.ones(1, 2, dtype=torch.bool), torch.randn(1, 2, 7, generator=rng)) for _ in "ab")
    end = target.with_fields(trans=other["trans"])
    x = target.with_fields(trans=target["trans"] + first / (1 - first) * other["trans"])
    settings = OdeSettings(steps=30, exact=True, first=first)
    cond = Conditioning(torch.zeros(1, 2, 0), torch.ones(1, 1))
    found = log_prob_by_flow(Towards(target, target), space, x, cond, rng, settings)
    wanted = log_noise(space, Path(), end) + 3 * math.log((1 - first) / first) + 6 * math.log(1 / first)
    assert float(found) == pytest.approx(float(wanted), abs=0.05)


def test_steps_are_even_in_log_t_and_t():
    """log t + 3 t rises by the same at every step, from the first time to 1; even in t from 0."""
    times = grid(0.1, 20)
    places = times.log() + 3 * times
    assert (float(times[0]), float(times[-1]), len(times)) == (0.1, 1.0, 21)
    assert torch.allclose(places.diff(), torch.full((20,), (3 - 0.3 - math.log(0.1)) / 20, dtype=torch.float64))
    last = (2.7 + math.log(10)) / 20 / 4  # 1 / t + 3 is 4 there
    assert float(times[-1] - times[-2]) == pytest.approx(last, rel=0.03)
    assert torch.equal(grid(0.0, 4), torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64))


def test_a_discrete_value_is_weighed_against_all_values():
    """-log sum_v N(x; alpha v, sigma) less the log of a cell: four grey values in cells of 0.5."""
    space, x = Image(1, 2, 1, levels=4), torch.tensor([[[0.3], [-1.1]]])
    values = torch.tensor([-0.75, -0.25, 0.25, 0.75])
    densities = torch.distributions.Normal(0.8 * values, 0.5).log_prob(x)
    wanted = -(densities.logsumexp(-1) + math.log(0.5)).sum()
    found = values_given(space, State({"pixels": x}, space.full_mask(1)), space.support(), (0.8, 0.5))
    assert float(found) == pytest.approx(float(wanted), abs=1e-5)


def test_the_error_is_the_deviation_of_the_draws_over_the_root_of_their_number():
    """Three draws at once are those of three estimates of one draw each."""
    state, denoiser = State({"x": torch.ones(6, 1, 2)}, torch.ones(6, 1, dtype=torch.bool)), ExactGaussian(Path())
    settings, rng = OdeSettings(steps=5, first=0.2, draws=3), torch.Generator().manual_seed(0)
    found = estimate_by_flow(denoiser, Line(), state, NONE, rng, settings)
    rng = torch.Generator().manual_seed(0)
    singles = [estimate_by_flow(denoiser, Line(), state, NONE, rng, replace(settings, draws=1)) for _ in range(3)]
    each = torch.stack([one.nats for one in singles])
    torch.testing.assert_close(found.nats, each.mean(0))
    torch.testing.assert_close(found.error, each.std(0) / 3**0.5)
    assert bool(singles[0].error.isnan().all())
