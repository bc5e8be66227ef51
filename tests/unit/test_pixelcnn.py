"""Autoregressive models of images: PixelCNN sees earlier pixels only, all of them; likelihoods are probabilities."""

import math

import pytest
import torch
from torch import Generator

from protgen.encoders.base import ImageShape
from protgen.encoders.pixelcnn import Layer, PixelCNNEncoder
from protgen.encoders.transformer import TokenSettings, TransformerEncoder
from protgen.errors import ConfigError
from protgen.families.autoregressive import Autoregressive, AutoregressiveSettings
from protgen.models.model import build_model
from protgen.samplers.base import SamplingTask
from protgen.spaces.image import Image
from protgen.types import Conditioning, State


def nothing(batch: int, length: int) -> Conditioning:
    return Conditioning(torch.zeros(batch, length, 0), torch.zeros(batch, 0))


FAR = {"dilations": (1, 2, 1, 4), "residual": True}


@pytest.mark.parametrize("how", [{}, FAR])
def test_every_pixel_sees_all_earlier_ones_and_no_later_one(how):
    """By gradients of the features of a pixel in the middle: no blind spot, nothing ahead."""
    torch.manual_seed(0)
    height, width, place = 6, 7, 3 * 7 + 4
    encoder = PixelCNNEncoder(0, 0, dim=16, blocks=6, kernel=3, image=ImageShape(height, width), **how).double()
    pixels = torch.randn(1, height * width, 1, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(1, height * width, dtype=torch.bool)
    cond = nothing(1, height * width)
    scalars = encoder(State({"pixels": pixels}, mask), torch.zeros(1), cond).scalars
    (gradient,) = torch.autograd.grad(scalars[:, place].square().sum(), pixels)
    seen = gradient[0, :, 0].abs() > 1e-12
    assert not seen[place + 1 :].any()
    assert seen[1 : place + 1].all()  # place 0 stands for what is before the first pixel: nothing


def test_a_part_of_an_image_gives_the_same_as_the_whole(rng):
    torch.manual_seed(0)
    encoder = PixelCNNEncoder(0, 0, dim=16, blocks=3, kernel=5, image=ImageShape(6, 7))
    pixels = torch.randn(2, 42, 1, generator=rng)
    whole = encoder(State({"pixels": pixels}, torch.ones(2, 42, dtype=torch.bool)), torch.zeros(2), nothing(2, 42))
    part = encoder(
        State({"pixels": pixels[:, :17]}, torch.ones(2, 17, dtype=torch.bool)), torch.zeros(2), nothing(2, 17)
    )
    assert torch.allclose(part.scalars, whole.scalars[:, :17], atol=1e-5)


@pytest.mark.parametrize("how", [{}, FAR])
def test_pixel_by_pixel_gives_the_same_as_the_whole(how, rng):
    torch.manual_seed(0)
    encoder = PixelCNNEncoder(0, 0, dim=16, blocks=5, kernel=3, image=ImageShape(9, 7), **how).double()
    pixels = torch.randn(2, 63, 1, generator=rng, dtype=torch.float64)
    state, t, memory = State({"pixels": pixels}, torch.ones(2, 63, dtype=torch.bool)), torch.zeros(2), None
    whole = encoder(state, t, nothing(2, 63).rows(lambda x: x.double())).scalars
    for place in range(63):
        part = State({"pixels": pixels[:, : place + 1]}, state.mask[:, : place + 1])
        last, memory = encoder.extend(part, t, nothing(2, place + 1).rows(lambda x: x.double()), memory)
        assert torch.allclose(last, whole[:, place], atol=1e-12)


def test_layers_in_turn_look_as_far_as_their_dilations():
    """A layer of kernel 3 and dilation d reads d rows above and d pixels before: 1 + 2 + 1 + 4 of four layers."""
    encoder = PixelCNNEncoder(0, 0, dim=8, blocks=4, kernel=3, image=ImageShape(1, 20), **FAR).double()
    pixels = torch.randn(1, 20, 1, dtype=torch.float64, requires_grad=True)
    scalars = encoder(State({"pixels": pixels}, torch.ones(1, 20, dtype=torch.bool)), torch.zeros(1), nothing(1, 20))
    (gradient,) = torch.autograd.grad(scalars.scalars[:, 15].square().sum(), pixels)
    assert gradient[0, :, 0].abs().gt(1e-12).nonzero()[:, 0].tolist() == list(range(15 - 8, 16))
    for wrong in ((1, 0), (), (1, 10**9)):
        with pytest.raises(ConfigError, match="dilations"):
            PixelCNNEncoder(0, 0, dim=8, dilations=wrong)


@pytest.mark.parametrize("residual", [True, False])
def test_a_residual_layer_hands_on_what_it_does_not_change(residual):
    """With a gate that lets nothing through the rows above stay as they are, and are gone without the residual."""
    layer = Layer(4, 3, last=False, residual=residual)
    for weight in (layer.vertical.weight, layer.vertical.bias, layer.gate_vertical.shift.weight):
        torch.nn.init.zeros_(weight)
    torch.nn.init.zeros_(layer.gate_vertical.shift.bias)
    above = torch.randn(2, 4, 5, 6)
    found, _ = layer(above, torch.randn(2, 4, 5, 6), torch.randn(2, 4))
    assert torch.equal(found, above if residual else torch.zeros_like(above))


def family(kind: str, space: Image) -> Autoregressive:
    torch.manual_seed(0)
    if kind == "pixelcnn":
        encoder = PixelCNNEncoder(0, 0, 16, 3, 3, ImageShape(space.height, space.width, space.channels))
    else:
        encoder = TransformerEncoder(
            0, 0, 16, 2, 2, tokens=TokenSettings({"pixels": space.channels}, space.width), causal=True
        )
    return Autoregressive(space, encoder, settings=AutoregressiveSettings(width=32, window=0, plan_dim=8, candidates=1))


@pytest.mark.parametrize("kind", ["pixelcnn", "transformer"])
def test_probabilities_of_all_binary_images_sum_to_one(kind, rng):
    """All 512 images of 3 x 3."""
    space = Image(3, 3, binary=True)
    images = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 9)[..., None]
    state = State({"pixels": images}, space.full_mask(512))
    with torch.no_grad():
        found = family(kind, space).log_prob(state, nothing(512, 9), rng)
    assert found.kind == "exact"
    assert abs(found.nats.double().exp().sum() - 1) < 1e-5


def test_grey_values_of_two_channels_are_a_density(rng):
    """One pixel with two channels of 5 levels: 25 values, each a cell of volume (2 / 5)^2; uniform is 0 bits off."""
    space = Image(1, 1, channels=2, levels=5)
    values = (torch.arange(5) + 0.5) * 2 / 5 - 1
    images = torch.cartesian_prod(values, values)[:, None]
    state = State({"pixels": images}, space.full_mask(25))
    with torch.no_grad():
        nats = family("pixelcnn", space).log_prob(state, nothing(25, 1), rng).nats
    assert abs((nats.double().exp() * (2 / 5) ** 2).sum() - 1) < 1e-5
    assert abs(space.bits_per_dim(nats).mean() - math.log2(5)) < 0.5


def stripes(count: int, rng: Generator) -> State:
    """4 x 4 images of equal rows, each pixel of the first row on or off."""
    row = (torch.rand(count, 1, 4, generator=rng) < 0.5).float() * 2 - 1
    return State({"pixels": row.expand(-1, 4, -1).reshape(count, 16, 1)}, torch.ones(count, 16, dtype=torch.bool))


@pytest.mark.slow
def test_learns_stripes(rng):
    """Entropy 4 log 2 = 2.77 nats; reached to 0.2, and samples are striped.

    The last pixel of a row is the one to watch: what is above it comes to the encoder at the start of the next row.
    """
    model = family("pixelcnn", Image(4, 4, binary=True))
    optimizer = torch.optim.Adam(model.parameters(), 5e-3, fused=True)
    for step in range(150):
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * (1 - step / 150)
        loss = model.loss(stripes(64, rng), nothing(64, 16), rng).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        nats = -model.log_prob(stripes(500, rng), nothing(500, 16), rng).nats.mean()
    assert 4 * math.log(2) - 0.1 < nats < 4 * math.log(2) + 0.2
    task = SamplingTask(
        torch.ones(60, 16, dtype=torch.bool), nothing(60, 16), [Generator().manual_seed(i) for i in range(60)]
    )
    drawn = model.sample(task)["pixels"].view(60, 4, 4)
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}
    assert (drawn[:, 1:] == drawn[:, :1]).float().mean() > 0.97
    assert 0.3 < (drawn[:, 0] == 1).float().mean() < 0.7


def test_a_model_makes_its_encoder_causal_or_says_which_can_be():
    """`family=autoregressive` over an encoder that is not causal by default: it never gives a wrong likelihood."""
    config = {
        "space": {"name": "torsions"},
        "encoder": {"name": "egnn", "dim": 16, "blocks": 1},
        "family": {"name": "autoregressive", "width": 16},
        "conditions": ["length"],
    }
    model = build_model(config)
    assert model.family.encoder.reader.wiring.causal
    with pytest.raises(ConfigError, match="egnn"):
        build_model(config | {"encoder": {"name": "frame_attention", "dim": 16}})
