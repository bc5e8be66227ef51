"""The bound of diffusion on discrete values: probabilities of binary pixels, not densities about them."""

import math

import pytest
import torch

from protgen.encoders.base import Encoder
from protgen.errors import ConfigError
from protgen.families.diffusion import Diffusion, DiffusionSettings
from protgen.spaces.image import Image
from protgen.types import Conditioning, Features, State

P = torch.tensor([0.3, 0.8])  # of the value 1, for each of two pixels


class Nothing(Encoder):
    """No features: the test states the prediction itself."""

    symmetry, reads, vector_dim, scalar_dim = "none", ("pixels",), 0, 1

    def forward(self, state, t, cond, x_pred=None):
        return Features(torch.zeros(*state.mask.shape, 1), torch.zeros(*state.mask.shape, 0, 3))


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


def test_a_target_without_bounds_is_refused():
    with pytest.raises(ConfigError, match="use target=x"):
        Diffusion(Image(1, 2, 1, binary=True), Nothing(), DiffusionSettings(target="v"))
