"""Single steps of the numpy TM-score search by value: whole scores say little of where a search looks."""

import numpy as np
import pytest

from protgen.metrics import tm_numpy, tm_starts
from protgen.metrics.ca_states import HELIX, STRAND, ca_states
from protgen.metrics.tm import _prepare
from protgen.metrics.tm_pairs import Pairs, pad, squared_distance
from protgen.metrics.tm_plan import FULL, PREFILTERING, QUICK, SearchPlan
from protgen.metrics.tm_refine import Aligned, Scoring, _inside, gather, search_scores
from protgen.structure.ideal import ideal_helix, ideal_strand


def walk(length: int, seed: int = 0) -> np.ndarray:
    """(l, 3) Å: a random trace with steps of 3.8 Å and no break."""
    steps = np.random.default_rng(seed).normal(size=(length, 3))
    return np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)


def paired(*members: tuple[np.ndarray, np.ndarray]) -> Pairs:
    return pad([(_prepare(x, 0), _prepare(y, 1)) for x, y in members])


def test_plans_are_those_of_the_reports():
    """Starts, steps and rounds of the full search (TM-align's), the quick one, and the one before a full search."""
    assert SearchPlan(True, 2, True, True, True, 1, 1, 30, 2, 1) == FULL
    assert SearchPlan(True, 1, True, True, False, 2, 2, 1, 1, 40) == QUICK
    assert SearchPlan(False, 1, True, False, True, 2, 1, 1, 1, 40) == PREFILTERING
    assert (tm_numpy.STRUCTURE_GATE, tm_numpy.GATE, tm_numpy.SHORT_GATE, tm_numpy.SHORT) == (0.2, 0.4, 0.1, 40)


@pytest.mark.parametrize(("make", "state"), [(ideal_helix, HELIX), (ideal_strand, STRAND)])
def test_ideal_elements_have_their_state(make, state):
    """But for two residues at either end, which are coil."""
    assert (ca_states(make(20)[:, 1])[2:-2] == state).all()


def test_the_reach_is_score_d8_of_tm_align():
    """1.5 L^0.3 + 3.5 Å of the shorter length."""
    found = paired((walk(30), walk(70)), (walk(100), walk(50))).reach
    assert found == pytest.approx([1.5 * 30**0.3 + 3.5, 1.5 * 50**0.3 + 3.5], rel=1e-6)


def test_squared_distances_are_over_three_axes():
    """1 + 4 + 16 and 25 + 36 + 49."""
    found = squared_distance(np.array([[1.0, 5.0], [2.0, 6.0], [4.0, 7.0]]), np.zeros((3, 2)))
    assert found.tolist() == [21.0, 110.0]


def test_stretches_are_threaded_where_they_are():
    """Residues 20 to 39 over 5 to 34 of the same chain without its first 15: no residue outside of either."""
    whole = walk(60)
    of_x, of_y = (tm_starts.Stretch(np.array([first]), np.array([count])) for first, count in ((20, 20), (5, 30)))
    best, partner = tm_starts.thread(paired((whole, whole[15:])), of_x, of_y, np.array([5]), 1)
    assert best == pytest.approx([20], abs=1e-3)
    assert partner[:, 0].tolist() == [-1] * 20 + list(range(5, 25)) + [-1] * 20
    best, partner = tm_starts.thread(paired((whole[15:], whole)), of_y, of_x, np.array([5]), 1)
    assert best == pytest.approx([20], abs=1e-3)
    assert partner[:, 0].tolist() == [-1] * 5 + list(range(20, 40)) + [-1] * 20


def test_of_equal_stretches_that_of_the_shorter_chain_is_taken():
    """30 residues, and 60 with a break after 30. The other way round 22 residues would lie well, and so do 19."""
    longer = walk(60)
    longer[30:] += 40.0
    shorter = np.concatenate([longer[5:27], longer[26] + walk(8, seed=1)])
    found = tm_starts.thread_fragments(paired((shorter, longer)), 1)[:, 0]
    assert found.tolist() == [-1] * 3 + list(range(8, 32)) + [-1] * 3
    found = tm_starts.thread_fragments(paired((longer, shorter)), 1)[:, 0]
    assert found.tolist() == [-1] * 8 + list(range(3, 27)) + [-1] * 28


def test_threading_scores_pairs_of_residues_alone():
    """A chain over its own beginning: ten residues on ten, and none beyond the end of the other."""
    whole = walk(11)
    for first, second in ((whole, whole[:10]), (whole[:10], whole)):
        pairs = paired((first, second))  # alone, so that no padding lies beyond the end
        best, partner = tm_starts.thread(pairs, *tm_starts.whole_stretches(pairs), np.array([5]), 1)
        assert best == pytest.approx([10], abs=1e-3)
        assert partner[:, 0].tolist() == [*range(10), -1][: len(first)]


def test_fragments_are_the_middle_of_the_shorter_chain():
    """Residues 3 to 26 of 30 lie on 17 further on of the longer; of equal chains the better of both ways is taken."""
    whole = walk(60)
    on = tm_starts.thread_fragments(paired((whole[17:47], whole)), 1)[:, 0]
    assert on.tolist() == [-1] * 3 + list(range(20, 44)) + [-1] * 3
    back = tm_starts.thread_fragments(paired((whole, whole[17:47])), 1)[:, 0]
    assert back.tolist() == [-1] * 20 + list(range(3, 27)) + [-1] * 16
    first, second = whole[:40].copy(), whole[6:46]
    axis = (first[8] - first[6]) / np.linalg.norm(first[8] - first[6])  # half a turn, which breaks no bond
    first[7] = 2 * (first[6] + (first[7] - first[6]) @ axis * axis) - first[7]
    found = tm_starts.thread_fragments(paired((first, second)), 1)[:, 0]
    assert found.tolist() == [-1] * 10 + list(range(4, 34))


def test_the_longest_stretch_ends_at_a_break():
    """Breaks before residues 6 and 19 of 20, and before the last alone; the first of equal stretches."""
    traces = np.repeat(walk(20)[:, :, None], 3, axis=2)
    traces[6:, :, 0] += 50.0
    traces[19:, :, :2] -= 50.0
    traces[10:, :, 2] += 50.0
    found = tm_starts.longest_stretch(np.moveaxis(traces, 1, 0), np.array([20, 20, 20]))
    assert (found.first.tolist(), found.count.tolist()) == ([6, 0, 0], [13, 19, 10])


def test_a_single_residue_is_a_stretch():
    """It has no break and is no fragment worth it."""
    found = tm_starts.longest_stretch(np.zeros((3, 1, 1)), np.array([1]))
    assert (found.first.tolist(), found.count.tolist()) == ([0], [1])


def test_pieces_have_two_sizes_and_start_every_fifteen_residues():
    """Of chains of 70 and 64: 20 (at most a third) and 32 residues (half), every start with every other."""
    _, at_x, at_y, size = tm_starts._piece_places(paired((walk(70), walk(64))), 1)
    expected = [(i, j, 20) for i in (0, 15, 30, 45) for j in (0, 15, 30)]
    expected += [(i, j, 32) for i in (0, 15, 30) for j in (0, 15, 30)]
    assert list(zip(at_x.tolist(), at_y.tolist(), size.tolist(), strict=True)) == expected


def test_long_chains_have_no_more_pieces_than_those_of_a_thousand_residues():
    """Every 45 residues up to 1,000, where 22 starts of 20 residues fit, and 20 of 100; farther apart beyond."""
    assert [tm_starts._jump(n) for n in (251, 999, 1000, 1001, 1022, 1023, 2000, 5000)] == [45] * 5 + [46, 90, 225]
    for n in (1000, 1500, 5000):
        places = tm_starts._piece_places(paired((walk(n), walk(1000))), 1)
        assert 22 * 22 + 20 * 21 <= len(places[0]) <= 23 * 22 + 22 * 21


def test_what_is_superposed_are_the_pieces(monkeypatch):
    """Each trial lays residues at + k of the one on those of the other, up to the last residue of a chain."""
    seen, whole = [], tm_starts.superpose
    monkeypatch.setattr(tm_starts, "superpose", lambda *args: seen.append(args) or whole(*args))
    pairs = paired((walk(30), walk(33, seed=1)))
    tm_starts.superpose_pieces(pairs, 1)
    (x, y, weights) = seen[0]
    _, at_x, at_y, size = tm_starts._piece_places(pairs, 1)
    assert (at_x + size).max() == 30
    for k, (i, j, n) in enumerate(zip(at_x, at_y, size, strict=True)):
        assert weights[:, k].tolist() == [1.0] * n + [0.0] * (len(weights) - n)
        assert np.array_equal(x[:, :n, k], pairs.x[:, i : i + n, 0])
        assert np.array_equal(y[:, :n, k], pairs.y[:, j : j + n, 0])


def test_a_bound_grows_by_half_steps_until_three_pairs_are_within():
    """Of pairs at 1, 2, 5.3 and 9 Å with a bound of 4 Å: to 5.5. Three pairs stay; four within 4 Å need no more."""
    apart = np.array([[1.0, 2.0, 5.3, 9.0], [1.0, 2.0, 3.0, 3.5], [1.0, 2.0, 5.3, 50.0]]).T
    present = np.array([[True] * 4, [True] * 4, [True] * 3 + [False]]).T
    found = _inside(np.square(apart), present, np.full(3, 4.0))
    assert found.T.tolist() == [[True, True, True, False], [True] * 4, [True, True, False, False]]
    far = _inside(
        np.square(apart[:, :1] + [[0], [0], [0.2], [0]]), present[:, :1], np.array([4.0])
    )  # 5.5 is not within
    assert far.T.tolist() == [[True, True, True, False]]


def test_aligned_residues_are_gathered_and_scored():
    """Two alignments of three rows; copies score their number of residues, each in its place."""
    x, y = walk(8), walk(8, seed=1)
    pairs = paired((x, x), (y, y))
    partner = np.stack([np.arange(8), np.where(np.arange(8) % 3 == 0, -1, np.arange(8))], axis=1)
    aligned = gather(pairs, partner)
    assert aligned.count.tolist() == [8, 5]
    assert np.array_equal(aligned.x[:, :5, 1], pairs.x[:, [1, 2, 4, 5, 7], 1])
    score, motion = search_scores(Aligned(aligned.x, aligned.y + 9.0, aligned.count), Scoring(*np.full((2, 2), 4.5)), 1)
    assert score == pytest.approx([8, 5], abs=1e-3)
    assert pytest.approx(np.full((2, 3), 9.0), abs=1e-3) == motion.shift.T
