"""Latents go down an energy of what they are decoded to, in small moves, each example by itself."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from protgen.conditions.contacts import Contacts
from protgen.conditions.length import Length
from protgen.conditions.radius_of_gyration import RadiusOfGyration
from protgen.families.latent_descent import descend
from protgen.generation.design import SampleSettings
from protgen.generation.generate import generate
from protgen.generation.planner import assign
from protgen.models.model import build_model
from protgen.samplers.base import SamplingTask
from protgen.types import State
from tests import toy_families
from tests.toy_space import Line

PLAIN = SimpleNamespace(observe=lambda state: state["x"])
SMALL = {"name": "frame_attention", "dim": 32, "pair_dim": 8, "blocks": 2, "heads": 2, "refresh": 1}
FAST = SampleSettings(steps=4, device="cpu")


def decoder(mask):
    """Twice the latents."""
    return lambda z: State({"x": 2 * z}, mask)


def distance_to(goal):
    """Half the squared distance of all real positions to a goal."""
    return lambda x, mask: 0.5 * ((x - goal).square() * mask[..., None]).sum((1, 2))


def test_energy_is_met_in_small_moves(rng):
    z = torch.randn(3, 5, 2, generator=rng)
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[2, 3:] = False
    goal = 2 * z + 1.0
    goal[1] = 2 * z[1]  # no energy to begin with
    found = descend(z, mask, decoder(mask), PLAIN, distance_to(goal), steps=60, longest=0.1)
    assert (2 * found - goal)[mask].abs().max() < 1e-3
    assert torch.equal(found[1], z[1])
    assert torch.equal(found[2, 3:], z[2, 3:])
    near = descend(z, mask, decoder(mask), PLAIN, distance_to(goal), steps=1, longest=0.1)
    assert (near - z).norm(dim=-1).max() == pytest.approx(0.1 * 2**0.5, rel=1e-4)


def test_examples_do_not_depend_on_each_other(rng):
    z, mask = torch.randn(4, 5, 2, generator=rng), torch.ones(4, 5, dtype=torch.bool)
    goal = torch.randn(4, 5, 2, generator=rng)
    together = descend(z, mask, decoder(mask), PLAIN, distance_to(goal), steps=7)
    for i in range(4):
        own = slice(i, i + 1)
        alone = descend(z[own], mask[own], decoder(mask[own]), PLAIN, distance_to(goal[own]), steps=7)
        assert torch.allclose(alone, together[own], atol=1e-6)


def test_the_best_on_the_way_is_kept_and_lost_slopes_do_no_harm(rng):
    z, mask = torch.randn(1, 4, 2, generator=rng), torch.ones(1, 4, dtype=torch.bool)
    calls = []

    def worse(x, mask):
        """An energy that rises with every look at it."""
        calls.append(1)
        return len(calls) + 0 * x.sum((1, 2)) + (0 * x).norm(dim=-1).sum(1)

    assert torch.equal(descend(z, mask, decoder(mask), PLAIN, worse, steps=5), z)

    def broken(x, mask):
        return 1 + (0 * x).sum((1, 2)).sqrt()  # the slope is not a number

    assert torch.equal(descend(z, mask, decoder(mask), PLAIN, broken, steps=3), z)


@pytest.mark.parametrize("name", ["gan", "normalizing_flow"])
def test_noise_goes_down_an_energy_of_the_samples(name):
    """x_0 of at least 1: met by all, to rounding; samples that meet it already are those without the energy."""
    torch.manual_seed(0)
    family = toy_families.make(name, Line()).eval()
    mask = torch.ones(50, 1, dtype=torch.bool)

    def task(**more):
        streams = [torch.Generator().manual_seed(k) for k in range(50)]
        return SamplingTask(mask, toy_families.conditioning(torch.zeros(50, 1)), streams, **more)

    free = family.sample(task())["x"]
    held = family.sample(task(energy=lambda x, _: (1 - x[..., 0]).relu().sum(1)))["x"]
    good = free[:, 0, 0] >= 1
    assert 0 < int(good.sum()) < 50
    assert torch.equal(held[good], free[good])
    assert float(held[:, 0, 0].min()) > 1 - 1e-4
    # Of a flow that is not trained, which is the identity, nothing but x_0 moves, and no further than to 1.
    if name == "normalizing_flow":
        assert torch.allclose(held[..., 1], free[..., 1], atol=1e-6)
        assert float(held[~good, 0, 0].max()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("family", [{"name": "gan"}, {"name": "normalizing_flow", "steps": 2}])
def test_designs_of_families_without_latents_meet_energies(family):
    """Untrained chains of torsions: a contact of 24 residues is met by moving the noise, and by no ranking of one."""
    torch.manual_seed(0)
    network = {"name": "transformer", "dim": 16, "blocks": 1, "heads": 2}
    space = {"name": "torsions", "cis": True}  # else most untrained chains are drawn again and again
    config = {"space": space, "encoder": network, "family": family, "conditions": ["length"]}
    model = build_model(config)
    asked = [Length(24), Contacts(((2, 20),))]
    assert assign(asked, model)[1].mechanism == "energy"
    plain = replace(FAST, relax=False, candidates=1)
    off = {}
    for scale in (0.0, 1.0):
        made = list(generate(model, asked, 4, 0, replace(plain, energy_scale=scale)))
        off[scale] = [asked[1].adherence(design.protein).difference for design in made]
    assert max(off[1.0]) < 0.5
    assert max(off[0.0]) > 5


@pytest.fixture(scope="module", params=["vae", "vae frame_latents", "latent", "latent frame_latents"])
def model(request):
    torch.manual_seed(0)
    name, *frame_latents = request.param.split()
    config = {
        "space": {"name": "backbone"},
        "encoder": SMALL,
        "family": {"name": name, "frame_latents": bool(frame_latents)},
        "conditions": ["length"],
    }
    made = build_model(config)
    with torch.no_grad():  # decoders begin as the coil, whatever the latents
        for p in made.family.parameters():
            p.add_(0.05 * torch.randn_like(p))
    made.family.eval()
    return made


def test_designs_of_latent_families_meet_energies(model):
    asked = [Length(24), RadiusOfGyration(10.0)]
    assert [entry.mechanism for entry in assign([*asked, Contacts(((2, 20),))], model)] == [
        "construction", "energy", "energy",
    ]  # fmt: skip
    plain = replace(FAST, relax=False, energy_scale=0.0)
    free, held = (next(generate(model, asked, 1, 0, settings)) for settings in (plain, replace(plain, energy_scale=1)))
    off = [asked[1].adherence(design.protein).difference for design in (free, held)]
    assert off[1] < 0.5 * off[0]
    ranked = next(generate(model, asked, 1, 0, replace(plain, enforce={"radius_of_gyration": "rank"}, candidates=1)))
    assert np.allclose(ranked.protein.backbone, free.protein.backbone, atol=1e-3)
