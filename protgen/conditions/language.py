"""The one language of conditions: plain values to conditions and back, for YAML, JSON, flags and Python alike.

    length: 60-100                            # a scalar is parsed by the condition
    radius_of_gyration: {radius: 12.5, weight: 2.0}   # a mapping gives its fields, and a weight
    contacts: {pairs: [[5, 40], [12, 60, 10.0]]}

The same as a list, where a condition may come more than once under a `name:` of its own:

    - length: 80
    - condition: keep_out
      spheres: [[0, 0, 0, 5]]
"""

import functools
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from protgen import registry
from protgen.conditions.base import Condition, Conditions
from protgen.conditions.plain import frozen, shorten, thawed
from protgen.documents import read_text
from protgen.errors import DocumentError, ProtgenError, UsageError
from protgen.types import JSON

FLOAT = r"[-+]?(([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)"
LARGEST_FILE = 1_000_000  # bytes; a file of conditions is a page of text
TAKEN = "give a condition such as Length(80), a list of conditions, or the text of --ss such as L2H16L4H16L2"
PATHS = ("file", "points")  # fields that name a file, also looked for next to the file of conditions


@functools.cache
def class_of(name: str) -> type:
    """The class of a condition; looked up once, as the registry reads its folder each time."""
    return registry.find("conditions", name)


@functools.cache
def name_of(cls: type) -> str:
    """The name that gives a class of conditions back; looked up once."""
    return registry.reference("conditions", cls)


def from_text(name: str, text: str) -> Condition:
    """A condition from its short form.

    Raises:
        UsageError: if there is no such condition, or it cannot read the text.
    """
    return class_of(name).parse(text)


def from_fields(name: str, given: Mapping[str, Any]) -> Condition:
    """A condition from its fields.

    Raises:
        UsageError: naming the field that is unknown, missing or of the wrong type.
    """
    cls = class_of(name)
    known = {field.name: field for field in fields(cls)}
    hints = typing.get_type_hints(cls)
    values = {}
    for key, value in given.items():
        if key not in known:
            raise UsageError(f"{name} has no field {key!r}: {registry.nearest(str(key), list(known))}")
        if not fits(value, hints[key]):
            raise UsageError(f"{name}: {key} is {shorten(value)}; expected {describe_type(hints[key])}")
        values[key] = frozen(value)
    for key, field in known.items():
        if field.default is MISSING and field.default_factory is MISSING and key not in values:
            raise UsageError(f"{name} needs the field {key!r}: {', '.join(known)}")
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:  # a value of the right kind with something strange inside
        raise UsageError(f"{name}: cannot be read ({error}); see its fields: {', '.join(known)}") from error


def from_plain(name: str, value: Any, folder: Path | None = None) -> Conditions:
    """A condition with its weight from a scalar, which it parses, or a mapping of its fields.

    Args:
        name: registry name.
        value: as YAML or JSON has it.
        folder: where relative paths are looked for too.

    Raises:
        UsageError: if it cannot be read.
    """
    if isinstance(value, Mapping):
        given = {key: found(entry, folder) if key in PATHS else entry for key, entry in value.items()}
        weight = given.pop("weight", 1.0)
        return from_fields(name, given) * checked_weight(name, weight)
    if isinstance(value, bool) or value is None:
        value = "" if value is None or value else "no"
    if not isinstance(value, str | int | float):
        raise UsageError(f"{name}: {shorten(value)} is no short form; give text, a number, or a mapping of fields")
    return Conditions.of(from_text(name, found(str(value), folder)))


def from_document(document: Any, folder: Path | None = None) -> Conditions:
    """Conditions from a mapping of names, or from a list of such mappings and of `{condition: NAME, ...}`.

    Raises:
        UsageError: naming the entry that cannot be read.
    """
    entries: list[tuple[Any, Any]] = []
    if isinstance(document, Mapping):
        entries = [one_entry(document)] if "condition" in document else list(document.items())
    elif isinstance(document, Sequence) and not isinstance(document, str):
        for item in document:
            if not isinstance(item, Mapping) or not item:
                raise UsageError(f"conditions: {shorten(item)} is no entry; write NAME: VALUE")
            entries += [one_entry(item)] if "condition" in item else list(item.items())
    elif document is not None:
        raise UsageError(f"conditions: {shorten(document)} is neither a mapping nor a list; write NAME: VALUE")
    result = Conditions()
    for name, value in entries:
        if not isinstance(name, str):
            raise UsageError(f"conditions: {shorten(name)} is no name of a condition")
        result = result & from_plain(name, value, folder)
    return result


def one_entry(item: Mapping) -> tuple[Any, JSON]:
    """Name and fields of `{condition: NAME, field: value, ...}`."""
    return item["condition"], {key: value for key, value in item.items() if key != "condition"}


def read_conditions(path: Path) -> Conditions:
    """Conditions of a YAML or JSON file.

    Raises:
        UsageError: naming the file, and what in it cannot be read.
    """
    import yaml

    try:
        document = yaml.load(read_text(path, LARGEST_FILE), Loader=strict_loader())
    except DocumentError as error:
        raise UsageError(f"{error}; give a YAML file of conditions") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        what = getattr(error, "problem", None) or "cannot be read as YAML"
        raise UsageError(f"{path}: {where}{what}; write NAME: VALUE, one condition a line") from error
    try:
        conditions = from_document(document, path.parent)
    except ProtgenError as error:
        raise type(error)(f"{path}: {error}") from error
    if not conditions:
        raise UsageError(f"{path}: holds no conditions; write NAME: VALUE, one condition a line")
    return conditions


@functools.cache
def strict_loader() -> type:
    """PyYAML's safe loader, with numbers as JSON has them and without what a page of conditions does not need.

    It refuses a key given twice, and references, with which a page can stand for gigabytes. `1:00`, `0x10`, `010`,
    `1_0` and dates, all numbers or more to YAML 1.1, are text.
    """
    import yaml

    class Strict(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                mark = self.peek_event().start_mark
                raise yaml.constructor.ConstructorError(None, None, "references (*) are not read", mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict:
            seen = set()
            for key, _ in node.value:
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
                if isinstance(key.value, str):
                    seen.add(key.value)
            return super().construct_mapping(node, deep)

    words = {"bool", "null", "merge"}
    Strict.yaml_implicit_resolvers = {
        first: [(tag, found) for tag, found in resolvers if tag.rpartition(":")[2] in words]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for tag, number in (("int", r"[-+]?(0|[1-9][0-9]*)"), ("float", FLOAT)):
        Strict.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{number})$"), list("-+.0123456789"))
    return Strict


def to_plain(condition: Condition) -> JSON:
    """A condition as JSON: its name and its fields; functions by their name, which cannot be read back.

    The name is `module:Class` where no package has registered the class.
    """
    return {"condition": name_of(type(condition))} | {
        field.name: thawed(getattr(condition, field.name))
        for field in fields(condition)  # type: ignore[arg-type]
    }


def to_document(conditions: Sequence[Condition]) -> list[JSON]:
    """Conditions as JSON, weights that are not 1 included; `from_document` gives them back."""
    held = Conditions.of(conditions)
    entries = zip(held.items, held.weights, strict=True)
    return [to_plain(own) | ({} if weight == 1 else {"weight": weight}) for own, weight in entries]


def checked_weight(name: str, weight: Any) -> float:
    """The weight of a condition.

    Raises:
        UsageError: if it is no number.
    """
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise UsageError(f"{name}: weight {shorten(weight)}; give a number")
    return float(weight)


def found(text: Any, folder: Path | None) -> Any:
    """Text whose first word names a file beside the file of conditions, with its folder before it."""
    if folder is None or not isinstance(text, str) or not text.strip():
        return text
    first, blank, rest = text.strip().partition(" ")
    if "\0" in first or len(first) > 1000 or Path(first).is_absolute() or not (folder / first).is_file():
        return text
    return f"{folder / first}{blank}{rest}"


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value is of an annotated type; what is inside sequences is left to the condition."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        kind = typing.get_origin(option) or option
        if kind is type(None):
            good = value is None
        elif kind is bool:
            good = isinstance(value, bool)
        elif kind is float:
            good = isinstance(value, int | float) and not isinstance(value, bool)
        elif kind is int:
            good = isinstance(value, int) and not isinstance(value, bool)
        elif kind is tuple:
            good = isinstance(value, list | tuple)
        elif kind is str:
            good = isinstance(value, str)
        else:
            good = callable(value)
        if good:
            return True
    return False


def describe_type(hint: Any) -> str:
    """An annotated type in words."""
    words = {float: "a number", int: "a whole number", bool: "true or false", tuple: "a list", str: "text"}
    words[type(None)] = "nothing"
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return " or ".join(words.get(typing.get_origin(option) or option, "a Python function") for option in options)


def as_conditions(given: object) -> Conditions:
    """Conditions from what Python users write: a condition, several, or the text of `--ss`.

    Raises:
        UsageError: for anything else, naming its type.
    """
    if isinstance(given, str):
        return Conditions.of(from_text("secondary_structure", given))
    if isinstance(given, Condition):
        return Conditions.of(given)
    if isinstance(given, Sequence):
        for entry in given:
            if not isinstance(entry, Condition):
                raise UsageError(f"conditions hold a {type(entry).__name__}, {shorten(entry)}; {TAKEN}")
        return Conditions.of(given)
    raise UsageError(f"conditions are a {type(given).__name__}, {shorten(given)}; {TAKEN}")
