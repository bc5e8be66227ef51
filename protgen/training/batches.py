"""Sources of batches: a store, a function of the step, or any iterable."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from protgen.data.dataset import StoreBatches
from protgen.data.store import Store
from protgen.errors import DataError, UsageError
from protgen.training.settings import TrainSettings
from protgen.types import Batch

Batches = Store | Callable[[int], Batch] | Iterable[Batch]


def source_of(batches: Batches, settings: TrainSettings) -> Callable[[int], Batch]:
    """Batches as a function of the step.

    Args:
        batches: the training split of a store; a function of the step from 0, which may be asked for any step; or an
            iterable, which is begun again where it ends.
        settings: seed and size of the batches of a store.

    Raises:
        DataError: if a store has no training items.
        UsageError: if it is nothing of these.
    """
    if isinstance(batches, Store):
        return StoreBatches(batches, settings.max_pairs_per_batch, settings.seed)
    if callable(batches):
        return batches
    if isinstance(batches, Iterable):
        return IterableBatches(batches)
    raise UsageError(
        f"cannot take batches from a {type(batches).__name__}; give a Store, a function of the step, or an iterable"
    )


def items_of(source: Callable[[int], Batch], number: int) -> list[str]:
    """Names of the items of a batch, where the source knows them; else none.

    Args:
        source: as `source_of` gives it.
        number: of the batch.
    """
    return source.names(number) if isinstance(source, StoreBatches) else []


class Ahead:
    """Batches of the next step, read by a thread while this one is computed on a GPU, which would wait for them.

    On a CPU the thread would take a core from the step. What is read is the same either way. A context: the thread ends
    with it.

    Args:
        read: the batches of a step.
        steps: of the run; none is read beyond them.
        on: whether to read ahead.
    """

    def __init__(self, read: Callable[[int], list[Batch]], steps: int, on: bool) -> None:
        self.read, self.steps = read, steps
        self._reader = ThreadPoolExecutor(1, "batches") if on else None
        self._next: tuple[int, Future[list[Batch]]] | None = None

    def __enter__(self) -> "Ahead":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)

    def __call__(self, step: int) -> list[Batch]:
        """The batches of a step; an error in reading them is raised here."""
        if self._reader is None:
            return self.read(step)
        found = self._next[1].result() if self._next is not None and self._next[0] == step else self.read(step)
        self._next = (step + 1, self._reader.submit(self.read, step + 1)) if step + 1 < self.steps else None
        return found


class IterableBatches:
    """The batches of an iterable by number, in rising order; those in between are passed over.

    An iterable that gives the same batches each time makes a resumed run exact: it is read again from its beginning.

    Args:
        batches: an iterable, begun again where it ends; an iterator cannot be.
    """

    def __init__(self, batches: Iterable[Batch]) -> None:
        self.batches = batches
        self._iterator: Iterator[Batch] = iter(batches)
        self._next = 0

    def __call__(self, step: int) -> Batch:
        """Batch number `step`.

        Raises:
            DataError: if there are no more.
        """
        assert step >= self._next
        while True:
            batch = self._take()
            self._next += 1
            if self._next > step:
                return batch

    def _take(self) -> Batch:
        """The next batch, from the beginning again where the iterable has ended."""
        try:
            return next(self._iterator)
        except StopIteration:
            self._iterator = iter(self.batches)
        try:
            return next(self._iterator)
        except StopIteration:
            raise DataError(
                f"there are no more batches after {self._next}; give an iterable that can be read again, such as a "
                "list, or a function of the step"
            ) from None
