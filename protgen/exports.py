"""The public classes of a package: found by reading its files, imported when they are first used.

`lazy(__name__)` gives a package its `__getattr__` and `__dir__`. A new file needs no entry anywhere, and nothing is
imported before it is used. Type checkers and editors read the same names from the `__init__.pyi` beside it, which
`.ci/stubs.py` writes.
"""

import ast
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@cache
def public_classes(package: str) -> dict[str, str]:
    """The public classes of a package, each with the module that holds it; nothing of the package is imported.

    These are the classes of `base.py`, and those of the other files that derive from them.

    Args:
        package: full name of a package that has a `base.py`, such as "protgen.samplers".
    """
    files = _files(package)
    found = {name: f"{package}.base" for name, _ in _classes(files.pop("base"))}
    others = [(f"{package}.{module}", name, bases) for module, path in files.items() for name, bases in _classes(path)]
    while added := {n: module for module, n, bases in others if n not in found and not found.keys().isdisjoint(bases)}:
        found |= added
    return dict(sorted(found.items()))


def _files(package: str) -> dict[str, Path]:
    """The modules of a package, by name."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None, f"{package} is no package with a file"
    return {path.stem: path for path in sorted(Path(spec.origin).parent.glob("*.py")) if path.stem != "__init__"}


def _classes(path: Path) -> Iterator[tuple[str, set[str]]]:
    """The public classes at the top of a file, each with the names of its bases."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    aliases = {alias.asname: alias.name for node in imports for alias in node.names if alias.asname}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            names = [_last_name(base) for base in node.bases]
            yield node.name, {aliases.get(name, name) for name in names}


def _last_name(base: ast.expr) -> str:
    """`Metric` of `Metric`, `base.Metric` and `Metric[Protein]`; "" for anything else."""
    if isinstance(base, ast.Subscript):
        return _last_name(base.value)
    if isinstance(base, ast.Attribute):
        return base.attr
    return base.id if isinstance(base, ast.Name) else ""


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
    import difflib

    lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.5)
    hint = f"; did you mean {lower[close[0]]!r}?" if close else f"; see dir({package})" if known else ""
    # Without `name` and `obj`, or Python appends a suggestion of its own.
    return AttributeError(f"module {package!r} has no attribute {name!r}{hint}")
