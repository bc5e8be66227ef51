"""The bound of diffusion on discrete values: probabilities of binary pixels, not densities about them."""

import math

import pytest
import torch

from protgen.errors import ConfigError
from protgen.families.diffusion import Diffusion
from protgen.families.diffusion_settings import DiffusionSettings
from protgen.samplers.base import SamplingTask
from protgen.samplers.ddim import DDIM
from protgen.spaces.capabilities import within_range
from protgen.spaces.image import Image
from protgen.types import Conditioning, State
from tests.exact_denoisers import Nothing

P = torch.tensor([0.3, 0.8])  # of the value 1, for each of two pixels


@pytest.mark.parametrize("path", ["cosine", "linear_beta", "learned"])
def test_with_the_exact_denoiser_the_bound_is_the_entropy(path, rng):
    """Averaged over independent pixels with P(1) = 0.3 and 0.8, within 0.02 nats of H = 1.11."""
    weighting = "bound" if path == "learned" else "simple"
    family = Diffusion(Image(1, 2, 1, binary=True), Nothing(), DiffusionSettings(path=path, weighting=weighting))

    def predict(x_t, t, cond, x_pred):
        alpha, sigma = family.target.levels(t)
        logit = 2 * alpha * x_t["pixels"] / sigma.square() + (P / (1 - P)).log()[:, None]
        return State({"pixels": (logit / 2).tanh()}, x_t.mask)

    family.predict = predict
    count = 4000
    ones = torch.rand(count, 2, generator=rng) < P
    x = State({"pixels": (2.0 * ones - 1)[..., None]}, torch.ones(count, 2, dtype=torch.bool))
    cond = Conditioning(torch.zeros(count, 2, 0), torch.zeros(count, 0))
    bound = family.bound(x, cond, rng, times=50)
    entropy = -(P * P.log() + (1 - P) * (1 - P).log()).sum()
    seen = -(ones * P.log() + ~ones * (1 - P).log()).sum(-1).mean()  # of the pixels drawn
    assert abs(float(seen - entropy)) < 0.05
    assert float(-bound.nats.mean()) == pytest.approx(float(seen), abs=0.02)


def test_values_are_certain_where_little_noise_is_left_and_a_coin_toss_where_nothing_else_is(rng):
    from protgen.families.variational_bound import surprise

    space = Image(1, 2, 1, binary=True)
    x = torch.tensor([[[1.0], [-1.0]]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    little, much = (surprise(x, torch.tensor([s]).log(), space.support(), mask, rng) for s in (0.1, 1e4))
    assert float(little) < 1e-6
    assert float(much) == pytest.approx(2 * math.log(2), abs=1e-2)


@pytest.mark.parametrize("std", [1e-4, 2e-3, 0.01, 0.1, 3.0])
def test_values_that_are_left_out_do_not_count(std):
    """The surprise of bytes and its slope, against the sum over all 256 values."""
    from protgen.families.variational_bound import surprise

    support = Image(8, 8, 1).support()
    x = support.values(torch.device("cpu"))[torch.arange(0, 256, 4)].view(1, 64, 1).double()
    mask = torch.ones(1, 64, dtype=torch.bool)
    log_std = torch.tensor([std], dtype=torch.float64).log().requires_grad_()
    found = surprise(x, log_std, support, mask, torch.Generator().manual_seed(0))
    (slope,) = torch.autograd.grad(found.sum(), log_std)
    seen = x + log_std.exp() * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
    logits = -0.5 * ((seen - support.values(torch.device("cpu")).double()) / log_std.exp()).square()
    whole = -logits.log_softmax(-1).gather(-1, support.index(x)).sum()
    (expected,) = torch.autograd.grad(whole, log_std)
    assert float(found) == pytest.approx(float(whole), rel=1e-8, abs=1e-8)
    assert float(slope) == pytest.approx(float(expected), rel=1e-6, abs=1e-6)


def test_what_the_first_noise_hides_is_added_to_the_bound():
    """With much noise left at the first time the value of each of two pixels is a coin toss: 2 log 2."""
    family = Diffusion(Image(1, 2, 1, binary=True), Nothing(), DiffusionSettings(first=0.999))
    x = State({"pixels": torch.tensor([[[1.0], [-1.0]]])}, torch.ones(1, 2, dtype=torch.bool))
    _, hidden = family.ends(x, torch.Generator().manual_seed(0))
    volume = 2 * math.log(family.support.volume)
    assert float(hidden) - volume == pytest.approx(2 * math.log(2), abs=0.05)


def test_predictions_stay_within_the_range_of_pixels():
    """A network that finds no noise predicts x_t / alpha, at t = 1 of the linear schedule 150 times the noise."""
    space = Image(2, 2, 1, levels=17)
    family = Diffusion(space, Nothing(), DiffusionSettings(path="linear_beta", target="eps"))
    torch.nn.init.zeros_(family.head.read.weight)
    torch.nn.init.zeros_(family.head.read.bias)
    seen = []
    task = SamplingTask(
        space.full_mask(8),
        Conditioning(torch.zeros(8, 4, 0), torch.zeros(8, 0)),
        [torch.Generator().manual_seed(i) for i in range(8)],
        on_step=lambda number, x, x_pred: seen.append((x["pixels"], x_pred["pixels"])),
    )
    made = family.sample(task, DDIM(steps=5))["pixels"]
    assert float(torch.stack([x_pred for _, x_pred in seen]).abs().max()) == 1.0
    first = torch.stack([torch.randn(4, 1, generator=torch.Generator().manual_seed(i)) for i in range(8)])
    alpha, sigma = family.path.flat.at(1.0)
    torch.testing.assert_close(seen[0][1], (first * sigma / alpha).clamp(-1, 1))
    assert bool((made == seen[-1][1]).all())


@pytest.mark.parametrize("space", [Image(1, 2, 1, binary=True), Image(1, 2, 1, levels=3)])
def test_the_range_of_pixels_is_that_of_binary_values_or_of_cells(space):
    x = State({"pixels": torch.tensor([[[-1.2], [0.9]], [[1.01], [-0.9]]])}, space.full_mask(2))
    assert within_range(space, x)["pixels"].flatten().tolist() == pytest.approx([-1.0, 0.9, 1.0, -0.9])


def test_a_target_without_bounds_is_refused():
    with pytest.raises(ConfigError, match="use target=x"):
        Diffusion(Image(1, 2, 1, binary=True), Nothing(), DiffusionSettings(target="v"))
