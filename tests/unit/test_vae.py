"""VAEs: bounds against a linear-Gaussian model whose likelihood has a closed form, and every keyword's meaning."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from protgen import registry
from protgen.encoders.base import Encoder
from protgen.encoders.transformer import TokenSettings, TransformerEncoder
from protgen.errors import UsageError
from protgen.families.base import interpolate, reconstruct
from protgen.families.gaussian import DiagonalGaussian, FramePosterior, GaussianStep
from protgen.families.vae import VAE
from protgen.families.vae_settings import VAESettings
from protgen.geometry import so3
from protgen.models.model import build_model, load_model, save_model
from protgen.samplers.base import SamplingTask
from protgen.samplers.euler import Euler
from protgen.spaces.backbone import Backbone, rotated
from protgen.spaces.image import Image
from protgen.spaces.torsions import Torsions
from protgen.types import Conditioning, Features, State
from tests.toy_families import Dense, conditioning, make
from tests.toy_space import Line

pytestmark = pytest.mark.slow


class Latents(Encoder):
    """Hands the latents on as they are: a decoder whose head is linear in them."""

    symmetry, vector_dim = "none", 0

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scalar_dim = dim

    def forward(self, state, t, cond, x_pred=None):
        return Features(cond.residue, cond.residue.new_zeros(*state.mask.shape, 0, 3))


class Fields(Encoder):
    """Hands x on as it is: an encoder that is linear in it."""

    symmetry, vector_dim, scalar_dim = "none", 0, 2

    def forward(self, state, t, cond, x_pred=None):
        return Features(state["x"], state["x"].new_zeros(*state.mask.shape, 0, 3))


def linear(**keywords) -> VAE:
    torch.manual_seed(1)
    parts = {"space": Line(), "encoder": Fields(), "decoder": Latents(3), "latent_dim": 3}
    return registry.build("families", "vae", **parts, **keywords)


def points(count: int, rng: torch.Generator) -> tuple[State, Conditioning]:
    x = torch.randn(count, 1, 2, generator=rng) @ torch.tensor([[1.0, 0.6], [0.0, 0.5]]) + 1.0
    return State({"x": x}, torch.ones(count, 1, dtype=torch.bool)), bare(count)


def bare(count: int, length: int = 1) -> Conditioning:
    return Conditioning(torch.zeros(count, length, 0), torch.zeros(count, 2))


def closed_form(family: VAE, x: State) -> torch.Tensor:
    """log N(x; b, W W^T + s^2 I)."""
    weight, bias = family.head.read.weight.double(), family.head.read.bias.double()
    covariance = weight @ weight.T + (2 * family.observation.log_std.double()).exp() * torch.eye(2)
    return torch.distributions.MultivariateNormal(bias, covariance).log_prob(x["x"][:, 0].double()).detach()


def test_kl_has_its_closed_form(rng):
    a = DiagonalGaussian(torch.randn(4, 2, 3, generator=rng), torch.randn(4, 2, 3, generator=rng))
    b = DiagonalGaussian(torch.randn(4, 2, 3, generator=rng), torch.randn(4, 2, 3, generator=rng))
    normal = [torch.distributions.Normal(g.mean, g.log_std.exp()) for g in (a, b)]
    assert torch.allclose(a.kl(b), torch.distributions.kl_divergence(*normal), rtol=1e-4, atol=1e-5)
    assert torch.allclose(a.kl_to_standard(), a.kl(DiagonalGaussian.standard_like(a.mean)), rtol=1e-4, atol=1e-5)
    assert torch.allclose(a.log_prob(b.mean), normal[0].log_prob(b.mean), rtol=1e-4)


@pytest.mark.parametrize("levels", [1, 3])
def test_bounds_rise_with_importance_samples_to_the_likelihood(levels, rng):
    """ELBO < IWAE-50 < log p(x) in the mean, and IWAE-5000 within 0.02 nats of it. Steps between levels start as ones
    that keep N(0, I), so the closed form is the same for any number of levels."""
    family = linear(levels=levels)
    x, cond = points(40, rng)
    truth = closed_form(family, x).mean()
    elbo = torch.stack([family.bound(x, cond, rng, 1) for _ in range(50)]).double().mean()
    fifty = torch.stack([family.bound(x, cond, rng, 50) for _ in range(10)]).double().mean()
    many = family.bound(x, cond, rng, 5000, chunk=40_000).double().mean()
    assert elbo < fifty - 0.05
    assert fifty < truth
    assert many.item() == pytest.approx(truth.item(), abs=0.02)


def test_elbo_of_closed_form_and_of_draws_agree(rng):
    """The loss with an analytical KL has the mean of log p(x, z) - log q(z | x)."""
    family = linear(samples=500).eval()
    x, cond = points(20, rng)
    with torch.no_grad():
        reconstruction, kl, cost, _ = family.elbo(x, cond, rng)
        weights, _ = family.log_weights(x, cond, 2000, rng)
    assert (reconstruction - kl).mean().item() == pytest.approx(weights.mean().item(), abs=0.1)
    assert cost.item() == pytest.approx(kl.mean().item(), rel=1e-4)


@pytest.mark.parametrize("keywords", [{}, {"importance": 5}, {"levels": 2}])
def test_training_finds_the_gaussian(keywords):
    """The best linear VAE has the likelihood of the data's own density (probabilistic PCA): within 0.08 nats."""
    family = linear(**keywords)
    optimizer = torch.optim.Adam(family.parameters(), 2e-2, fused=True)
    rng = torch.Generator().manual_seed(0)
    for step in range(400):
        for group in optimizer.param_groups:
            group["lr"] = 2e-2 * (1 - step / 400)
        optimizer.zero_grad()
        family.loss(*points(100, rng), rng).total.backward()
        optimizer.step()
    x, cond = points(2000, rng)
    root = torch.tensor([[1.0, 0.6], [0.0, 0.5]])
    best = torch.distributions.MultivariateNormal(torch.ones(2), root.T @ root).log_prob(x["x"][:, 0]).mean()
    if not family.downward:  # one more level makes p(z_1) a mixture
        assert closed_form(family, x).mean().item() == pytest.approx(best.item(), abs=0.08)
    family.settings = replace(family.settings, bound_samples=20)
    likelihood = family.log_prob(x, cond, rng)
    assert likelihood.kind == "lower_bound"
    assert best - 0.12 < likelihood.nats.mean() < best + 0.01


def test_an_autoencoder_reconstructs_and_refuses_the_rest(rng):
    family = linear(beta=0.0)
    x, cond = points(256, rng)
    optimizer = torch.optim.Adam(family.parameters(), 1e-2, fused=True)
    for _ in range(200):
        optimizer.zero_grad()
        family.loss(x, cond, rng).total.backward()
        optimizer.step()
    assert (reconstruct(family, x, cond)["x"] - x["x"]).abs().mean() < 0.05
    with pytest.raises(UsageError, match=r"without a prior and has no likelihood; .*latent"):
        family.log_prob(x, cond, rng)
    with pytest.raises(UsageError, match="autoencoder without a prior and has no samples"):
        family.sample(SamplingTask(x.mask, cond, [rng] * 256))


def test_warm_up_counts_training_steps_alone(rng):
    family = linear(warmup=3, beta=2.0)
    x, cond = points(64, rng)

    def total(steps: int) -> float:
        family.steps.fill_(steps)
        return family.loss(x, cond, torch.Generator().manual_seed(0)).total.item()

    family.train()
    totals = [total(steps) for steps in (0, 1, 3, 10)]
    assert totals[0] < totals[1] < totals[2] == totals[3]
    assert (totals[2] - totals[1]) / (totals[1] - totals[0]) == pytest.approx(2.0, rel=0.01)
    assert family.steps == 11
    family.eval()
    assert total(0) == pytest.approx(totals[3])
    assert family.steps == 0


def test_free_bits_stop_the_pressure_on_small_divergences(rng):
    """Far below the free bits the KL has no gradient; far above they change nothing."""
    x, cond = points(64, rng)
    gradients = {}
    for bits in (0.0, 1e-6, 50.0):
        family = linear(free_bits=bits).eval()
        _, _, cost, _ = family.elbo(x, cond, rng)
        assert cost.item() >= bits * 3 - 1e-3
        (gradients[bits],) = torch.autograd.grad(cost, family.posterior.weight, allow_unused=True)
    assert torch.allclose(gradients[0.0], gradients[1e-6])
    assert gradients[0.0].abs().sum() > 0
    assert not gradients[50.0].any()


def test_interpolation_starts_and_ends_at_reconstructions(rng):
    family = linear()
    x, cond = points(2, rng)
    first, last = (State({"x": x["x"][i : i + 1]}, x.mask[:1]) for i in (0, 1))
    path = interpolate(family, first, last, bare(1), torch.linspace(0, 1, 5))["x"]
    ends = reconstruct(family, x, cond)["x"]
    assert torch.allclose(path[[0, -1]], ends, atol=1e-6)
    assert torch.allclose(path[2], ends.mean(0), atol=1e-5)


@pytest.mark.parametrize("keywords", [{}, {"levels": 3}, {"pool": True}])
def test_samples_have_the_density_of_the_model(keywords, rng):
    family = linear(**keywords)
    count = 4000
    generators = [torch.Generator().manual_seed(i) for i in range(count)]
    task = SamplingTask(torch.ones(count, 1, dtype=torch.bool), bare(count), generators)
    x = family.sample(task)["x"][:, 0]
    weight = family.head.read.weight
    covariance = weight @ weight.T + (2 * family.observation.log_std).exp() * torch.eye(2)
    assert torch.allclose(x.T.cov(), covariance.detach(), rtol=0.1, atol=0.02)


def test_what_a_direct_family_cannot_do_is_refused(rng):
    family = linear()
    task = SamplingTask(torch.ones(1, 1, dtype=torch.bool), bare(1), [rng])
    with pytest.raises(UsageError, match="no sampler"):
        family.sample(task, Euler())
    guided = SamplingTask(task.mask, task.cond, [rng], guides=[lambda denoiser: denoiser])
    with pytest.raises(UsageError, match="iterates"):
        family.sample(guided)
    for keywords in ({"latent_dim": 0}, {"beta": -1.0}, {"importance": 5, "free_bits": 1.0}):
        with pytest.raises(UsageError, match="vae"):
            make("vae", Line(), **keywords)


def test_frame_posteriors_begin_near_the_point_and_above_their_minimum():
    """Each vector of a point without its centre, with a standard deviation 1 + 0.05 times the least."""
    own = torch.tensor([[[[3.0, 0, 0], [1, 2, 3]], [[-1, 4, 0], [4, 5, 6]], [[9, 9, 9], [9, 9, 9]]]])
    mask = torch.tensor([[True, True, False]])
    posterior = FramePosterior(2, scalar_dim=5, vector_dim=4, least=0.2)
    found = posterior(own, torch.randn(1, 3, 5), torch.randn(1, 3, 4, 3), mask)
    assert found.mean.tolist() == [[[2, -2, 0, 1, 2, 3], [-2, 2, 0, 4, 5, 6], [0] * 6]]
    assert torch.allclose(found.log_std.exp(), torch.tensor(0.2 * (1 + math.exp(-3))), rtol=1e-5)


def test_one_dimension_is_enough(rng):
    x = State({"x": torch.randn(3, 1, 2, generator=rng)}, torch.ones(3, 1, dtype=torch.bool))
    assert make("vae", Line(), latent_dim=1).encode(x, conditioning(torch.zeros(3, 1))).shape == (3, 1, 1)


def test_one_latent_for_an_image(rng):
    """Pooled latents are (b, 1, z); images of the same latent and y are the same; binary samples are pixels."""
    space = Image(4, 4, binary=True)
    family = VAE(space, Dense(space), Dense(space, residue_dim=5), latent_dim=5, settings=VAESettings(pool=True))
    mask = space.full_mask(3)
    x = State({"pixels": (torch.rand(3, 16, 1, generator=rng) < 0.5) * 2.0 - 1}, mask)
    cond = Conditioning(torch.zeros(3, 16, 0), torch.zeros(3, 2))
    assert family.encode(x, cond).shape == (3, 1, 5)
    assert reconstruct(family, x, cond)["pixels"].abs().max() < 1
    assert torch.isfinite(family.log_prob(x, cond, rng).nats).all()
    samples = family.sample(SamplingTask(mask, cond, [torch.Generator().manual_seed(i) for i in range(3)]))
    assert set(samples["pixels"].unique().tolist()) <= {-1.0, 1.0}
    family.loss(x, cond, rng).total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in family.parameters())


FRAMES = {
    "space": {"name": "backbone"},
    "encoder": {"name": "frame_attention", "dim": 32, "pair_dim": 8, "blocks": 2, "heads": 2, "refresh": 1},
    "family": {"name": "vae", "latent_dim": 4},
    "conditions": ["secondary_structure"],
}


@pytest.fixture
def proteins(rng):
    """Two chains of 12 and 9 residues."""
    space = Backbone()
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[1, 9:] = False
    blank = space.blank(mask)
    trans = blank["trans"] + torch.randn(2, 12, 3, generator=rng)
    return space.project(blank.with_fields(trans=trans)), Conditioning(torch.zeros(2, 12, 4), torch.zeros(2, 0))


@pytest.fixture
def protein_vae():
    torch.manual_seed(0)
    model = build_model(FRAMES)
    for parameter in model.family.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return model


def test_latents_and_likelihood_of_a_protein_ignore_rigid_motion(protein_vae, proteins, rng):
    family = protein_vae.family.eval()
    x, cond = proteins
    turned = rotated(x, so3.uniform(torch.randn(2, 4, generator=rng)))
    with torch.no_grad():
        assert torch.allclose(family.encode(turned, cond), family.encode(x, cond), atol=1e-3)
        losses = [family.loss(s, cond, torch.Generator().manual_seed(0)).total for s in (x, turned)]
        nats = [family.log_prob(s, cond, torch.Generator().manual_seed(0)).nats for s in (x, turned)]
    assert torch.allclose(*losses, rtol=1e-3)
    assert torch.allclose(*nats, rtol=1e-2)
    assert not family.encode(x, cond)[1, 9:].any()


def test_a_protein_vae_trains_samples_and_is_kept(protein_vae, proteins, rng, tmp_path):
    """Gradients are finite and reach both networks, padding is inert, and the folder gives the same samples."""
    family = protein_vae.family
    x, cond = proteins
    losses = family.loss(x, cond, rng)
    assert {"reconstruction", "kl", "distances", "bonds", "overlaps"} == set(losses.terms)
    losses.total.backward()
    for name, parameter in family.named_parameters():
        # Nothing reads the vectors of the encoder, so what only moves its frames last rests; nor is there an estimate.
        rests = "x_pred" in name or "pair.geometry.1" in name or name.startswith("encoder.blocks.1.")
        if not rests:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
    family.eval()
    tasks = [SamplingTask(x.mask, cond, [torch.Generator().manual_seed(i) for i in range(2)]) for _ in range(2)]
    first = family.sample(tasks[0])
    steps = (first["trans"][0, 1:] - first["trans"][0, :-1]).norm(dim=-1)
    assert torch.isfinite(steps).all()
    assert not first["trans"][1, 9:].any()
    save_model(protein_vae, tmp_path, dtype=torch.float32)
    again = load_model(tmp_path).family.sample(tasks[1])
    assert torch.equal(first["trans"], again["trans"])


def test_steps_between_levels_keep_the_standard_normal(rng):
    step = GaussianStep(3)(torch.randn(200_000, 1, 3, generator=rng))
    assert step.draw(rng).std().item() == pytest.approx(1.0, abs=0.01)
    assert math.exp(step.log_std[0, 0, 0].item()) == pytest.approx(0.5**0.5, abs=1e-5)


def test_a_step_between_levels_begins_at_its_latents_shrunk():
    """Mean z / sqrt(2), standard deviation 1 / sqrt(2), as the last layer begins at zero."""
    z = torch.tensor([[[1.0, -2.0, 0.5]]])
    step = GaussianStep(3)(z)
    assert torch.allclose(step.mean, z / math.sqrt(2))
    assert torch.allclose(step.log_std, torch.full_like(z, -0.5 * math.log(2)))


def test_y_is_read_by_the_decoder(rng):
    """The same latents under another y are another point."""
    family = make("vae", Line())
    z = torch.randn(1, 1, family.latent_dim, generator=rng)
    mask = torch.ones(1, 1, dtype=torch.bool)
    one, two = (family.decode(z, mask, conditioning(torch.tensor([[y]])))["x"] for y in (-1.0, 1.0))
    assert (one - two).abs().max() > 1e-3


def test_levels_above_learn_apart_until_they_have_settled():
    """Until then z_1 is taught as in a plain VAE, by the same draws, and the chain learns beside it; then they meet."""
    gradients = {}
    for name, keywords in {"plain": {}, "apart": {"levels": 2, "settle": 2}}.items():
        family = linear(**keywords).train()
        family.head.load_state_dict(linear().head.state_dict())  # drawn after the levels
        with torch.no_grad():
            for step in (*family.upward, *family.downward):
                for weights in step.parameters():
                    weights.add_(0.3)
        for steps in range(4):
            family.zero_grad()
            x, cond = points(16, torch.Generator().manual_seed(5))
            losses = family.loss(x, cond, torch.Generator().manual_seed(3))
            losses.total.backward()
            gradients[name, steps] = family.posterior.weight.grad.clone()
            if name == "apart":
                assert all(weights.grad.abs().sum() > 0 for weights in family.upward.parameters())
        family.eval()  # validation sees the bound of the whole
        x, cond = points(16, torch.Generator().manual_seed(5))
        assert bool(torch.isfinite(family.loss(x, cond, torch.Generator().manual_seed(3)).total))
    for steps in range(4):
        alike = torch.allclose(gradients["plain", steps], gradients["apart", steps], atol=1e-5)
        assert alike == (steps < 2)


def test_the_loss_of_importance_samples_is_their_bound_for_each_degree_of_freedom(rng):
    """Points on a line in two dimensions have two."""
    losses = linear(importance=3).loss(*points(5, rng), rng)
    assert float(losses.total) == pytest.approx(float(losses.terms["bound"]) / 2, rel=1e-6)


def test_steps_on_the_elbo_come_before_those_on_the_importance_weighted_bound():
    """Two steps as a plain VAE has them, warm-up and all, then as one of three importance samples; validation sees
    the bound from the first."""

    def losses(steps: int, training: bool, **keywords) -> float:
        family = linear(**keywords).train(training)
        family.steps.fill_(steps)
        rng = torch.Generator().manual_seed(7)
        return float(family.loss(*points(5, rng), rng).total)

    both = {"importance": 3, "elbo_steps": 2, "warmup": 3}
    for steps in (0, 1):
        assert losses(steps, True, **both) == losses(steps, True, warmup=3)
    for steps, training in ((2, True), (0, False)):
        assert losses(steps, training, **both) == losses(steps, training, importance=3)
    with pytest.raises(UsageError, match="elbo_steps of vae is -1; give a whole number, at least 0"):
        linear(elbo_steps=-1)


def test_a_decoder_says_how_sure_it_is_of_each_torsion(rng):
    """Two torsions with deviations of 0.1 and 1: after training the factors of a shared width differ by 10."""
    torch.manual_seed(0)
    tokens = TokenSettings({"torsions": 3, "angles": 3}, circles=["torsions"])
    reader = TransformerEncoder(0, 0, 16, 1, 2, tokens=tokens)
    maker = TransformerEncoder(2, 0, 16, 1, 2, tokens=tokens)
    family = VAE(Torsions(), reader, maker, 2, settings=VAESettings(beta=1.0, local_std=True))
    optimizer = torch.optim.Adam(family.parameters(), 1e-2)
    mask = torch.ones(64, 3, dtype=torch.bool)
    y = Conditioning(torch.zeros(64, 3, 0), torch.zeros(64, 0))
    stds = torch.tensor([0.1, 1.0, 0.02])
    for _ in range(300):
        torsions = stds * torch.randn(64, 3, 3, generator=rng)
        x = family.space.project(State({"torsions": torsions, "angles": torch.randn(64, 3, 3, generator=rng)}, mask))
        optimizer.zero_grad()
        family.loss(x, y, rng).total.backward()
        optimizer.step()
    made = family.decode(torch.zeros(64, 3, 2), mask, y)
    width = family.observation.log_std[0].exp() * math.pi / math.sqrt(3)
    phi, psi = (width * made["spread"][0, 1, c].exp() for c in (0, 1))
    assert float(phi) == pytest.approx(0.1, rel=0.3)
    assert float(psi) == pytest.approx(1.0, rel=0.3)
    with pytest.raises(UsageError, match="local_std"):
        VAE(Backbone(), reader, maker, 2, settings=VAESettings(local_std=True))
