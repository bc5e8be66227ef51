"""Diversity and novelty on sets whose answer is known."""

import numpy as np
import pytest

from protgen.errors import UsageError
from protgen.evaluation import sets
from protgen.evaluation.sets import compare_all, describe_diversity
from protgen.metrics.diversity import Clustering, diversity, pairwise_tm
from protgen.metrics.fragments import LENGTH, fragment_table
from protgen.metrics.linkage import cluster, set_cover
from protgen.metrics.novelty import novelty
from protgen.metrics.tm import tm_score
from protgen.structure.ideal import build_from_torsions, ideal_helix, ideal_strand
from protgen.structure.protein import Protein


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
    """One structure is one cluster; none is none; a threshold, length or linkage must make sense."""
    assert diversity([helix()]).n_clusters == 1
    assert np.isnan(diversity([]).clusters_per_sample)
    with pytest.raises(UsageError, match="threshold"):
        Clustering(threshold=0.0)
    with pytest.raises(UsageError, match="longer, shorter"):
        Clustering(by="mean")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="single"):
        Clustering(linkage="average")  # type: ignore[arg-type]


def random_coil(seed, n=60):
    """Torsions of helices and strands at random: chains of one residue type, of other folds each."""
    rng = np.random.default_rng(seed)
    states = np.repeat(rng.integers(0, 2, size=n // 6), 6)
    torsions = np.deg2rad(
        np.array([(-63.0, -43.0), (-120.0, 130.0)])[states] + 12.0 * rng.normal(size=(len(states), 2))
    )
    torsions[::7] = np.deg2rad((60.0, 40.0))
    return build_from_torsions(torsions[:, 0], torsions[:, 1])[:, 1]


def test_one_short_helix_joins_nothing():
    """Six chains that hold a helix of 16 residues, and that helix: by the shorter length it joins them all."""
    chains = []
    for k in range(6):
        helical, other = np.deg2rad([(-63.0, -43.0)] * 20), np.deg2rad([(-120.0, 130.0)] * 20)
        turn = np.deg2rad([(60.0 + 30.0 * k, 20.0 * k)] * 2)
        torsions = np.concatenate([other, turn, helical, turn, other, turn * (k - 2)])
        chains.append(build_from_torsions(torsions[:, 0], torsions[:, 1])[:, 1])
    traces = [*chains, helix(16)]
    by_longer, by_shorter = (diversity(traces, clustering=Clustering(by)) for by in ("longer", "shorter"))
    assert by_shorter.n_clusters == 1
    assert (by_longer.labels == by_longer.labels[-1]).sum() == 1
    pairs = pairwise_tm(traces)
    by_chain, by_helix = tm_score(chains[0], traces[-1])
    assert (pairs.longer[0, -1], pairs.shorter[-1, 0]) == pytest.approx((by_chain, by_helix))
    assert by_chain < 0.3 < 0.9 < by_helix
    proteins = [Protein.from_backbone(np.repeat(trace[:, None], 4, axis=1)) for trace in traces]
    compared = compare_all(proteins, ["set"] * 7, effort="full")
    assert compared is not None
    content = describe_diversity(compared, "set")
    assert (content["tm_by"], content["clusters"]) == ("longer", by_longer.n_clusters)
    assert content["by_shorter"]["clusters"] == 1


@pytest.mark.parametrize("rule", ["cover", "single", "complete"])
def test_a_similarity_at_the_threshold_joins(rule):
    assert cluster(np.array([[1.0, 0.5], [0.5, 1.0]]), 0.5, rule)[0].tolist() == [0, 0]
    assert cluster(np.array([[1.0, 0.499], [0.499, 1.0]]), 0.5, rule)[0].tolist() == [0, 1]


def test_linkages():
    """A path of five at 0.6: one cluster by single linkage; by complete linkage pairs and a lone one."""
    path = np.full((5, 5), 0.4) + 0.2 * (np.eye(5, k=1) + np.eye(5, k=-1)) + 0.6 * np.eye(5)
    assert cluster(path, 0.5, "single")[0].tolist() == [0] * 5
    labels, representatives = cluster(path, 0.5, "complete")
    assert np.bincount(labels).tolist() == [2, 2, 1]
    assert all(path[np.ix_(own, own)].min() >= 0.5 for own in (np.flatnonzero(labels == k) for k in range(3)))
    assert labels[representatives].tolist() == [0, 1, 2]
    assert cluster(path, 0.6, "single")[0].tolist() == [0] * 5  # at the threshold is together
    assert cluster(path, 0.61, "single")[0].tolist() == [0, 1, 2, 3, 4]


def test_nearest_reference_is_found_and_named():
    """A noisy copy finds its original; a reference of less than half the length is no answer, and never a zero."""
    references = [strand(40), hairpin(40), helix(40), strand(42)]
    result = novelty([helix(40, 0.2), hairpin(40) + 5.0, helix(85)], references)
    assert result.nearest.tolist() == [2, 1, -1]
    assert result.max_tm[1] == pytest.approx(1.0, abs=1e-3)
    assert np.isnan(result.max_tm[2])
    assert result.n_compared.tolist() == [4, 4, 0]
    assert result.novel_fraction == 0.0


def test_tm_is_by_the_length_of_the_sample():
    """A piece of a longer chain has a TM of 1 to it, and the chain to its piece the share that is found."""
    chain = np.concatenate([hairpin(40), hairpin(40)[::-1] + 12.0, strand(40) + 30.0])
    piece = chain[10:80]
    assert novelty([piece], [chain, strand(100)]).max_tm[0] == pytest.approx(1.0, abs=1e-3)
    reverse = novelty([chain], [piece]).max_tm[0]
    assert reverse == pytest.approx(tm_score(chain, piece)[0])
    assert 0.5 < reverse < 0.75
    assert novelty([piece], [strand(70)]).novel_fraction == 1.0


def test_a_piece_is_found_behind_the_fragments(monkeypatch):
    """Where the fragments leave 10 of 30 references, the noisy piece of 70 residues of one of 198 is still found.

    A piece of 20 residues is shorter than a fragment, which then says nothing: all references pass.
    """
    monkeypatch.setattr("protgen.metrics.novelty.SCREENED", (10, 8))
    references = [random_coil(k, 60) for k in range(29)] + [random_coil(5000, 198)]
    piece = references[-1][61:131]
    noise = np.random.default_rng(0).normal(size=(70, 3))
    found = novelty([piece + 0.5 * noise, piece[:20]], references, keep=5)
    assert found.nearest.tolist() == [29, 29]
    assert found.max_tm[0] > 0.9
    assert found.max_tm[1] == pytest.approx(1.0, abs=0.01)
    assert found.n_compared.tolist() == [30, 30]
    assert found.n_screened.tolist() == [10, 30]
    assert found.n_searched.tolist() == [5, 5]


def test_fragments_tell_shapes_apart():
    """A trace is wholly like itself, moved or within a longer one; a helix is unlike a strand; too short is unknown."""
    table = fragment_table([helix(40), strand(40), np.concatenate([strand(30), helix(40) + 50.0]), helix(LENGTH - 1)])
    likeness = table.likeness(helix(40) @ np.diag([-1.0, -1.0, 1.0]) + 9.0)
    assert likeness[[0, 2]] == pytest.approx([1.0, 1.0], abs=1e-3)
    assert likeness[1] < 0.1
    assert np.isinf(likeness[3])
    assert np.isinf(table.likeness(helix(LENGTH - 1))).all()


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
    assert novelty([helix()], [helix()], keep=1).nearest.tolist() == [0]


def test_prefilter_changes_no_cluster():
    """The sieved matrix gives the clusters of the full one, and none of its entries is above it by much."""
    traces = [helix(40, 0.5, k) for k in range(4)] + [hairpin(40 + k) for k in range(4)] + [strand(38), strand(42)]
    full, prefiltered = diversity(traces), diversity(traces, prefilter=True)
    assert (full.labels == prefiltered.labels).all()
    every, fewer = pairwise_tm(traces), pairwise_tm(traces, prefilter=0.5)
    assert (fewer.longer <= every.longer + 0.05).all()
    assert (fewer.shorter <= every.shorter + 0.05).all()
    assert (fewer.longer == fewer.longer.T).all()


def test_a_structure_that_is_too_long_for_tm_scores_is_left_out_and_says_so(monkeypatch):
    """Its row names its length, and the others are compared as before."""
    proteins = [Protein.from_backbone(ideal_helix(n)) for n in (20, 31, 25)]
    rows = [{"message": ""}, {"message": "altloc_used (1)"}, {"message": ""}]
    monkeypatch.setattr(sets, "LONGEST", 30)
    compared = sets.compare_all(proteins, ["a", "a", "a"])
    assert compared is not None
    assert compared.members.tolist() == [0, 2]
    sets.name_too_long(proteins, rows)
    assert [row["message"] for row in rows] == [
        "", "altloc_used (1); no TM-scores: 31 residues, more than 30; --chain judges one chain", ""
    ]  # fmt: skip
