"""Keywords of constructors that group some of them in a settings dataclass: flat in a config, grouped in Python.

`VAE(space, encoder, decoder, settings=VAESettings(beta=0.5))` in Python is `{"name": "vae", "beta": 0.5}` in a config:
a parameter annotated with a dataclass stands for the fields of that dataclass.
"""

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", types.NoneType: "null"}


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


def misfit(function: Callable[..., Any], keywords: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first keyword whose value is not of its annotated type, and what would be in words; None if all are.

    Only values as JSON has them are looked at, and only annotations that say what such a value is: other objects, and
    parameters of other types, are left to the function.

    Args:
        function: whose parameters are annotated.
        keywords: flat, as a config has them.
    """
    parameters = parameters_of(function)
    for key, value in keywords.items():
        if key in parameters and is_plain(value):
            words = expected(value, parameters[key].annotation)
            if words:
                return key, words
    return None


def shown(value: Any, most: int = 40) -> str:
    """A value as a config has it, null and not None, in so many characters at the most."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def is_plain(value: Any) -> bool:
    """Whether a value is one that JSON has."""
    return value is None or isinstance(value, bool | int | float | str | list | tuple | Mapping)


def expected(value: Any, hint: Any) -> str:
    """What a value should be, in words; empty if it is of the annotated type, or the annotation says nothing of it.

    Args:
        value: as JSON has it.
        hint: the annotation.

    Examples:
        >>> expected("x", float | None), expected(3, float), expected([1, "2"], tuple[int, ...])
        ('a number or null', '', 'a list, each entry a whole number')
    """
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (types.UnionType, typing.Union):
        words = [expected(value, option) for option in inner]
        return "" if "" in words else " or ".join(words)
    if kind is typing.Literal:
        return "" if value in inner else " or ".join(map(str, inner))
    if kind in PLAIN:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = is_number and (kind is float or isinstance(value, int)) if kind in (int, float) else type(value) is kind
        return "" if fits else PLAIN[kind]
    if kind in (tuple, list, Sequence):
        if not isinstance(value, list | tuple):
            return "a list"
        fixed = kind is tuple and bool(inner) and inner[-1] is not Ellipsis
        hints = inner if fixed else inner[:1] * len(value)
        if fixed and len(value) != len(inner):
            return f"a list of {len(inner)}"
        words = next((words for each, one in zip(value, hints, strict=False) if (words := expected(each, one))), "")
        return f"a list, each entry {words}" if words else ""
    if kind in (dict, Mapping):
        if not isinstance(value, Mapping):
            return "values by name"
        words = next((words for each in value.values() if inner and (words := expected(each, inner[1]))), "")
        return f"values by name, each {words}" if words else ""
    return ""
