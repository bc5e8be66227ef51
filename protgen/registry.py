"""Look-up of plug-ins by name: `build("encoders", "egnn", dim=64)` imports `protgen/encoders/egnn.py` alone.

There are three ways to name a plug-in:

- The name of a file in the package of its kind (`protgen/encoders/egnn.py`), which holds one subclass of the base class
  of the kind, or the `name` that such a class declares. A new file is found with no edit anywhere.
- The name of an entry point of another installed package, in the group `protgen.encoders`, `protgen.metrics`, ...
- `module:Class`, for any class that can be imported.

A plug-in of another package never takes the name of one of protgen's own. A package that cannot be loaded costs one
line that names it: an error where it was asked for, a `PluginWarning` elsewhere.
"""

import difflib
import functools
import importlib
import importlib.metadata
import inspect
import multiprocessing
import os
import pkgutil
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from protgen.arguments import grouped, misfit, parameters_of, shown
from protgen.errors import ConfigError, PluginWarning, ProtgenError
from protgen.plugin_scan import plugins_of

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
NAMED = ("conditions", "metrics", "inverse_folding", "folding")  # kinds whose classes declare a `name`
PARTS = ("spaces", "encoders", "families")  # of a model, whose whole numbers are sizes and counts
WIDTHS = ("dim", "heads")  # of which there is at least one
REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")  # module:Class
EMPTY = inspect.Parameter.empty
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class Plugin:
    """Where a plug-in is.

    Attributes:
        name: under which it is looked up.
        module: dotted name of its module.
        attribute: name of its class there.
        package: distribution that brings it; "" for protgen's own and for `module:Class`.
    """

    name: str
    module: str
    attribute: str
    package: str = ""

    @property
    def title(self) -> str:
        """The name with its package, for messages."""
        return f"{self.name!r} of the package {self.package}" if self.package else repr(self.name)


def nearest(name: str, known: list[str]) -> str:
    """A sentence that lists what is known and suggests the nearest name."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return (f"did you mean {close[0]!r}? " if close else "") + "known: " + (", ".join(known) or "none")


def names(kind: str) -> list[str]:
    """Names of the plug-ins of a kind, sorted; imports none of them.

    Raises:
        ConfigError: if there is no such kind.
    """
    return sorted(plugins(kind))


def plugins(kind: str) -> dict[str, Plugin]:
    """The plug-ins of a kind by name: protgen's own, and those of other packages.

    Raises:
        ConfigError: if there is no such kind, or a file of protgen does not say which of its classes is the plug-in.
    """
    own = own_plugins(kind)
    return own | other_plugins(kind, own)


def own_plugins(kind: str) -> dict[str, Plugin]:
    """The plug-ins in protgen's package of a kind, found by reading its files."""
    if kind not in BASES:
        raise ConfigError(f"no kind of plug-in {kind!r}: {nearest(kind, sorted(BASES))}")
    folders = tuple(importlib.import_module(f"protgen.{kind}").__path__)
    return dict(_own_plugins(kind, folders, state_of(folders)))


@functools.lru_cache(maxsize=len(BASES))
def _own_plugins(kind: str, folders: tuple[str, ...], state: tuple[tuple[str, int, int], ...]) -> dict[str, Plugin]:
    """The same, found once for each state of the files: a command asks for the plug-ins of a kind time and again."""
    found: dict[str, Plugin] = {}
    for module in pkgutil.iter_modules(folders):
        if module.name == "base" or module.name.startswith("_"):
            continue
        base = (f"protgen.{kind}.base", BASES[kind])
        for each in plugins_of(f"protgen.{kind}.{module.name}", base, BASES[kind]):
            if each.name in found:
                raise ConfigError(
                    f"{found[each.name].module} and {each.module} both hold {kind} named {each.name!r}; rename one"
                )
            found[each.name] = Plugin(each.name, each.module, each.attribute)
    return found


def state_of(folders: Sequence[str]) -> tuple[tuple[str, int, int], ...]:
    """Name, time and size of what lies in folders, but for what begins with an underscore."""
    entries = [entry for folder in folders for entry in os.scandir(folder) if not entry.name.startswith("_")]
    return tuple(sorted((entry.path, entry.stat().st_mtime_ns, entry.stat().st_size) for entry in entries))


def other_plugins(kind: str, own: dict[str, Plugin]) -> dict[str, Plugin]:
    """The entry points of other packages; names that are taken are left out with a warning."""
    found: dict[str, Plugin] = {}
    clashes: set[str] = set()
    for plugin in entry_points(tuple(sys.path)).get(f"protgen.{kind}", ()):
        if plugin.name in own:
            complain(f"{kind} {plugin.title} is left out: protgen has one of that name; rename it there")
        elif plugin.name in found:
            clashes.add(plugin.name)
            complain(f"{kind} {plugin.title} is left out, as is that of {found[plugin.name].package}: same name")
        else:
            found[plugin.name] = plugin
    return {name: plugin for name, plugin in found.items() if name not in clashes}


@functools.lru_cache(maxsize=8)
def entry_points(path: tuple[str, ...]) -> dict[str, tuple[Plugin, ...]]:
    """Entry points of all installed packages in groups of ours, by group; read once for each `sys.path`."""
    found: dict[str, tuple[Plugin, ...]] = {}
    every = importlib.metadata.entry_points()
    for group in (f"protgen.{kind}" for kind in BASES):
        each = set()
        for entry in every.select(group=group):
            package = entry.dist.name if entry.dist is not None else "unknown"
            each.add(Plugin(entry.name, entry.module, entry.attr, package))
        found[group] = tuple(sorted(each, key=lambda plugin: (plugin.name, plugin.package)))
    return found


def complain(message: str) -> None:
    """Warn in the main process; workers of it would only repeat the line."""
    if multiprocessing.parent_process() is None:
        warnings.warn(message, PluginWarning, stacklevel=3)


def locate(kind: str, name: str) -> Plugin:
    """Where the plug-in of a name or of `module:Class` is; the class is not imported.

    Raises:
        ConfigError: if there is none of that name; the message suggests the nearest.
    """
    if not isinstance(name, str):  # a config may say null
        raise ConfigError(f"the name of {kind} is {shown(name)}; give one of {', '.join(names(kind))}")
    if (own := namesake(kind, name)) is not None:
        return own
    known = plugins(kind)
    if name in known:
        return known[name]
    if REFERENCE.fullmatch(name):
        module, _, attribute = name.partition(":")
        return Plugin(name, module, attribute)
    raise ConfigError(f"no {kind} named {name!r}: {nearest(name, sorted(known))}")


def namesake(kind: str, name: str) -> Plugin | None:
    """Protgen's plug-in in the file of that name, where no other package claims it.

    Most plug-ins are in such a file, and reading one file is quicker than reading all.
    """
    if kind not in BASES or not name.isidentifier() or name == "base" or name.startswith("_"):
        return None
    if any(plugin.name == name for plugin in entry_points(tuple(sys.path)).get(f"protgen.{kind}", ())):
        return None
    found = plugins_of(f"protgen.{kind}.{name}", (f"protgen.{kind}.base", BASES[kind]), BASES[kind])
    return next((Plugin(one.name, one.module, one.attribute) for one in found if one.name == name), None)


def find(kind: str, name: str) -> type:
    """The class of a plug-in.

    Args:
        kind: a key of `BASES`.
        name: of a plug-in, or `module:Class`.

    Raises:
        ConfigError: if the name is unknown, or its class cannot be loaded or is no plug-in of that kind.
    """
    return load(kind, locate(kind, name))


def classes(kind: str) -> dict[str, type]:
    """All plug-ins of a kind by name. One of another package that cannot be loaded is left out with a warning."""
    found: dict[str, type] = {}
    for name, plugin in sorted(plugins(kind).items()):
        try:
            found[name] = load(kind, plugin)
        except ConfigError as error:
            if not plugin.package:
                raise
            complain(f"left out: {error}")
    return found


def load(kind: str, plugin: Plugin) -> type:
    """Import the class of a plug-in.

    Raises:
        ConfigError: if it cannot be imported, or is no concrete class of its kind.
    """
    base = getattr(importlib.import_module(f"protgen.{kind}.base"), BASES[kind])
    if plugin.module.startswith(f"protgen.{kind}.") and not plugin.package and ":" not in plugin.name:
        cls = getattr(importlib.import_module(plugin.module), plugin.attribute)
    else:
        cls = import_other(kind, plugin)
    if not inspect.isclass(cls) or not issubclass(cls, base):
        raise ConfigError(f"{kind} {plugin.title} is no {base.__name__}; derive it from {base.__module__}")
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise ConfigError(f"{kind} {plugin.title} is abstract; define {missing}")
    if kind in NAMED:
        check_name(kind, plugin, cls)
    return cls


def import_other(kind: str, plugin: Plugin) -> Any:
    """What another package has under the module and attribute of a plug-in.

    Raises:
        ConfigError: in one line, whatever goes wrong in that package.
    """
    if not plugin.package:
        _named.setdefault(top_of(plugin), top_of(plugin))
    try:
        value = importlib.import_module(plugin.module)
    except ModuleNotFoundError as error:
        if plugin.package or error.name is None or not f"{plugin.module}.".startswith(f"{error.name}."):
            raise ConfigError(cannot_load(kind, plugin, error)) from error
        known = nearest(plugin.module, names(kind))
        raise ConfigError(
            f"no {kind} {plugin.name!r}: there is no module {error.name!r}; install its package or put its folder on "
            f"PYTHONPATH; {known}"
        ) from None
    except (Exception, SystemExit) as error:  # whatever is wrong there is not ours
        raise ConfigError(cannot_load(kind, plugin, error)) from error
    for part in plugin.attribute.split("."):
        if not hasattr(value, part):
            defined = sorted(key for key, each in vars(value).items() if inspect.isclass(each))
            raise ConfigError(f"{kind} {plugin.title}: {plugin.module} has no {part!r}; {nearest(part, defined)}")
        value = getattr(value, part)
    return value


def cannot_load(kind: str, plugin: Plugin, error: BaseException) -> str:
    """The line for a package that cannot be imported."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return f"{kind} {plugin.title} cannot be loaded: {reason}; repair or uninstall it"


def check_name(kind: str, plugin: Plugin, cls: type) -> None:
    """Refuse a class whose own name is missing, another than that of its entry point, or one of protgen's own."""
    declared = getattr(cls, "name", None)
    if not isinstance(declared, str) or not declared:
        raise ConfigError(f"{kind} {plugin.title} has no name; declare the class attribute `name`, a text")
    if ":" in plugin.name:
        own = own_plugins(kind).get(declared)
        if own is not None and (own.module, own.attribute) != (cls.__module__, cls.__qualname__):
            raise ConfigError(f"{kind} {plugin.title} declares the name {declared!r}, which protgen has; rename it")
    elif declared != plugin.name:
        raise ConfigError(f"{kind} {plugin.title} declares the name {declared!r}; make the two the same")


def reference(kind: str, cls: type) -> str:
    """The text under which `find` gives a class back: its registered name, else `module:Class`."""
    for name, plugin in plugins(kind).items():
        if (plugin.module, plugin.attribute) == (cls.__module__, cls.__qualname__):
            return name
    return f"{cls.__module__}:{cls.__qualname__}"


def build(kind: str, name: str, **keywords: Any) -> Any:
    """An instance of a plug-in.

    Raises:
        ConfigError: if the name or a keyword is unknown, a required keyword is missing, or a plain value of a part of
            a model or of a sampler is not of its annotated type.
    """
    plugin = locate(kind, name)
    cls = load(kind, plugin)
    parameters = parameters_of(cls)
    named = [key for key, parameter in parameters.items() if parameter.kind not in VARIADIC]
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        for keyword in keywords:
            if keyword not in named:
                raise ConfigError(f"{name} takes no keyword {keyword!r}: {nearest(keyword, named)}")
    for key in named:
        if parameters[key].default is EMPTY and key not in keywords:
            raise ConfigError(f"{name} needs the keyword {key!r}")
    check_values(kind, name, cls, keywords)
    keywords = grouped(cls, keywords)
    if not is_foreign(cls):
        return cls(**keywords)
    try:
        return cls(**keywords)
    except ProtgenError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ConfigError(f"{kind} {plugin.title} cannot be built: {reason}") from error


def check_values(kind: str, name: str, cls: type, keywords: Mapping[str, Any]) -> None:
    """Refuse values of models and samplers of another type than is annotated, and negative sizes and counts of ours.

    A network may be built with them all the same, and fail where it is used.

    Args:
        kind, name: of the plug-in, for messages.
        cls: its class.
        keywords: flat.

    Raises:
        ConfigError: naming the keyword.
    """
    wrong = misfit(cls, keywords) if kind in (*PARTS, "samplers") else None  # conditions look at their own fields
    if wrong is not None:
        key, wanted = wrong
        raise ConfigError(f"{key} of {name} is {shown(keywords[key])}; give {wanted}")
    if kind not in PARTS or is_foreign(cls):
        return
    parameters = parameters_of(cls)
    for key, value in keywords.items():
        least = 1 if key in WIDTHS else 0
        counts = key in parameters and parameters[key].annotation in (int, int | None)
        if counts and type(value) is int and value < least:
            raise ConfigError(f"{key} of {name} is {value}; give a whole number, at least {least}")


def is_foreign(cls: type) -> bool:
    """Whether a class comes from another package."""
    return cls.__module__.partition(".")[0] != "protgen"


_named: dict[str, str] = {}  # top modules that `module:Class` has named, with what to call them


def top_of(plugin: Plugin) -> str:
    """The first part of the name of its module."""
    return plugin.module.partition(".")[0]


def blamed(error: BaseException) -> str | None:
    """The plug-in package in whose code an exception was raised, None if it was raised elsewhere.

    Of the frames from outside in, the last one of protgen or of a package with entry points decides.
    """
    owners = _named | {top_of(p): p.package for each in entry_points(tuple(sys.path)).values() for p in each}
    found, frame = None, error.__traceback__
    while frame is not None:
        top = str(frame.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if top == "protgen" or top in owners:
            found = None if top == "protgen" else owners[top]
        frame = frame.tb_next
    return found
