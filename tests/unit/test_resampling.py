"""Resampling: numbers of copies in proportion to weights, none at weight 0."""

import torch

from protgen.samplers.resampling import effective_size, one, systematic


def test_places_follow_weights():
    """Particle k gets p w_k places, rounded up or down, and in the mean over shifts exactly."""
    weights = torch.tensor([0.1, 0.0, 0.55, 0.35])
    shifts = (torch.arange(1000) + 0.5) / 1000
    counts = torch.stack([systematic(weights, float(shift)).bincount(minlength=4) for shift in shifts]).float()
    assert torch.allclose(counts.mean(0), 4 * weights, atol=2e-3)
    assert ((counts - 4 * weights).abs() < 1).all()


def test_one_is_drawn_by_weight_and_never_without():
    weights = torch.tensor([0.25, 0.75, 0.0])
    picks = [one(weights, k / 1000) for k in range(1000)]
    assert [picks.count(k) for k in range(3)] == [250, 750, 0]
    short = torch.tensor([0.5, 0.4999, 0.0])  # as rounding may leave them
    assert one(short, 0.99999) == 1


def test_effective_size():
    assert effective_size(torch.full((5,), 0.2)) > 4.999
    assert effective_size(torch.tensor([1.0, 0.0])) == 1
