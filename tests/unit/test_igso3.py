"""The heat kernel of rotations and of circles against their defining equations, quadrature and each other's limits."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from protgen.geometry import igso3, so3
from protgen.spaces.backbone import Rotations
from protgen.spaces.manifolds import Torus

ANGLES = torch.linspace(1e-3, math.pi, 4001, dtype=torch.float64)
STDS = (0.02, 0.1, 0.5, 0.999, 1.001, 1.7, 3.0)


@pytest.mark.parametrize("std", STDS)
def test_density_integrates_to_one(std):
    fine = torch.linspace(0, min(math.pi, 12 * std), 20001, dtype=torch.float64)
    f = igso3.log_density(fine, torch.tensor(std, dtype=torch.float64)).exp()
    assert float(torch.trapezoid((1 - fine.cos()) / math.pi * f, fine)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("std", [0.35, 0.7, 0.95, 1.05, 2.0])
def test_both_forms_agree_with_a_long_series(std):
    """2,000 terms of the definition, in double precision, where it has not cancelled to nothing."""
    n = torch.arange(2000, dtype=torch.float64)
    weights = (2 * n + 1) * torch.exp(-n * (n + 1) * std**2 / 2)
    exact = (weights * ((n + 0.5) * ANGLES[:, None]).sin()).sum(-1) / (ANGLES / 2).sin()
    found = igso3.log_density(ANGLES, torch.tensor(std, dtype=torch.float64)).exp()
    assert torch.allclose(found, exact, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("std", STDS)
def test_score_is_the_slope_of_the_density(std):
    angles = torch.linspace(0.01, min(math.pi - 1e-3, 8 * std), 300, dtype=torch.float64).requires_grad_()
    s = torch.tensor(std, dtype=torch.float64)
    (slope,) = torch.autograd.grad(igso3.log_density(angles, s).sum(), angles)
    found = igso3.score_over_angle(angles.detach(), s)
    assert torch.allclose(found, -slope / angles.detach(), rtol=1e-6, atol=1e-7)


def test_a_small_spread_is_a_normal_of_rotation_vectors():
    """1 / s^2 - 1 / 12: the twelfth is the measure's curvature, d/dw log(w / (2 sin(w / 2))) = w / 12."""
    for std in (0.01, 0.05):
        found = igso3.score_over_angle(torch.tensor([1e-4, 2 * std]), torch.tensor(std))
        assert torch.allclose(found, torch.full((2,), 1 / std**2 - 1 / 12), rtol=1e-3)


@pytest.mark.parametrize("std", STDS)
def test_samples_follow_the_density(std, rng):
    """Kolmogorov-Smirnov against the integral of the density; axes uniform."""
    normals = torch.randn(1, 20_000, 3, generator=rng, dtype=torch.float64)
    vectors = igso3.sample_rotvec(normals, torch.tensor([std]))[0]
    fine = torch.linspace(0, min(math.pi, 12 * std), 20001, dtype=torch.float64)
    f = igso3.log_density(fine, torch.tensor(std, dtype=torch.float64)).exp() * (1 - fine.cos()) / math.pi
    cumulative = torch.cat([torch.zeros(1), torch.cumulative_trapezoid(f, fine)])
    angles = vectors.norm(dim=-1)
    index = torch.searchsorted(fine, angles).clamp(max=20000)
    assert stats.kstest(cumulative[index].numpy(), "uniform").statistic < 0.012  # 1 % level: 1.63 / sqrt(20,000)
    assert (vectors / angles[:, None]).mean(0).norm() < 0.03


def test_rotation_vectors_have_the_quantile_of_their_normals(rng):
    """The angle at which its distribution reaches that of a chi variable of three degrees, between the table's places.

    The table is good to 1e-3 of the angle; beyond the last std it is that of the last.
    """
    stds = torch.tensor([0.02, 0.3137, 0.777, 1.234, 2.345, 4.9], dtype=torch.float64)
    normals = torch.randn(6, 40, 3, generator=rng, dtype=torch.float64)
    quantiles = torch.from_numpy(stats.chi(3).cdf(normals.norm(dim=-1).numpy()))
    expected = igso3.sample_angle(quantiles, stds)
    fine = torch.linspace(0, math.pi, 20001, dtype=torch.float64)
    for row in range(6):
        density = igso3.log_density(fine, stds[row]).exp() * (1 - fine.cos()) / math.pi
        reached = np.interp(expected[row], fine[1:], torch.cumulative_trapezoid(density, fine))
        assert np.abs(reached - quantiles[row].numpy()).max() < 2e-4
    vectors = igso3.sample_rotvec(normals, stds)
    assert (vectors.norm(dim=-1) / expected - 1).abs().max() < 1e-3
    assert torch.allclose(vectors / vectors.norm(dim=-1, keepdim=True), normals / normals.norm(dim=-1, keepdim=True))
    wide = igso3.sample_rotvec(normals[:1], torch.tensor([50.0]))
    assert torch.allclose(wide, igso3.sample_rotvec(normals[:1], torch.tensor([igso3.MOST])))


def test_the_kernel_solves_the_heat_equation():
    """df/dv = 1/2 (f'' + cot(w / 2) f') with v = s^2: the radial part of the Laplacian in radians."""
    h = 1e-3
    for std in (0.5, 0.9, 1.5):
        for w in (0.3, 1.0, 2.5):

            def f(angle, s):
                values = torch.tensor([angle, s], dtype=torch.float64)
                return float(igso3.log_density(values[0], values[1]).exp())

            v = std**2
            in_time = (f(w, math.sqrt(v + h)) - f(w, math.sqrt(v - h))) / (2 * h)
            first = (f(w + h, std) - f(w - h, std)) / (2 * h)
            second = (f(w + h, std) - 2 * f(w, std) + f(w - h, std)) / h**2
            assert in_time == pytest.approx(0.5 * (second + first / math.tan(w / 2)), rel=2e-3, abs=1e-4)


def test_walks_add_up_and_the_score_is_a_gradient(rng):
    """Brownian motions of std a and b make one of sqrt(a^2 + b^2); the score is the gradient along the moving frame."""
    manifold = Rotations()
    start = so3.identity_like(torch.empty(1, 20_000, 3, 3))
    a, b = torch.full((1, 1, 1), 0.6), torch.full((1, 1, 1), 0.8)
    normals = torch.randn(3, 1, 20_000, 3, generator=rng)
    twice = manifold.diffuse(manifold.diffuse(start, a, normals[0]), b, normals[1])
    once = manifold.diffuse(start, torch.full((1, 1, 1), 1.0), normals[2])
    angles = [so3.angle_between(start, x).flatten().numpy() for x in (twice, once)]
    assert stats.ks_2samp(*angles).statistic < 0.0163  # 1 % level of two samples of 20,000

    x, y = start[:, :50].double(), once[:, :50].double()
    std = torch.full((1, 1, 1), 0.7, dtype=torch.float64)
    shift = torch.zeros(1, 50, 3, dtype=torch.float64, requires_grad=True)
    density = manifold.log_kernel(manifold.expmap(y, shift), x, std)
    (gradient,) = torch.autograd.grad(density.sum(), shift)
    assert torch.allclose(manifold.score(y, x, std), gradient, atol=1e-4)


@pytest.mark.parametrize("std", [0.05, 0.5, 2.0, 3.0])
def test_the_torus_kernel_is_a_density_and_its_score_a_gradient(std):
    manifold = Torus(1)
    angles = torch.linspace(-math.pi, math.pi, 4001, dtype=torch.float64)[None, :, None].requires_grad_()
    data = torch.full_like(angles, 2.9).detach()
    s = torch.full((1, 1, 1), std, dtype=torch.float64)
    log_density = manifold.log_kernel(angles, data, s)
    assert float(torch.trapezoid(log_density.exp()[0], angles[0, :, 0]).detach()) == pytest.approx(1, abs=1e-6)
    (gradient,) = torch.autograd.grad(log_density.sum(), angles)
    assert torch.allclose(manifold.score(angles.detach(), data, s), gradient, atol=1e-8)


def test_torus_angles_go_the_short_way_round():
    manifold = Torus(2)
    x, y = torch.tensor([[[3.0, -3.0]]]), torch.tensor([[[-3.0, 3.0]]])
    way = manifold.logmap(x, y)
    assert torch.allclose(way, torch.tensor([[[1.0, -1.0]]]) * (2 * math.pi - 6), atol=1e-6)
    assert torch.allclose(manifold.expmap(x, way), y, atol=1e-6)
    half = manifold.geodesic(x, y, torch.tensor(0.5))
    assert (half.abs() > 3).all()
    assert (manifold.expmap(x, torch.full_like(x, 100.0)).abs() <= math.pi).all()
