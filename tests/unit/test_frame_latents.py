"""Latents that turn with the structure: the vectors of a backbone, a VAE over them, and a prior that knows no pose."""

import math
from dataclasses import replace

import pytest
import roma
import torch

from protgen.errors import UsageError
from protgen.families.base import Likelihood
from protgen.families.gaussian import FramePosterior
from protgen.models.model import build_model
from protgen.models.released import load
from protgen.samplers.base import SamplingTask
from protgen.samplers.euler import Euler
from protgen.spaces.backbone import Backbone
from protgen.spaces.capabilities import VectorPoints
from protgen.spaces.frame_latents import FrameLatents
from protgen.spaces.image import Image
from protgen.types import Batch, Conditioning, State

pytestmark = pytest.mark.slow

SMALL = {"name": "frame_attention", "dim": 32, "pair_dim": 8, "blocks": 2, "heads": 2, "refresh": 1}


@pytest.fixture
def x(rng) -> State:
    """Two points of the space, of 9 and 6 residues."""
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1, 6:] = False
    return Backbone().noise(mask, torch.randn(2, 9, 7, generator=rng))


@pytest.fixture
def turn(rng) -> torch.Tensor:
    return roma.random_rotmat(1)[0]


def family(name: str, **keywords):
    torch.manual_seed(0)
    config = {
        "space": {"name": "backbone"},
        "encoder": SMALL,
        "family": {"name": name, "frame_latents": True} | keywords,
        "conditions": ["length"],
    }
    made = build_model(config)
    family = made.family.eval()
    with torch.no_grad():  # what starts as zero says nothing about symmetry
        for p in family.parameters():
            p.add_(0.02 * torch.randn_like(p))
    return family


def rotated(x: State, turn: torch.Tensor) -> State:
    return State({"trans": x["trans"].to(turn) @ turn.T, "rots": turn @ x["rots"].to(turn)}, x.mask)


def known(x: State) -> Conditioning:
    return Conditioning(torch.zeros(*x.mask.shape, 0), torch.ones(len(x.mask), 1))


def test_vectors_tell_a_backbone_and_turn_with_it(x, turn):
    space = Backbone()
    vectors = space.to_vectors(x)
    again = space.from_vectors(vectors, x.mask)
    assert all(torch.allclose(again[name], x[name], atol=1e-4) for name in x.fields)
    assert torch.allclose(space.to_vectors(rotated(x, turn)), vectors @ turn.T, atol=1e-4)
    assert float(vectors[0, :, 0].square().mean()) == pytest.approx(1, abs=0.5)


def test_posterior_and_decoder_turn_with_the_structure(x, turn):
    """Means turn, deviations stay, and what is decoded from turned latents is turned."""
    vae, cond = family("vae"), known(x)
    one, two = vae.infer(x, cond), vae.infer(rotated(x, turn), cond)
    assert (one.mean.unflatten(-1, (3, 3)) @ turn.T - two.mean.unflatten(-1, (3, 3))).abs().max() < 2e-4
    assert (one.log_std - two.log_std).abs().max() < 2e-4
    rows = [vae.decode(q.mean, x.mask, cond) for q in (one, two)]
    moved = rotated(rows[0], turn)
    assert all((moved[name] - rows[1][name])[x.mask].abs().max() < 5e-3 for name in x.fields)


def test_places_have_mean_zero(x):
    mean = family("vae").infer(x, known(x)).mean
    assert mean[0, :, :3].mean(0).abs().max() < 1e-5
    assert mean[1, :6, :3].mean(0).abs().max() < 1e-5


def test_places_of_each_example_are_centred_by_themselves(rng):
    """Whatever the vectors of the point: without those of the encoder the other vectors are as they were."""
    own, mask = torch.randn(2, 5, 3, 3, generator=rng), torch.ones(2, 5, dtype=torch.bool)
    mask[1, 1:] = False
    found = FramePosterior(3, 4, 2, 0.1)(own, torch.zeros(2, 5, 4), torch.zeros(2, 5, 2, 3), mask).mean.unflatten(
        2, (3, 3)
    )
    for i, length in enumerate((5, 1)):
        places = own[i, :length, 0] - own[i, :length, 0].mean(0)
        torch.testing.assert_close(found[i, :length, 0], places)
        torch.testing.assert_close(found[i, :length, 1:], own[i, :length, 1:])


def test_prior_says_the_same_in_every_pose(x, turn):
    latent, cond = family("latent"), known(x)
    space = latent.second.space
    assert isinstance(space, FrameLatents)
    z = torch.randn(*x.mask.shape, 9)
    moved = (z.unflatten(-1, (3, 3)) @ turn.T).flatten(2)
    t = torch.full((2,), 0.6)
    states = [space.encode(Batch({"latents": latents}, x.mask)) for latents in (z, moved)]
    one, two = (space.decode(latent.second.denoiser().denoise(state, t, cond))["latents"] for state in states)
    assert ((one.unflatten(-1, (3, 3)) @ turn.T).flatten(2) - two).abs().max() < 2e-4
    assert one[1, 6:].abs().max() == 0


def test_noise_is_centred_and_has_its_dimensions(rng):
    space = FrameLatents(Backbone(), axes_noise=0.5)
    mask = torch.ones(400, 5, dtype=torch.bool)
    noise = space.noise(mask, torch.randn(400, 5, space.normals_per_position, generator=rng))
    assert noise["places"].mean(1).abs().max() < 1e-5
    dof, stds = space.field_dof(mask), space.noise_std(mask)
    for name in space.manifolds:
        wanted = float(dof[name][0] * stds[name][0] ** 2)
        assert float(noise[name].square().sum((1, 2)).mean()) == pytest.approx(wanted, rel=0.03)


def test_noise_is_turned_onto_data(rng):
    """Turned data, aligned, are the data again."""
    space = FrameLatents(Backbone())
    mask = torch.ones(3, 7, dtype=torch.bool)
    mask[2, 5:] = False
    data = space.noise(mask, torch.randn(3, 7, 9, generator=rng))
    turn = roma.random_rotmat(3)[:, None]
    moved = {name: (v.unflatten(-1, (-1, 3)) @ turn.transpose(-1, -2)).flatten(2) for name, v in data.fields.items()}
    again = space.align(State(moved, mask), data)
    assert all(torch.allclose(again[name], data[name], atol=1e-4) for name in data.fields)


def test_bound_is_that_of_the_vae_where_the_prior_is_the_same(x, rng):
    """N(0, I) on centred latents, and the width 1 for what centring removes, are N(0, I) on all of them."""
    latent, cond = family("latent", bound_samples=200, vae={"beta": 1.0}), known(x)

    def standard(state, cond, rng):
        """N(0, I) on latents of the VAE's own unit, in the unit of the prior."""
        dof = latent.second.space.num_dof(state.mask)
        square = sum((1.5 * x).square().sum((1, 2)) for x in state.fields.values())
        return Likelihood(-0.5 * square - 0.5 * math.log(2 * math.pi) * dof + math.log(1.5) * dof, "lower_bound")

    latent.second.log_prob = standard
    latent.square.fill_(2.25)
    latent.drift.fill_(1.0)
    found = latent.log_prob(x, cond, rng).nats
    blind = Conditioning(torch.zeros_like(cond.residue), torch.zeros_like(cond.globals))
    latent.first.settings = replace(latent.first.settings, samples=200)
    reconstruction, kl, _, _ = latent.first.elbo(x, blind, rng)
    std = (reconstruction.abs() + kl.abs()) * 0.02
    assert ((found - (reconstruction - kl)).abs() < std + 3).all()


def test_likelihood_of_the_released_prior_is_no_artefact_of_latent_noise():
    """Nats a residue of the order of those of other families: followed from nearer the data the flow gave -4e5."""
    model = load("vae-small")
    prior = model.family.second
    assert prior.first == pytest.approx(0.2)  # places have 0.1 of noise of their own, axes a path of 0.4 t / (1 - t)
    mask = torch.ones(1, 30, dtype=torch.bool)
    index = torch.arange(30.0)  # CAs of an ideal helix
    angle = index * math.radians(100)
    along = torch.stack([2.3 * angle.cos(), 2.3 * angle.sin(), 1.5 * index], -1)[None]
    inward = torch.stack([-angle.cos(), -angle.sin(), torch.zeros(30)], -1)[None]
    x = model.family.space.from_vectors(torch.stack([along / 6, inward, torch.roll(inward, -1, 1)], 2), mask)
    found = model.family.log_prob(x, model.conditions.unknown(mask), torch.Generator().manual_seed(0))
    assert -200 < float(found.nats[0]) / 30 < 20


def test_a_prior_may_be_told_where_its_likelihood_begins():
    assert family("latent", second={"first": 0.05}).second.first == 0.05
    diffusion = family("latent", family="diffusion", second={"path": "cosine"}).second
    alpha, sigma = diffusion.path.flat.at(diffusion.first)
    assert sigma / alpha == pytest.approx(0.25)


def test_moments_of_latents_have_no_direction(x):
    latent, cond = family("latent", joint=True).train(), known(x)
    latent.loss(x, cond, torch.Generator().manual_seed(0))
    assert latent.mean.abs().max() == 0
    assert torch.equal(latent.std.unflatten(0, (3, 3)), latent.std[::3, None].expand(3, 3))
    assert float(latent.drift) < 1


def test_the_centre_is_the_mean_position_times_the_root_of_the_number():
    """Four positions at 1, of which one is padding: 3 / sqrt(3) in each of three coordinates."""
    latents, mask = torch.ones(1, 4, 9), torch.tensor([[True, True, True, False]])
    torch.testing.assert_close(family("latent", joint=True).centre(latents, mask), torch.full((1, 3), 3**0.5))


def test_samples_are_backbones_whatever_the_batch(x):
    latent, cond = family("latent"), known(x)

    both = SamplingTask(x.mask, cond, [torch.Generator().manual_seed(i) for i in range(2)])
    made = latent.sample(both, Euler(steps=3))
    assert made["rots"].det()[x.mask].sub(1).abs().max() < 1e-4
    alone = replace(
        both,
        mask=x.mask[:1],
        cond=Conditioning(cond.residue[:1], cond.globals[:1]),
        generators=[torch.Generator().manual_seed(0)],
    )
    assert torch.allclose(latent.sample(alone, Euler(steps=3))["trans"], made["trans"][:1], atol=1e-3)


def test_a_second_pass_sees_the_answer_of_the_first(x):
    """Another answer, and gradients through the last pass alone."""
    one, two = family("vae"), family("vae", passes=2)
    two.load_state_dict(one.state_dict())
    z = one.encode(x, known(x)).detach()
    first = one.decode(z, x.mask, known(x))
    seen = []
    two.decoder.register_forward_hook(lambda module, given, out: seen.append((given[3], out.scalars.requires_grad)))
    second = two.decode(z, x.mask, known(x))
    assert not torch.allclose(first["trans"], second["trans"], atol=1e-3)
    assert [known is not None for known, _ in seen] == [False, True]
    assert [grad for _, grad in seen] == [False, True]
    assert torch.allclose(seen[1][0]["trans"], first["trans"], atol=1e-4)


@pytest.mark.parametrize("keywords", [{"pool": True}, {"levels": 2}, {"noise": 1.5}])
def test_what_cannot_have_frame_latents_is_refused(keywords):
    with pytest.raises(UsageError, match="frame_latents"):
        family("vae", **keywords)


def test_images_have_no_vectors():
    config = {
        "space": {"name": "image", "height": 8, "width": 8},
        "encoder": {"name": "perceptron", "height": 8, "width": 8},
        "family": {"name": "vae", "frame_latents": True},
    }
    with pytest.raises(UsageError, match="vectors of each position, which Image"):
        build_model(config)
    assert not issubclass(Image, VectorPoints)
