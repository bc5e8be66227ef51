"""A server of processes that has imported what they need: hundreds of them start and are killed in these benchmarks."""

from collections.abc import Sequence
from multiprocessing import forkserver, get_context

PROCESSES = get_context("forkserver")


def begin_server(imported: Sequence[str]) -> None:
    """Start the process that the others are forked from; one that was started for others has not imported these.

    Args:
        imported: names of modules.
    """
    forkserver._forkserver._stop()
    PROCESSES.set_forkserver_preload(list(imported))
    forkserver.ensure_running()
