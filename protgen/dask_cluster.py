"""Run one function over many items on a Dask cluster; a worker that dies costs its own item alone.

The cluster is one that someone has started, by `dask scheduler` and `dask worker` or by a batch system; its workers
need the same version of protgen and see the same files under the same paths. Dask sends functions and results as Python
objects over the network: whoever reaches the scheduler's port can run code on the workers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from protgen.errors import ConfigError, ToolError, UsageError

Item = TypeVar("Item")
Result = TypeVar("Result")

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


def require_workers(address: str, paths: Sequence[Path], versions: Mapping[str, str]) -> None:
    """Check that a cluster has workers, and that each sees the same files and has the same versions of packages.

    Args:
        address: of the scheduler.
        paths: absolute paths of files and folders.
        versions: of packages, by name.

    Raises:
        ConfigError, UsageError: if not, or if the scheduler does not answer.
    """
    with _client(address) as client:
        found = client.run(_look, [str(path) for path in paths], list(versions))
    if not found:
        raise UsageError(f"--cluster {address}: no workers; start some by `dask worker {address}`")
    for worker, (unseen, own) in sorted(found.items()):
        if unseen:
            raise UsageError(f"--cluster {address}: worker {worker} sees no {unseen}; use a file system that all share")
        for name, version in versions.items():
            if own[name] != version:
                raise UsageError(
                    f"--cluster {address}: worker {worker} has {name} {own[name]}, this is {version}; install one"
                )


def _look(paths: Sequence[str], packages: Sequence[str]) -> tuple[str, dict[str, str]]:
    """What a worker knows: the first path that is not there ("" if all are), and its versions of packages."""
    unseen = next((path for path in paths if not Path(path).exists()), "")
    return unseen, {name: _version(name) for name in packages}


def _version(package: str) -> str:
    """Of a package, where it can be imported."""
    try:
        return str(import_module(package).__version__)
    except ImportError:
        return "not installed"


def run_on_cluster(
    function: Callable[[Item], Result], items: Sequence[Item], address: str, chunk: int = 16
) -> Iterator[tuple[int, Result | None, bool]]:
    """Apply a function to every item and yield index, result, and whether its worker died, in any order.

    Args:
        function: a function of a module.
        items: the work.
        address: of the scheduler.
        chunk: items sent together.

    Raises:
        ConfigError: if Dask is not installed here.
        UsageError: if the scheduler does not answer.
        ToolError: if the connection is lost.
    """
    distributed = _distributed()
    waiting = [list(range(k, min(k + chunk, len(items)))) for k in range(0, len(items), chunk)][::-1]
    suspects: list[int] = []  # Dask blames all that a dead worker had before it; one of them is to blame
    with _client(address) as client:
        window = _AHEAD * max(1, sum(client.nthreads().values()))
        running: dict[Any, list[int]] = {}
        done = distributed.as_completed(loop=client.loop)
        while waiting or running or suspects:
            alone = not waiting and not running  # so that the death of a worker has one name
            while (waiting and len(running) < window) or (alone and not running):
                piece = waiting.pop() if waiting else [suspects.pop()]
                future = client.submit(_apply, function, [items[k] for k in piece], pure=False)
                running[future] = piece
                done.add(future)
            future = next(done)
            piece = running.pop(future)
            try:
                results = future.result()
            except distributed.scheduler.KilledWorker:
                if alone:
                    yield piece[0], None, True
                else:
                    suspects += piece
                continue
            except distributed.client.FutureCancelledError as error:
                raise ToolError(
                    f"--cluster {address}: the connection was lost ({error}); run it again to go on"
                ) from None
            yield from ((k, result, False) for k, result in zip(piece, results, strict=True))


def _apply(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]
