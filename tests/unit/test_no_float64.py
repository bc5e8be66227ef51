"""Samplers and losses compute without float64 where a device has none (mps): such an operation raises here.

The CPU stands for the device: `widest` answers as it does for mps, and every operation with a float64 tensor of at
least one dimension raises. Numbers (tensors without a dimension) stay on the CPU anyway, as do tables made once.
"""

import inspect

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from protgen import device, registry
from protgen.families import diffusion
from protgen.families.base import IterativeFamily
from protgen.geometry import igso3
from protgen.samplers.base import SamplingTask
from protgen.samplers.brownian import LinearBrownian
from protgen.samplers.schedules import SCHEDULES, Path
from protgen.spaces.backbone import Backbone
from protgen.spaces.torsions import Torsions
from protgen.types import Conditioning, State
from tests.exact_denoisers import Towards
from tests.toy_families import conditioning, make
from tests.toy_space import Circle, Line, Turn


class NoFloat64(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for x in tree_flatten((args, kwargs, result))[0]:
            if isinstance(x, torch.Tensor) and x.dtype == torch.float64 and x.ndim:
                raise TypeError(f"{func} with float64, which this device has not")
        return result


@pytest.fixture
def narrow(monkeypatch):
    igso3.table_in(torch.float32)  # a table, made once on the CPU
    for module in (igso3, diffusion):
        monkeypatch.setattr(module, "widest", lambda _: device.widest(torch.device("mps")))
    # What roma asks by itself of a device, in versions that use float64 at all.
    monkeypatch.setattr("roma.mappings._supports_float64", lambda _: False, raising=False)
    return NoFloat64()


def test_the_mode_forbids_it():
    assert device.widest(torch.device("mps")) == torch.float32
    assert device.widest(torch.device("cpu")) == torch.float64
    with pytest.raises(TypeError, match="float64"), NoFloat64():
        torch.zeros(3).double()


@pytest.mark.parametrize("path", [Path(), Path(SCHEDULES["cosine"](), LinearBrownian())], ids=["geodesic", "brownian"])
@pytest.mark.parametrize("space", [Backbone, Torsions])
@pytest.mark.parametrize("name", registry.names("samplers"))
def test_every_sampler(name, space, path, narrow, rng):
    place = space()
    mask = torch.ones(2, 7, dtype=torch.bool)
    target = place.noise(mask, torch.randn(2, 7, place.normals_per_position, generator=rng))

    def energy(x, seen):
        return x.square().sum((1, 2, 3)) * 1e-3

    run = SamplingTask(
        mask,
        Conditioning(torch.zeros(2, 7, 0), torch.ones(2, 1)),
        [torch.Generator().manual_seed(k) for k in range(2)],
        start=target,
        start_time=0.9,
        energy=energy if "particles" in inspect.signature(registry.find("samplers", name)).parameters else None,
    )
    with narrow:
        made = registry.build("samplers", name, steps=3).sample(Towards(target, target, path), place, run)
    assert all(torch.isfinite(x).all() for x in made.fields.values())


@pytest.mark.parametrize("space", [Line, Turn, Circle])
@pytest.mark.parametrize("name", [n for n in registry.names("families") if n in ("flow_matching", "diffusion")])
def test_losses_and_samples_of_families_that_iterate(name, space, narrow, rng):
    place = space()
    family = make(name, place)
    assert isinstance(family, IterativeFamily)
    mask = torch.ones(4, 1, dtype=torch.bool)
    x = place.noise(mask, torch.randn(4, 1, place.normals_per_position, generator=rng))
    cond = conditioning(torch.ones(4, 1))
    run = SamplingTask(mask, cond, [torch.Generator().manual_seed(k) for k in range(4)])
    with narrow:
        loss = family.loss(State(x.fields, mask), cond, rng)
        loss.total.backward()
        made = family.sample(run, registry.build("samplers", "euler", steps=2))
        bound = family.log_prob(x, cond, rng) if name == "diffusion" else None
    assert torch.isfinite(loss.total)
    assert bound is None or torch.isfinite(bound.nats).all()
    assert all(torch.isfinite(v).all() for v in made.fields.values())


def test_float32_is_near_float64(monkeypatch):
    """Density to 1e-5 nats, score to 1e-4, rotation vectors to 1e-5 rad, within six standard deviations."""
    monkeypatch.setattr(igso3, "widest", lambda _: torch.float32)
    for std in (0.02, 0.1, 0.6, 0.9, 1.1, 3.0):
        w = torch.linspace(1e-3, min(3.14, 6 * std), 200)
        s = torch.full_like(w, std)
        found, slope = igso3.log_density(w, s), igso3.score_over_angle(w, s)
        normals = torch.randn(1, 300, 3, generator=torch.Generator().manual_seed(0))
        vectors = igso3.sample_rotvec(normals, torch.tensor([std]))
        with monkeypatch.context() as wide:
            wide.setattr(igso3, "widest", lambda _: torch.float64)
            assert torch.allclose(found.double(), igso3.log_density(w.double(), s.double()), atol=1e-5, rtol=1e-5)
            exact = igso3.score_over_angle(w.double(), s.double())
            assert torch.allclose(slope.double(), exact, rtol=1e-4, atol=1e-4)
            assert torch.allclose(vectors, igso3.sample_rotvec(normals, torch.tensor([std])), atol=1e-5)
