"""Numbers on the command line: decimal digits alone, for every option of every command.

The parser takes what Python's `int` and `float` take: `1_0`, digits of other scripts, `nan`. Here they are no numbers.
"""

from typing import Any, get_args

import typer

from protgen.documents import number_in, whole_number_in

KINDS = {int: (whole_number_in, "a whole number"), float: (number_in, "a number")}
NAMES = {"IntParamType": int, "FloatParamType": float}  # of the parser's types, in releases of Typer that have them


def with_plain_numbers(command: Any) -> Any:
    """Make a command and those below it take plain numbers alone; returns the command.

    Args:
        command: of the parser, as Typer makes it.
    """
    for parameter in command.params:
        kind = kind_of(parameter)
        if kind is not None:
            _watch(parameter, kind)
    for inner in getattr(command, "commands", {}).values():
        with_plain_numbers(inner)
    return command


def kind_of(parameter: Any) -> type | None:
    """`int` or `float` where a parameter is one or several of them; None for any other."""
    descriptor = getattr(parameter, "type_descriptor", None)  # of releases whose parameters have no types of a parser
    if descriptor is None:
        return next((NAMES[base.__name__] for base in type(parameter.type).__mro__ if base.__name__ in NAMES), None)
    annotation = descriptor.annotation
    return next((kind for kind in (annotation, *get_args(annotation)) if kind in (int, float)), None)


def _watch(parameter: Any, kind: type) -> None:
    """Look at the texts of a parameter before the parser reads them."""
    read, what = KINDS[kind]
    process = parameter.process_value

    def checked(context: Any, value: Any) -> Any:
        for text in value if isinstance(value, list | tuple) else [value]:
            if not isinstance(text, str):
                continue
            try:
                read(text)
            except ValueError:
                shown = text if len(text) <= 40 else f"{text[:37]}..."
                message = f"{shown!r} is not {what} in decimal digits"
                raise typer.BadParameter(message, ctx=context, param=parameter) from None
        return process(context, value)

    parameter.process_value = checked
