"""The law of sequential Monte Carlo, against a posterior in closed form.

Data N(0, 1) with the exact denoiser and E = 2 (x - 1)^2: p exp(-E) is normal, of mean 4/5 and variance 1/5.
"""

import pytest
import torch

from protgen.errors import UsageError
from protgen.samplers.base import Denoiser, Step
from protgen.samplers.energy import EnergyGuidance, PosteriorGuidance, untwisted
from protgen.samplers.projection import Projection
from protgen.samplers.schedules import Path
from protgen.samplers.smc import SequentialMonteCarlo, as_long_as, gather, length_of
from protgen.samplers.smc_best import BestParticle
from protgen.types import State
from tests.exact_denoisers import LINE, task

MEAN, STD = 0.8, 0.2**0.5
STEPS = 60
COUNT = 900  # standard error of the mean 0.015, of the standard deviation 0.011


class Standard(Denoiser):
    """E[x_data | x_t] = alpha x_t / (alpha^2 + sigma^2) for x_data ~ N(0, 1)."""

    path = Path()

    def denoise(self, x_t, t, cond, x_pred=None):
        t = t[:, None, None]
        return x_t.with_fields(x=(1 - t) * x_t["x"] / ((1 - t).square() + t.square()))


def energy(x, mask):
    return 2 * (x[:, 0, 0] - 1).square()


def drawn(denoiser=None, count=COUNT, sampler=SequentialMonteCarlo, **settings):
    made = sampler(**settings).sample(denoiser or Standard(), LINE, task(count, energy=energy))
    return made["x"][:, 0]


@pytest.mark.slow
@pytest.mark.parametrize("guided", [False, True], ids=["own twist", "guided"])
@pytest.mark.parametrize("particles", [4, 16])
def test_the_law_is_the_tilted_one(particles, guided):
    """Mean 0.800 and standard deviation 0.447 within 0.05: three standard errors, and what so few particles leave.

    The other axis knows nothing of the energy, and stays N(0, 1).
    """
    denoiser = EnergyGuidance(Standard(), LINE, energy, scale=0.2) if guided else None
    x = drawn(denoiser, COUNT if particles == 4 else 400, particles=particles, steps=STEPS)
    slack = 0.05 if particles == 4 else 0.065
    assert abs(float(x[:, 0].mean()) - MEAN) < slack
    assert abs(float(x[:, 0].std()) - STD) < slack
    assert abs(float(x[:, 1].mean())) < 0.1
    assert abs(float(x[:, 1].std()) - 1) < 0.1


@pytest.mark.slow
def test_the_sampler_s_own_steps_reach_it_with_more_particles():
    """Without a twist: 16 particles within 0.065."""
    x = drawn(count=400, particles=16, pull=0.0, steps=STEPS)[:, 0]
    assert abs(float(x.mean()) - MEAN) < 0.065
    assert abs(float(x.std()) - STD) < 0.065


def test_the_weights_make_any_twist_right():
    """E[w f(x)] / E[w] over one population is the tilted mean, with and without a twist."""
    for pull in (0.0, 1.0):
        sampler = SequentialMonteCarlo(steps=40, particles=1, pull=pull)
        xs, logs, energies = sampler.population(Standard(), LINE, task(800, energy=energy))
        x, w = xs[0]["x"][:, 0, 0], logs[:, 0].softmax(0)
        mean = float((w * x).sum())
        assert abs(mean - MEAN) < 0.09
        assert abs(float((w * (x - mean).square()).sum().sqrt()) - STD) < 0.07
        assert torch.allclose(energies[:, 0], 2 * (x - 1).square(), atol=1e-4)


@pytest.mark.parametrize(("strength", "pull"), [(1.0, 1.0), (0.5, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_the_twist_is_the_slope_of_the_energy_at_the_prediction(strength, pull):
    """-strength alpha / (alpha^2 + sigma^2) d E'(x_hat), d the spread of the fresh noise; none without either."""
    sampler = SequentialMonteCarlo(steps=10, particles=1, strength=strength, pull=pull)
    run = task(3, energy=energy)
    step = Step(0.6, 0.5, Path(), LINE, run)
    at = State({"x": torch.tensor([[[0.3, 5.0]], [[1.0, 5.0]], [[2.0, 5.0]]])}, run.mask)
    plain = Standard()
    (twist,) = sampler.twists(plain, plain, [at], [None], [at], step)
    if not strength * pull:
        assert twist == {}
        return
    spread = 0.5 * (1 - (0.5 / 0.6) ** sampler.euler.churn) ** 0.5 * run.temperature
    slope = 4 * (at["x"][:, 0, 0] - 1)
    wanted = -strength * 0.4 / (0.4**2 + 0.6**2) * spread * slope
    assert torch.allclose(twist["x"][:, 0, 0], wanted, atol=1e-6)
    assert twist["x"][:, 0, 1].tolist() == [0.0] * 3


def test_the_best_particle_is_an_optimiser_under_its_own_name():
    """Of the same population the particle of least energy: its mean is near 1 and its spread below that of the law."""
    x = drawn(count=100, sampler=BestParticle, particles=8, steps=30)[:, 0]
    assert abs(float(x.mean()) - 1) < 0.1
    assert float(x.std()) < 0.6 * STD
    run = task(5, energy=energy)
    xs, _, energies = SequentialMonteCarlo(steps=5).population(Standard(), LINE, run)
    best = BestParticle(steps=5).sample(Standard(), LINE, task(5, energy=energy))
    assert torch.equal(best["x"], gather(xs, energies.argmin(1, keepdim=True))[0]["x"])


def test_guides_are_taken_off_and_projections_stay():
    base = Standard()
    inner = EnergyGuidance(base, LINE, energy)
    held = Projection(PosteriorGuidance(inner, LINE, energy), lambda x: x)
    found = untwisted(held)
    assert isinstance(found, Projection)
    assert found.denoiser is base
    assert isinstance(held.denoiser, PosteriorGuidance)  # unchanged
    assert untwisted(Projection(base, lambda x: x)).denoiser is base


def test_lengths_of_twists():
    one, two = {"x": torch.tensor([[[3.0, 4.0]], [[0.3, 0.4]]])}, {"x": torch.tensor([[[0.0, 1.0]], [[2.0, 0.0]]])}
    assert length_of(one, torch.zeros(2)).tolist() == [5.0, 0.5]
    assert torch.allclose(as_long_as(one, two)["x"], torch.tensor([[[0.6, 0.8]], [[0.3, 0.4]]]))
    assert as_long_as(one, {}) is one


def test_resampled_particles_lose_their_weights():
    """Even where each place keeps its own particle."""
    sampler = SequentialMonteCarlo(particles=2, threshold=1.0)
    picks, again = sampler.resample(torch.zeros(1, 2), [torch.Generator().manual_seed(0)])
    assert picks.tolist() == [[0, 1]]
    assert again.tolist() == [True]
    calm = SequentialMonteCarlo(particles=2, threshold=0.0)
    assert calm.resample(torch.zeros(1, 2), [torch.Generator().manual_seed(0)])[1].tolist() == [False]


def test_bad_settings_are_refused():
    for bad in ({"pull": -1.0}, {"particles": 0}, {"strength": -1.0}):
        for sampler in (SequentialMonteCarlo, BestParticle):
            with pytest.raises(UsageError, match="must be at least 1"):
                sampler(**bad)


def test_a_state_is_gathered_row_by_row():
    states = [State({"x": torch.full((2, 1, 1), float(k))}, torch.ones(2, 1, dtype=torch.bool)) for k in range(3)]
    (found,) = gather(states, torch.tensor([[2], [0]]))
    assert found["x"].flatten().tolist() == [2.0, 0.0]
