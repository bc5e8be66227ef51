"""Generate protein structures under property constraints, judge them, and train on your own.

The public names below are imported when first used: `import protgen` costs nothing and loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from protgen.evaluation.runner import evaluate
    from protgen.generation.generate import generate
    from protgen.models.released import load
    from protgen.structure.protein import Protein
    from protgen.structure.reader import read_structure
    from protgen.structure.writer import write_structure

    __version__: str

__all__ = ["Protein", "__version__", "evaluate", "generate", "load", "read_structure", "write_structure"]

_HOMES = {
    "Protein": "protgen.structure.protein",
    "evaluate": "protgen.evaluation.runner",
    "generate": "protgen.generation.generate",
    "load": "protgen.models.released",
    "read_structure": "protgen.structure.reader",
    "write_structure": "protgen.structure.writer",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first asked for."""
    if name == "__version__":
        value: Any = _version()
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'protgen' has no attribute {name!r}")
    globals()[name] = value
    return value


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("protgen")
    except PackageNotFoundError:  # run from a source folder that was never installed
        return "0+source"


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
