"""Ctrl-C and SIGTERM as one exception, so that a command can save its results before it ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from protgen.cli.exit_codes import INTERRUPTED, TERMINATED


class Interrupted(BaseException):
    """The user or a scheduler asked us to stop; not an Exception, so that nothing on the way swallows it.

    Args:
        exit_code: what the process ends with.
        message: for the user.
    """

    def __init__(self, exit_code: int, message: str = "interrupted") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.message = message


_CODES = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Interrupted` on the first signal; a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: FrameType | None) -> None:
        for each in _CODES:
            signal.signal(each, signal.SIG_DFL)
        raise Interrupted(_CODES[signal.Signals(number)])

    before = {number: signal.signal(number, stop) for number in _CODES}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopRequest:
    """Whether the user or a scheduler asked a long task to stop at its next checkpoint, and with which exit code."""

    def __init__(self) -> None:
        self.exit_code: int | None = None

    def __call__(self) -> bool:
        """True after the first signal."""
        return self.exit_code is not None


@contextmanager
def deferred() -> Iterator[StopRequest]:
    """Record the first signal, which the task polls; a second one interrupts at once."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in _CODES}

    def note(number: int, _: FrameType | None) -> None:
        request.exit_code = _CODES[signal.Signals(number)]
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in _CODES:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
