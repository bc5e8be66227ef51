"""What commands print: results on stdout, the rest on stderr; a bar on a terminal, plain lines in a log."""

import json
import math
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Protocol

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
PLAIN_LINE_SECONDS = 10.0  # least time between two progress lines of a log


class Update(Protocol):
    """Shows on a progress display how much of the work is done."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show `done` of `total`, with a short note behind."""


def stdout() -> Console:
    """Where results go. `soft_wrap` stays off: tables fit the width, paths may wrap."""
    return Console(highlight=False)


def stderr() -> Console:
    """Where progress, warnings and errors go."""
    return Console(stderr=True, highlight=False)


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout, for scripts and workflow managers; what is not finite becomes null.

    Args:
        content: the object; paths and other values without a JSON form are written as text.
    """
    from protgen.atomic import unicode_text
    from protgen.documents import finite

    def as_text(value: Any) -> str:
        return unicode_text(str(value))

    json.dump(finite(content), sys.stdout, ensure_ascii=False, indent=2, default=as_text, allow_nan=False)
    sys.stdout.write("\n")
    sys.stdout.flush()


def say_error(message: str) -> None:
    """One line: what happened, where, and what to do."""
    line = " ".join(str(message).split())
    stderr().print(f"[bold red]error:[/] {escape(line)}", soft_wrap=True)


def number_of(value: float | None) -> float:
    """A number from JSON, where null stands for one that does not exist."""
    return math.nan if value is None else float(value)


def warn(message: str) -> None:
    """One line of warning."""
    stderr().print(f"[yellow]warning:[/] {escape(message)}", soft_wrap=True)


def warnings_in_words(counts: Mapping[str, int]) -> str:
    """Reader warnings in one line, the most frequent first."""
    from protgen.structure.read_warnings import noticed

    ranked = sorted(counts.items(), key=lambda entry: -entry[1])
    return "; ".join(noticed(code, n) for code, n in ranked)


@contextmanager
def own_warnings() -> Iterator[None]:
    """Print warnings of ours as lines, each once; other warnings stay as Python prints them."""
    from protgen.errors import ProtgenWarning

    said: set[str] = set()
    with warnings.catch_warnings():
        before = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, ProtgenWarning):
                before(message, category, *where, **more)
            elif str(message) not in said:
                said.add(str(message))
                warn(str(message))

        warnings.simplefilter("always", ProtgenWarning)
        warnings.showwarning = show
        yield


def escape(text: str) -> str:
    """Text in which square brackets are no markup, and which is Unicode."""
    from rich.markup import escape as rich_escape

    from protgen.atomic import unicode_text

    return rich_escape(unicode_text(text))


def table(*columns: str, title: str | None = None) -> Table:
    """A table in the house style; columns whose name starts with `<` are text, the others numbers."""
    result = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=title, title_justify="left")
    for name in columns:
        text = name.startswith("<")
        result.add_column(name.lstrip("<"), justify="left" if text else "right", no_wrap=not text, overflow="fold")
    return result


@contextmanager
def progress(label: str) -> Iterator[Update]:
    """A progress display on stderr, gone when the work is done; plain lines where it is no terminal."""
    console = stderr()
    if not console.is_terminal:
        yield _PlainLines(label, console)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console, transient=True) as bar:
        task = bar.add_task(label, total=None, note="")

        def update(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total, note=escape(note))

        yield update


class _PlainLines:
    """Progress for a log: the first report, then one every few seconds, and the last."""

    def __init__(self, label: str, console: Console) -> None:
        self.label = label
        self.console = console
        self.said = 0.0
        self.start = time.monotonic()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if done < total and now - self.said < PLAIN_LINE_SECONDS:
            return
        self.said = now
        tail = f", {note}" if note else ""
        self.console.print(f"{self.label}: {done} of {total}, {now - self.start:.0f} s{tail}", soft_wrap=True)
