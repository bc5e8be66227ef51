"""Finds plug-in classes by reading source text with `ast`, so that listing plug-ins imports none of them.

A plug-in is a class that derives from the base class of its kind: directly, as `Metric[Protein]`, as `base.Metric`,
under an alias, or by way of another class of protgen (`EnergyCondition`, `SteppingSampler`).
"""

import ast
import functools
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from protgen.errors import ConfigError

ROOT = __name__.partition(".")[0]  # bases are looked for in modules of this package alone


@dataclass(frozen=True)
class Found:
    """A plug-in class in a source file.

    Attributes:
        name: under which it is looked up.
        module: dotted name of its module.
        attribute: name of the class there.
    """

    name: str
    module: str
    attribute: str


@dataclass
class Source:
    """What the top level of a module binds.

    Attributes:
        classes: by name.
        aliases: expressions of `X = ...`, by name.
        imports: name -> (module, attribute of it; None where the name is the module itself).
    """

    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    aliases: dict[str, ast.expr] = field(default_factory=dict)
    imports: dict[str, tuple[str, str | None]] = field(default_factory=dict)


def plugins_of(module: str, base: tuple[str, str], suffix: str) -> list[Found]:
    """The plug-ins of one module.

    A class that declares `name = "..."` is the plug-in of that name. A class without one is the plug-in with the name
    of the module. Where several classes declare none, it is the one whose name is the module's in CamelCase, with or
    without the suffix of its kind. Abstract classes, classes that others in the module derive from, and names that
    begin with an underscore are helpers.

    Args:
        module: dotted name.
        base: module and name of the base class of the kind.
        suffix: of class names of the kind, such as "Encoder".

    Raises:
        ConfigError: if the file cannot be read as Python, or no rule says which class is the plug-in.
    """
    path = path_of(module)
    if path is None or b"class " not in path.read_bytes():  # parsing costs milliseconds, and most files are helpers
        return []
    source = read_module(module)
    assert source is not None
    classes = [c for c in source.classes.values() if not c.name.startswith("_") and derives(module, c.name, base)]
    inherited = {node.id for c in classes for node in c.bases if isinstance(node, ast.Name)}
    concrete = [c for c in classes if not is_abstract(c)]
    named = [Found(name, module, c.name) for c in concrete if (name := declared_name(c)) is not None]
    plain = [c.name for c in concrete if declared_name(c) is None and c.name not in inherited]
    title = module.rpartition(".")[2]
    matching = [name for name in plain if name.lower() in (camel(title), camel(title) + suffix.lower())]
    if not named and len(plain) == 1:
        matching = plain
    if not named and len(plain) > 1 and len(matching) != 1:
        raise ConfigError(
            f"{path_of(module)}: {' and '.join(plain)} are both {base[1]}; declare a `name` in each, or begin the "
            "names of helpers with an underscore"
        )
    return named + [Found(title, module, name) for name in matching if title not in {found.name for found in named}]


def camel(name: str) -> str:
    """`max_dimension` as `maxdimension`: CamelCase without regard to case."""
    return name.replace("_", "").lower()


def derives(module: str, name: str, base: tuple[str, str], seen: frozenset[tuple[str, str]] = frozenset()) -> bool:
    """Whether what a module calls by a name is the base class or derives from it."""
    if (module, name) == base:
        return True
    source = read_module(module) if (module, name) not in seen else None
    if source is None:
        return False
    seen = seen | {(module, name)}
    if name in source.classes:
        return any(expression_derives(module, node, base, seen) for node in source.classes[name].bases)
    if name in source.aliases:
        return expression_derives(module, source.aliases[name], base, seen)
    if name in source.imports:
        home, attribute = source.imports[name]
        return attribute is not None and derives(home, attribute, base, seen)
    # A package hands out names when they are asked for; those of base classes come from the module of the base.
    return base[0].startswith(f"{module}.") and derives(base[0], name, base, seen)


def expression_derives(
    module: str, node: ast.expr, base: tuple[str, str], seen: frozenset[tuple[str, str]] = frozenset()
) -> bool:
    """Whether an expression in a list of bases is the base class or derives from it."""
    if isinstance(node, ast.Subscript):  # Metric[Protein]
        return expression_derives(module, node.value, base, seen)
    if isinstance(node, ast.Name):
        return derives(module, node.id, base, seen)
    if isinstance(node, ast.Attribute):
        home = module_of(module, node.value)
        return home is not None and derives(home, node.attr, base, seen)
    return False


def module_of(module: str, node: ast.expr) -> str | None:
    """The module that an expression names: `base` after `from protgen.metrics import base`, `protgen.metrics.base`."""
    if isinstance(node, ast.Attribute):
        parent = module_of(module, node.value)
        return None if parent is None else f"{parent}.{node.attr}"
    source = read_module(module)
    if not isinstance(node, ast.Name) or source is None or node.id not in source.imports:
        return None
    home, attribute = source.imports[node.id]
    return home if attribute is None else f"{home}.{attribute}"


def is_abstract(node: ast.ClassDef) -> bool:
    """Whether a class says that it is abstract: ABC among its bases, or an abstract method of its own."""
    if any(last_name(base) == "ABC" for base in node.bases) or any(k.arg == "metaclass" for k in node.keywords):
        return True
    functions = [item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
    return any(last_name(mark) == "abstractmethod" for function in functions for mark in function.decorator_list)


def declared_name(node: ast.ClassDef) -> str | None:
    """The text of a class attribute `name`; None where there is none. A field of a dataclass is no class attribute."""
    for item in node.body:
        if isinstance(item, ast.Assign):
            targets: Sequence[ast.expr] = item.targets
        elif isinstance(item, ast.AnnAssign) and last_name(item.annotation) == "ClassVar":
            targets = [item.target]
        else:
            continue
        value = item.value
        if any(isinstance(target, ast.Name) and target.id == "name" for target in targets) and isinstance(
            value, ast.Constant
        ):
            return value.value if isinstance(value.value, str) else None
    return None


def last_name(node: ast.expr) -> str:
    """`abstractmethod` of `abc.abstractmethod`, `ClassVar` of `ClassVar[str]`."""
    if isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def path_of(module: str) -> Path | None:
    """The source file of a module of protgen; the module itself is not imported."""
    if module.partition(".")[0] != ROOT:
        return None
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a parent that is no package
        return None
    return None if spec is None or spec.origin is None or not spec.origin.endswith(".py") else Path(spec.origin)


def read_module(module: str) -> Source | None:
    """What a module of protgen binds; None for other modules.

    Raises:
        ConfigError: if the file is not Python.
    """
    path = path_of(module)
    if path is None:
        return None
    stat = path.stat()
    return read_source(path, module, (stat.st_mtime_ns, stat.st_size))


@functools.lru_cache(maxsize=1024)
def read_source(path: Path, module: str, stamp: tuple[int, int]) -> Source:
    """What a source file binds; read once for each state of the file.

    Raises:
        ConfigError: if it is not Python.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else str(error)
        raise ConfigError(f"{path}: {line}; correct the file, or move it out of the package") from None
    source = Source()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in statements(tree.body):
        bind(source, node, package)
    return source


def statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of the top level, those under `if` (TYPE_CHECKING) and `try` included."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from statements([*node.body, *node.orelse])


def bind(source: Source, node: ast.stmt, package: str) -> None:
    """Note what a statement binds."""
    if isinstance(node, ast.ClassDef):
        source.classes[node.name] = node
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        source.aliases[node.targets[0].id] = node.value
    elif isinstance(node, ast.Import):
        for item in node.names:
            top = item.name.partition(".")[0]
            source.imports[item.asname or top] = (item.name if item.asname else top, None)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        home = ".".join([*above, *([node.module] if node.module else [])])
        for item in node.names:
            source.imports[item.asname or item.name] = (home, item.name)
