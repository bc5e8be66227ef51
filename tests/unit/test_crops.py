"""Compact crops: domains are found, breaks and overlaps avoided."""

import numpy as np

from protgen.data.crops import compact_crops, overlaps


def globule(n: int, centre: float, seed: int) -> np.ndarray:
    """A random walk of CA atoms kept inside a ball."""
    rng = np.random.default_rng(seed)
    points = [np.zeros(3)]
    while len(points) < n:
        step = rng.normal(size=3)
        candidate = points[-1] + 3.8 * step / np.linalg.norm(step)
        if np.linalg.norm(candidate) < 11:
            points.append(candidate)
    return np.array(points) + np.array([centre, 0.0, 0.0])


def test_two_domains_give_two_crops():
    """Two balls far apart: each window lies inside one of them."""
    ca = np.concatenate([globule(64, 0, 0), globule(64, 80, 1)])
    crops = compact_crops(ca, np.zeros(127, dtype=bool), (64,) * 4, most=4)
    assert (0, 64) in crops
    assert (64, 128) in crops
    assert not any(start < 60 and stop > 68 for start, stop in crops)


def test_no_crop_spans_a_break_or_comes_from_an_extended_chain():
    """A break in the middle of a domain leaves no window across it; a straight line has no contacts."""
    ca = globule(64, 0, 0)
    breaks = np.zeros(63, dtype=bool)
    breaks[31] = True
    assert all(not (start < 32 < stop) for start, stop in compact_crops(ca, breaks, (24,) * 3, most=3))
    assert compact_crops(ca, breaks, (64,), most=3) == []
    line = np.arange(100)[:, None] * np.array([3.8, 0, 0])
    assert compact_crops(line, np.zeros(99, dtype=bool), (56,), most=3) == []


def test_crops_are_few_and_overlap_by_less_than_half():
    """At most as many as asked, none sharing half of the shorter with another."""
    ca = globule(150, 0, 3)
    crops = compact_crops(ca, np.zeros(149, dtype=bool), (56, 64, 72, 80), most=2, fraction=0.1)
    assert 1 <= len(crops) <= 2
    for i, (start, stop) in enumerate(crops):
        assert not overlaps(start, stop, crops[:i])
    assert overlaps(0, 10, [(5, 40)])
    assert not overlaps(0, 10, [(6, 40)])
