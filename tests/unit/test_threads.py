"""Work side by side in threads: in order, one torch thread each, and no more than is wanted."""

import threading
import time

import pytest
import torch

from protgen.threads import Stopped, in_order


def test_results_come_in_the_order_of_the_items():
    def slow_first(item, _check):
        time.sleep(0.05 if item == 0 else 0)
        return item * item

    assert list(in_order(slow_first, range(20), 4)) == [item * item for item in range(20)]
    assert list(in_order(slow_first, [], 4)) == []


def test_each_piece_has_one_torch_thread_and_the_caller_keeps_its_own():
    before = torch.get_num_threads()
    assert set(in_order(lambda _item, _check: torch.get_num_threads(), range(6), 2)) == {1}
    assert torch.get_num_threads() == before
    seen = []
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [before]


def test_pieces_run_side_by_side():
    both = threading.Barrier(2, timeout=20)
    assert sorted(in_order(lambda item, _check: (both.wait(), item)[1], [0, 1], 2)) == [0, 1]


def test_no_more_is_made_than_is_wanted():
    begun = []
    results = in_order(lambda item, _check: begun.append(item), range(100), 2)
    next(results)
    results.close()
    assert len(begun) <= 4


def test_a_closed_iterator_stops_what_is_under_way():
    ended = []
    started = threading.Event()

    def work(item, check):
        if item == 0:
            return item
        started.set()
        try:
            for _ in range(2000):
                check()
                time.sleep(0.005)
        except Stopped:
            ended.append(item)
            raise
        return item

    results = in_order(work, range(2), 1)
    assert next(results) == 0
    assert started.wait(20)
    results.close()
    assert ended == [1]


def test_an_error_reaches_the_caller():
    def work(item, _check):
        if item == 3:
            raise ValueError("item 3")
        return item

    got = []
    with pytest.raises(ValueError, match="item 3"):
        got.extend(in_order(work, range(10), 2))
