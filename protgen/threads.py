"""Pieces of work side by side in threads of one torch thread each, handed out in order.

Torch lets go of the interpreter while it computes, so threads share the weights and fill the cores. How torch splits a
product over threads, or batches it, changes its rounding, and a sampler can amplify that to ångströms: a piece of one
design on one torch thread comes out the same on any number of cores.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from protgen.allocator import keep_freed_memory

Item = TypeVar("Item")
Result = TypeVar("Result")


class Stopped(Exception):
    """A piece of work ended early because nobody waits for it any more."""


def in_order(
    function: Callable[[Item, Callable[[], None]], Result], items: Sequence[Item], threads: int
) -> Iterator[Result]:
    """Results of all items, in their order; at most two items for each thread are ahead of the caller.

    Args:
        function: of an item and of a check, which it calls often: the check raises `Stopped` once the results are no
            longer wanted (the iterator was closed, or another item failed).
        items: the work.
        threads: how many at a time.
    """
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise Stopped

    keep_freed_memory()
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(max(1, min(threads, len(items))), "design", torch.set_num_threads, (1,))
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item, check))
            if len(waiting) >= 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        # What a thread sets holds for that thread and for those that start later; the latter are to be as before.
        torch.set_num_threads(before)
