"""GANs: one loss that gives each network its own gradient, penalties with known values, and what is refused."""

import pytest
import torch
from torch import nn

from protgen.encoders.base import Encoder
from protgen.errors import UsageError
from protgen.families.base import LikelihoodFamily
from protgen.families.gan import GAN
from protgen.geometry import so3
from protgen.models.model import build_model
from protgen.samplers.base import SamplingTask
from protgen.samplers.euler import Euler
from protgen.spaces.backbone import Backbone, rotated
from protgen.spaces.image import Image
from protgen.types import Conditioning, Features, State
from tests.toy_families import Dense, make
from tests.toy_space import Line


class Linear(Encoder):
    """Scalars that are linear in x: a critic whose slope is known."""

    symmetry, vector_dim, scalar_dim = "none", 0, 1

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[3.0], [4.0]]))

    def forward(self, state, t, cond, x_pred=None):
        return Features(state["x"] @ self.weight, state["x"].new_zeros(*state.mask.shape, 0, 3))


def points(count: int, rng: torch.Generator) -> tuple[State, Conditioning]:
    x = torch.randn(count, 1, 2, generator=rng)
    return State({"x": x}, torch.ones(count, 1, dtype=torch.bool)), Conditioning(
        torch.zeros(count, 1, 0), torch.zeros(count, 2)
    )


@pytest.mark.parametrize("loss_type", ["nonsaturating", "relativistic", "wasserstein"])
def test_each_network_gets_the_gradient_of_its_own_loss(loss_type, rng):
    """The gradients of the one loss are those of two losses taken apart the usual way."""
    torch.manual_seed(0)
    family = make("gan", Line(), loss_type=loss_type, penalty=0.0)
    x, cond = points(16, rng)
    family.loss(x, cond, torch.Generator().manual_seed(3)).total.backward()
    found = {name: p.grad.clone() for name, p in family.named_parameters()}
    normals = torch.randn(16, 1, 2, generator=torch.Generator().manual_seed(3))
    fake = family.generate(State({"x": normals}, x.mask), cond)
    real_score, fake_score, through = (
        family.critic(x, cond),
        family.critic(fake.detach(), cond),
        family.critic(fake, cond),
    )
    softplus = nn.functional.softplus
    if loss_type == "wasserstein":
        critic, generator = (fake_score - real_score).mean(), -through.mean()
    elif loss_type == "relativistic":
        critic, generator = softplus(fake_score - real_score).mean(), softplus(real_score - through).mean()
    else:
        critic, generator = (softplus(-real_score) + softplus(fake_score)).mean(), softplus(-through).mean()
    for loss, part in ((critic, "critic."), (generator, "encoder."), (generator, "head.")):
        names = [name for name in found if name.startswith(part)]
        expected = torch.autograd.grad(loss, [family.get_parameter(n) for n in names], retain_graph=True)
        assert names
        for name, gradient in zip(names, expected, strict=True):
            assert torch.allclose(found[name], gradient, atol=1e-6), name


def test_slope_of_a_linear_critic(rng):
    """Gradient (3, 4) squared is 25; R1 is half of that, R1 + R2 all of it, the Wasserstein penalty (5 - 1)^2."""
    x, cond = points(4, rng)
    family = GAN(Line(), Dense(Line()), Linear())

    def score(state: State, cond: Conditioning) -> torch.Tensor:
        return state["x"][:, 0] @ torch.tensor([3.0, 4.0])

    family.critic.forward = score
    assert torch.allclose(family.slopes(x, cond), torch.full((4,), 25.0))
    assert family.loss(x, cond, rng).terms["penalty"] == pytest.approx(12.5)
    for loss_type, expected in (("relativistic", 25.0), ("wasserstein", 16.0)):
        other = GAN(Line(), Dense(Line()), Linear(), loss_type=loss_type)
        other.critic.forward = score
        assert other.loss(x, cond, rng).terms["penalty"] == pytest.approx(expected)
    totals = []
    for penalty in (0.0, 3.0):
        weighted = GAN(Line(), Dense(Line()), Linear(), penalty=penalty)
        weighted.load_state_dict(family.state_dict())
        weighted.critic.forward = score
        totals.append(weighted.loss(x, cond, torch.Generator().manual_seed(1)).total.item())
    assert totals[1] - totals[0] == pytest.approx(3 * 12.5, rel=1e-5)
    for bad in ({"penalty": -1.0}, {"critic_steps": 0}, {"penalty_every": 0}):
        with pytest.raises(UsageError, match="critic_steps and penalty_every are at least 1"):
            GAN(Line(), Dense(Line()), Linear(), **bad)


def test_a_penalty_of_every_third_step_weighs_three_times(rng):
    """R1 of slope (3, 4) is 12.5: the totals of six steps differ from those without it by 37.5, 0, 0, 37.5, 0, 0."""
    x, cond = points(4, rng)
    totals = []
    for penalty in (0.0, 1.0):
        family = GAN(Line(), Dense(Line()), Linear(), penalty=penalty, penalty_every=3)
        family.load_state_dict(totals[0][0] if totals else family.state_dict())
        kept = {name: value.clone() for name, value in family.state_dict().items()}
        family.critic.forward = lambda state, cond: state["x"][:, 0] @ torch.tensor([3.0, 4.0])
        totals.append((kept, [family.loss(x, cond, torch.Generator().manual_seed(k)).total.item() for k in range(6)]))
        assert family.eval().loss(x, cond, rng).terms["penalty"] == pytest.approx(12.5 * penalty)  # none is left out
    more = [b - a for a, b in zip(totals[0][1], totals[1][1], strict=True)]
    assert more == pytest.approx([37.5, 0, 0, 37.5, 0, 0], abs=1e-4)


def test_a_generator_that_starts_at_a_blank_point_makes_what_its_head_says(rng):
    """With a head of zeros it makes the start of decoders from any noise; one that starts at noise makes the noise."""
    x, cond = points(4, rng)
    for start, expected in (("noise", x["x"]), ("blank", torch.zeros(4, 1, 2))):
        family = make("gan", Line(), start=start)
        for parameter in family.head.parameters():
            nn.init.zeros_(parameter)
        made = family.generate(x, cond)["x"]
        assert torch.allclose(made, expected), start
    with pytest.raises(UsageError, match="noise or blank"):
        make("gan", Line(), start="data")


def test_spectral_norm_bounds_every_layer(rng):
    family = make("gan", Line(), spectral=True)
    x, cond = points(8, rng)
    for _ in range(30):  # the power iteration goes on at every training step
        family.loss(x, cond, rng).total.backward()
    family.eval()
    layers = [m for m in family.critic.modules() if isinstance(m, nn.Linear)]
    assert len(layers) >= 4
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1.0, abs=0.02)
    copy = make("gan", Line(), spectral=True).eval()
    copy.load_state_dict(family.state_dict())
    assert torch.equal(copy.critic(x, cond), family.critic(x, cond))


def test_the_generator_rests_while_the_critic_catches_up(rng):
    family = make("gan", Line(), critic_steps=3)
    x, cond = points(8, rng)
    moved = []
    for _ in range(6):
        family.zero_grad(set_to_none=True)
        family.loss(x, cond, rng).total.backward()
        moved.append(all(p.grad is not None for p in family.encoder.parameters()))
        assert all(p.grad is not None for p in family.critic.parameters())
    assert moved == [False, False, True, False, False, True]


def test_it_has_no_likelihood_and_refuses_samplers(rng):
    family = make("gan", Line())
    x, cond = points(1, rng)
    assert not isinstance(family, LikelihoodFamily)
    with pytest.raises(UsageError, match="no sampler"):
        family.sample(SamplingTask(x.mask, cond, [rng]), Euler())
    with pytest.raises(UsageError, match="nonsaturating"):
        make("gan", Line(), loss_type="hinge")


def test_on_proteins_the_critic_is_blind_to_rigid_motion(rng):
    """Penalties on curved fields are finite, and so is every gradient."""
    torch.manual_seed(0)
    network = {"name": "frame_attention", "dim": 16, "pair_dim": 8, "blocks": 2, "heads": 2, "refresh": 1}
    space = Backbone()
    mask = torch.ones(2, 10, dtype=torch.bool)
    mask[1, 7:] = False
    x = space.blank(mask)
    cond = Conditioning(torch.zeros(2, 10, 4), torch.zeros(2, 0))
    for loss_type in ("nonsaturating", "wasserstein"):
        family = build_model(
            {
                "space": {"name": "backbone"},
                "encoder": network,
                "family": {"name": "gan", "loss_type": loss_type},
                "conditions": ["secondary_structure"],
            }
        ).family
        family.loss(x, cond, rng).total.backward()
        gradients = [p.grad for p in family.parameters() if p.grad is not None]
        assert all(torch.isfinite(g).all() for g in gradients)
        assert sum(float(g.abs().sum()) for g in gradients) > 0
    turned = rotated(x, so3.uniform(torch.randn(2, 4, generator=rng)))
    assert torch.allclose(family.critic(turned, cond), family.critic(x, cond), atol=1e-4)
    samples = family.sample(SamplingTask(mask, cond, [torch.Generator().manual_seed(i) for i in range(2)]))
    assert torch.isfinite(samples["trans"]).all()


def test_the_penalty_goes_through_attention(rng):
    """It takes second derivatives, which fused attention does not have."""
    size = {"height": 8, "width": 8, "channels": 1}
    unet = {"name": "unet", "dim": 8, "multipliers": [1, 2], **size}
    config = {"space": {"name": "image", **size}, "conditions": [], "encoder": unet, "family": {"name": "gan"}}
    family = build_model(config).family.train()
    x = State({"pixels": torch.randn(2, 64, 1, generator=rng)}, torch.ones(2, 64, dtype=torch.bool))
    losses = family.loss(x, Conditioning(torch.zeros(2, 64, 0), torch.zeros(2, 0)), rng)
    losses.total.backward()
    assert torch.isfinite(losses.total)


def test_a_critic_of_frames_teaches_a_generator_of_torsions(rng):
    """Its gradient reaches each torsion through the placement of the chain: as finite differences say, within 2 %."""
    torch.manual_seed(0)
    network = {"name": "egnn", "dim": 16, "blocks": 1}
    fields = {"name": "transformer", "dim": 16, "blocks": 1, "heads": 2, "fields": {"torsions": 3, "angles": 3}}
    family = build_model(
        {
            "space": {"name": "torsions"},
            "encoder": fields,
            "critic": network,
            "family": {"name": "gan", "start": "blank", "penalty_every": 2},
            "conditions": ["secondary_structure"],
        }
    ).family
    mask = torch.ones(2, 10, dtype=torch.bool)
    mask[1, 7:] = False
    cond = Conditioning(torch.zeros(2, 10, 4), torch.zeros(2, 0))
    x = family.space.noise(mask, torch.randn(2, 10, 6, generator=rng))
    torsions = x["torsions"].clone().requires_grad_()
    family.critic(x.with_fields(torsions=torsions), cond).sum().backward()
    assert torch.isfinite(torsions.grad).all()
    # Along the gradient, as float32 resolves no less: a directional derivative is then its norm.
    norm = torsions.grad.norm()
    scores = [
        family.critic(x.with_fields(torsions=x["torsions"] + step * torsions.grad / norm), cond).sum().item()
        for step in (0.01, -0.01)
    ]
    assert (scores[0] - scores[1]) / 0.02 == pytest.approx(float(norm), rel=0.02)
    family.loss(x, cond, rng).total.backward()
    assert all(torch.isfinite(p.grad).all() for p in family.parameters() if p.grad is not None)


class Local(Encoder):
    """Scalars of a pixel that are the pixel: a network that does not know where it is."""

    symmetry, vector_dim, scalar_dim, reads = "none", 0, 1, ("pixels",)

    def forward(self, state, t, cond, x_pred=None):
        return Features(state["pixels"], state["pixels"].new_zeros(*state.mask.shape, 0, 3))


def test_a_critic_of_pictures_knows_where_a_pixel_is(rng):
    """A picture and its mirror image have one mean and two scores; the score is one weight a cell, by hand.

    A critic that pools over cells gives both the same, whatever it learns, and no digit is told from its pixels.
    """
    space = Image(2, 3, levels=17)
    torch.manual_seed(0)
    critic = GAN(space, Local(), Local()).critic
    values = torch.linspace(-1, 1, 6)[None, :, None]
    mask = space.full_mask(1)
    cond = Conditioning(torch.zeros(1, 6, 0), torch.zeros(1, 0))
    flipped = values.unflatten(1, (2, 3)).flip(2).flatten(1, 2)
    scores = [critic(State({"pixels": x}, mask), cond) for x in (values, flipped)]
    first, last = critic.score[0], critic.out
    assert isinstance(first, nn.Linear)
    for x, score in zip((values, flipped), scores, strict=True):
        hidden = nn.functional.silu(first.weight @ x[0, :, 0] + first.bias)
        assert score.item() == pytest.approx((last.weight @ hidden + last.bias).item(), abs=1e-5)
    assert abs(scores[0].item() - scores[1].item()) > 1e-3
