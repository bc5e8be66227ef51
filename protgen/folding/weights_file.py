"""Weights that come with a package of another's, of which nothing else is used."""

import importlib.metadata
from pathlib import Path
from typing import IO, Any

from protgen.errors import UsageError


def weights_file(package: str, name: str, missing: str) -> Path:
    """A file of an installed package, which is not imported.

    Args:
        package: the distribution.
        name: the file's path within it.
        missing: what to say where the package is not installed.

    Raises:
        UsageError: if it is not installed, or lacks the file.
    """
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        raise UsageError(missing) from None
    for file in files:
        if file.as_posix() == name and Path(str(file.locate())).is_file():
            return Path(str(file.locate()))
    raise UsageError(f"{missing.partition(':')[0]}: {package} has no {name}; install it anew")


def read_weights(source: "Path | IO[bytes]", name: str) -> Any:
    """What a file that `torch.save` wrote holds: tensors and plain containers, and never code.

    The one place that reads such files. Ours are safetensors.

    Args:
        source: the file.
        name: what to call it in messages.

    Raises:
        UsageError: if it is damaged, or holds anything else.
    """
    import pickle

    import torch

    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise UsageError(f"{name}: are no weights that can be read ({reason}); install their package anew") from None
