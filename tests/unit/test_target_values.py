"""Targets of networks on flat fields: each gives back x_data, by the formulas of its paper."""

import pytest
import torch

from protgen.families.targets import Target
from protgen.samplers.schedules import Cosine, LinearBeta, Path, VarianceExploding
from protgen.types import State
from tests.toy_space import Line


@pytest.mark.parametrize(
    ("name", "flat"),
    [("eps", LinearBeta()), ("v", Cosine()), ("v", LinearBeta()), ("edm", VarianceExploding())],
    ids=str,
)
def test_a_target_gives_back_the_data(name, flat, rng):
    """eps is the noise; v is (alpha x_noise - sigma x_data) / c; EDM's is -v, with alpha = 1."""
    target = Target(name, Path(flat), Line())
    data, noise = torch.randn(2, 5, 1, 2, generator=rng).unbind(0)
    t, mask = torch.tensor([0.05, 0.2, 0.5, 0.7, 0.9]), torch.ones(5, 1, dtype=torch.bool)
    alpha, sigma = target.levels(t)
    x_t = State({"x": alpha * data + sigma * noise}, mask)
    size = (alpha**2 + sigma**2).sqrt()
    v = (alpha * noise - sigma * data) / size
    wanted = {"eps": noise, "v": v, "edm": -v}[name]
    seen = target.inputs(x_t, t)
    assert torch.allclose(seen["x"], x_t["x"] / size)
    output = State({"x": seen["x"] + wanted}, mask)  # heads of this space add what they read
    scale = (sigma / alpha).clamp(min=1) if name == "eps" else 1
    assert ((target.data(output, seen, x_t, t)["x"] - data) / scale).abs().max() < 1e-5
