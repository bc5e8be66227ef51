"""Diversity and novelty on sets whose answer is known."""

import numpy as np
import pytest

from protgen.errors import UsageError
from protgen.metrics.diversity import diversity, set_cover
from protgen.metrics.novelty import novelty
from protgen.structure.ideal import build_from_torsions, ideal_helix, ideal_strand


def helix(n=40, noise=0.0, seed=0):
    return ideal_helix(n)[:, 1] + noise * np.random.default_rng(seed).normal(size=(n, 3))


def strand(n=40, noise=0.0, seed=0):
    return ideal_strand(n)[:, 1] + noise * np.random.default_rng(seed).normal(size=(n, 3))


def hairpin(n=40):
    half = n // 2 - 2
    torsions = np.deg2rad([(-63, -43)] * half + [(-80, 70), (-100, 10), (60, 30), (-80, 120)] + [(-63, -43)] * half)
    return build_from_torsions(torsions[:, 0], torsions[:, 1])[:, 1]


def test_set_cover_takes_the_largest_first():
    """A star is one cluster around its centre; a path of four is two; ties go to the lower index."""
    star = np.zeros((5, 5), bool)
    star[2] = star[:, 2] = True
    labels, representatives = set_cover(star)
    assert labels.tolist() == [0] * 5
    assert representatives.tolist() == [2]
    path = np.eye(4, k=1, dtype=bool) | np.eye(4, k=-1, dtype=bool)
    labels, representatives = set_cover(path)
    assert labels.tolist() == [0, 0, 0, 1]
    assert representatives.tolist() == [1, 3]


def test_set_cover_does_not_depend_on_chance():
    """The same matrix gives the same clusters, and every member is a neighbour of its representative."""
    noise = np.random.default_rng(0).random((40, 40))
    near = (noise + noise.T) > 1.4
    labels, representatives = set_cover(near)
    assert (labels == set_cover(near)[0]).all()
    assert all(near[i, representatives[labels[i]]] or i == representatives[labels[i]] for i in range(40))


def test_two_folds_are_two_clusters():
    """Noisy helices and noisy strands fall apart into two clusters."""
    traces = [helix(40, 0.3, k) for k in range(3)] + [strand(40, 0.3, k) for k in range(2)]
    result = diversity(traces)
    assert result.labels.tolist() == [0, 0, 0, 1, 1]
    assert result.clusters_per_sample == pytest.approx(0.4)
    assert result.n_pairs_same_length == 10
    assert result.mean_pairwise_tm == pytest.approx(result.mean_pairwise_tm_same_length)
    assert result.rule == "greedy set cover"


def test_diversity_of_few():
    """One structure is one cluster; none is none; a threshold must make sense."""
    assert diversity([helix()]).n_clusters == 1
    assert np.isnan(diversity([]).clusters_per_sample)
    with pytest.raises(UsageError, match="threshold"):
        diversity([helix()], threshold=0.0)


def test_nearest_reference_is_found_and_named():
    """A noisy copy finds its original; nothing within the window is no answer, and never a zero."""
    references = [strand(40), hairpin(40), helix(40), strand(42), helix(200)]
    result = novelty([helix(40, 0.2), hairpin(40) + 5.0, helix(10)], references)
    assert result.nearest.tolist() == [2, 1, -1]
    assert result.max_tm[1] == pytest.approx(1.0, abs=1e-3)
    assert np.isnan(result.max_tm[2])
    assert result.n_compared.tolist() == [4, 4, 0]
    assert result.novel_fraction == 0.0


def test_prefilter_keeps_the_nearest():
    """With two references kept of twelve, the nearest is still found, and the counts say what was done."""
    rng = np.random.default_rng(3)
    references = [strand(38 + k) for k in range(5)] + [helix(36 + k) for k in range(6)] + [hairpin(40)]
    sample = hairpin(40) + 0.3 * rng.normal(size=(40, 3))
    prefiltered, exhaustive = novelty([sample], references, keep=2), novelty([sample], references, keep=None)
    assert prefiltered.nearest[0] == exhaustive.nearest[0] == 11
    assert (prefiltered.n_searched[0], exhaustive.n_searched[0]) == (2, 12)


def test_bad_requests():
    """No references, or none to keep."""
    with pytest.raises(UsageError, match="reference"):
        novelty([helix()], [])
    with pytest.raises(UsageError, match="keep"):
        novelty([helix()], [helix()], keep=0)


def test_prefilter_changes_no_cluster():
    """The sieved matrix gives the clusters of the full one, and none of its entries is above it by much."""
    traces = [helix(40, 0.5, k) for k in range(4)] + [hairpin(40 + k) for k in range(4)] + [strand(38), strand(42)]
    full, prefiltered = diversity(traces), diversity(traces, prefilter=True)
    assert (full.labels == prefiltered.labels).all()
    assert (prefiltered.tm <= full.tm + 0.05).all()
    assert (prefiltered.tm == prefiltered.tm.T).all()
