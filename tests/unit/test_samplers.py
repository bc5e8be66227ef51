"""Samplers against the exact denoiser of a Gaussian, for which the distribution at every step is known."""

import pytest
import torch

from protgen.errors import UsageError
from protgen.samplers.base import Denoiser, Guidance, SamplingTask, begin, draw_normals
from protgen.samplers.energy import EnergyGuidance
from protgen.samplers.euler import Euler
from protgen.samplers.guidance import ClassifierFreeGuidance
from protgen.samplers.projection import Projection
from protgen.samplers.smc import SequentialMonteCarlo
from protgen.spaces.backbone import Backbone
from protgen.types import Conditioning, State
from tests.toy_space import Line

STD = 0.5


class ExactGaussian(Denoiser):
    """E[x_data | x_t] for x_data ~ N(mean, STD^2) and x_t = (1 - t) x_data + t noise."""

    def __init__(self, mean: float = 1.0):
        self.mean = mean

    def denoise(self, x_t, t, cond, estimate=None):
        t = t[:, None, None]
        variance = (1 - t) ** 2 * STD**2 + t**2
        gain = (1 - t) * STD**2 / variance
        return x_t.with_fields(x=self.mean + gain * (x_t["x"] - (1 - t) * self.mean))


def task(count: int, seed: int = 0, **settings) -> SamplingTask:
    mask = torch.ones(count, 1, dtype=torch.bool)
    cond = Conditioning(torch.zeros(count, 1, 0), torch.zeros(count, 0))
    generators = [torch.Generator().manual_seed(seed * 10_000 + i) for i in range(count)]
    return SamplingTask(mask, cond, generators, **settings)


def spread(sampler: Euler, **settings) -> torch.Tensor:
    return sampler.sample(ExactGaussian(), Line(), task(4000, **settings))["x"][:, 0]


def test_euler_reaches_the_gaussian():
    samples = spread(Euler(steps=200))
    assert abs(samples.mean() - 1) < 0.03
    assert (samples.std(0) / STD - 1).abs().max() < 0.03


def test_euler_converges_with_order_one():
    """For this denoiser the ODE maps noise z to 1 + STD z: the error halves when steps double."""
    errors = []
    exact = 1 + STD * draw_normals(task(50), 2)
    for steps in (20, 40, 80):
        result = Euler(steps=steps).sample(ExactGaussian(), Line(), task(50))["x"]
        errors.append((result - exact).abs().mean().item())
    assert 1.6 < errors[0] / errors[1] < 2.6
    assert 1.6 < errors[1] / errors[2] < 2.6


def test_churn_keeps_the_distribution():
    samples = spread(Euler(steps=200, churn=2.0))
    assert abs(samples.mean() - 1) < 0.03
    assert (samples.std(0) / STD - 1).abs().max() < 0.05


def test_low_temperature_narrows():
    assert spread(Euler(steps=50), temperature=0.3).std() < 0.5 * STD
    assert spread(Euler(steps=50, churn=2.0), temperature=0.3).std() < 0.5 * STD


def test_bad_settings_are_refused():
    for bad in ({"steps": 0}, {"churn": -1.0}, {"rotation_rate": -1.0}, {"spacing": 0.0}):
        with pytest.raises(UsageError):
            Euler(**bad)


class Towards(Denoiser):
    """A denoiser that always answers the same structure, or another when y is free."""

    def __init__(self, asked: State, free: State):
        self.asked, self.free = asked, free

    def denoise(self, x_t, t, cond, estimate=None):
        known = cond.whole[:, 0].bool()
        fields = {
            k: torch.where(known.reshape(-1, *[1] * (v.ndim - 1)), v, self.free[k])
            for k, v in self.asked.fields.items()
        }
        return State(fields, x_t.mask)


def backbones(rng, count: int = 1) -> tuple[Backbone, State, State]:
    space = Backbone()
    mask = torch.ones(1, 9, dtype=torch.bool)
    a, b = (space.noise(mask, torch.randn(1, 9, 7, generator=rng)) for _ in range(2))
    return space, a, b


@pytest.mark.parametrize("rate", [0.0, 10.0])
def test_a_certain_denoiser_is_followed_to_the_end(rate, rng):
    """Rotations too, with the straight and with the exponential schedule, and they stay rotations."""
    space, target, _ = backbones(rng)
    cond = Conditioning(torch.zeros(1, 9, 0), torch.ones(1, 1))
    run = SamplingTask(target.mask, cond, [torch.Generator().manual_seed(1)])
    result = Euler(steps=30, rotation_rate=rate).sample(Towards(target, target), space, run)
    assert (result["trans"] - target["trans"]).abs().max() < 1e-3
    assert (result["rots"] - target["rots"]).abs().max() < 1e-3
    identity = torch.eye(3).expand(1, 9, 3, 3)
    assert torch.allclose(result["rots"].transpose(-1, -2) @ result["rots"], identity, atol=1e-4)


def test_guidance_of_weight_one_is_plain_and_zero_is_free(rng):
    space, asked, free = backbones(rng)
    cond = Conditioning(torch.zeros(1, 9, 0), torch.ones(1, 1))
    unknown = Conditioning(torch.zeros(1, 9, 0), torch.zeros(1, 1))
    one = torch.ones(1)
    for weight, expected in ((1.0, asked), (0.0, free)):
        guide = ClassifierFreeGuidance(Towards(asked, free), space, Guidance(unknown, weight))
        out = guide.denoise(asked, one, cond)
        assert torch.allclose(out["trans"], expected["trans"], atol=1e-5)
        assert torch.allclose(out["rots"], expected["rots"], atol=1e-4)
    pushed = ClassifierFreeGuidance(Towards(asked, free), space, Guidance(unknown, 2.0)).denoise(asked, one, cond)
    assert torch.allclose(pushed["trans"], 2 * asked["trans"] - free["trans"], atol=1e-4)


def test_guidance_rests_below_its_interval(rng):
    space, asked, free = backbones(rng)
    cond = Conditioning(torch.zeros(1, 9, 0), torch.ones(1, 1))
    unknown = Conditioning(torch.zeros(1, 9, 0), torch.zeros(1, 1))
    guide = ClassifierFreeGuidance(Towards(asked, free), space, Guidance(unknown, 3.0, until=0.2))
    late = guide.denoise(asked, torch.tensor([0.1]), cond)
    early = guide.denoise(asked, torch.tensor([0.3]), cond)
    assert torch.allclose(late["trans"], asked["trans"], atol=1e-5)
    assert not torch.allclose(early["trans"], asked["trans"], atol=1e-1)


def pull_to(goal: torch.Tensor):
    """Half the squared distance of CA from a goal: its gradient is the displacement."""
    return lambda xyz, mask: 0.5 * ((xyz[:, :, 1] - goal).square().sum(-1) * mask).sum(-1)


def test_energy_guidance_goes_down_the_gradient_and_no_further_than_allowed(rng):
    """A quadratic energy with scale 1 reaches its minimum in one step, or moves by `longest` towards it."""
    space, at, _ = backbones(rng)
    direction = torch.randn(9, 3, generator=rng)
    goal = at["trans"] + 0.3 * (direction - direction.mean(0)) / direction.norm(dim=-1).max()
    cond = Conditioning(torch.zeros(1, 9, 0), torch.ones(1, 1))
    for longest in (10.0, 0.01):
        guide = EnergyGuidance(Towards(at, at), space, pull_to(goal), longest=longest)
        result = guide.denoise(at, torch.tensor([0.5]), cond)
        if longest > 1:
            assert torch.allclose(result["trans"], goal, atol=1e-4)
        else:
            # Centring may take a share of a step back.
            assert (result["trans"] - at["trans"]).norm(dim=-1).max() <= 2 * longest
            assert pull_to(goal)(space.observe(result), result.mask) < pull_to(goal)(space.observe(at), at.mask)


def test_energy_guidance_rests_outside_its_times_example_by_example(rng):
    space, at, _ = backbones(rng)
    two = State({k: torch.cat([v, v]) for k, v in at.fields.items()}, torch.cat([at.mask, at.mask]))
    cond = Conditioning(torch.zeros(2, 9, 0), torch.ones(2, 1))
    goal = at["trans"] * 0.9
    guide = EnergyGuidance(Towards(two, two), space, pull_to(goal), start=0.6, stop=0.1)
    result = guide.denoise(two, torch.tensor([0.5, 0.9]), cond)
    assert torch.allclose(result["trans"][1], at["trans"][0], atol=1e-6)
    assert (result["trans"][0] - at["trans"][0]).abs().max() > 0.05


def test_a_projection_is_where_sampling_ends():
    """The estimate is put onto a line; the noisy point too, where asked."""
    seen = []

    class Watched(ExactGaussian):
        def denoise(self, x_t, t, cond, estimate=None):
            seen.append(x_t["x"][..., 1].abs().max().item())
            return super().denoise(x_t, t, cond, estimate)

    def flat(state):
        return state.with_fields(x=state["x"] * torch.tensor([1.0, 0.0]))

    for inputs in (False, True):
        seen.clear()
        run = task(20)
        result = Euler(steps=10).sample(Projection(Watched(), flat, inputs=inputs), Line(), run)["x"]
        assert (result[..., 1] == 0).all()
        assert (result[..., 0] != 0).all()
        assert (max(seen) == 0) is inputs


def test_sampling_starts_from_what_is_given():
    """At time 0.001 hardly anything is left to change; at 1 nothing of it is left."""
    start = State({"x": torch.full((50, 1, 2), 1.4)}, torch.ones(50, 1, dtype=torch.bool))
    near = Euler(steps=5).sample(ExactGaussian(), Line(), task(50, start=start, start_time=0.001))["x"]
    assert (near - 1.4).abs().max() < 0.01
    far = Euler(steps=5).sample(ExactGaussian(), Line(), task(50, start=start, start_time=1.0))["x"]
    assert torch.allclose(far, Euler(steps=5).sample(ExactGaussian(), Line(), task(50))["x"], atol=1e-5)
    assert begin(Line(), task(50, start=start, start_time=0.5))["x"].mean() == pytest.approx(0.7, abs=0.15)


def test_sequential_monte_carlo_without_energy_keeps_the_distribution():
    samples = SequentialMonteCarlo(steps=100, particles=2).sample(ExactGaussian(), Line(), task(3000))["x"][:, 0]
    assert abs(samples.mean() - 1) < 0.04
    assert (samples.std(0) / STD - 1).abs().max() < 0.07


def test_sequential_monte_carlo_tilts_towards_low_energy():
    """The product of N(1, s^2) and exp(-a x) has its mean at 1 - a s^2; the more particles, the nearer."""

    def energy(x, mask):
        return 2.0 * x[:, 0, 0]

    means = []
    for particles in (1, 4, 16):
        run = task(400, energy=energy)
        samples = SequentialMonteCarlo(steps=40, particles=particles, churn=2.0).sample(ExactGaussian(), Line(), run)
        means.append(samples["x"][:, 0, 0].mean().item())
        assert abs(samples["x"][:, 0, 1].mean() - 1) < 0.1  # the other axis knows nothing of it
    assert means[0] == pytest.approx(1.0, abs=0.1)
    assert means[0] - 0.2 > means[1] > means[2]


def test_particles_of_a_sample_do_not_depend_on_its_neighbours():
    def energy(x, mask):
        return 3.0 * x[:, 0, 0]

    sampler = SequentialMonteCarlo(steps=10, particles=4)
    many = sampler.sample(ExactGaussian(), Line(), task(6, energy=energy))["x"]
    few = sampler.sample(ExactGaussian(), Line(), task(2, energy=energy))["x"]
    assert torch.allclose(many[:2], few, atol=1e-6)
    for bad in ({"particles": 0}, {"churn": 0.0}, {"threshold": 2.0}, {"strength": -1.0}):
        with pytest.raises(UsageError):
            SequentialMonteCarlo(**bad)
