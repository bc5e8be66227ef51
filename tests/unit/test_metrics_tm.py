"""TM-score: exact cases, invariance, and agreement with TM-align."""

import csv
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from protgen.errors import UsageError
from protgen.geometry.superposition import best_rotation, superpose
from protgen.metrics.alignment import align
from protgen.metrics.tm import _prepare, ca_trace, tm_d0, tm_matrix, tm_score, tm_scores
from protgen.metrics.tm_native import native_search
from protgen.metrics.tm_numpy import search_pairs
from protgen.metrics.tm_plan import FULL, PREFILTERING, Prefilter
from protgen.structure.ideal import build_from_torsions, ideal_helix, mirror

pytestmark = pytest.mark.slow

SHARED = Path(os.environ.get("PROTGEN_SHARED", Path(__file__).parents[2].parent / "shared"))


def rotation(rng):
    q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return q * np.sign(np.linalg.det(q))


def fold(seed, n=60):
    """A compact-ish chain of helices and strands joined by random turns."""
    rng = np.random.default_rng(seed)
    torsions = []
    while len(torsions) < n:
        kind = [(-60, -45), (-120, 130)][rng.integers(2)]
        torsions += [kind] * int(rng.integers(6, 12)) + [tuple(rng.uniform(-150, 60, 2)) for _ in range(3)]
    angles = np.deg2rad(np.array(torsions[:n], float))
    return build_from_torsions(angles[:, 0], angles[:, 1])[:, 1]


def cell_by_cell(scores, gap, ties_in_x):
    """TM-align's recursion, one cell at a time: the partner of each row, -1 for none."""
    la, lb = scores.shape
    value, aligned = np.zeros((la + 1, lb + 1)), np.zeros((la + 1, lb + 1), bool)

    def skips(i, j):
        return value[i - 1, j] + gap * aligned[i - 1, j], value[i, j - 1] + gap * aligned[i, j - 1]

    for i in range(1, la + 1):
        for j in range(1, lb + 1):
            match = value[i - 1, j - 1] + scores[i - 1, j - 1]
            aligned[i, j] = match >= max(skips(i, j))
            value[i, j] = max(match, *skips(i, j))
    partner, i, j = np.full(la, -1), la, lb
    while i > 0 and j > 0:
        if aligned[i, j]:
            i, j = i - 1, j - 1
            partner[i] = j
        else:
            in_x, in_y = skips(i, j)
            i, j = (i, j - 1) if in_y > in_x or (ties_in_x and in_y == in_x) else (i - 1, j)
    return partner


@pytest.mark.parametrize("ties_in_x", [True, False])
@pytest.mark.parametrize("gap", [0.0, -0.6, -1.0])
def test_alignment_is_that_of_the_recursion(gap, ties_in_x):
    """Along anti-diagonals, padded and many at once, as cell by cell; without a cost of gaps it is the best."""
    rng = np.random.default_rng(0)
    la, lb, n = 12, 9, 40
    lengths = np.stack([rng.integers(3, la + 1, n), rng.integers(3, lb + 1, n)])
    lengths[:, 0] = la, lb
    scores = (rng.random((la, lb, n)) ** 3).astype(np.float32)
    scores[..., ::2] = rng.integers(0, 2, (la, lb, n // 2))  # whole numbers, which tie

    def diagonal(k, low, high):
        rows = np.arange(low, high)
        return scores[rows, k - rows]

    partners = align(diagonal, (la, lb), lengths, gap, ties_in_x=ties_in_x)
    for k, (one, partner) in enumerate(zip(np.moveaxis(scores, -1, 0), partners.T, strict=True)):
        rows, columns = lengths[:, k]
        assert (partner[:rows] == cell_by_cell(one[:rows, :columns], gap, ties_in_x)).all()
        assert (partner[rows:] == -1).all()
        if gap:
            continue
        total = np.zeros((rows + 1, columns + 1))
        for i, j in np.ndindex(rows, columns):
            total[i + 1, j + 1] = max(total[i, j] + one[i, j], total[i, j + 1], total[i + 1, j])
        found = np.flatnonzero(partner >= 0)
        assert one[found, partner[found]].sum() == pytest.approx(total[-1, -1])


def test_superposition_recovers_a_motion():
    """Known rotations and shifts come back, proper ones only, also for points in a plane or on a line."""
    rng = np.random.default_rng(1)
    for scale in ([1, 1, 1], [1, 1, 0], [1, 0, 0]):
        x = rng.normal(size=(20, 12, 3)) * scale
        turn = np.stack([rotation(rng) for _ in range(20)])
        y = x @ turn.transpose(0, 2, 1) + rng.normal(size=(20, 1, 3))
        x, y = x.transpose(2, 1, 0), y.transpose(2, 1, 0)
        motion = superpose(x, y, rng.random((12, 20)))
        assert np.abs(motion.apply(x) - y).max() < 1e-9
        assert np.linalg.det(np.moveaxis(motion.rotation, -1, 0)) == pytest.approx(np.ones(20))
    x = rng.normal(size=(3, 12, 1))
    reflected = superpose(x, x * np.array([1, 1, -1])[:, None, None], np.ones((12, 1)))
    assert np.linalg.det(np.moveaxis(reflected.rotation, -1, 0)) == pytest.approx([1.0])


def test_superposition_agrees_with_decomposition():
    """The rotation reaches the overlap of the singular value decomposition, reflections included."""
    covariance = np.random.default_rng(4).normal(size=(500, 3, 3)) * 50.0
    u, s, vt = np.linalg.svd(covariance)
    hand = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    expected = s[:, 0] + s[:, 1] + hand * s[:, 2]
    last = np.moveaxis(covariance, 0, -1)
    turn = np.moveaxis(best_rotation(last), -1, 0)
    assert np.einsum("pij,pji->p", turn, covariance) == pytest.approx(expected, rel=1e-8)
    assert np.abs(turn @ turn.transpose(0, 2, 1) - np.eye(3)).max() < 1e-7


def test_weights_leave_points_out():
    """A point of weight zero has no say."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3, 10, 1))
    y = x + 3.0
    y[:, 4] = 1e3
    weights = np.ones((10, 1))
    weights[4] = 0.0
    assert np.abs(superpose(x, y, weights).rotation[..., 0] - np.eye(3)).max() < 1e-9


def test_d0():
    """The published formula, and its floor for short chains."""
    assert tm_d0(100) == pytest.approx(1.24 * 85 ** (1 / 3) - 1.8)
    assert tm_d0(np.array([5, 15, 18])).tolist() == [0.5, 0.5, 0.5]


def test_identity_and_rigid_motion():
    """A structure moved as a whole scores one; its mirror image does not."""
    rng = np.random.default_rng(0)
    trace = fold(0)
    moved = trace @ rotation(rng).T + 30.0
    assert tm_score(trace, moved) == pytest.approx((1.0, 1.0), abs=1e-3)
    assert tm_score(trace, mirror(trace))[0] < 0.7


def test_part_of_a_whole():
    """A piece scores one by its own length, and its fraction of the whole by the whole's."""
    trace = fold(3, 80)
    by_piece, by_whole = tm_score(trace[20:60], trace)
    assert by_piece == pytest.approx(1.0, abs=1e-3)
    assert by_whole == pytest.approx(0.5, abs=0.1)


def test_insertion_is_bridged():
    """Ten residues cut out of the middle of a helix bundle's loop leave two parts that align in place."""
    trace = fold(5, 70)
    cut = np.concatenate([trace[:30], trace[40:]])
    by_cut, _ = tm_score(cut, trace)
    assert by_cut == pytest.approx(1.0, abs=1e-3)


def test_matrix_is_symmetric_and_batching_changes_nothing():
    """All against all equals one pair at a time, to single precision."""
    traces = [fold(seed, n) for seed, n in ((0, 40), (1, 55), (2, 60), (3, 61))]
    matrix = tm_matrix(traces)
    assert (matrix == matrix.T).all()
    assert (np.diag(matrix) == 1).all()
    assert matrix[1, 3] == pytest.approx(max(tm_score(traces[1], traces[3])), abs=2e-3)


@pytest.mark.parametrize("effort", ["full", "quick"])
def test_compiled_and_numpy_searches_agree(effort, monkeypatch):
    """Both are one search: scores of pairs of 5 to 85 residues agree to rounding, whole and broken chains alike."""
    if native_search() is None:
        pytest.skip("the search is not compiled here")
    traces = [fold(seed, 40 + 9 * seed) for seed in range(6)] + [fold(8, 5), fold(9, 17), fold(7, 70)[::2]]
    traces.append(np.concatenate([traces[3][:30], traces[3][38:]]))
    pairs = np.stack(np.triu_indices(len(traces), 1), axis=1)
    compiled = tm_scores(traces, pairs, effort=effort)
    monkeypatch.setattr("protgen.metrics.tm.native_search", lambda: None)
    plain = tm_scores(traces, pairs, effort=effort)
    differences = np.abs(compiled.by_first - plain.by_first)
    assert np.quantile(differences, 0.9) < 1e-5
    assert differences.max() < 5e-3
    assert (compiled.by_shorter >= compiled.by_longer).all()
    prefilter = Prefilter(PREFILTERING, 0.35)
    plain = tm_scores(traces, pairs, effort=effort, prefilter=prefilter)
    monkeypatch.undo()
    compiled = tm_scores(traces, pairs, effort=effort, prefilter=prefilter)
    assert (compiled.searched == plain.searched).mean() > 0.9
    assert np.quantile(np.abs(compiled.by_first - plain.by_first), 0.8) < 1e-3


def grafted(seed):
    """A chain, and another that holds a noisy stretch of it, every third one broken there; the shorter first."""
    rng = np.random.default_rng(seed)
    one = fold(seed, int(rng.integers(24, 44)))
    size = int(rng.integers(10, len(one) - 8))
    first = int(rng.integers(0, len(one) - size))
    stretch = one[first : first + size] + rng.normal(scale=0.8, size=(size, 3)) + 20
    other = np.concatenate([fold(seed + 100, int(rng.integers(1, 15))), stretch, fold(seed + 200, 20) - 20])
    if seed % 3 == 0:
        other[int(0.6 * len(other)) :] += 15
    if seed % 4 == 0:
        one = one[: len(other)] if len(other) < len(one) else np.concatenate([one, one[: len(other) - len(one)] + 40])
    return sorted((one, other), key=len)


@pytest.mark.parametrize(
    "start", [{"threading": True}, {"structure": 2}, {"pieces": True}, {"fragment": True}], ids=str
)
def test_each_start_alone_is_the_same_in_both_searches(start):
    """Scores of six pairs that share a stretch agree to rounding, three of them of equal length, three with a break."""
    native = native_search()
    if native is None:
        pytest.skip("the search is not compiled here")
    none = {"threading": False, "structure": 0, "pieces": False, "mixed": False, "fragment": False}
    plan = replace(FULL, **{**none, **start})
    for seed in (0, 1, 4, 6, 8, 9):
        x, y = (_prepare(trace, k) for k, trace in enumerate(grafted(seed)))
        compiled = native(x.points, y.points, (x.states, y.states), plan)
        assert search_pairs([(x, y)], plan)[:2, 0] == pytest.approx(compiled[:2], abs=1e-4), seed


def test_compiled_and_numpy_searches_take_the_same_pieces_of_long_chains():
    """By pieces alone, of 40 residues and of 1,400, where they are 63 residues apart; with 45 it is another score."""
    native = native_search()
    if native is None:
        pytest.skip("the search is not compiled here")
    plan = replace(FULL, threading=False, structure=0, mixed=False, fragment=False, short_run=0, final_stride=40)
    x, y = _prepare(fold(1, 40), 0), _prepare(np.concatenate([fold(k, 100) + 30 * k for k in range(14)]), 1)
    compiled = native(x.points, y.points, (x.states, y.states), plan)
    plain = search_pairs([(x, y)], plan)
    assert compiled[:3] == pytest.approx(plain[:3, 0], abs=1e-4)


def test_order_does_not_matter():
    """A pair scores the same either way round, to the bit, also where the lengths are equal."""
    traces = [fold(0, 50), fold(1, 50), fold(2, 61)]
    one = tm_scores(traces, np.array([[0, 1], [0, 2]]))
    other = tm_scores(traces, np.array([[1, 0], [2, 0]]))
    assert (one.by_first == other.by_second).all()
    assert (one.by_second == other.by_first).all()


def test_processes_change_nothing():
    """Two processes give the scores of one."""
    traces = [fold(seed, 40) for seed in range(4)]
    pairs = np.array([[0, 1], [2, 3], [1, 2]])
    one, two = tm_scores(traces, pairs), tm_scores(traces, pairs, jobs=2)
    assert (one.by_first == two.by_first).all()


def test_quick_is_a_lower_bound_in_practice():
    """The quick search is below the full one in the mean, and seldom above: both are searches."""
    traces = [fold(seed, 60) for seed in range(6)]
    pairs = np.stack(np.triu_indices(6, 1), axis=1)
    quick, full = tm_scores(traces, pairs, effort="quick"), tm_scores(traces, pairs)
    assert quick.by_first.mean() < full.by_first.mean()
    assert (quick.by_first <= full.by_first + 0.02).mean() > 0.8


def test_bad_traces_are_refused():
    """Too short, the wrong shape, or not finite: one clear line."""
    good = ideal_helix(20)[:, 1]
    for bad in (good[:4], good[:, :2], np.full((20, 3), np.nan)):
        with pytest.raises(UsageError, match="TM-score needs"):
            tm_score(good, bad)
    assert len(tm_scores([good], np.empty((0, 2), int)).by_first) == 0


def test_agrees_with_tm_align_on_made_chains():
    """On 21 pairs of made chains of 30 to 90 residues scores are TM-align's, the better of both orders."""
    tmtools = pytest.importorskip("tmtools")
    traces = [fold(seed, 30 + 10 * seed) for seed in range(7)]
    pairs = np.stack(np.triu_indices(7, 1), axis=1)
    ours = tm_scores(traces, pairs)
    for k, (i, j) in enumerate(pairs):
        a, b = traces[i], traces[j]
        one = tmtools.tm_align(a, b, "A" * len(a), "A" * len(b))
        other = tmtools.tm_align(b, a, "A" * len(b), "A" * len(a))
        theirs = max(one.tm_norm_chain1, other.tm_norm_chain2), max(one.tm_norm_chain2, other.tm_norm_chain1)
        assert (ours.by_first[k], ours.by_second[k]) == pytest.approx(theirs, abs=5e-3)


@pytest.mark.skipif(not (SHARED / "data" / "chains" / "index.csv").exists(), reason="shared structures not here")
def test_agrees_with_tm_align():
    """On 20 pairs of natives, half of one superfamily, scores are TM-align's but for rounding."""
    tmtools = pytest.importorskip("tmtools")
    from protgen.structure.reader import read_structure

    chains = SHARED / "data" / "chains"
    with (chains / "index.csv").open(newline="") as handle:
        rows = [r for r in csv.DictReader(handle) if r["cath"] and 60 <= int(r["length"]) <= 90]
    rows = sorted(rows, key=lambda r: (r["cath"], r["file"]))[:400:5]
    traces = [ca_trace(read_structure(chains / r["file"])) for r in rows]
    pairs = np.array([[k, k + 1] for k in range(0, 20, 2)] + [[k, 79 - k] for k in range(0, 20, 2)])
    ours = tm_scores(traces, pairs)
    differences = []
    for k, (i, j) in enumerate(pairs):
        theirs = tmtools.tm_align(traces[i], traces[j], "A" * len(traces[i]), "A" * len(traces[j]))
        differences += [ours.by_first[k] - theirs.tm_norm_chain1, ours.by_second[k] - theirs.tm_norm_chain2]
    assert np.abs(differences).mean() <= 2e-4
    assert np.abs(differences).max() <= 0.01


def test_a_prefilter_changes_no_score_above_its_bound():
    """Pairs at or above the bound by the lesser search score to the bit as without it; the others are below it."""
    traces = [fold(seed, 50 + seed) for seed in range(9)]
    pairs = np.stack(np.triu_indices(9, k=1), axis=1)
    plain = tm_scores(traces, pairs)
    assert plain.searched.all()
    low = float(np.median(plain.by_shorter))
    prefiltered = tm_scores(traces, pairs, prefilter=Prefilter(PREFILTERING, low))
    kept = prefiltered.searched
    assert 0 < kept.sum() < len(pairs)
    assert (prefiltered.by_first[kept] == plain.by_first[kept]).all()
    assert (prefiltered.by_second[kept] == plain.by_second[kept]).all()
    assert (prefiltered.by_shorter[~kept] < low).all()
    everything = tm_scores(traces, pairs, prefilter=Prefilter(PREFILTERING, 0.0))
    assert everything.searched.all()
    assert (everything.by_first == plain.by_first).all()


def test_scores_do_not_depend_on_what_memory_held():
    """The same pairs give the same bits again, in any order: rows that do not count may hold anything, NaN as well."""
    traces = [fold(seed, 40 + 3 * seed) for seed in range(12)]
    pairs = np.stack(np.triu_indices(12, k=1), axis=1)
    first = tm_scores(traces, pairs)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(pairs))
        again = tm_scores(traces, pairs[order])
        assert (again.by_first == first.by_first[order]).all()
