"""Coupling flows: exact inverses, log-determinants against autograd, and densities that integrate to one."""

import math

import pytest
import torch
from torch import Generator

from protgen.encoders.transformer import TokenSettings, TransformerEncoder
from protgen.errors import ConfigError
from protgen.families.coupling import Mix, grid_plans
from protgen.families.normalizing_flow import NormalizingFlow
from protgen.samplers.base import SamplingTask
from protgen.spaces.backbone import Backbone
from protgen.spaces.image import Image
from protgen.spaces.torsions import Torsions
from protgen.types import Conditioning, State
from tests.toy_families import Dense, conditioning
from tests.toy_space import Line

pytestmark = pytest.mark.slow


def nothing(batch: int, length: int, family: NormalizingFlow | None = None) -> Conditioning:
    """No y; or one y for all, where the noise of a family depends on it."""
    width = 0 if family is None or family.base is None else 2
    return Conditioning(torch.zeros(batch, length, 0), torch.ones(batch, width))


def active(family: NormalizingFlow) -> NormalizingFlow:
    """In float64, with heads that do something."""
    for head in family.heads:
        torch.nn.init.normal_(head.weight, std=0.3)
        torch.nn.init.normal_(head.bias, std=0.3)
    if family.base is not None:
        torch.nn.init.normal_(family.base.linear.bias, std=0.3)
    return family.double().eval()


def image_flow(mixing: bool, coupling: str = "affine", base: bool = False) -> NormalizingFlow:
    torch.manual_seed(0)
    y = 2 if base else 0
    encoder = TransformerEncoder(0, y, 16, 1, 2, tokens=TokenSettings({"pixels": 1}, row=4))
    family = NormalizingFlow(
        Image(4, 4), encoder, steps=4, mixing=mixing, coupling=coupling, levels=2, conditional_base=base, global_dim=y
    )
    return active(family)


def torsion_flow(base: bool = False) -> NormalizingFlow:
    torch.manual_seed(0)
    y = 2 if base else 0
    encoder = TransformerEncoder(0, y, 16, 1, 2, tokens=TokenSettings({"torsions": 3, "angles": 3}))
    keywords = {"coupling": "spline", "mixing": True, "conditional_base": base, "global_dim": y}
    return active(NormalizingFlow(Torsions(), encoder, steps=4, **keywords))


def states(rng: Generator) -> dict[str, State]:
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[1, 4:] = False
    normals = torch.randn(3, 5, 6, generator=rng, dtype=torch.float64)
    image = State({"pixels": torch.randn(3, 16, 1, generator=rng, dtype=torch.float64)}, Image(4, 4).full_mask(3))
    return {"image": image, "torsions": Torsions().noise(mask, normals)}


FLOWS = {
    "realnvp": (lambda: image_flow(False), "image"),
    "glow": (lambda: image_flow(True), "image"),
    "splines": (lambda: image_flow(False, "spline"), "image"),
    "torsions": (torsion_flow, "torsions"),
    "conditional base": (lambda: image_flow(True, base=True), "image"),
    "conditional base of torsions": (lambda: torsion_flow(True), "torsions"),
}


@pytest.mark.parametrize("name", list(FLOWS))
def test_inverse_gives_the_point_back(name, rng):
    """To 1e-6 in float64 (knots of splines meet at a step of rounding)."""
    make, kind = FLOWS[name]
    family, x = make(), states(rng)[kind]
    cond = nothing(*x.mask.shape, family)
    noise, _ = family.to_noise(x, cond)
    again = family.from_noise(noise, x.mask, cond)
    for field in family.space.manifolds:
        assert (noise - family.joined(x)).abs().max() > 0.1
        assert (again[field] - x[field]).abs().max() < 1e-6


@pytest.mark.parametrize("name", list(FLOWS))
def test_log_determinant_agrees_with_autograd(name, rng):
    make, kind = FLOWS[name]
    family, x = make(), states(rng)[kind]
    for row in range(3):
        one = State({k: v[row : row + 1] for k, v in x.fields.items()}, x.mask[row : row + 1])
        cond = nothing(*one.mask.shape, family)
        there = family.defined(one.mask)[0].reshape(-1)

        def noise(values, one=one, cond=cond, there=there):
            full = family.joined(one).reshape(-1).masked_scatter(there, values)
            made = family.to_noise(family.parted(full.view(1, *one.mask.shape[1:], -1), one.mask), cond)[0]
            return made.reshape(-1)[there]

        jacobian = torch.autograd.functional.jacobian(noise, family.joined(one).reshape(-1)[there])
        expected = torch.linalg.slogdet(jacobian)[1]
        assert abs(family.to_noise(one, cond)[1] - expected) < 1e-6


def test_density_on_the_plane_integrates_to_one(rng):
    torch.manual_seed(0)
    for coupling in ("affine", "spline"):
        family = active(NormalizingFlow(Line(), Dense(Line()), steps=4, coupling=coupling, mixing=True))
        axis = torch.linspace(-16, 16, 401, dtype=torch.float64)
        x = torch.cartesian_prod(axis, axis)[:, None]
        cond = conditioning(torch.full((len(x), 1), 0.5, dtype=torch.float64))
        with torch.no_grad():
            nats = family.log_prob(State({"x": x}, torch.ones(len(x), 1, dtype=torch.bool)), cond, rng).nats
        assert abs(nats.exp().sum() * (axis[1] - axis[0]) ** 2 - 1) < 5e-3


def of_classes(batch: int, classes: torch.Tensor, length: int) -> Conditioning:
    """One of two classes, as a condition of the whole."""
    return Conditioning(torch.zeros(batch, length, 0), torch.eye(2, dtype=torch.float64)[classes])


def test_conditional_base_is_a_normal_of_each_class(rng):
    """Where couplings do nothing, p(x | y) is normal with a mean and a deviation of each pixel and class."""
    encoder = TransformerEncoder(0, 2, 16, 1, 2, tokens=TokenSettings({"pixels": 1}, row=2))
    family = NormalizingFlow(Image(2, 2), encoder, steps=2, conditional_base=True, global_dim=2).double().eval()
    mean = torch.tensor([[1.0, -2.0, 0.5, 0.0], [-1.0, 0.0, 3.0, 1.5]], dtype=torch.float64)
    std = torch.tensor([[0.5, 1.0, 2.0, 0.8], [1.5, 0.7, 1.0, 0.4]], dtype=torch.float64)
    scale = 2 * torch.atanh(-std.log() / 2)  # of z = (x - mean) / std, as `affine` reads it
    torch.nn.init.zeros_(family.base.linear.bias)
    family.base.linear.weight.data = torch.stack([scale, -mean / std], -1).flatten(1).T.contiguous()
    classes = torch.tensor([0, 1, 1])
    x = State({"pixels": torch.randn(3, 4, 1, generator=rng, dtype=torch.float64)}, Image(2, 2).full_mask(3))
    normal = torch.distributions.Normal(mean[classes], std[classes])
    expected = normal.log_prob(x["pixels"][..., 0]).sum(-1)
    assert (family.log_prob(x, of_classes(3, classes, 4), rng).nats - expected).abs().max() < 1e-12
    classes = torch.tensor([0, 1]).repeat_interleave(2000)
    noise = torch.randn(4000, 4, 1, generator=rng, dtype=torch.float64)
    made = family.from_noise(noise, Image(2, 2).full_mask(4000), of_classes(4000, classes, 4))["pixels"][..., 0]
    assert (made - (mean[classes] + std[classes] * noise[..., 0])).abs().max() < 1e-12


@torch.no_grad()
def test_conditional_base_on_a_circle_is_a_density_of_each_residue(rng):
    """The phi of the residue of which something is asked has a density that integrates to one; the rest is as it was:
    uniform angles and standard normals."""
    encoder = TransformerEncoder(2, 0, 16, 1, 2, tokens=TokenSettings({"torsions": 3, "angles": 3}))
    family = NormalizingFlow(Torsions(), encoder, steps=2, conditional_base=True, residue_dim=2).double().eval()
    family.base.linear.weight.unflatten(0, family.base.shape)[0].normal_(generator=rng)
    grid = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000 * 2 * math.pi - math.pi
    mask = torch.ones(4000, 3, dtype=torch.bool)
    normals = torch.randn(1, 3, family.space.normals_per_position, generator=rng, dtype=torch.float64)
    one = family.space.noise(mask[:1], normals)
    fields = {name: value.double().expand(4000, -1, -1).clone() for name, value in one.fields.items()}
    fields["torsions"][:, 1, 0] = grid
    x = State(fields, mask)
    circle = torch.tensor(family.circular)
    on_line = torch.distributions.Normal(0.0, 1.0).log_prob(family.joined(x)[0])
    each = torch.where(circle, -math.log(2 * math.pi), on_line) * family.exist(x)[0]
    rest = (each.sum() + math.log(2 * math.pi)).exp()
    for kind in torch.eye(2, dtype=torch.float64):
        asked = torch.zeros(4000, 3, 2, dtype=torch.float64)
        asked[:, 1] = kind
        density = family.log_prob(x, Conditioning(asked, torch.zeros(4000, 0)), rng).nats.exp() / rest
        assert abs(density.mean() * 2 * math.pi - 1) < 1e-4
        assert density.max() > 1.5 / (2 * math.pi)


def test_actnorm_starts_from_the_first_batch(rng):
    """Whatever the scale of the data, the first loss in training sees it standardised, once and for all."""
    family = image_flow(True).train()
    x = State(
        {"pixels": 50 + 9 * torch.randn(200, 16, 1, generator=rng, dtype=torch.float64)}, Image(4, 4).full_mask(200)
    )
    noise, _ = family.to_noise(x, nothing(200, 16))
    assert family.mixes[0].log_scale.detach().exp().mean().item() == pytest.approx(1 / 9, rel=0.1)
    assert noise.abs().mean() < 5
    before = family.mixes[0].shift.clone()
    family.to_noise(State({"pixels": x["pixels"] * 2}, x.mask), nothing(200, 16))
    assert torch.equal(before, family.mixes[0].shift)


def test_mixing_that_begins_from_one_position_keeps_its_scale():
    """One value has no deviation: its coordinates are moved to 0 and left as wide as they are."""
    mix = Mix(2)
    mix.start(torch.tensor([[3.0, -1.0], [9.0, 9.0]]), torch.tensor([True, False]))
    assert mix.shift.tolist() == [-3.0, 1.0]
    assert mix.log_scale.tolist() == [0.0, 0.0]
    mix.start(torch.tensor([[3.0, -1.0], [5.0, -1.0]]), torch.tensor([True, True]))
    assert mix.log_scale.tolist() == pytest.approx([-0.5 * math.log(2), -math.log(1e-3)])


def test_mixing_is_invertible_and_measures_its_volume(rng):
    torch.manual_seed(0)
    mix = Mix(5).double()
    torch.nn.init.normal_(mix.log_scale, std=0.3)
    torch.nn.init.normal_(mix.upper, std=0.3)
    x = torch.randn(7, 5, generator=rng, dtype=torch.float64)
    assert (mix.inverse(mix(x)) - x).abs().max() < 1e-10
    jacobian = torch.autograd.functional.jacobian(mix, x[0])
    assert abs(torch.linalg.slogdet(jacobian)[1] - mix.log_det()) < 1e-10


def test_every_pixel_is_moved_and_levels_shrink():
    plans = grid_plans(8, 8, 1, steps=2, levels=3)
    assert [p.groups.shape for p in plans] == [(16, 4)] * 2 + [(4, 8)] * 2 + [(1, 16)] * 2
    assert torch.stack([p.moved for p in plans]).any(0).all()
    checkerboard = grid_plans(3, 3, 1, steps=2, levels=0)
    assert [plan.moved.tolist() for plan in checkerboard] == [[True, False] * 4 + [True], [False, True] * 4 + [False]]
    assert [len(grid_plans(*sides, 1, steps=2, levels=n)) for sides, n in (((3, 3), 1), ((3, 4), 2), ((4, 3), 2))] == [
        2,
        4,
        4,
    ]


def test_steps_move_every_second_coordinate_of_a_chain_in_turns():
    """Over positions and fields as a checkerboard; the angles that a chain of three does not have stay."""
    family = torsion_flow()
    x = family.space.noise(torch.ones(1, 3, dtype=torch.bool), torch.zeros(1, 3, family.space.normals_per_position))
    exists = family.exist(x)[0]
    board = (torch.arange(3)[:, None] + torch.arange(6)) % 2 == 0
    assert torch.equal(family.moved(0, x)[0], board & exists)
    assert torch.equal(family.moved(1, x)[0], ~board & exists)
    assert torch.equal(family.moved(2, x)[0], board & exists)


def test_samples_are_chains_and_depend_on_their_stream_alone():
    family = torsion_flow().float()
    drawn = []
    for lengths in ([9, 6, 5], [9, 6]):
        mask = torch.zeros(len(lengths), 9, dtype=torch.bool)
        for row, length in enumerate(lengths):
            mask[row, :length] = True
        rngs = [Generator().manual_seed(i) for i in range(len(lengths))]
        drawn.append(family.sample(SamplingTask(mask, nothing(*mask.shape), rngs)))
    assert torch.allclose(drawn[0]["torsions"][:2], drawn[1]["torsions"], atol=1e-4)
    assert drawn[0]["torsions"].abs().max() <= math.pi
    assert torch.isfinite(family.space.decode(drawn[0])["atoms"]).all()


def test_what_has_no_flow_is_refused():
    with pytest.raises(ConfigError, match="rots"):
        NormalizingFlow(Backbone(), Dense(Line()))
    with pytest.raises(ConfigError, match="coupling"):
        NormalizingFlow(Line(), Dense(Line()), coupling="cubic")


def test_noise_is_of_no_y_where_there_is_none():
    assert NormalizingFlow(Line(), Dense(Line()), conditional_base=True).base is None


@pytest.mark.parametrize("size", [(6, 4), (4, 6)])
def test_an_odd_side_ends_the_levels(size):
    """6 x 4 pixels are squeezed to 3 x 2, and no further."""
    assert len(grid_plans(*size, 1, steps=2, levels=3)) == 2
