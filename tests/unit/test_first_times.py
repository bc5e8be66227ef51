"""Likelihoods of grey values from several first times: the same with an exact network, the best chosen with another."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator

from protgen.data.images import Images, to_batch
from protgen.evaluation.first_times import FACTORS, best_first
from protgen.evaluation.images import ImageEvaluation, likelihood_of_test
from protgen.families.diffusion import Diffusion
from protgen.families.diffusion_settings import DiffusionSettings
from protgen.families.flow_matching import FlowMatching
from protgen.families.ode_likelihood import OdeSettings, cell_time
from protgen.models.image_presets import build_image_model
from protgen.spaces.image import Image
from protgen.types import Conditioning, State
from tests.exact_denoisers import Nothing

LEVELS = 16  # all equally probable, so that an image has 4 bits a pixel


def uniform(count: int = 600) -> Images:
    """Images of 2 x 2 pixels."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, LEVELS, (count, 2, 2, 1)).astype(np.uint8)
    splits = np.resize(["train", "validation", "test"], count)
    return Images("uniform", pixels, np.zeros(count, dtype=int), splits, LEVELS)


def exact(family, error: float = 0.0):
    """Make its prediction E[x | x_t] of equally probable values, plus an error."""
    values = family.space.support().values(torch.device("cpu")).double()

    def predict(x_t, t, cond, x_pred):
        alpha, sigma = family.target.levels(t.double())
        logits = -0.5 * ((x_t["pixels"] - alpha * values) / sigma).square()
        return State(
            {"pixels": ((logits.softmax(-1) * values).sum(-1, keepdim=True) + error).to(x_t["pixels"])}, x_t.mask
        )

    family.predict = predict
    return family


def bits(family, factor: float) -> float:
    """Bits a pixel of 200 images, from that many times the time at which values are four deviations apart."""
    x = family.space.encode(to_batch(uniform().of("test"), np.arange(200)))
    family.first = factor * cell_time(family.space, family.path)
    settings = (
        {"settings": OdeSettings(30, exact=True, first=family.first, draws=2)}
        if isinstance(family, FlowMatching)
        else {}
    )
    cond = Conditioning(torch.zeros(200, 4, 0), torch.zeros(200, 0))
    nats = family.log_prob(x, cond, Generator().manual_seed(1), **settings).nats
    return float(family.space.bits_per_dim(nats).mean())


@pytest.mark.parametrize("factor", [1.0, 4.0, 16.0])
@pytest.mark.parametrize("family", [Diffusion, FlowMatching])
def test_with_an_exact_network_every_first_time_gives_the_entropy(family, factor):
    """4 bits for each pixel: the table of the values is then their posterior, and the bound is tight."""
    found = bits(exact(family(Image(2, 2, 1, levels=LEVELS), Nothing())), factor)
    assert found == pytest.approx(4.0, abs=0.03)


def test_a_constant_error_costs_its_square_over_twice_the_variance_of_the_first_noise():
    """int 1/2 (-snr') error^2 dt = error^2 snr(first) / 2, less what is left at t = 1; in bits."""
    error = 0.05
    family = exact(Diffusion(Image(2, 2, 1, levels=LEVELS), Nothing()), error)
    for factor in (1.0, 8.0):
        alpha, sigma = family.path.flat.at(factor * cell_time(family.space, family.path))
        wanted = 4.0 + 0.5 * error**2 * (alpha / sigma) ** 2 / math.log(2)
        assert bits(family, factor) == pytest.approx(wanted, abs=0.04)


def test_the_best_time_is_chosen_on_validation_and_put_back():
    """An error of 0.05 where values are 0.125 apart: the first time by a deviation of a quarter costs 1.9 bits more."""
    images = uniform()
    model = build_image_model(images, "diffusion", conditions=[])
    family = exact(Diffusion(Image(2, 2, 1, levels=LEVELS), Nothing(), DiffusionSettings()), 0.05)
    model = replace(model, family=family)
    model.family.register_parameter("some", torch.nn.Parameter(torch.zeros(1)))
    before = model.family.first
    with best_first(model, images) as begins:
        assert begins == {"time": 0.5, "noise_in_steps": 8.0, "chosen_on": 64}  # tan(pi / 4) / 0.125 on the cosine path
        assert model.family.first == 0.5
    assert model.family.first == before
    found = likelihood_of_test(model, images, ImageEvaluation(test=200))["log_prob"]
    assert found["bits_per_dim"] == pytest.approx(4.0, abs=0.03)
    assert found["begins"]["chosen_on"] == 64


def test_what_the_noise_hides_is_weighed_against_what_the_network_errs():
    """All pixels of one value, and a network off by 0.05: log2 of the values that are hidden, and the error's cost.

    Both by numpy at each factor; their sum is least at 2, where it is 1.50 bits; 2.02 at 1 and 2.16 at 4.
    """
    error, step, draws = 0.05, 2 / LEVELS, np.random.default_rng(0).normal(size=20_000)
    family = Diffusion(Image(2, 2, 1, levels=LEVELS), Nothing())
    images = replace(uniform(), pixels=np.full((600, 2, 2, 1), 7, np.uint8))
    values, known = family.space.support().values(torch.device("cpu")).numpy(), -1 + step * 7.5

    def cost(factor: float) -> float:
        alpha, sigma = family.path.flat.at(min(factor * cell_time(family.space, family.path), 0.5))
        seen = known + sigma / alpha * draws
        logits = -0.5 * ((seen[:, None] - values) * alpha / sigma) ** 2
        hidden = np.log(np.exp(logits).sum(1)) - logits[:, 7]
        return (hidden.mean() + 0.5 * (error * alpha / sigma) ** 2) / math.log(2)

    least = min(FACTORS, key=cost)
    assert least not in (FACTORS[0], FACTORS[-1])
    family.predict = lambda x_t, t, cond, x_pred: State(
        {"pixels": torch.full_like(x_t["pixels"], known + error)}, x_t.mask
    )
    family.register_parameter("some", torch.nn.Parameter(torch.zeros(1)))
    model = replace(build_image_model(images, "diffusion", conditions=[]), family=family)
    with best_first(model, images):
        assert model.family.first == pytest.approx(least * cell_time(family.space, family.path))
    found = likelihood_of_test(model, images, ImageEvaluation(test=200))["log_prob"]
    assert found["bits_per_dim"] == pytest.approx(cost(least), abs=0.05)


def test_nothing_is_chosen_where_values_have_probabilities_or_nothing_is_held_out():
    grey, binary = uniform(), uniform()
    for images, keywords in ((grey, {"encoder": {"name": "perceptron"}}), (binary, {"binary": True})):
        model = build_image_model(images, "diffusion", conditions=[], **keywords)
        part = images.of("train") if images is grey else images
        with best_first(model, part) as begins:
            assert begins is None
