"""Sizes that a model's configuration may ask for, looked at before anything of that size is made."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from protgen.errors import CheckpointError, ConfigError
from protgen.models.renamed import current_tensors
from protgen.types import JSON

MOST = 65_536  # of any whole number in a configuration: widths, lengths, grey values
REPEATED = 1_000  # of what a network has several of
REPEATS = ("blocks", "layers", "levels")
LONGEST = 10_000  # entries of a list, or characters of a text
USUAL = 1_024  # beyond it, the shapes of a file are compared before a network is made


def check_sizes(config: JSON) -> None:
    """Check the numbers, lists and texts of a model's parts.

    Raises:
        ConfigError: if one is larger than any model's.
    """
    for key, value in sizes(config):
        most = REPEATED if key.rpartition(".")[2] in REPEATS else MOST
        if isinstance(value, int) and abs(value) > most:
            raise ConfigError(f"{key} is {str(value)[:20]}; at most {most:,} is possible")
        if isinstance(value, str | list) and len(value) > LONGEST:
            raise ConfigError(f"{key} is longer than {LONGEST:,}")


def sizes(config: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Whole numbers, texts and lists of a configuration by their dotted names; what it says about its data is none."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            if name or key != "about":
                yield from sizes(value, f"{name}.{key}".lstrip("."))
    elif isinstance(config, list | tuple):
        yield name, list(config)
        for value in config:
            yield from sizes(value, name)
    elif isinstance(config, int | str) and not isinstance(config, bool):
        yield name, config


def is_large(config: JSON) -> bool:
    """Whether a configuration has a number beyond the usual."""
    return any(isinstance(value, int) and abs(value) > USUAL for _, value in sizes(config))


def check_shapes(own: Mapping[str, torch.Size], path: Path) -> None:
    """Compare the shapes of a model with those in the header of its weights; no tensor is read.

    Args:
        own: of the model, which need not have memory.
        path: of the weights.

    Raises:
        CheckpointError: if they differ.
    """
    try:
        with safe_open(path, "pt") as file:
            held = current_tensors({name: file.get_slice(name).get_shape() for name in file.keys()})  # type: ignore[misc]  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged checkpoint ({error}); get or train it again") from error
    for name in own:
        if list(own[name]) != list(held.get(name, [])):
            raise CheckpointError(
                f"{path}: {name} has shape {tuple(held.get(name, []))}, config.json asks for {tuple(own[name])}"
            )


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
