"""Run one function over many items on a Dask cluster; a worker that dies costs its own item alone.

The cluster is one that someone has started, by `dask scheduler` and `dask worker` or by a batch system; its workers
need the same version of protgen and see the same files under the same paths. Dask sends functions and results as Python
objects over the network: whoever reaches the scheduler's port can run code on the workers.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from protgen.errors import ConfigError, ToolError, UsageError

Item = TypeVar("Item")
Result = TypeVar("Result")

_CHUNK = 16  # items sent together: some hundred milliseconds of work
_AHEAD = 4  # pieces in flight for each thread of the cluster
_CONNECT_SECONDS = 20


@contextmanager
def _client(address: str) -> Iterator[Any]:
    """A connection to a scheduler.

    Raises:
        ConfigError: if Dask is not installed here.
        UsageError: if no scheduler answers at the address.
    """
    distributed = _distributed()
    try:
        client = distributed.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"--cluster {address}: no Dask scheduler answers ({reason}); give one as tcp://HOST:PORT"
        ) from None
    try:
        yield client
    finally:
        client.close()


def _distributed() -> Any:
    """The package, which is loaded where it is needed alone."""
    try:
        return import_module("distributed")
    except ImportError:
        raise ConfigError("--cluster needs Dask, not installed here: pip install 'protgen[cluster]'") from None


def require_workers(address: str, folder: Path, version: str) -> None:
    """Check that a cluster has workers, and that each sees a folder and has a version of protgen.

    Args:
        address: of the scheduler.
        folder: absolute path.
        version: of protgen.

    Raises:
        ConfigError, UsageError: if not, or if the scheduler does not answer.
    """
    with _client(address) as client:
        found = client.run(_look, str(folder))
    if not found:
        raise UsageError(f"--cluster {address}: no workers; start some by `dask worker {address}`")
    for worker, (sees, own) in sorted(found.items()):
        if not sees:
            raise UsageError(f"--cluster {address}: worker {worker} sees no {folder}; use a file system that all share")
        if own != version:
            raise UsageError(f"--cluster {address}: worker {worker} has protgen {own}, this is {version}; install one")


def _look(folder: str) -> tuple[bool, str]:
    """What a worker knows: whether the folder is there, and its version of protgen."""
    return Path(folder).is_dir(), str(import_module("protgen").__version__)


def run_on_cluster(
    function: Callable[[Item], Result], items: Sequence[Item], address: str
) -> Iterator[tuple[int, Result | None, bool]]:
    """Apply a function to every item and yield index, result, and whether its worker died, in any order.

    Args:
        function: a function of a module.
        items: the work.
        address: of the scheduler.

    Raises:
        ConfigError: if Dask is not installed here.
        UsageError: if the scheduler does not answer.
        ToolError: if the connection is lost.
    """
    distributed = _distributed()
    waiting = [list(range(k, min(k + _CHUNK, len(items)))) for k in range(0, len(items), _CHUNK)][::-1]
    suspects: list[int] = []  # Dask blames all that a dead worker had before it; one of them is to blame
    with _client(address) as client:
        window = _AHEAD * max(1, sum(client.nthreads().values()))
        running: dict[Any, list[int]] = {}
        done = distributed.as_completed(loop=client.loop)
        while waiting or running or suspects:
            alone = not waiting and not running  # so that the death of a worker has one name
            while (waiting and len(running) < window) or (alone and not running):
                chunk = waiting.pop() if waiting else [suspects.pop()]
                future = client.submit(_apply, function, [items[k] for k in chunk], pure=False)
                running[future] = chunk
                done.add(future)
            future = next(done)
            chunk = running.pop(future)
            try:
                results = future.result()
            except distributed.scheduler.KilledWorker:
                if alone:
                    yield chunk[0], None, True
                else:
                    suspects += chunk
                continue
            except distributed.client.FutureCancelledError as error:
                raise ToolError(
                    f"--cluster {address}: the connection was lost ({error}); run it again to go on"
                ) from None
            yield from ((k, result, False) for k, result in zip(chunk, results, strict=True))


def _apply(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]
