"""Collection in less time: no garbage is looked for while modules are imported, and files without examples stay out."""

import gc
from pathlib import Path

gc.disable()  # modules that are imported stay; looking through them again and again takes a fifth of collection


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leaves out the package's modules that have no example to run: each is imported by the tests of what it does."""
    if "protgen" not in collection_path.parts or collection_path.suffix != ".py":
        return None
    package = Path(__file__).parent / "protgen"
    if package in collection_path.parents and ">>>" not in collection_path.read_text(encoding="utf-8"):
        return True
    return None


def pytest_collection_finish() -> None:
    """Looks for garbage again, but not among what collection has made: it stays to the end."""
    gc.collect()
    gc.freeze()
    gc.enable()
