"""Look-up of plug-ins by file name: `build("encoders", "egnn", dim=64)` imports `protgen/encoders/egnn.py` alone.

The name of a plug-in is the name of its module, and the module holds one concrete subclass of its package's base
class. A new file is found with no edit anywhere.
"""

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import re
from typing import Any

from protgen.arguments import grouped, parameters_of
from protgen.errors import ConfigError

BASES = {
    "spaces": "Space",
    "encoders": "Encoder",
    "conditions": "Condition",
    "samplers": "Sampler",
    "families": "Family",
    "metrics": "Metric",
    "inverse_folding": "InverseFolder",
    "folding": "StructurePredictor",
}


def nearest(name: str, known: list[str]) -> str:
    """A sentence that lists what is known and suggests the nearest name."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return (f"did you mean {close[0]!r}? " if close else "") + "known: " + ", ".join(known)


def names(kind: str) -> list[str]:
    """Names of the plug-ins of a kind, sorted; imports none of them.

    Raises:
        ConfigError: if there is no such kind.
    """
    if kind not in BASES:
        raise ConfigError(f"no kind of plug-in {kind!r}: {nearest(kind, sorted(BASES))}")
    package = importlib.import_module(f"protgen.{kind}")
    found = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return sorted(name for name in found if name != "base" and is_plugin(kind, name))


def is_plugin(kind: str, name: str) -> bool:
    """Whether a module holds a plug-in, read from its text: a class derived from the base (or `Learned...` of it)."""
    spec = importlib.util.find_spec(f"protgen.{kind}.{name}")
    if spec is None or spec.origin is None:
        return False
    with open(spec.origin, encoding="utf-8") as source:
        return any(re.match(rf"class \w+\((?:\w+, )*\w*{BASES[kind]}(?:, \w+)*\):", line) for line in source)


def find(kind: str, name: str) -> type:
    """The class of a plug-in.

    Raises:
        ConfigError: if the name is unknown; the message suggests the nearest.
    """
    known = names(kind)
    if name not in known:
        raise ConfigError(f"no {kind} named {name!r}: {nearest(name, known)}")
    module = importlib.import_module(f"protgen.{kind}.{name}")
    base = getattr(importlib.import_module(f"protgen.{kind}.base"), BASES[kind])
    own = [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__]
    (cls,) = [c for c in own if issubclass(c, base)]
    return cls


def build(kind: str, name: str, **keywords: Any) -> Any:
    """An instance of a plug-in.

    Raises:
        ConfigError: if the name or a keyword is unknown, or a required keyword is missing.
    """
    cls = find(kind, name)
    parameters = parameters_of(cls)
    for keyword in keywords:
        if keyword not in parameters:
            raise ConfigError(f"{name} takes no keyword {keyword!r}: {nearest(keyword, list(parameters))}")
    for key, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and key not in keywords:
            raise ConfigError(f"{name} needs the keyword {key!r}")
    return cls(**grouped(cls, keywords))
