"""The folder of a run: its lock, what `run.json` says, and what is left where it cannot be written."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path

from protgen.data.dataset import StoreBatches
from protgen.data.images import ImageBatches
from protgen.errors import CheckpointError
from protgen.folder_lock import locked
from protgen.models.model import Model
from protgen.training.checkpoint import newest_checkpoint
from protgen.training.settings import TrainSettings
from protgen.types import JSON


def held(folder: Path | None) -> AbstractContextManager[None]:
    """The lock of a run's folder, which is made if need be; nothing for no folder."""
    if folder is None:
        return nullcontext()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return locked(folder, "protgen train")


@contextmanager
def writing(run: Path) -> Iterator[None]:
    """Turn a full disk, or a folder that cannot be written, into one line that says what is left.

    Raises:
        CheckpointError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{run}: cannot be written ({error.strerror or error}); {what_is_kept(run)}. Make room or the folder "
            "writable, and give the same command again"
        ) from error


def what_is_kept(run: Path | None) -> str:
    """The last checkpoint of a run, in words."""
    newest = None if run is None else newest_checkpoint(run)
    return "there is no checkpoint yet" if newest is None else f"{newest} is kept"


def about(model: Model, source: object, settings: TrainSettings, processes: int) -> JSON:
    """The content of `run.json`."""
    data = str(source.store.folder) if isinstance(source, StoreBatches) else None
    size = {"batch": source.size} if isinstance(source, ImageBatches) else {}
    return {"model": model.config, "settings": asdict(settings), "store": data, "processes": processes} | size
