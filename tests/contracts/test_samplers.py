"""What every sampler promises, on denoisers whose answer is known; a new file in protgen/samplers joins by its name."""

import inspect

import pytest
import torch

from protgen import registry
from protgen.errors import UsageError
from protgen.samplers.brownian import LinearBrownian
from protgen.samplers.schedules import SCHEDULES, Path
from protgen.spaces.backbone import Backbone
from protgen.types import Conditioning, State
from tests.exact_denoisers import LINE, MEAN, STD, ExactGaussian, Towards, drawn, task

pytestmark = pytest.mark.slow

NAMES = registry.names("samplers")
CLASSES = registry.classes("samplers")
PATHS = {name: Path(schedule()) for name, schedule in SCHEDULES.items()}


def built(name: str, steps: int, **keywords):
    return registry.build("samplers", name, steps=steps, **keywords)


@pytest.mark.parametrize("path", ["linear", "cosine"])
@pytest.mark.parametrize("name", NAMES)
def test_the_law_of_a_gaussian_is_reached(name, path):
    """10,000 numbers: mean within 0.03 (standard error 0.005), standard deviation within 6 %."""
    samples = drawn(built(name, 100), PATHS[path])
    assert abs(samples.mean() - MEAN) < 0.03
    assert abs(samples.std() / STD - 1) < 0.06


@pytest.mark.parametrize("name", NAMES)
def test_low_temperature_narrows(name):
    for path in (PATHS["linear"], PATHS["cosine"]):
        assert drawn(built(name, 50), path, temperature=0.3).std() < 0.7 * STD


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_depends_on_its_own_stream_alone(name):
    """The first two of four are the two of two, to the bit; and the same again."""
    sampler = built(name, 5)
    many, few, again = (sampler.sample(ExactGaussian(PATHS["cosine"]), LINE, task(n))["x"] for n in (4, 2, 4))
    assert torch.equal(many[:2], few)
    assert torch.equal(many, again)
    assert not torch.equal(many[0], many[1])


@pytest.mark.parametrize("name", NAMES)
def test_other_streams_give_other_samples(name):
    sampler = built(name, 5)
    one, two = (sampler.sample(ExactGaussian(PATHS["cosine"]), LINE, task(2, seed=seed))["x"] for seed in (0, 1))
    assert not torch.equal(one, two)


@pytest.mark.parametrize("path", [Path(), Path(SCHEDULES["cosine"](), LinearBrownian())], ids=["geodesic", "brownian"])
@pytest.mark.parametrize("rate", [0.0, 10.0])
@pytest.mark.parametrize("name", NAMES)
def test_a_certain_denoiser_is_followed_to_the_end(name, rate, path, rng):
    """Positions and rotations, with the straight and with the exponential schedule, and they stay rotations."""
    space, mask = Backbone(), torch.ones(1, 9, dtype=torch.bool)
    target = space.noise(mask, torch.randn(1, 9, 7, generator=rng))
    run = task(1, seed=1, length=9, y=1)
    schedule = {"rotation_rate": rate} if "rotation_rate" in inspect.signature(CLASSES[name]).parameters else {}
    result = built(name, 30, **schedule).sample(Towards(target, target, path), space, run)
    assert (result["trans"] - target["trans"]).abs().max() < 1e-3
    assert (result["rots"] - target["rots"]).abs().max() < 1e-3
    identity = torch.eye(3).expand(1, 9, 3, 3)
    assert torch.allclose(result["rots"].transpose(-1, -2) @ result["rots"], identity, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_sampling_starts_from_what_is_given(name):
    """At time 0.001 of the straight path hardly anything is left to change."""
    start = State({"x": torch.full((50, 1, 2), 1.4)}, torch.ones(50, 1, dtype=torch.bool))
    near = built(name, 5).sample(ExactGaussian(), LINE, task(50, start=start, start_time=0.001))["x"]
    assert (near - 1.4).abs().max() < 0.02


@pytest.mark.parametrize("name", NAMES)
def test_each_step_is_reported(name):
    """In order, with a point and a prediction of the shape of the samples."""
    seen = []

    def on_step(number, x, x_pred):
        seen.append(number)
        assert x["x"].shape[1:] == x_pred["x"].shape[1:] == (1, 2)

    built(name, 7).sample(ExactGaussian(), LINE, task(3, on_step=on_step))
    assert seen == list(range(7))


@pytest.mark.parametrize("name", NAMES)
def test_padding_stays_zero(name, rng):
    """And what is real does not depend on it."""
    space = Backbone()
    mask = torch.ones(1, 9, dtype=torch.bool)
    mask[:, 6:] = False
    target = space.project(space.noise(mask, torch.randn(1, 9, 7, generator=rng)))
    cond = Conditioning(torch.zeros(1, 9, 0), torch.ones(1, 1))
    run = task(1, seed=2, length=9, y=1, mask=mask, cond=cond)
    result = built(name, 10).sample(Towards(target, target), space, run)
    assert (result["trans"][:, 6:] == 0).all()
    assert torch.isfinite(result["trans"]).all()


@pytest.mark.parametrize("name", NAMES)
def test_no_steps_are_refused(name):
    with pytest.raises(UsageError, match="steps"):
        built(name, 0)
