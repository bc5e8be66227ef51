"""Keywords of constructors that group some of them in a settings dataclass: flat in a config, grouped in Python.

`VAE(space, encoder, decoder, settings=VAESettings(beta=0.5))` in Python is `{"name": "vae", "beta": 0.5}` in a config:
a parameter annotated with a dataclass stands for the fields of that dataclass.
"""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any


def settings_of(function: Callable[..., Any]) -> dict[str, type]:
    """The parameters that are settings dataclasses (`Settings` or `Settings | None`), with the class of each."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        options = typing.get_args(parameter.annotation) or (parameter.annotation,)
        classes = [each for each in options if isinstance(each, type) and dataclasses.is_dataclass(each)]
        if len(classes) == 1:
            found[name] = classes[0]
    return found


def parameters_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Parameters by name, with the fields of settings dataclasses in place of these."""
    groups = settings_of(function)
    found: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        inner = inspect.signature(groups[name]).parameters if name in groups else {name: parameter}
        found |= inner
    return found


def grouped(function: Callable[..., Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Flat keywords as the function takes them.

    A group of which no field is given is left to its default.
    """
    result = dict(keywords)
    for name, group in settings_of(function).items():
        fields = [key for key in inspect.signature(group).parameters if key in result]
        if fields:
            result[name] = group(**{key: result.pop(key) for key in fields})
    return result
