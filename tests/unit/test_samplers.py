"""Samplers against the exact denoiser of a Gaussian, for which the distribution at every step is known."""

import math
from itertools import pairwise

import pytest
import torch
from scipy import stats

from protgen import registry
from protgen.errors import UsageError
from protgen.geometry import igso3, so3
from protgen.samplers.base import Denoiser, Guidance, SamplingTask, begin, draw_normals
from protgen.samplers.brownian import BROWNIAN
from protgen.samplers.energy import EnergyGuidance, PosteriorGuidance
from protgen.samplers.guidance import ClassifierFreeGuidance
from protgen.samplers.heun import Heun
from protgen.samplers.projection import Projection
from protgen.samplers.schedules import SCHEDULES, Path
from protgen.samplers.smc import SequentialMonteCarlo
from protgen.spaces.backbone import Backbone, Rotations
from protgen.types import Conditioning, State
from tests.exact_denoisers import LINE, MEAN, STD, ExactGaussian, Towards, drawn, task
from tests.toy_space import Line

pytestmark = pytest.mark.slow

PATHS = {name: Path(schedule()) for name, schedule in SCHEDULES.items()}


def errors(sampler: str, path: Path) -> list[float]:
    """Mean distance from the exact end of the flow, which takes quantiles at t = 1 to those at t = 0."""
    (alpha, sigma), run = path.flat.at(1.0), task(1, length=200)
    first = sigma * draw_normals(task(1, length=200), 2).double()
    exact = MEAN + STD * (first - alpha * MEAN) / (alpha**2 * STD**2 + sigma**2) ** 0.5
    found = []
    for steps in (16, 32, 64):
        run = task(1, length=200)
        result = registry.build("samplers", sampler, steps=steps).sample(ExactGaussian(path), LINE, run)["x"]
        found.append(float((result - exact).abs().mean()))
    return found


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("ddim", 1), ("heun", 2)])
def test_order_of_convergence(sampler, order, path):
    """The error falls by 2^order when steps double."""
    found = errors(sampler, path)
    for coarse, fine in pairwise(found):
        assert 0.75 * order < math.log2(coarse / fine) < 1.5 * order, found


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize(
    ("sampler", "settings"),
    [
        ("euler", {}),
        ("euler", {"churn": 2.0}),
        ("heun", {"churn": 0.5}),
        ("ddim", {"eta": 0.5}),
        ("ddpm", {}),
        ("ddpm", {"upper": 1.0}),
        ("sde", {}),
        ("sde", {"noise": 0.5}),
    ],
)
def test_samplers_reach_the_gaussian(sampler, settings, path):
    """Mean within 0.03 (standard error 0.005) and standard deviation within 6 %, whatever the path and the noise.

    Within 8 % with DDPM's upper variance, which is too large for data narrower than the noise until steps are small.
    """
    samples = drawn(registry.build("samplers", sampler, steps=100, **settings), path)
    assert abs(samples.mean() - MEAN) < 0.03
    assert abs(samples.std() / STD - 1) < (0.08 if "upper" in settings else 0.06), samples.std()


def test_ddim_with_eta_one_is_ddpm():
    results = [
        registry.build("samplers", name, steps=20, **keywords).sample(
            ExactGaussian(PATHS["cosine"]), LINE, task(1, length=50)
        )["x"]
        for name, keywords in (("ddim", {"eta": 1.0}), ("ddpm", {}))
    ]
    assert torch.allclose(*results, atol=1e-5)


def test_bad_settings_are_refused():
    common = ({"steps": 0}, {"rotation_rate": -1.0}, {"spacing": 0.0})
    own = {"euler": {"churn": -1.0}, "heun": {"churn": -1.0}, "ddim": {"eta": 1.5}, "ddpm": {"upper": -1.0},
           "sde": {"noise": -1.0}, "smc": {"particles": 0}}  # fmt: skip
    for name, wrong in own.items():
        for bad in (*common, wrong):
            with pytest.raises(UsageError):
                registry.build("samplers", name, **bad)


def backbones(rng, count: int = 1) -> tuple[Backbone, State, State]:
    space = Backbone()
    mask = torch.ones(1, 9, dtype=torch.bool)
    a, b = (space.noise(mask, torch.randn(1, 9, 7, generator=rng)) for _ in range(2))
    return space, a, b


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
    guided = ClassifierFreeGuidance(Towards(asked, free), space, Guidance(unknown, 2.0)).denoise(asked, one, cond)
    assert torch.allclose(guided["trans"], 2 * asked["trans"] - free["trans"], atol=1e-4)


def test_each_part_of_y_is_guided_by_its_own_weight(rng):
    """x + sum_i (w_i - 1) (x - x_without_i) on flat fields; parts of weight 1 cost and change nothing."""
    space, asked, free = backbones(rng)
    cond = Conditioning(torch.zeros(1, 9, 0), torch.ones(1, 1))
    unknown = Conditioning(torch.zeros(1, 9, 0), torch.zeros(1, 1))
    one = torch.ones(1)
    parts = Guidance(unknown, 2.0, further=[(unknown, 1.5), (unknown, 1.0)])
    assert [weight for _, weight in parts.parts] == [2.0, 1.5]
    out = ClassifierFreeGuidance(Towards(asked, free), space, parts).denoise(asked, one, cond)
    assert torch.allclose(out["trans"], asked["trans"] + 1.5 * (asked["trans"] - free["trans"]), atol=1e-4)
    same = ClassifierFreeGuidance(Towards(asked, free), space, Guidance(unknown, 2.5)).denoise(asked, one, cond)
    assert torch.allclose(out["rots"].transpose(-1, -2) @ out["rots"], torch.eye(3).expand(1, 9, 3, 3), atol=1e-4)
    assert torch.allclose(out["trans"], same["trans"], atol=1e-4)
    only = ClassifierFreeGuidance(Towards(asked, free), space, Guidance(unknown, 1.0, further=[(cond, 3.0)]))
    assert torch.allclose(only.denoise(asked, one, cond)["trans"], asked["trans"], atol=1e-5)


def test_guidance_rests_outside_its_interval(rng):
    """x_free + 3 (x_asked - x_free) from 0.2 to 0.8, both included; x_asked itself outside."""
    space, asked, free = backbones(rng)
    cond = Conditioning(torch.zeros(1, 9, 0), torch.ones(1, 1))
    unknown = Conditioning(torch.zeros(1, 9, 0), torch.zeros(1, 1))
    guide = ClassifierFreeGuidance(Towards(asked, free), space, Guidance(unknown, 3.0, interval=(0.2, 0.8)))
    for t in (0.0, 0.19, 0.81, 1.0):
        assert torch.equal(guide.denoise(asked, torch.tensor([t]), cond)["trans"], asked["trans"])
    for t in (0.2, 0.5, 0.8):
        inside = guide.denoise(asked, torch.tensor([t]), cond)
        assert torch.allclose(inside["trans"], 3 * asked["trans"] - 2 * free["trans"], atol=1e-4)


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
            # Centring may take a fraction of a step back.
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


class Smoothed(Towards):
    """An estimate whose positions are means over a window of x_t, as those of a network depend on neighbours."""

    def denoise(self, x_t, t, cond, x_pred=None):
        near = torch.eye(9) + torch.eye(9).roll(1, 0) + torch.eye(9).roll(-1, 0)
        return x_t.with_fields(trans=0.3 * near @ x_t["trans"])


def test_posterior_guidance_moves_what_the_network_moves_together(rng):
    """Steps of E / |g|^2 g through the network: neighbours of the pulled residue come along, met rows stay."""
    space, at, _ = backbones(rng)
    two = State({k: torch.cat([v, v]) for k, v in at.fields.items()}, torch.cat([at.mask, at.mask]))
    cond, times = Conditioning(torch.zeros(2, 9, 0), torch.ones(2, 1)), torch.tensor([0.5, 0.5])
    inner = Smoothed(two, two)
    plain = inner.denoise(two, times, cond)
    goal = plain["trans"][0, 4] + torch.tensor([0.6, 0.0, 0.0])

    def energy(xyz, mask):
        return 0.5 * (xyz[:, 4, 1] - goal).square().sum(-1) * torch.tensor([1.0, 0.0])

    guide = PosteriorGuidance(inner, space, energy, weight=2.0)
    moved = guide.denoise(two, times, cond)["trans"] - plain["trans"]
    # E = 0.18, g = 0.3 * -0.6 on residues 3, 4 and 5, so |g|^2 = 3 * 0.0324; centring takes the mean back.
    expected = torch.zeros(9, 3)
    expected[3:6, 0] = 2 * 0.18 / (3 * 0.0324) * 0.18
    assert torch.allclose(moved[0], expected - expected.mean(0), atol=1e-4)
    assert moved[1].abs().max() < 1e-5
    stronger = PosteriorGuidance(inner, space, energy, weight=torch.tensor([4.0, 4.0])).denoise(two, times, cond)
    assert torch.allclose(stronger["trans"][0] - plain["trans"][0], 2 * moved[0], atol=1e-4)
    short = PosteriorGuidance(inner, space, energy, weight=2.0, longest=0.01).denoise(two, times, cond)
    assert torch.allclose(
        short["trans"][0] - plain["trans"][0], moved[0] / moved[0].norm(dim=-1).max() * 0.02, atol=0.01
    )
    resting = PosteriorGuidance(inner, space, energy, weight=2.0, stop=0.6).denoise(two, times, cond)
    assert torch.equal(resting["trans"], plain["trans"])


def test_a_projection_is_where_sampling_ends():
    """The estimate is put onto a line; the noisy point too, where asked."""
    seen = []

    class Watched(ExactGaussian):
        def denoise(self, x_t, t, cond, x_pred=None):
            seen.append(x_t["x"][..., 1].abs().max().item())
            return super().denoise(x_t, t, cond, x_pred)

    def flat(state):
        return state.with_fields(x=state["x"] * torch.tensor([1.0, 0.0]))

    for inputs in (None, flat):
        seen.clear()
        run = task(20)
        result = registry.build("samplers", "euler", steps=10).sample(
            Projection(Watched(), flat, inputs=inputs), Line(), run
        )["x"]
        assert (result[..., 1] == 0).all()
        assert (result[..., 0] != 0).all()
        assert (max(seen) == 0) is (inputs is not None)


def test_sampling_starts_from_what_is_given():
    """At time 0.001 hardly anything is left to change; at 1 nothing of it is left."""
    start = State({"x": torch.full((50, 1, 2), 1.4)}, torch.ones(50, 1, dtype=torch.bool))
    near = registry.build("samplers", "euler", steps=5).sample(
        ExactGaussian(), Line(), task(50, start=start, start_time=0.001)
    )["x"]
    assert (near - 1.4).abs().max() < 0.01
    far = registry.build("samplers", "euler", steps=5).sample(
        ExactGaussian(), Line(), task(50, start=start, start_time=1.0)
    )["x"]
    assert torch.allclose(
        far, registry.build("samplers", "euler", steps=5).sample(ExactGaussian(), Line(), task(50))["x"], atol=1e-5
    )
    assert begin(Path(), Line(), task(50, start=start, start_time=0.5))["x"].mean() == pytest.approx(0.7, abs=0.15)


@pytest.mark.slow
def test_sequential_monte_carlo_without_energy_keeps_the_distribution():
    samples = SequentialMonteCarlo(steps=80, particles=2).sample(ExactGaussian(), Line(), task(1500))["x"][:, 0]
    assert abs(samples.mean() - 1) < 0.04
    assert (samples.std(0) / STD - 1).abs().max() < 0.07


@pytest.mark.slow
def test_sequential_monte_carlo_tilts_towards_low_energy():
    """The product of N(1, s^2) and exp(-a x) is N(1 - a s^2, s^2): of 400 samples the mean within four errors, 0.1."""

    def energy(x, mask):
        return 2.0 * x[:, 0, 0]

    for particles in (1, 4, 16):
        run = task(400, energy=energy)
        samples = SequentialMonteCarlo(steps=40, particles=particles, churn=2.0).sample(ExactGaussian(), Line(), run)
        assert samples["x"][:, 0, 0].mean().item() == pytest.approx(1 - 2 * STD**2, abs=0.1)
        assert samples["x"][:, 0, 0].std().item() == pytest.approx(STD, abs=0.1)
        assert abs(samples["x"][:, 0, 1].mean() - 1) < 0.1  # the other axis knows nothing of it


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


class ExactRotations(Denoiser):
    """For data of IGSO(3) about the identity: the rotation whose kernel has the score of IGSO(3) at a wider spread."""

    def __init__(self, data_std: float, brownian: str = "geometric"):
        self._path = Path(SCHEDULES["cosine"](), BROWNIAN[brownian]())
        self.data_std = data_std
        self.grid = torch.linspace(1e-3, math.pi, 1000, dtype=torch.float64)

    @property
    def path(self):
        return self._path

    def denoise(self, x_t, t, cond, x_pred=None):
        spread = torch.tensor(self.path.brownian.at(float(t[0])), dtype=torch.float64)
        way = so3.relative_log(x_t["rots"], so3.identity_like(x_t["rots"]))
        angle = way.norm(dim=-1, keepdim=True)
        wanted = igso3.score_over_angle(angle.double(), (spread**2 + self.data_std**2).sqrt()) * angle
        # The kernel's score rises with the angle to its greatest value: read the inverse off a table of that part.
        table = igso3.score_over_angle(self.grid, spread) * self.grid
        rising = table[: int(table.argmax()) + 1]
        i = torch.searchsorted(rising, wanted.detach().contiguous()).clamp(1, len(rising) - 1)
        fraction = (wanted - rising[i - 1]) / (rising[i] - rising[i - 1])
        back = self.grid[i - 1] + fraction * (self.grid[i] - self.grid[i - 1])
        return x_t.with_fields(rots=so3.move(x_t["rots"], (back / angle).float() * way))


class Turns(Line):
    """Rotations and, for `Line`'s sake, nothing else."""

    def __init__(self):
        super().__init__()
        self.manifolds = {"rots": Rotations()}

    normals_per_position = 4

    def noise(self, mask, normals):
        return State({"rots": so3.uniform(normals)}, mask)


@pytest.mark.parametrize(
    ("brownian", "steps", "count", "limit"), [("geometric", 80, 1000, 0.07), ("linear", 40, 500, 0.1)]
)
@pytest.mark.parametrize(
    ("sampler", "settings"),
    [("euler", {}), ("heun", {}), ("heun", {"churn": 0.5}), ("ddim", {}), ("ddpm", {}), ("ddpm", {"upper": 1.0}),
     ("sde", {}), ("sde", {"noise": 0.5})],
)  # fmt: skip
def test_samplers_reach_a_distribution_on_rotations(sampler, settings, brownian, steps, count, limit):
    """From uniform rotations to IGSO(3): Kolmogorov-Smirnov distance of n angles from the exact ones below a limit.

    1.63 / sqrt(n) is its 1 % level, 0.05 of 1,000 and 0.073 of 500; the rest is for steps of finite size.
    """
    data_std = 0.5
    built = registry.build("samplers", sampler, steps=steps, **settings)
    result = built.sample(ExactRotations(data_std, brownian), Turns(), task(2, length=count // 2))["rots"]
    angles = so3.angle_between(result, so3.identity_like(result)).flatten()
    fine = torch.linspace(0, math.pi, 4001, dtype=torch.float64)
    density = igso3.log_density(fine, torch.tensor(data_std).double()).exp() * (1 - fine.cos()) / math.pi
    cumulative = torch.cat([torch.zeros(1), torch.cumulative_trapezoid(density, fine)])
    quantiles = cumulative[torch.searchsorted(fine, angles.double()).clamp(max=4000)]
    assert stats.kstest(quantiles.numpy(), "uniform").statistic < limit


def test_churn_of_geodesics_is_refused(rng):
    space, target, _ = backbones(rng)
    run = SamplingTask(target.mask, Conditioning(torch.zeros(1, 9, 0), torch.ones(1, 1)), [rng])
    with pytest.raises(UsageError, match="geodesics"):
        Heun(churn=0.5).sample(Towards(target, target), space, run)
