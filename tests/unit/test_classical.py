"""Classical models against closed forms and scikit-learn, batch by batch and all at once."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.naive_bayes import GaussianNB
from torch import Generator

from protgen.errors import ConfigError, UsageError
from protgen.families.classical import Classical
from protgen.models.model import build_model, load_model, save_model
from protgen.samplers.base import SamplingTask
from protgen.spaces.image import Image
from protgen.spaces.torsions import Torsions
from protgen.training.ema import ExponentialMovingAverage
from protgen.types import Conditioning, State
from tests.toy_families import Dense
from tests.toy_space import Line


def whole(labels: torch.Tensor, classes: int = 3) -> Conditioning:
    """One-hot classes; all 0 for label -1."""
    one_hot = torch.nn.functional.one_hot(labels.clamp(min=0), classes).float() * (labels >= 0)[:, None]
    return Conditioning(torch.zeros(len(labels), 1, 0), one_hot)


def data(count: int, rng: Generator):
    labels = torch.randint(0, 3, (count,), generator=rng)
    factors = torch.tensor([[[1.0, 0.5], [0.0, 0.6]], [[0.4, 0.0], [0.3, 0.9]], [[0.7, -0.4], [0.2, 0.5]]])
    x = torch.einsum("bij,bj->bi", factors[labels], torch.randn(count, 2, generator=rng))
    x = x + torch.tensor([[-3.0, 0.0], [2.0, 1.0], [0.0, -3.0]])[labels]
    return State({"x": x[:, None]}, torch.ones(count, 1, dtype=torch.bool)), labels


def fitted(model: str, x: State, labels: torch.Tensor, batch: int, **keywords) -> Classical:
    family = Classical(Line(), Dense(Line()), global_dim=3, model=model, ridge=1e-9, **keywords).train()
    for start in range(0, len(labels), batch):
        part = slice(start, start + batch)
        family.loss(State({"x": x["x"][part]}, x.mask[part]), whole(labels[part]), Generator())
    return family.eval()


def test_a_class_without_examples_has_the_ridge_about_zero():
    """The mean of nothing is 0, with the variance of the ridge: no division by a count of 0."""
    x, labels = (
        State({"x": torch.tensor([[[1.0, 2.0]], [[3.0, 5.0]]])}, torch.ones(2, 1, dtype=torch.bool)),
        torch.zeros(2),
    )
    family = Classical(Line(), Dense(Line()), global_dim=3, model="naive_bayes", ridge=0.25).train()
    family.loss(x, whole(labels.long()), Generator())
    mean, std = family.eval().shapes(2)
    assert mean.tolist() == [[0.0, 0.0]]
    assert torch.allclose(std, torch.full((1, 2), 0.5, dtype=torch.float64))


@pytest.mark.parametrize("model", ["naive_bayes", "discriminant"])
def test_agrees_with_scikit_learn_whatever_the_batches(model, rng):
    """Posterior of every class by Bayes from log p(x | y) and p(y): the classifier of scikit-learn."""
    x, labels = data(600, rng)
    points = x["x"][:, 0].double().numpy()
    # The covariance of the latter has divisor n - 1; ours, of maximum likelihood, n.
    reference = GaussianNB(var_smoothing=0.0) if model == "naive_bayes" else QuadraticDiscriminantAnalysis()
    expected = reference.fit(points, labels.numpy()).predict_proba(points)
    for batch in (600, 70):
        family = fitted(model, x, labels, batch)
        given = [family.log_prob(x, whole(torch.full_like(labels, c)), rng).nats for c in range(3)]
        prior = torch.bincount(labels).div(len(labels)).log()
        posterior = (torch.stack(given, -1) + prior).softmax(-1).numpy()
        assert np.abs(posterior - expected).max() < (1e-3 if model == "naive_bayes" else 2e-2)
        unknown = family.log_prob(x, whole(torch.full_like(labels, -1)), rng).nats
        assert torch.allclose(unknown, (torch.stack(given, -1) + prior).logsumexp(-1), atol=1e-4)


def test_discriminant_has_the_maximum_likelihood(rng):
    x, labels = data(400, rng)
    family = fitted("discriminant", x, labels, 90)
    for c in range(3):
        part = State({"x": x["x"][labels == c]}, x.mask[labels == c])
        best = torch.distributions.MultivariateNormal(
            part["x"][:, 0].mean(0), torch.cov(part["x"][:, 0].T, correction=0)
        ).log_prob(part["x"][:, 0])
        assert torch.allclose(family.log_prob(part, whole(labels[labels == c]), rng).nats, best, atol=2e-3)


def test_mixture_finds_two_modes(rng):
    """Two modes in one class: log-likelihood within 0.05 nats of the truth, samples in both, by stepwise EM."""
    signs = torch.randint(0, 2, (1200, 1), generator=rng) * 2.0 - 1
    points = torch.cat([3 * signs + 0.5 * torch.randn(1200, 1, generator=rng), torch.randn(1200, 1, generator=rng)], -1)
    x, labels = State({"x": points[:, None]}, torch.ones(1200, 1, dtype=torch.bool)), torch.zeros(1200).long()
    family = fitted("mixture", x, labels, 200, components=2)
    modes = torch.stack([torch.distributions.Normal(3.0 * s, 0.5).log_prob(points[:, 0]) for s in (-1, 1)], -1)
    truth = modes.logsumexp(-1) - np.log(2) + torch.distributions.Normal(0.0, 1.0).log_prob(points[:, 1])
    assert (truth - family.log_prob(x, whole(labels), rng).nats).mean().abs() < 0.05
    mask = torch.ones(400, 1, dtype=torch.bool)
    task = SamplingTask(mask, whole(torch.zeros(400).long()), [Generator().manual_seed(i) for i in range(400)])
    drawn = family.sample(task)["x"][:, 0]
    assert 0.4 < (drawn[:, 0] > 0).float().mean() < 0.6
    assert abs(drawn[:, 0].abs().mean() - 3) < 0.15
    few = SamplingTask(mask[:3], whole(torch.zeros(3).long()), [Generator().manual_seed(i) for i in range(3)])
    assert torch.allclose(family.sample(few)["x"][:, 0], drawn[:3], atol=1e-6)


def test_images_are_vectors_and_evaluation_does_not_fit(rng):
    space = Image(3, 3)
    family = Classical(space, Dense(space), global_dim=3, model="naive_bayes")
    x = State({"pixels": torch.randn(50, 9, 1, generator=rng)}, space.full_mask(50))
    labels = torch.zeros(50).long()
    with pytest.raises(UsageError, match="fitted"):
        family.eval().loss(x, whole(labels), rng)
    family.train().loss(x, whole(labels), rng)
    before = {k: v.clone() for k, v in family.state_dict().items()}
    family.eval().loss(State({"pixels": x["pixels"] + 1}, x.mask), whole(labels), rng)
    assert all(torch.equal(v, before[k]) for k, v in family.state_dict().items())
    exact = Classical(space, Dense(space), global_dim=3, model="naive_bayes")
    exact.fit(x, whole(labels))
    assert torch.allclose(exact.sums[0, 0], x["pixels"][..., 0].mean(0), atol=1e-5)
    # Training spreads each of 256 values over its cell of width 1 / 128: the mean of 50 moves by 0.0003.
    assert torch.allclose(family.sums[0, 0], exact.sums[0, 0], atol=0.0015)
    assert not torch.equal(family.sums[0, 0], exact.sums[0, 0])


def test_what_does_not_fit_is_refused(rng):
    with pytest.raises(ConfigError, match="torsions"):
        Classical(Torsions(), Dense(Line()))
    with pytest.raises(ConfigError, match="model"):
        Classical(Line(), Dense(Line()), model="bayes")
    x, labels = data(20, rng)
    with pytest.raises(UsageError, match="classes"):
        fitted("naive_bayes", x, labels, 20, classes=1)


def test_a_model_folder_keeps_the_fit_exactly(tmp_path, rng):
    """Weights may be stored in bfloat16; statistics, of which covariances are differences, may not."""
    config = {
        "space": {"name": "image", "height": 2, "width": 2},
        "encoder": {"name": "transformer", "dim": 8, "blocks": 1, "heads": 1, "fields": {"pixels": 1}},
        "family": {"name": "classical", "model": "discriminant"},
        "conditions": [],
    }
    model = build_model(config)
    x = State({"pixels": 100 + torch.randn(60, 4, 1, generator=rng)}, torch.ones(60, 4, dtype=torch.bool))
    cond = Conditioning(torch.zeros(60, 4, 0), torch.zeros(60, 0))
    average = ExponentialMovingAverage(model.family, 0.999)
    model.family.train().loss(x, cond, rng)
    average.update(model.family)
    assert torch.equal(average.shadow["products"], model.family.state_dict()["products"])
    expected = model.family.eval().log_prob(x, cond, rng).nats
    save_model(model, tmp_path)
    assert torch.equal(load_model(tmp_path).family.log_prob(x, cond, rng).nats, expected)


def test_class_and_component_are_drawn_independently():
    """Two classes of two components each, y unknown: each as often as in the data, in 800 draws, to three errors."""
    rng = Generator().manual_seed(0)
    labels, part = torch.randint(0, 2, (400,), generator=rng), torch.randint(0, 2, (400,), generator=rng)
    centres = torch.stack([10.0 * labels, 10.0 * part], -1)
    x = (centres + 0.1 * torch.randn(400, 2, generator=rng))[:, None]
    family = Classical(Line(), Dense(Line()), global_dim=2, model="mixture", components=2).train()
    family.loss(State({"x": x}, torch.ones(400, 1, dtype=torch.bool)), whole(labels, 2), Generator())
    generators = [Generator().manual_seed(i) for i in range(800)]
    unknown = whole(torch.full((800,), -1), 2)
    drawn = family.eval().sample(SamplingTask(torch.ones(800, 1, dtype=torch.bool), unknown, generators))["x"][:, 0]
    which = (drawn > 5).long()
    found = torch.bincount(2 * which[:, 0] + which[:, 1], minlength=4) / 800
    wanted = torch.bincount(2 * labels + part, minlength=4) / 400
    assert (found - wanted).abs().max() < 3 * (0.25 * 0.75 / 800) ** 0.5, (found, wanted)
