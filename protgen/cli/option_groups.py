"""Group the options of a command into dataclasses, so that a command is a short function of a few groups."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, Self, get_origin, get_type_hints


class DynamicGroup(ABC):
    """A group whose options are known only when the command line starts, such as the flags of conditions."""

    @classmethod
    @abstractmethod
    def options(cls) -> list[inspect.Parameter]:
        """A keyword parameter for each option, annotated for Typer."""

    @classmethod
    @abstractmethod
    def collected(cls, values: dict[str, Any]) -> Self:
        """The group of the values of its options."""


def grouped(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of its groups, for Typer to see.

    A parameter whose type is a dataclass of `Annotated[..., typer.Option(...)]` fields becomes one option for each
    field, with its default; a `DynamicGroup` becomes the options that it names. The command receives the group. Every
    other parameter stays as it is.

    Args:
        command: a function whose groups are parameters without a default.

    Raises:
        TypeError: if two groups have an option of one name.

    Example:
        >>> from dataclasses import dataclass
        >>> from typing import Annotated
        >>> @dataclass(frozen=True)
        ... class Size:
        ...     width: Annotated[int, "an option"] = 2
        ...     height: Annotated[int, "an option"] = 3
        >>> @grouped
        ... def area(size: Size) -> int:
        ...     return size.width * size.height
        >>> area(width=5)
        15
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if isinstance(kind, type) and _is_group(kind):
            groups[parameter.name] = kind
            parameters += kind.options() if issubclass(kind, DynamicGroup) else _options_of(kind)
        else:
            parameters.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))
    names = [parameter.name for parameter in parameters]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise TypeError(f"{command.__name__}: options given twice: {', '.join(sorted(twice))}")

    def run(**values: Any) -> Any:
        made = {name: _made(kind, values) for name, kind in groups.items()}
        return command(**made, **values)

    run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # what inspect and Typer read
    return run


def _made(group: Any, values: dict[str, Any]) -> Any:
    """A group from its values, which are taken out of the others."""
    if issubclass(group, DynamicGroup):
        return group.collected({p.name: values.pop(p.name, p.default) for p in group.options()})
    return group(**{f.name: values.pop(f.name) for f in fields(group) if f.name in values})


def _is_group(kind: type) -> bool:
    """Whether a type is a dynamic group, or a dataclass each of whose fields is annotated as an option."""
    if issubclass(kind, DynamicGroup):
        return True
    if not is_dataclass(kind):
        return False
    return all(get_origin(hint) is Annotated for hint in get_type_hints(kind, include_extras=True).values())


def _options_of(group: type) -> list[inspect.Parameter]:
    """One keyword parameter for each field of a dataclass."""
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
