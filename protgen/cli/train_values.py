"""Values of the configuration of `protgen train` as settings: each of its annotated type, or one line that says why."""

import types
import typing
from dataclasses import fields
from typing import Any, cast

from protgen.arguments import shown
from protgen.errors import ConfigError
from protgen.registry import nearest


def checked(cls: type, values: dict[str, Any], section: str) -> Any:
    """A settings object from a mapping.

    Args:
        cls: its class, a dataclass.
        values: from the configuration.
        section: of the configuration, for messages.

    Raises:
        ConfigError: for a key it does not have, or a value that does not fit.
    """
    hints = typing.get_type_hints(cls)
    known = [field.name for field in fields(cls)]
    for key in values:
        if key not in known:
            raise ConfigError(f"no setting '{section}.{key}': {nearest(str(key), known)}")
    return cls(**{key: fitting(value, hints[key], f"{section}.{key}") for key, value in values.items()})


def fitting(value: Any, hint: Any, key: str) -> Any:
    """A value of an annotated type; numbers must not be negative, and whole ones that count not 0.

    Args:
        value: as the configuration has it.
        hint: the annotation, perhaps `| None`.
        key: of the setting, for messages.

    Raises:
        ConfigError: if it does not fit.
    """
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    optional = type(None) in options
    if value is None and optional:
        return None
    kind = typing.get_origin(options[0]) or options[0]
    if kind is tuple and isinstance(value, list):
        value = tuple(value)
    if kind is float and is_whole(value):
        value = float(cast(int, value))
    least = 0 if key.endswith((".seed", ".samples", ".warmup")) else 1
    fits, words = {
        bool: (isinstance(value, bool), "true or false"),
        int: (is_whole(value) and cast(int, value) >= least, f"a whole number, at least {least}"),
        float: (isinstance(value, float) and value >= 0, "a number >= 0"),
        str: (isinstance(value, str), "a word"),
        tuple: (isinstance(value, tuple) and all(isinstance(x, str) for x in value), "words, as in [wandb,mlflow]"),
    }.get(kind, (is_numbers(value), "numbers by name, as in {secondary_structure: 0.3}"))
    if not fits:
        raise ConfigError(f"{key} is {shown(value)}; give {words}{', or null' if optional else ''}")
    return value


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, and not true or false."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_numbers(value: Any) -> bool:
    """Whether it is a mapping of names to numbers."""
    return isinstance(value, dict) and all(isinstance(entry, float) or is_whole(entry) for entry in value.values())
