"""Distributions of a store: counts by hand, bars of 80 columns, a picture."""

import numpy as np
import pytest
from PIL import Image

from protgen.cli.data_plots import bar, bars, draw
from protgen.data.distributions import distribution, distributions, round_edges
from protgen.errors import UsageError

KEPT = [
    {"id": str(k), "cluster": "ab"[k > 2], "length": n, "rg": 2.2 * n**0.38 * (1 + k / 10), "helix": 0.1 * k}
    for k, n in enumerate([41, 45, 59, 60, 100, 128])
]


def test_counts_in_round_bins_by_hand():
    found = {own.name: own for own in distributions([*KEPT, {"id": "x", "cluster": "c", "length": 128}])}
    assert set(found) == {"length (residues)", "Rg / 2.2 L^0.38", "helix (fraction)", "items of a cluster"}
    length = found["length (residues)"]
    assert length.edges.tolist() == [40, 60, 80, 100, 120, 140]
    assert length.counts.tolist() == [3, 1, 0, 1, 2]
    assert (length.median, length.unknown) == (60, 0)
    size = found["Rg / 2.2 L^0.38"]
    assert size.unknown == 1
    assert size.median == pytest.approx(1.25)
    assert found["items of a cluster"].counts.sum() == 3  # clusters of 3, 3 and 1
    assert distribution("x", [None, None]) is None


@pytest.mark.parametrize(("low", "high"), [(40, 128), (0, 1), (0.3, 0.31), (7, 7), (-3.2, 1000), (1e-7, 1e-6)])
def test_bins_hold_everything_and_are_few(low, high):
    edges = round_edges(low, high, 8)
    assert edges[0] <= low + 1e-9 * abs(low)
    assert edges[-1] >= high - 1e-9 * abs(high)
    assert 2 <= len(edges) <= 10
    assert np.allclose(np.diff(edges), edges[1] - edges[0], rtol=1e-6)


def test_bars_fit_the_width_and_are_as_long_as_their_counts():
    found = distribution("length", [40.0] * 3 + [70.0] * 12 + [95.0] * 6)
    lines = bars(found)
    assert lines[0] == "length: median 70"
    assert [len(line) for line in lines[1:]] == [80] * (len(lines) - 1)
    filled = {line.split()[0]: line.count("█") + ("▌" in line) / 2 for line in lines[1:]}
    room = max(filled.values())
    assert filled["40-50"] == pytest.approx(room / 4, abs=0.6)
    assert filled["90-100"] == pytest.approx(room / 2, abs=0.6)
    assert filled["50-60"] == 0
    assert bar(1e-6, 10) == "▏" + " " * 9


def test_a_picture_is_written_whole(tmp_path):
    draw(distributions(KEPT), tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width > picture.height > 500
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
    with pytest.raises(UsageError, match="no picture by its name"):
        draw(distributions(KEPT), tmp_path / "x.txt")
    with pytest.raises(UsageError, match="cannot be written"):
        draw(distributions(KEPT), tmp_path / "no" / "x.png")
