"""Where worker processes come from: on Linux they are copies of a server that has imported their code.

A process that starts anew imports torch and the rest, which takes seconds of a core. So the first pool starts a server,
a process that imports once and then forks a worker for each request (the start method "forkserver" of
`multiprocessing`, the default of Linux from Python 3.14 on). The server runs no thread of its own, opens no file of the
parent, and ends when the parent and the workers have ended. Elsewhere every worker starts anew ("spawn"): macOS and
Windows have no safe fork.
"""

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import spawn
from multiprocessing.context import BaseContext

# Terminals and test runners change these while a process runs, and no library reads them when it is loaded.
_NOT_READ_AT_IMPORT = frozenset({"COLUMNS", "LINES", "PYTEST_CURRENT_TEST"})
_SLOWEST = "torch"  # takes most of the time of an import; later pools need it too, where this process has needed it

_lock = threading.Lock()
_server_environment: dict[str, str] | None = None  # None before there is a server


def worker_context(module: str) -> BaseContext:
    """How the next workers start.

    Libraries read some variables of the environment when they are loaded (`OMP_NUM_THREADS`), and the server has loaded
    them. So workers start anew if the environment is no longer what it was when the server started.

    Args:
        module: of what they do. The server of the first workers imports it, with all that it imports.
    """
    return multiprocessing.get_context("forkserver" if _is_served(module) else "spawn")


def begin_worker(environment: Mapping[str, str]) -> None:
    """Give a new worker what a process that starts anew has: its parent's environment, and chance of its own.

    Args:
        environment: of the parent.
    """
    if os.environ != environment:
        os.environ.clear()
        os.environ.update(environment)
    if "numpy" in sys.modules:  # copies of one process have one state; Python's own `random` sees to this itself
        sys.modules["numpy"].random.seed()


def _is_served(module: str) -> bool:
    """Whether there is a server for workers of the present environment; it starts the first."""
    global _server_environment
    if sys.platform != "linux" or "forkserver" not in multiprocessing.get_all_start_methods():
        return False
    from multiprocessing import forkserver  # not on Windows

    environment = {name: value for name, value in os.environ.items() if name not in _NOT_READ_AT_IMPORT}
    with _lock:
        if _server_environment is None:
            own = [module] if module != "__main__" else []
            forkserver.set_forkserver_preload([*own, _SLOWEST] if _SLOWEST in sys.modules else own)
        elif environment != _server_environment:
            return False
        try:
            with _imports_as_here():
                forkserver.ensure_running()
        except OSError:  # its socket has no place: the path of the temporary folder is too long, or cannot be written
            return False
        _server_environment = environment
    return True


@contextmanager
def _imports_as_here() -> Iterator[None]:
    """Let a new process find the modules that this one finds, and none in the working folder that this one does not."""
    folders = spawn.get_preparation_data("")["sys_path"]  # as workers get it
    given = {"PYTHONPATH": os.pathsep.join(folders), "PYTHONSAFEPATH": "1"}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
