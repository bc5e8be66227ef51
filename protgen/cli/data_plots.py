"""The distributions of a store on a terminal, as bars of text, and in a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protgen.data.distributions import Distribution

WIDTH = 80
_EIGHTHS = " ▏▎▍▌▋▊▉"


def bars(found: "Distribution", width: int = WIDTH) -> list[str]:
    """A distribution in lines of at most `width` characters: a heading, then range, bar and count of each bin."""
    names = [f"{low:g}-{high:g}" for low, high in zip(found.edges[:-1], found.edges[1:], strict=True)]
    counts = [f"{count:,}" for count in found.counts.tolist()]
    left, right = max(map(len, names)), max(map(len, counts))
    room = width - left - right - 2
    most = max(1, int(found.counts.max()))
    unknown = f", {found.unknown:,} unknown" if found.unknown else ""
    lines = [f"{found.name}: median {found.median:.3g}{unknown}"]
    for name, text, count in zip(names, counts, found.counts.tolist(), strict=True):
        lines.append(f"{name:>{left}} {bar(count / most, room)} {text:>{right}}")
    return lines


def bar(fraction: float, room: int) -> str:
    """A bar of `room` characters, filled to a fraction; what is not 0 shows.

    Examples:
        >>> bar(0.5, 5)
        '██▌  '
    """
    eighths = max(round(fraction * room * 8), int(fraction > 0))
    full, part = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[part] if part else "")).ljust(room)


def draw(found: "Sequence[Distribution]", path: Path) -> None:
    """Write a picture of the distributions.

    Raises:
        UsageError: if it cannot be written, or the name says no format of pictures.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from protgen.atomic import replacing
    from protgen.errors import UsageError

    formats = FigureCanvasAgg.get_supported_filetypes()
    kind = path.suffix.lower().lstrip(".")
    if kind not in formats:
        raise UsageError(f"--plot {path}: no picture by its name; end it with .png, .pdf or .svg")
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
    for k, own in enumerate(found):
        axes = figure.add_subplot(rows, columns, k + 1)
        axes.bar(own.edges[:-1], own.counts, own.edges[1:] - own.edges[:-1], align="edge", edgecolor="white")
        axes.set(xlabel=own.name, ylabel="items" if own.name != "items of a cluster" else "clusters")
    try:
        with replacing(path) as temporary, temporary.open("xb") as file:
            figure.savefig(file, format=kind, dpi=120)
    except OSError as error:
        raise UsageError(f"--plot {path}: cannot be written: {error.strerror or error}") from None
