"""Likelihoods by the probability flow against closed forms, with exact denoisers."""

import math

import pytest
import torch

from protgen.families.ode_likelihood import OdeSettings, log_noise, log_prob_by_flow
from protgen.samplers.schedules import SCHEDULES, Brownian, Path
from protgen.spaces.backbone import Backbone
from protgen.types import Conditioning, State
from tests.toy_space import Line
from tests.unit.test_samplers import MEAN, STD, ExactGaussian, ExactRotations, Towards, Turns

NONE = Conditioning(torch.zeros(6, 1, 0), torch.zeros(6, 0))


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_gaussian_has_its_density(name, exact, rng):
    """Within 0.03 nats; Hutchinson's estimate too, as the flow of this one has a multiple of the identity as gradient."""
    x = MEAN + STD * torch.randn(6, 1, 2, generator=rng)
    wanted = (-((x - MEAN) / STD).square() / 2 - math.log(STD) - 0.5 * math.log(2 * math.pi)).sum((1, 2))
    state = State({"x": x}, torch.ones(6, 1, dtype=torch.bool))
    denoiser = ExactGaussian(Path(SCHEDULES[name]()))
    found = log_prob_by_flow(denoiser, Line(), state, NONE, rng, OdeSettings(steps=60, exact=exact))
    # Noise of the path's end has mean 0, and what is left of the data there is not 0: the flow's end is off by as much.
    assert (found - wanted).abs().max() < 0.03


def test_uniform_rotations_have_the_density_of_their_volume(rng):
    """1 / (8 pi^2) rad^-3, where the denoiser leaves every point where it is."""
    space = Turns()
    state = space.noise(torch.ones(3, 1, dtype=torch.bool), torch.randn(3, 1, 4, generator=rng))

    class Still(ExactRotations):
        def denoise(self, x_t, t, cond, estimate=None):
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
        spread = 1.3 * float(space.scale(mask)["trans"][row])
        coordinates = basis.T @ state["trans"][row, :n]
        normal = torch.distributions.Normal(0.0, spread).log_prob(coordinates).sum()
        assert float(found[row]) == pytest.approx(float(normal) - n * math.log(8 * math.pi**2), rel=1e-4)


def test_a_shrinking_flow_on_the_subspace_counts_its_dimensions_alone(rng):
    """A denoiser that always answers one structure: the density at it rises by 3 (l - 1) log(1 / t) for positions."""
    space = Backbone()
    target, other = (space.noise(torch.ones(1, 4, dtype=torch.bool), torch.randn(1, 4, 7, generator=rng)) for _ in "ab")
    other = other.with_fields(rots=target["rots"])
    cond = Conditioning(torch.zeros(1, 4, 0), torch.ones(1, 1))
    path = Path(SCHEDULES["linear"](), Brownian())
    first = 0.05
    # On the straight path x_first = x_hat (1 - first) + first x_1, so the starting point fixes where the flow ends.
    x_first = (1 - first) * target["trans"] + first * other["trans"]
    state = State({"trans": x_first / (1 - first), "rots": target["rots"]}, target.mask)
    denoiser = Towards(target, target, path)
    found = log_prob_by_flow(denoiser, space, state, cond, rng, OdeSettings(steps=60, exact=True, first=first))
    flat = log_noise(space, path, other) + 4 * math.log(8 * math.pi**2) + 9 * math.log((1 - first) / first)
    turned = log_prob_by_flow(
        denoiser, space, State({"trans": target["trans"] * 1.0, "rots": target["rots"]}, target.mask), cond, rng,
        OdeSettings(steps=60, exact=True, first=first),
    )  # fmt: skip
    centre = log_noise(space, path, target.with_fields(trans=target["trans"])) + 4 * math.log(8 * math.pi**2)
    centre = centre + 9 * math.log((1 - first) / first)
    assert float(found - turned) == pytest.approx(float(flat - centre), abs=0.05)
