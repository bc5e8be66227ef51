"""Keywords of constructors that group some of them in a settings dataclass: flat in a config, grouped in Python.

`VAE(space, encoder, decoder, settings=VAESettings(beta=0.5))` in Python is `{"name": "vae", "beta": 0.5}` in a config:
a parameter annotated with a dataclass stands for the fields of that dataclass.
"""

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

PLAIN = (bool, int, float, str, list, tuple, dict, type(None))  # values of configurations
SIZES = ("dim", "scalar_dim", "heads", "width", "height", "channels")  # of which a network must have some
WORDS: Mapping[Any, str] = {
    int: "a whole number, at least {}",
    float: "a number",
    bool: "true or false",
    str: "a word",
    type(None): "null",
}  # for the annotations whose values are looked at


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


def misfit(parameter: inspect.Parameter, value: Any) -> str | None:
    """What a parameter takes, in words, where a plain value is none of it; None where it fits, or nobody can tell.

    Numbers, words and flags alone are looked at. A whole number counts something: it is not negative, and of widths and
    the like (`SIZES`) at least 1.

    Args:
        parameter: with its annotation.
        value: as a configuration has it.

    Examples:
        >>> misfit(inspect.Parameter("dim", inspect.Parameter.KEYWORD_ONLY, annotation=int), "two")
        'a whole number, at least 1'
    """
    annotation = parameter.annotation
    kinds = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    if not isinstance(value, PLAIN) or not set(kinds) <= WORDS.keys() or value is parameter.default:
        return None
    least = 1 if parameter.name in SIZES else 0
    fits = {
        int: isinstance(value, int) and not isinstance(value, bool) and value >= least,
        float: isinstance(value, int | float) and not isinstance(value, bool),
        bool: isinstance(value, bool),
        str: isinstance(value, str),
        type(None): value is None,
    }
    return None if any(fits[kind] for kind in kinds) else " or ".join(WORDS[kind].format(least) for kind in kinds)


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
