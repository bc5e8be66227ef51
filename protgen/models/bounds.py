"""What a model's configuration may ask for, sizes above all, looked at before anything is made."""

from collections.abc import Iterator, Mapping
from typing import Any

from protgen.arguments import shown
from protgen.errors import ConfigError
from protgen.types import JSON

MOST = 65_536  # of any whole number in a configuration: widths, lengths, grey values
MOST_NUMBER = 1e9  # of any other number
REPEATED = 1_000  # of what a network has several of
REPEATS = ("blocks", "layers", "levels")
LONGEST = 10_000  # entries of a list, or characters of a text
USUAL = 1_024  # beyond it, the shapes of a file are compared before a network is made
USUAL_WEIGHTS = 2**25  # the same for layers times the square of the largest number


def check_sizes(config: JSON) -> None:
    """Check the numbers, lists and texts of a model's parts.

    Raises:
        ConfigError: if one is larger than any model's.
    """
    for key, value in sizes(config):
        most = REPEATED if key.rpartition(".")[2] in REPEATS else MOST
        if isinstance(value, int) and abs(value) > most:
            raise ConfigError(f"{key} is {str(value)[:20]}; at most {most:,} is possible")
        if isinstance(value, float) and not abs(value) <= MOST_NUMBER:
            raise ConfigError(f"{key} is {value:g}; at most {MOST_NUMBER:,.0f} is possible")
        if isinstance(value, str | list) and len(value) > LONGEST:
            raise ConfigError(f"{key} is longer than {LONGEST:,}")


def sizes(config: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Numbers, texts and lists of a configuration by their dotted names; what it says about its data is none."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            if name or key != "about":
                yield from sizes(value, f"{name}.{key}".lstrip("."))
    elif isinstance(config, list | tuple):
        yield name, list(config)
        for value in config:
            yield from sizes(value, name)
    elif isinstance(config, int | float | str) and not isinstance(config, bool):
        yield name, config


def is_large(config: JSON) -> bool:
    """Whether a configuration has a number beyond the usual, or asks for more weights than usual."""
    found = [(key, abs(value)) for key, value in sizes(config) if isinstance(value, int)]
    width = max((value for _, value in found), default=0)
    repeats = [value for key, value in found if key.rpartition(".")[2] in REPEATS]
    return width > USUAL or sum(repeats) * width**2 > USUAL_WEIGHTS


def check_about(config: JSON) -> None:
    """Check what a configuration says of its training data.

    Raises:
        ConfigError: if it cannot be read.
    """
    about = config.get("about", {})
    bounds = about.get("lengths", [1, 1]) if isinstance(about, Mapping) else []
    whole = isinstance(bounds, list | tuple) and len(bounds) == 2 and all(type(x) is int for x in bounds)
    if not whole or not 0 < bounds[0] <= bounds[1]:
        raise ConfigError("about: lengths are two whole numbers, the shorter first")


def names_of_conditions(value: object, key: str) -> list:
    """The conditions of a configuration, which are a list of names and mappings.

    Args:
        value: as the configuration has it.
        key: where, for the message.

    Raises:
        ConfigError: if they are no list of these.
    """
    if not isinstance(value, list | tuple) or not all(isinstance(entry, str | Mapping) for entry in value):
        raise ConfigError(f"{key} is {shown(value)}; give a list of names, as in [length,fold_class], or []")
    return list(value)
