"""What training needs beyond a plain install."""

from importlib.util import find_spec

from protgen.errors import UsageError

_PACKAGES = ("hydra", "lightning", "tensorboard")  # of the extra `train`, by the names they are imported by


def require_extra() -> None:
    """Check that the packages of the extra `train` are installed.

    Raises:
        UsageError: if one is missing.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(f"training needs {', '.join(missing)}, not installed here: pip install 'protgen[train]'")
