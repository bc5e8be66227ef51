"""Run one function over many items, in this process or in several; a process that dies costs its own item alone."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from typing import Generic, TypeVar

from protgen.dask_cluster import run_on_cluster
from protgen.errors import UsageError
from protgen.fork_server import begin_worker, worker_context

Item = TypeVar("Item")
Result = TypeVar("Result")

_CHUNKS_PER_JOB = 16  # enough pieces to balance the load and show progress, few enough to keep overhead small
_LARGEST_CHUNK = 32


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """The result of one item.

    Attributes:
        index: position of the item in the sequence.
        result: the function's value; None if the worker died.
        died: True if the process that worked on this item was killed (by the kernel for memory, by a crash
            in C code).
    """

    index: int
    result: Result | None
    died: bool = False


def run(
    function: Callable[[Item], Result], items: Sequence[Item], *, jobs: int = 1, cluster: str = "", chunk: int = 16
) -> Iterator[Outcome[Result]]:
    """Apply a function to every item and yield outcomes as they come, in any order.

    With one job everything runs here and no process is started. With more, processes start as `fork_server.py` says
    and none is a copy of this one, so the function must be importable and items and results picklable. Exceptions of
    the function itself are raised; a worker that dies costs its own item alone: what was in flight at that moment is
    tried again one item at a time, and only an item that kills its own process is given up.

    Args:
        function: a module-level function of one item.
        items: the work.
        jobs: number of processes.
        cluster: address of a Dask scheduler, whose workers do the work in place of processes here; "" for none.
        chunk: items that a worker of a cluster is sent together; some hundred milliseconds of work.

    Raises:
        UsageError: if `jobs` is less than 1, or the scheduler does not answer.
        ConfigError: if a cluster is named and Dask is not installed.
    """
    if jobs < 1:
        raise UsageError(f"jobs is {jobs}; give 1 or more")
    if cluster:
        return (Outcome(*found) for found in run_on_cluster(function, items, cluster, chunk))
    if jobs == 1 or len(items) <= 1:
        return (Outcome(index, function(item)) for index, item in enumerate(items))
    return _run_in_processes(function, items, min(jobs, len(items)))


def get_ready(module: str, jobs: int) -> None:
    """Begin to import the code of workers, while this process imports its own; `run` waits for what is not ready.

    Args:
        module: that holds the function of their first work.
        jobs: number of processes; with one there are no workers.
    """
    if jobs > 1:
        worker_context(module)


def _apply(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


def _pool(jobs: int, function: Callable[[Item], Result]) -> ProcessPoolExecutor:
    # never a fork of this process: one with threads (torch, a progress bar) cannot be forked safely
    context = worker_context(_home(function))
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(dict(os.environ),))


def _home(function: Callable[[Item], Result]) -> str:
    """The module of a function, or of the one that a `partial` wraps."""
    while isinstance(function, partial):
        function = function.func
    return function.__module__


def _begin(environment: dict[str, str]) -> None:
    """Prepare this worker, and end it when its parent is gone: one that was killed cannot tell its workers to stop."""
    begin_worker(environment)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_for, args=(parent.sentinel,), daemon=True).start()


def _wait_for(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _run_in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int
) -> Iterator[Outcome[Result]]:
    size = max(1, min(_LARGEST_CHUNK, len(items) // (jobs * _CHUNKS_PER_JOB)))
    waiting = deque(range(start, min(start + size, len(items))) for start in range(0, len(items), size))
    while waiting:
        suspects: list[range] = []  # what was in flight when a worker died: one of them is to blame
        pool = _pool(jobs, function)
        try:
            yield from _drain(pool, function, items, waiting, suspects, window=2 * jobs)
        finally:
            pool.shutdown(wait=not suspects, cancel_futures=True)
        yield from _one_by_one(function, items, [index for chunk in suspects for index in chunk])


def _drain(
    pool: ProcessPoolExecutor,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    waiting: deque[range],
    suspects: list[range],
    window: int,
) -> Iterator[Outcome[Result]]:
    """Work through `waiting` until it is empty or a worker dies; then `suspects` holds what was in flight."""
    running: dict[Future[list[Result]], range] = {}
    while (waiting or running) and not suspects:
        while waiting and len(running) < window:
            try:
                future = pool.submit(_apply, function, [items[i] for i in waiting[0]])
            except BrokenProcessPool:  # a worker died since the last look; what is in flight says so
                break
            running[future] = waiting.popleft()
        if not running:  # it died idle: nobody is to blame, and the caller begins a new pool
            return
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            chunk = running.pop(future)
            try:
                results = future.result()
            except BrokenProcessPool:
                suspects.append(chunk)
                continue
            yield from (Outcome(i, result) for i, result in zip(chunk, results, strict=True))
    suspects.extend(running.values())


def _one_by_one(
    function: Callable[[Item], Result], items: Sequence[Item], indices: Sequence[int]
) -> Iterator[Outcome[Result]]:
    """One item at a time in a process of its own, so that a death has one name."""
    pool: ProcessPoolExecutor | None = None
    try:
        for index in indices:
            pool = pool or _pool(1, function)
            try:
                yield Outcome(index, pool.submit(function, items[index]).result())
            except BrokenProcessPool:
                pool.shutdown(wait=False)
                pool = None
                yield Outcome(index, None, died=True)
    finally:
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
