"""Figures of images against values known in closed form, and models of images from presets."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator

from protgen.data.image_files import load_digits
from protgen.data.images import Images, to_batch
from protgen.errors import ConfigError, UsageError
from protgen.evaluation.image_features import Distances, Evaluator, FeatureNet, distances, kernel_distance
from protgen.evaluation.image_grid import save_grid
from protgen.evaluation.images import ImageEvaluation, evaluate_model, likelihood_of_test, sample_distances
from protgen.models.image_presets import PRESETS, build_image_model, image_config, preset_of
from protgen.models.image_samples import ImageSampling, draw_images, sampler_of
from protgen.models.model import build_model
from protgen.samplers.ddim import DDIM
from protgen.samplers.grid import time_grid
from protgen.spaces.capabilities import within_cells
from protgen.spaces.image import Image


def shades(count: int = 60, classes: int = 10) -> Images:
    """Images of 4 x 4 pixels and 64 grey values, every pixel of class k about the shade 6 k + 4."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    pixels = (6 * labels[:, None, None, None] + 4 + rng.integers(-1, 2, (count, 4, 4, 1))).astype(np.uint8)
    splits = np.where(np.arange(count) < count // 2, "train", "test").astype("<U10")
    return Images("shades", pixels, labels, splits, 64)


def test_kernel_distance_of_two_points_by_hand():
    """Kernel (x.y / 1 + 1)^3 of {0, 1} and {1, 2}: within 1 and 27, across the mean of 1, 1, 8, 27: 28 - 18.5."""
    a, b = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    assert kernel_distance(a, b) == pytest.approx(1 + 27 - 2 * (1 + 1 + 8 + 27) / 4)


def test_distances_of_shifted_normals_are_the_square_of_the_shift(rng):
    """FID of N(0, I) and N(m, I) is |m|^2 = 4; of two sets that are alike it goes to 0 as n grows."""
    generator = np.random.default_rng(0)
    a, b, c = (generator.normal(size=(4000, 8)) for _ in range(3))
    shifted = distances(a + np.array([2.0, *[0.0] * 7]), b)
    assert shifted.fid == pytest.approx(4.0, abs=0.15)
    same = distances(c, b)
    assert 0 < same.fid < 0.02
    assert abs(same.fid_infinity) < 0.01
    assert same.kid == pytest.approx(0.0, abs=0.02)
    assert same.precision == pytest.approx(same.recall, abs=0.05)
    assert shifted.precision < same.precision - 0.1
    with pytest.raises(UsageError, match="at least 66"):
        distances(a[:65], b)


def test_a_perfect_model_of_shades_has_the_entropy_of_the_data():
    """A classical model of uniform dequantised pixels: 4 bits for 16 equally probable values, by its Gaussians more."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 16, (4000, 2, 2, 1)).astype(np.uint8)
    splits = np.where(np.arange(4000) < 3600, "train", "test").astype("<U10")
    images = Images("uniform", pixels, np.zeros(4000, dtype=int), splits, 16)
    model = build_image_model(images, "classical", conditions=[], family={"ridge": 1e-6})
    batch = to_batch(images.of("train"), np.arange(3600))
    model.family.train().loss(model.family.space.encode(batch), model.conditions.unknown(batch.mask), Generator())
    model.family.eval()
    found = likelihood_of_test(model, images, ImageEvaluation(test=400))["log_prob"]
    # The best Gaussian of a uniform variable on [-1, 1] has variance 1 / 3.
    entropy = 0.5 * math.log(2 * math.pi * math.e / 3)
    assert found["bits_per_dim"] == pytest.approx((entropy - math.log(2 / 16)) / math.log(2), abs=0.03)
    assert found["kind"] == "exact"
    assert found["test_images"] == 400


def test_values_are_spread_over_their_cells(rng):
    """Uniform within a cell of grey values; binary values stay, unless every value is to be spread."""
    space = Image(2, 2, levels=8)
    pixels = torch.randint(0, 8, (500, 4, 1), generator=rng)
    x = space.encode(type(to_batch(shades(), np.arange(2)))({"pixels": pixels}, space.full_mask(500)))
    spread = within_cells(space, x, rng)
    assert torch.equal(space.decode(spread)["pixels"].long(), pixels)
    off = (spread["pixels"] - x["pixels"]) * 8 / 2
    assert off.std().item() == pytest.approx(1 / 12**0.5, abs=0.01)
    binary = Image(2, 2, binary=True)
    assert within_cells(binary, x, rng) is x
    assert within_cells(binary, x, rng, every=True) is not x


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3)])
def test_every_preset_fits_every_set_of_images(name, shape):
    """Space and networks are as large as the images; a decoder or critic like the encoder is too.

    The shapes are known without memory: a model with a size beyond the usual is read only after that.
    """
    images = Images("some", np.zeros((10, *shape), np.uint8), np.zeros(10), np.full(10, "train"))
    model = build_model(image_config(images, preset_of(name)))
    space = model.family.space
    assert isinstance(space, Image)
    assert (space.height, space.width, space.channels, space.levels) == (*shape, 256)
    assert model.conditions.names == ("class_label",)
    with torch.device("meta"):
        bare = build_model(image_config(images, preset_of(name))).family.state_dict()
    assert {key: x.shape for key, x in bare.items()} == {key: x.shape for key, x in model.family.state_dict().items()}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_has_a_loss_and_reads_the_class(name, rng):
    """The loss is finite and depends on the class: it is wired in every family.

    Networks that begin as the identity have no gradient yet, so all weights are moved a little first.
    """
    torch.manual_seed(0)
    images = load_digits()
    small = {"encoder": {"dim": 32}} if name != "latent" else {}
    model = build_image_model(images, name, **small)
    batch = to_batch(images.of("train"), np.arange(8))
    cond = model.conditions.from_data(batch, rng, {"class_label": 0.0})
    given = replace(cond, globals=cond.globals.requires_grad_())
    family = model.family.train()
    with torch.no_grad():
        for weights in family.parameters():
            weights += 0.02 * torch.randn(weights.shape, generator=rng)
    x = family.space.encode(batch)
    losses = family.loss(x, given, rng)
    assert torch.isfinite(losses.total)
    if name == "classical":
        assert int(family.known) == len(set(images.of("train").labels[:8].tolist()))
        return
    losses.total.backward()
    assert given.globals.grad is not None
    assert (given.globals.grad.abs().sum(1) > 0).all()


def test_unknown_parts_are_refused():
    digits = load_digits()
    with pytest.raises(ConfigError, match="did you mean 'vae'"):
        build_image_model(digits, "vaee")
    with pytest.raises(ConfigError, match="reads no images; choose from"):
        build_image_model(digits, "vae", encoder={"name": "egnn"})
    with pytest.raises(ConfigError, match="nodim"):
        build_image_model(digits, "vae", encoder={"nodim": 3})
    with pytest.raises(ConfigError, match="no part named 'famly' of vae: did you mean 'family'"):
        build_image_model(digits, "vae", famly={"beta": 1})
    with pytest.raises(ConfigError, match="no part named 'critic' of vae: known: encoder, family, decoder"):
        build_image_model(digits, "vae", critic={"dim": 8})
    with pytest.raises(ConfigError, match="decoder is 64; give its keywords"):
        build_image_model(digits, "vae", decoder=64)


def test_a_second_network_changes_what_it_says_of_the_encoder():
    """Its configuration is then whole, so that it builds the same network without the encoder's."""
    model = build_image_model(load_digits(), "vae", encoder={"dim": 16}, decoder={"dim": 24})
    entry = model.config["encoder"]
    assert entry["dim"] == 16
    assert model.config["decoder"] == entry | {"dim": 24}
    again = build_model(model.config)
    assert [w.shape for w in again.family.parameters()] == [w.shape for w in model.family.parameters()]
    widths = [{n for w in net.parameters() for n in w.shape} for net in (model.family.encoder, model.family.decoder)]
    assert [{16, 24} & own for own in widths] == [{16}, {24}]


def test_settings_that_a_model_does_not_take_are_refused_before_anything_is_measured():
    images = shades(100)
    model = build_image_model(images, "classical", conditions=())
    with pytest.raises(UsageError, match="classical samples directly: it takes no sampler and no steps"):
        evaluate_model(model, images, ImageEvaluation(steps=(4,)), 1)
    with pytest.raises(UsageError, match="takes no sampler"):
        evaluate_model(model, images, ImageEvaluation(sampling=ImageSampling(sampler="heun")), 1)
    with pytest.raises(ConfigError, match="has not learned 'class_label'; it has learned no conditions"):
        evaluate_model(model, images, ImageEvaluation(sum_classes=True), 1)
    with pytest.raises(ConfigError, match="it has learned no conditions"):
        draw_images(model, [3])


def fitted() -> tuple:
    """Shades, and a classical model of them."""
    images = shades(400)
    model = build_image_model(images, "classical", family={"ridge": 1e-5})
    batch = to_batch(images.of("train"), np.arange(200))
    cond = model.conditions.from_data(batch, Generator().manual_seed(0), {"class_label": 0.0})
    model.family.train().loss(model.family.space.encode(batch), cond, Generator().manual_seed(0))
    model.family.eval()
    return images, model


def shade_net() -> Evaluator:
    """A feature net that calls shade 6 k + 4 class k, by weights written by hand."""
    net = FeatureNet(1)
    for weights in net.parameters():
        torch.nn.init.zeros_(weights)
    with torch.no_grad():
        for layer in (net.body[0], net.body[2], net.body[4]):
            assert isinstance(layer, torch.nn.Conv2d)
            layer.weight[0, 0, 1, 1] = 1.0
        net.body[0].bias[0] = 1.0  # the input is 2 b - 1: feature 0 is 2 b
        # -(f - c_k)^2 up to a constant: linear in f.
        centre = 2 * (6 * torch.arange(10.0) + 4) / 63
        net.classify.weight[:, 0] = 2 * centre
        net.classify.bias[:] = -centre.square()
    return Evaluator(net, "by hand", 1.0, torch.zeros(64), torch.ones(64))


def test_obedience_is_the_fraction_of_pictures_of_their_class():
    """A model of shades gives the shade of the class asked for; one that draws the next class obeys none."""
    images, model = fitted()
    settings = ImageEvaluation(samples=100, asked=200)
    found, made = sample_distances(model, shade_net(), images, settings)
    assert made.shape == (100, 4, 4, 1)
    assert found["class asked is class seen"] > 0.9
    assert found["classes asked"]["n"] == 200
    assert found["training images against the reference"]["n"] == 100
    assert found["one go"]["recall"] > 0.5
    codes = model.family.codes
    codes[:, :10] = codes[:, :10].roll(1, 1)
    assert sample_distances(model, shade_net(), images, settings)[0]["class asked is class seen"] < 0.1


def test_a_picture_depends_on_its_number_and_class_alone():
    _, model = fitted()
    many = draw_images(model, [3, 5, -1, 7], seed=4)
    assert torch.equal(draw_images(model, [3, 5], seed=4), many[:2])
    assert not torch.equal(draw_images(model, [3, 5], seed=5), many[:2])
    with pytest.raises(UsageError, match="takes no sampler"):
        draw_images(model, [1], sampling=ImageSampling(steps=3))
    with pytest.raises(UsageError, match="spacing"):
        draw_images(model, [1], sampling=ImageSampling(spacing=2))


def test_times_of_a_sampler_are_spaced_as_asked():
    """(1 - k / 4)^2 of four steps, and even where nothing is said."""
    model = build_image_model(load_digits(), "diffusion")
    for spacing, times in ((2.0, [1, 0.5625, 0.25, 0.0625, 0]), (None, [1, 0.75, 0.5, 0.25, 0])):
        sampler = sampler_of(model, ImageSampling("ddim", 4, spacing=spacing))
        assert isinstance(sampler, DDIM)
        grid = time_grid(sampler.steps, sampler.spacing)
        assert [grid[0][0], *(s for _, s in grid)] == pytest.approx(times)


def test_steps_read_the_prediction_before_unless_told_not_to(monkeypatch):
    """Of three steps the first has no prediction to read; the others have one, and none where it is switched off."""
    model = build_image_model(load_digits(), "diffusion")
    kind, seen = type(model.family.denoiser()), []
    denoise = kind.denoise

    def watched(self, x, t, cond, before=None):
        seen.append(before is not None)
        return denoise(self, x, t, cond, before)

    monkeypatch.setattr(kind, "denoise", watched)
    for wish, read in ((None, [False, True, True]), (True, [False, True, True]), (False, [False, False, False])):
        seen.clear()
        draw_images(model, [3], sampling=ImageSampling("ddim", 3, self_condition=wish))
        assert seen == read
    with pytest.raises(UsageError, match="self-conditioning"):
        draw_images(fitted()[1], [1], sampling=ImageSampling(self_condition=False))


def test_a_grid_is_as_wide_as_its_columns(tmp_path):
    """Three pictures in two columns: two rows, a line between, each pixel enlarged to a whole number of pixels."""
    from PIL import Image as Picture

    pictures = torch.stack([torch.full((4, 5, 1), shade) for shade in (0.0, 1.0, 0.25)])
    save_grid(pictures, tmp_path / "grid.png", columns=2)
    with Picture.open(tmp_path / "grid.png") as picture:
        scale = 600 // 12
        assert picture.size == (12 * scale, 10 * scale)
        assert picture.getpixel((0, 0)) == 0
        assert picture.getpixel((6 * scale, 0)) == 255
        assert picture.getpixel((0, 5 * scale)) == 63
        assert picture.getpixel((5 * scale, 0)) == 127
    assert isinstance(Distances(0, 0, 0, 0, 0, 1).n, int)
