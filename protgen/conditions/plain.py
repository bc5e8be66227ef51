"""Values of conditions as JSON has them, and short texts of them for messages."""

from typing import Any


def frozen(value: Any) -> Any:
    """Lists as tuples, at every depth."""
    return tuple(frozen(entry) for entry in value) if isinstance(value, list | tuple) else value


def thawed(value: Any) -> Any:
    """Tuples as lists, at every depth; functions as their names."""
    if isinstance(value, tuple):
        return [thawed(entry) for entry in value]
    return getattr(value, "__qualname__", repr(value)) if callable(value) else value


def shorten(value: Any, most: int = 40) -> str:
    """A value in at most so many characters, on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= most else text[: most - 3] + "..."
