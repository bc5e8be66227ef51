"""The public classes of a package: found by reading its files, imported when they are first used.

`lazy(__name__)` gives a package its `__getattr__` and `__dir__`. A new file needs no entry anywhere, and nothing is
imported before it is used. Type checkers and editors read the same names from the `__init__.pyi` beside it, which
`.ci/stubs.py` writes.
"""

import difflib
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from protgen.plugin_scan import last_name, read_module


@cache
def public_classes(package: str) -> dict[str, str]:
    """The public classes of a package, each with the module that holds it; its modules are not imported.

    These are the classes of `base.py`, and those of the other files that derive from them.

    Args:
        package: full name of a package that has a `base.py`, such as "protgen.samplers".
    """
    modules = [module.name for module in pkgutil.iter_modules(import_module(package).__path__, f"{package}.")]
    found = {name: module for module, name, _ in _classes([f"{package}.base"])}
    others = _classes(sorted(modules))
    while added := {n: module for module, n, bases in others if n not in found and not found.keys().isdisjoint(bases)}:
        found |= added
    return dict(sorted(found.items()))


def _classes(modules: Sequence[str]) -> list[tuple[str, str, set[str]]]:
    """Module, name and names of the bases of each public class at the top of these modules."""
    found = []
    for module in modules:
        source = read_module(module)
        if source is None:
            continue
        aliases = {alias: own for alias, (_, own) in source.imports.items() if own is not None}
        for name, node in source.classes.items():
            if not name.startswith("_"):
                found.append((module, name, {aliases.get(last_name(base), last_name(base)) for base in node.bases}))
    return found


def lazy(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package that imports its public classes when they are first used.

    Args:
        package: `__name__` of the package.

    Example:
        >>> from protgen.conditions import Length  # reads files, imports one of them
        >>> Length.name
        'length'
    """

    def get(name: str) -> Any:
        if name == "__all__":
            return list(public_classes(package))
        if not name.startswith("_"):
            if find_spec(f"{package}.{name}") is not None:
                return import_module(f"{package}.{name}")
            if name in public_classes(package):
                return fetch(package, name, public_classes(package))
        raise unknown(package, name, () if name.startswith("_") else list(public_classes(package)))

    def names() -> list[str]:
        return list(public_classes(package))

    return get, names


def fetch(package: str, name: str, homes: Mapping[str, str]) -> Any:
    """Import a public name from its module, and keep it in its package.

    Args:
        package: that is to hold the name.
        name: of a class or function.
        homes: name -> module.
    """
    value = getattr(import_module(homes[name]), name)
    setattr(sys.modules[package], name, value)
    return value


def unknown(package: str, name: str, known: Sequence[str]) -> AttributeError:
    """The error for a name that a package does not have; it suggests the nearest.

    Args:
        package: that was asked.
        name: that it does not have.
        known: its public names.
    """
    lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.5)
    hint = f"; did you mean {lower[close[0]]!r}?" if close else f"; see dir({package})" if known else ""
    # Without `name` and `obj`, or Python appends a suggestion of its own.
    return AttributeError(f"module {package!r} has no attribute {name!r}{hint}")
