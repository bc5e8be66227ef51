"""A prior over latents: stages by the count of steps, the bound, and sampling."""

import pytest
import torch

from protgen.cli.train_config import load_config
from protgen.errors import UsageError
from protgen.families.base import Likelihood, LikelihoodFamily, interpolate, reconstruct
from protgen.families.flow_matching import FlowMatching
from protgen.families.latent import Latent, LatentSettings
from protgen.models.model import build_model
from protgen.samplers.base import SamplingTask
from protgen.samplers.euler import Euler
from protgen.spaces.image import Image
from protgen.spaces.latent import LatentSpace
from protgen.types import Batch, Conditioning, State
from tests.toy_families import Dense, make
from tests.toy_space import Line


def points(count: int, rng: torch.Generator) -> tuple[State, Conditioning]:
    x = 0.3 * torch.randn(count, 1, 2, generator=rng) + torch.tensor([2.0, -1.0])
    cond = Conditioning(torch.zeros(count, 1, 0), torch.zeros(count, 2))
    return State({"x": x}, torch.ones(count, 1, dtype=torch.bool)), cond


def test_stages_follow_each_other_by_the_count_of_steps(rng):
    """The VAE alone, then the prior alone with the VAE untouched to the bit; the count is part of the weights."""
    family = make("latent", Line(), first_stage=3, joint=False)
    optimizer = torch.optim.AdamW(family.parameters(), 1e-2, fused=True)
    x, cond = points(32, rng)
    kept = None
    for step in range(6):
        before = {n: p.detach().clone() for n, p in family.named_parameters()}
        optimizer.zero_grad()
        losses = family.loss(x, cond, rng)
        losses.total.backward()
        optimizer.step()
        moved = {n.split(".")[0] for n, p in family.named_parameters() if not torch.equal(p, before[n])}
        assert moved == {"first" if step < 3 else "second"}
        assert {n.split("_")[0] for n in losses.terms} == {"vae" if step < 3 else "prior"}
        kept = family.mean.clone() if step == 2 else kept
    assert torch.equal(family.mean, kept)
    resumed = make("latent", Line(), first_stage=3, joint=False)
    resumed.load_state_dict(family.state_dict())
    assert set(resumed.loss(x, cond, rng).terms) == set(losses.terms)
    terms = {n.split("_")[0] for n in family.eval().loss(x, cond, rng).terms}
    assert terms == {"vae", "prior"}


def test_latents_are_normalised(rng):
    family = make("latent", Line())
    with torch.no_grad():
        family.first.posterior.weight.mul_(5)
        for _ in range(400):
            family.steps += 1
            z = torch.randn(256, 1, 2, generator=rng) * torch.tensor([3.0, 0.1]) + torch.tensor([-2.0, 5.0])
            family.follow(z, torch.ones(256, 1, dtype=torch.bool))
    z = family.normalise(
        torch.randn(20_000, 1, 2, generator=rng) * torch.tensor([3.0, 0.1]) + torch.tensor([-2.0, 5.0])
    )
    assert torch.allclose(z.mean((0, 1)), torch.zeros(2), atol=0.05)
    assert torch.allclose(z.std((0, 1)), torch.ones(2), rtol=0.05)


class StandardFlow(FlowMatching, LikelihoodFamily):
    """A flow that knows that latents are standard normal."""

    def log_prob(self, x_data, cond, rng):
        nats = torch.distributions.Normal(0.0, 1.0).log_prob(x_data["latents"]).sum((1, 2))
        return Likelihood(nats, "exact")


@pytest.mark.parametrize("kind", ["exact", "estimate"])
def test_bound_is_that_of_the_vae_where_the_prior_is_the_same(kind, rng):
    """With N(0, I) as the prior and whatever normalisation undone, the bound is the VAE's own ELBO."""
    family = make("latent", Line(), bound_samples=2000, vae={"beta": 1.0})
    flow = StandardFlow(LatentSpace(2), Dense(LatentSpace(2)))
    if kind == "estimate":
        flow.log_prob = lambda *given: Likelihood(StandardFlow.log_prob(flow, *given).nats, "estimate")
    family.second = flow
    x, cond = points(8, rng)
    found = family.log_prob(x, cond, rng)
    assert found.kind == ("estimate" if kind == "estimate" else "lower_bound")
    weights, _ = family.first.log_weights(x, cond, 2000, rng)
    assert torch.allclose(found.nats, weights.mean(1), atol=0.2)


def test_bound_through_a_flow_that_does_nothing(rng):
    """A fresh head predicts x_t itself, so the velocity is zero and the flow's density that of the noise: the ELBO of
    the VAE again, now through the flow's own likelihood."""
    family = make("latent", Line(), bound_samples=300, vae={"beta": 1.0})
    x, cond = points(4, rng)
    found = family.log_prob(x, cond, rng)
    weights, _ = family.first.log_weights(x, cond, 300, rng)
    assert torch.allclose(found.nats, weights.mean(1).detach(), atol=0.5)


def test_volume_of_normalisation_enters_the_bound(rng):
    """Scaling of latents is a change of variables: N(mean, std^2) as the prior of the raw ones."""
    family = make("latent", Line(), bound_samples=4000)
    family.second = StandardFlow(LatentSpace(2), Dense(LatentSpace(2)))
    family.mean.copy_(torch.tensor([0.3, -0.2]))
    family.square.copy_(torch.tensor([4.0, 0.5]))
    x, cond = points(3, rng)
    found = family.log_prob(x, cond, rng).nats
    with torch.no_grad():
        posterior = family.first.infer(x, cond).repeat(4000)
        z = posterior.draw(rng)
        data = State({"x": x["x"].repeat_interleave(4000, 0)}, torch.ones(12_000, 1, dtype=torch.bool))
        cond = Conditioning(torch.zeros(12_000, 1, 0), torch.zeros(12_000, 2))
        prior = torch.distributions.Normal(family.mean, family.std).log_prob(z).sum((1, 2))
        log_x = family.first.observation.log_prob(family.decode(z, data.mask, cond), data)
        expected = (log_x + prior - posterior.log_prob(z).sum((1, 2))).unflatten(0, (3, -1)).mean(1)
    assert torch.allclose(found, expected, atol=0.2)


def test_pooled_latents_of_an_image_are_sampled_and_decoded(rng):
    space = Image(4, 4, binary=True)
    latents = LatentSpace(3)
    settings = LatentSettings(joint=True, vae={"pool": True})
    family = Latent(space, Dense(space), Dense(space, residue_dim=3), Dense(latents), 3, settings=settings)
    mask = space.full_mask(5)
    x = State({"pixels": (torch.rand(5, 16, 1, generator=rng) < 0.5) * 2.0 - 1}, mask)
    cond = Conditioning(torch.zeros(5, 16, 0), torch.zeros(5, 2))
    family.loss(x, cond, rng).total.backward()
    assert all(torch.isfinite(p.grad).all() for p in family.parameters() if p.grad is not None)
    many, few = (
        family.sample(
            SamplingTask(mask[:n], Conditioning(cond.residue[:n], cond.globals[:n]), seeds(n)), Euler(steps=4)
        )["pixels"]
        for n in (5, 2)
    )
    assert torch.equal(many[:2], few)
    assert set(many.unique().tolist()) <= {-1.0, 1.0}
    one = State({"pixels": x["pixels"][:1]}, mask[:1])
    single = Conditioning(cond.residue[:1], cond.globals[:1])
    path = interpolate(family, one, one, single, torch.linspace(0, 1, 3))["pixels"]
    assert torch.allclose(path, reconstruct(family, one, single)["pixels"].expand(3, -1, -1), atol=1e-6)


def test_a_prior_of_pooled_latents_reads_the_mean_of_y():
    """Over the positions that are real; y of the whole is as it was."""
    space = Image(2, 2)
    settings = LatentSettings(vae={"pool": True})
    family = Latent(space, Dense(space), Dense(space, residue_dim=3), Dense(LatentSpace(3)), 3, settings=settings)
    y = Conditioning(torch.tensor([[[1.0], [2.0], [6.0], [50.0]]]), torch.tensor([[7.0]]))
    read = family.seen(y, torch.tensor([[True, True, True, False]]))
    assert read.residue.tolist() == [[[3.0]]]
    assert read.globals.tolist() == [[7.0]]


def seeds(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(i) for i in range(count)]


def test_what_does_not_go_together_is_refused(rng):
    x, cond = points(1, rng)
    with pytest.raises(UsageError, match="does not iterate"):
        make("latent", Line(), family="vae")
    with pytest.raises(UsageError, match="levels"):
        make("latent", Line(), vae={"levels": 2})
    with pytest.raises(UsageError, match="guides of x cannot act"):
        make("latent", Line()).sample(SamplingTask(x.mask, cond, [rng], guides=[lambda denoiser: denoiser]))
    family = make("latent", Line(), vae={"beta": 0.0})
    family.second = StandardFlow(LatentSpace(2), Dense(LatentSpace(2)))
    with pytest.raises(UsageError, match="beta 0"):
        family.log_prob(x, cond, rng)


def test_latent_space_round_trip(rng):
    space = LatentSpace(3)
    mask = torch.tensor([[True, True, False]])
    z = torch.randn(1, 3, 3, generator=rng)
    state = space.encode(Batch({"latents": z}, mask))
    assert torch.equal(space.decode(state)["latents"][:, :2], z[:, :2])
    assert not state["latents"][:, 2].any()


@pytest.mark.parametrize("name", ["vae", "latent", "gan"])
def test_the_configuration_of_the_family_builds_and_takes_a_step(name, rng):
    """What `protgen train family=NAME` composes, on backbones with small networks."""
    config = load_config(
        [
            f"family={name}",
            "data.store=nowhere",
            "encoder.dim=16",
            "encoder.blocks=2",
            "encoder.heads=2",
            "encoder.refresh=1",
        ]
    )
    model = build_model(
        config.model | {"prior": {"name": "transformer", "dim": 16, "blocks": 1, "fields": {"latents": 16}}}
    )
    mask = torch.ones(2, 8, dtype=torch.bool)
    x = model.family.space.blank(mask)
    cond = model.conditions.unknown(mask)
    losses = model.family.loss(x, cond, rng)
    losses.total.backward()
    gradients = [p.grad for p in model.family.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(g).all() for g in gradients)
