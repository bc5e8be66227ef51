"""Weights that come with a package of another's, of which nothing else is used."""

import importlib.metadata
from pathlib import Path

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
