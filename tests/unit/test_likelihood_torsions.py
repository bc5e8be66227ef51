"""Likelihoods over internal coordinates: only those that exist count, at chain ends and at breaks, in every family.

Uniform torsions and N(0, 1) angles have the exact denoiser E[angles | x_t] = alpha x_t / (alpha^2 + sigma^2), and
torsions where they are. The log-density is -log(2 pi) for each torsion that exists, and a normal one for each angle.
"""

import math

import pytest
import torch
from torch import nn

from protgen.encoders.base import Encoder
from protgen.families.diffusion import Diffusion
from protgen.families.diffusion_settings import DiffusionSettings
from protgen.families.flow_matching import FlowMatching, FlowSettings
from protgen.families.normalizing_flow import NormalizingFlow
from protgen.families.ode_likelihood import OdeSettings, flat_freedoms
from protgen.spaces.capabilities import freedoms, held, tangent_of_defined
from protgen.spaces.observation import RiemannianNormal
from protgen.spaces.torsions import Torsions, within
from protgen.types import Conditioning, Features, State


class Unused(Encoder):
    """Features of nothing: the tests replace predictions."""

    symmetry, scalar_dim, vector_dim = "none", 4, 0

    def __init__(self):
        super().__init__()
        self.blank = nn.Parameter(torch.zeros(4))

    def forward(self, state, t, cond, x_pred=None):
        return Features(self.blank.expand(*state.mask.shape, 4), self.blank.new_zeros(*state.mask.shape, 0, 3))


def exact(family):
    def predict(x_t, t, cond, x_pred):
        alpha, sigma = family.target.levels(t)
        angles = alpha * x_t["angles"] / (alpha.square() + sigma.square())
        return family.space.project(x_t.with_fields(angles=angles))

    family.predict = predict
    return family


def points(count: int, length: int, broken: bool, seed: int = 0) -> State:
    """Noise of the space, with a break after the middle residue where asked for."""
    mask = torch.ones(count, length, dtype=torch.bool)
    x = Torsions().noise(mask, torch.randn(count, length, 6, generator=torch.Generator().manual_seed(seed)))
    joined = torch.ones(count, length - 1, dtype=torch.bool)
    joined[:, length // 2] = not broken
    return x.with_fields(known=within(mask, joined))


def log_density(x: State) -> torch.Tensor:
    exists = Torsions().defined(x)
    normal = -0.5 * x["angles"].square() - 0.5 * math.log(2 * math.pi)
    return (normal * exists["angles"]).sum((1, 2)) - math.log(2 * math.pi) * exists["torsions"].sum((1, 2))


def nothing(x: State) -> Conditioning:
    return Conditioning(torch.zeros(*x.mask.shape, 0), torch.zeros(len(x.mask), 0))


@pytest.mark.parametrize("broken", [False, True])
def test_freedoms_are_those_that_exist(broken):
    """6 l - 5 of a chain; five fewer for a break, which leaves two chains behind."""
    x = points(2, 7, broken)
    found = freedoms(Torsions(), x)
    assert (found["torsions"] + found["angles"]).tolist() == [6 * 7 - 5 - 5 * broken] * 2
    assert float(Torsions().num_dof(x.mask)[0]) == 6 * 7 - 5
    ones = State({"torsions": torch.ones(2, 7, 3), "angles": torch.ones(2, 7, 3)}, x.mask)
    assert flat_freedoms(Torsions(), x).tolist() == found["angles"].tolist() == [3 * 7 - 2 - 2 * broken] * 2
    moved = tangent_of_defined(Torsions(), ones, x)
    for name, exists in Torsions().defined(x).items():
        assert torch.equal(moved[name].bool(), exists)
    ends = Torsions().project_tangent(ones)
    assert sum(int(ends[name].sum()) for name in ends.fields) == 2 * (6 * 7 - 5)
    other = points(2, 7, False, seed=1)
    kept = held(Torsions(), other, x)
    for name, exists in Torsions().defined(x).items():
        assert torch.equal(kept[name], torch.where(exists, other[name], x[name]))


@pytest.mark.parametrize("first", [1e-3, 1e-2])
@pytest.mark.parametrize(("length", "broken"), [(5, False), (20, False), (20, True)])
def test_flow_matching_has_the_exact_value(length, broken, first):
    """The trace is a constant, so a start at x itself is exact within the steps (0.02); a noisy one within 4 errors."""
    x = points(6, length, broken)
    family = exact(FlowMatching(Torsions(), Unused(), FlowSettings(first=first)))
    rng = torch.Generator().manual_seed(0)
    clean = family.log_prob(x, nothing(x), rng, OdeSettings(steps=25, first=first))
    assert (clean.nats - log_density(x)).abs().max() < 0.02
    noisy = family.log_prob(x, nothing(x), rng, OdeSettings(steps=25, first=first, draws=4))
    assert noisy.kind == "estimate"
    off = (noisy.nats - log_density(x)).mean()
    assert abs(off) < 4 * noisy.error.square().mean().sqrt() / 6**0.5 + 0.02


@pytest.mark.parametrize("first", [1e-3, 1e-2])
@pytest.mark.parametrize(("length", "broken"), [(5, False), (20, True)])
def test_the_bound_of_diffusion_is_not_above(length, broken, first):
    """Mean over 400 chains (100 of 20 residues): at most the exact value, and within 3 errors and 0.6 nats of it.

    For uniform angles the bound is tight but for the kernel at the last time, which is not quite uniform.
    """
    count = 400 if length == 5 else 100
    x = points(count, length, broken)
    family = exact(Diffusion(Torsions(), Unused(), DiffusionSettings(first=first)))
    bound = family.log_prob(x, nothing(x), torch.Generator().manual_seed(0))
    off = bound.nats - log_density(x)
    error = off.std() / count**0.5
    assert bound.kind == "lower_bound"
    assert off.mean() < 3 * error
    assert off.mean() > -3 * error - 0.6
    # The error that is stated for each is that of its scatter about the mean.
    assert float(bound.error.square().mean().sqrt() / off.std()) == pytest.approx(1.0, abs=0.35)


def test_other_families_count_the_same_coordinates():
    """An identity flow has the density of its noise; a normal about a prediction is normalised over what exists."""
    for broken in (False, True):
        x = points(3, 9, broken)
        flow = NormalizingFlow(Torsions(), Unused(), steps=2)
        assert torch.allclose(flow.nats(x, nothing(x)), log_density(x), atol=1e-3)
        std = 0.3
        near = RiemannianNormal(Torsions(), std=std)
        found = near.log_prob(x, x)
        scales = Torsions().scale(x.mask)
        exists = Torsions().defined(x)
        wanted = torch.zeros(3)
        for name, e in exists.items():
            width = std * scales[name][:, None, None] * torch.ones_like(x[name])
            log_z = Torsions().manifolds[name].log_normaliser(width) / 3
            wanted = wanted - (log_z * e).sum((1, 2))
        assert torch.allclose(found, wanted, atol=1e-3)
