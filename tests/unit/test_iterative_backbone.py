"""Diffusion and flow matching on protein backbones with a small untrained network: losses, likelihoods, samplers."""

import math
from dataclasses import replace

import pytest
import torch

from protgen import registry
from protgen.errors import ConfigError
from protgen.families.base import LikelihoodFamily
from protgen.families.minibatch_ot import couple, squared_distances
from protgen.families.ode_likelihood import OdeSettings
from protgen.models.model import build_model
from protgen.samplers.base import Guidance, SamplingTask
from protgen.types import Conditioning, State
from tests.toy_families import Dense
from tests.toy_space import Line

pytestmark = pytest.mark.slow

ENCODER = {"name": "frame_attention", "dim": 16, "pair_dim": 8, "blocks": 2, "refresh": 1, "heads": 2}
FAMILIES = {
    "diffusion": {"name": "diffusion"},
    "diffusion_v": {"name": "diffusion", "target": "v"},
    "ddpm": {"name": "diffusion", "path": "linear_beta", "target": "eps"},
    "vdm": {"name": "diffusion", "path": "learned", "target": "v", "weighting": "bound"},
    "flow": {"name": "flow_matching"},
    "flow_vp": {"name": "flow_matching", "path": "variance_preserving", "curved_error": "tangent"},
    "flow_ot": {"name": "flow_matching", "optimal_transport": True},
}


def built(family):
    torch.manual_seed(0)
    config = {"space": {"name": "backbone"}, "encoder": ENCODER, "family": family, "conditions": ["length"]}
    model = build_model(config)
    for parameter in model.family.encoder.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def inputs(model, rng, count=3):
    mask = torch.ones(count, 12, dtype=torch.bool)
    mask[1:, 9:] = False
    normals = torch.randn(count, 12, model.family.space.normals_per_position, generator=rng)
    return model.family.space.noise(mask, normals), model.conditions.unknown(mask)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_training_step_reaches_every_parameter(family, rng):
    model = built(family)
    model.family.settings = replace(model.family.settings, self_conditioning=1.0)
    state, cond = inputs(model, rng)
    losses = model.family.loss(state, cond, rng)
    losses.total.backward()
    for name, parameter in model.family.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("sampler", registry.names("samplers"))
@pytest.mark.parametrize("family", ["diffusion", "vdm", "flow"])
def test_every_sampler_makes_frames_with_guidance(family, sampler, rng):
    """Finite, centred, proper rotations; the same alone and in a batch."""
    model = built(FAMILIES[family])
    model.family.eval()
    state, cond = inputs(model, rng)

    def draw(rows):
        pick = Conditioning(cond.residue[:rows], cond.globals[:rows])
        generators = [torch.Generator().manual_seed(i) for i in range(rows)]
        task = SamplingTask(state.mask[:rows], pick, generators, 0.8, guidance=Guidance(pick, 1.5))
        return model.family.sample(task, registry.build("samplers", sampler, steps=4))

    many, one = draw(3), draw(1)
    assert torch.isfinite(many["trans"]).all()
    assert (many["trans"].sum(1).abs() < 1e-2).all()
    identity = torch.eye(3).expand(3, 12, 3, 3)
    assert torch.allclose(many["rots"] @ many["rots"].transpose(-1, -2), identity, atol=1e-4)
    assert torch.allclose(many["trans"][0], one["trans"][0], atol=1e-3)


@pytest.mark.parametrize("family", ["diffusion", "vdm", "flow"])
def test_a_prediction_that_training_never_read_is_not_read_in_sampling(family, rng):
    """Without self-conditioning in training its weights are those of the start: steps are as without it."""
    model = built(FAMILIES[family] | {"self_conditioning": 0.0})
    model.family.eval()
    state, cond = inputs(model, rng)

    def draw(**keywords):
        generators = [torch.Generator().manual_seed(i) for i in range(3)]
        task = SamplingTask(state.mask, cond, generators)
        return model.family.sample(task, registry.build("samplers", "euler", steps=4, **keywords))["trans"]

    assert torch.equal(draw(), draw(self_condition=False))
    model.family.settings = replace(model.family.settings, self_conditioning=0.5)
    assert not torch.allclose(draw(), draw(self_condition=False), atol=1e-3)


def test_the_diffusion_of_proteins_starts_from_a_flow():
    """Weights of the same names and shapes; at the same fraction of noise the two see the same positions."""
    flow, diffusion = built(FAMILIES["flow"]).family, built(FAMILIES["diffusion"]).family
    diffusion.load_state_dict(flow.state_dict())
    names = {name.split(".")[0] for name, _ in diffusion.named_parameters()}
    assert names == {"encoder", "head"}
    rng = torch.Generator().manual_seed(0)
    state, cond = inputs(built(FAMILIES["flow"]), rng)
    t = torch.full((3,), 0.4)
    alpha, sigma = diffusion.target.levels(t)
    noise = diffusion.space.noise(state.mask, torch.randn(3, 12, 7, generator=rng))
    x_vp = diffusion.space.project(state.with_fields(trans=alpha * state["trans"] + sigma * noise["trans"]))
    fraction = diffusion.path.seen(t)
    x_straight = flow.space.project(
        state.with_fields(trans=state["trans"].lerp(noise["trans"], fraction[:, None, None]))
    )
    found = diffusion.denoiser().denoise(x_vp, t, cond)
    wanted = flow.denoiser().denoise(x_straight, fraction, cond)
    assert torch.allclose(found["trans"], wanted["trans"], atol=1e-3)


@pytest.mark.parametrize("family", ["diffusion", "flow"])
def test_likelihoods_are_finite_and_do_not_turn_with_the_structure(family, rng):
    """The flow's with all directions; the bound's with its own noise is compared by the mean over times."""
    model = built(FAMILIES[family])
    model.family.eval()
    mask = torch.ones(1, 3, dtype=torch.bool)
    state = model.family.space.noise(mask, torch.randn(1, 3, 7, generator=rng))
    cond = model.conditions.unknown(mask)
    turn = model.family.space.noise(mask, torch.randn(1, 3, 7, generator=rng))["rots"][:, :1]
    rotated = state.with_fields(trans=state["trans"] @ turn[:, 0].transpose(-1, -2), rots=turn @ state["rots"])
    assert isinstance(model.family, LikelihoodFamily)
    settings = OdeSettings(steps=4, exact=True, first=0.05)
    model.family.likelihood = "ode"
    found, again = (model.family.log_prob(x, cond, rng, settings=settings) for x in (state, rotated))
    assert found.kind == "estimate"
    assert torch.isfinite(found.nats).all()
    assert torch.allclose(found.nats, again.nats, atol=0.05, rtol=1e-3)
    if family == "diffusion":
        model.family.likelihood = "bound"
        bound = model.family.log_prob(state, cond, rng, times=4)
        assert bound.kind == "lower_bound"
        assert torch.isfinite(bound.nats).all()


def test_optimal_transport_is_the_best_assignment_and_keeps_lengths(rng):
    """Against all 24 orders of 4 examples; examples of another length keep to themselves."""
    from itertools import permutations

    space = Line()
    mask = torch.ones(4, 1, dtype=torch.bool)
    data, noise = (State({"x": torch.randn(4, 1, 2, generator=rng)}, mask) for _ in range(2))
    cost = squared_distances(space, data, noise)
    best = min(sum(float(cost[i, j]) for i, j in enumerate(order)) for order in permutations(range(4)))
    coupled = couple(space, noise, data)
    assert float((coupled["x"] - data["x"]).square().sum()) == pytest.approx(best, rel=1e-4)

    mask = torch.tensor([[True, True], [True, False], [True, True], [True, False]])
    space_data = State({"x": torch.randn(4, 2, 2, generator=rng)}, mask)
    labels = torch.tensor([0.0, 1.0, 0.0, 1.0])[:, None, None].expand(4, 2, 2)
    coupled = couple(space, State({"x": labels}, mask), space_data)
    assert torch.equal(coupled["x"], labels)


def test_the_weight_of_flow_matching_is_that_of_the_velocity():
    """Straight 1 / t^2; variance-preserving (pi / 2)^2 / sin^2(pi t / 2); both as at 0.1 below it."""
    t = torch.tensor([0.02, 0.1, 0.5, 0.9])
    family = registry.build(
        "families", "flow_matching", space=Line(), encoder=Dense(Line()), path="variance_preserving"
    )
    angle = math.pi / 2 * t.clamp(min=0.1)
    torch.testing.assert_close(family.velocity_weight(t), (math.pi / 2 / angle.sin()).square())


def test_noise_as_a_target_needs_data_at_the_end_of_the_path():
    """At t = 1 of the cosine path nothing is left of the data, so that noise does not determine it."""
    with pytest.raises(ConfigError, match="eps does not determine"):
        registry.build("families", "diffusion", space=Line(), encoder=Dense(Line()), path="cosine", target="eps")
