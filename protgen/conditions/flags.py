"""Command-line flags of conditions: each class declares its own, and they are read here without importing it.

    flags: ClassVar[tuple[Flag, ...]] = (Flag("--rg", "Radius of gyration, Å.", metavar="Å"),)

Conditions import torch and `--help` must not, so the declaration is read from the source text. It must therefore be a
tuple of `Flag(...)` calls whose arguments are literals.
"""

import ast
import functools
import importlib.util
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal

import protgen.conditions

GROUP = "protgen.conditions"  # entry points of plug-in packages
# The order of the flags in the help, and of the conditions they make; others follow by name.
FIRST = (
    "length",
    "secondary_structure",
    "radius_of_gyration",
    "contacts",
    "symmetry",
    "fold_class",
    "fractions",
    "motif",
    "partial",
)


@dataclass(frozen=True)
class Flag:
    """One option of the command line.

    Attributes:
        name: with its dashes, such as `--rg`.
        help: one line.
        metavar: what stands for its value in the help.
        field: the field of the condition that it gives; None where `parse` reads the text.
        kind: "text", "number", or "switch" for a flag without a value.
        required: whether the other flags of the condition need it.
        many: whether it may come several times, each time for one more condition.
    """

    name: str
    help: str
    metavar: str | None = None
    field: str | None = None
    kind: Literal["text", "number", "switch"] = "text"
    required: bool = False
    many: bool = False

    @property
    def key(self) -> str:
        """The name as a word of Python."""
        return self.name.lstrip("-").replace("-", "_")


@functools.cache
def declared_flags() -> dict[str, tuple[Flag, ...]]:
    """Flags of all conditions by registry name, those of plug-ins included; a flag taken already is left out."""
    found: dict[str, tuple[Flag, ...]] = {}
    taken: set[str] = set()
    for name, path, cls in sources():
        flags = tuple(flag for flag in read_flags(path, cls) if flag.name not in taken)
        taken |= {flag.name for flag in flags}
        if flags and name not in found:
            found[name] = flags
    return found


def sources() -> Iterator[tuple[str, Path, str | None]]:
    """Registry name, source file and class (None for the only one) of each condition: ours first, then plug-ins'."""
    modules = sorted(module.name for module in pkgutil.iter_modules(protgen.conditions.__path__))
    folder = Path(protgen.conditions.__path__[0])
    for name in [*FIRST, *(name for name in modules if name not in FIRST)]:
        yield name, folder / f"{name}.py", None
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            spec = importlib.util.find_spec(entry.module)
        except Exception:  # a broken package: the registry names it when it is asked for
            continue
        if spec is not None and spec.origin:
            yield entry.name, Path(spec.origin), entry.attr or None


def read_flags(path: Path, cls: str | None = None) -> tuple[Flag, ...]:
    """The flags that a class of a source file declares, the first that declares any where none is named."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return ()
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and cls in (None, node.name)]
    for statement in (statement for node in classes for statement in node.body):
        if isinstance(statement, ast.AnnAssign | ast.Assign) and "flags" in targets(statement):
            calls = getattr(statement.value, "elts", ())
            return tuple(flag_of(call) for call in calls if isinstance(call, ast.Call))
    return ()


def targets(statement: ast.AnnAssign | ast.Assign) -> list[str]:
    """Names that a statement assigns to."""
    nodes = [statement.target] if isinstance(statement, ast.AnnAssign) else statement.targets
    return [node.id for node in nodes if isinstance(node, ast.Name)]


def flag_of(call: ast.Call) -> Flag:
    """The flag of a `Flag(...)` call in source text."""
    values = [ast.literal_eval(value) for value in call.args]
    named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg}
    return Flag(*values, **named)
