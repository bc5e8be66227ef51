"""The plots of a report for a paper: PNG and SVG by matplotlib."""

import base64
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from protgen.evaluation.native_control import NativeControl, native_control
from protgen.evaluation.plots import PANELS
from protgen.evaluation.reference import Reference
from protgen.evaluation.report_figures import report_figures
from protgen.evaluation.result import EvaluationResult
from protgen.evaluation.showcase import choose
from protgen.evaluation.tables import make_folder, writing
from protgen.structure.picture import draw_backbones
from protgen.structure.protein import Protein

FORMATS = ("png", "svg")
SIZE = (3.5, 3.0)  # inches; one column of a journal
MOST_DRAWN = 8  # ribbons
GREY = "#8a9099"


def write_figures(
    result: EvaluationResult,
    out: str | PathLike[str],
    reference: Reference | None = None,
    control: NativeControl | None = None,
) -> Path:
    """Write every plot of the report, and ribbons of the structures it shows, into `figures/`.

    Args:
        result: of an evaluation with at least one structure that could be read.
        out: folder of the results.
        reference: natives, for the control in the plot of folds.
        control: these natives measured, if that is done already.

    Returns:
        The folder.

    Raises:
        UsageError: if it cannot be written.
    """
    folder = Path(out) / "figures"
    make_folder(folder)
    figures = report_figures(result, control or native_control(result, reference))
    drawn = ribbons_of(result)
    titles = [title for title, _ in drawn]
    with writing(folder):
        for name, (_, _, figure) in figures.items():
            _draw(figure.to_plotly_json(), folder / name)
        for kind in FORMATS if drawn else ():
            draw_backbones([protein for _, protein in drawn], folder / f"ribbons.{kind}", titles=titles)
    return folder


def ribbons_of(result: EvaluationResult) -> list[tuple[str, Protein]]:
    """The structures to draw, some of every set, each with its name and that of its set where there are several."""
    shown = [one for one in choose(result.rows, result.sets) if one.kind != "worst"]
    names = list(dict.fromkeys(result.sets))
    found = []
    for name in names:
        rows = list(dict.fromkeys(one.row for one in shown if result.sets[one.row] == name))
        proteins = [protein for row in rows if (protein := result.proteins[row]) is not None]
        whole = [protein for protein in proteins if protein.mask[:, :4].all(axis=1).sum() > 1]
        title = f"{name[:20]}: " if len(names) > 1 else ""
        found += [(title + protein.name[:24], protein) for protein in whole[: max(2, MOST_DRAWN // len(names))]]
    return found


def _draw(figure: dict[str, Any], stem: Path) -> None:
    """Draw the traces of one plotly figure that have a counterpart on paper."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layout = figure["layout"]
    panels = list(dict.fromkeys(str(trace.get("xaxis") or "x") for trace in figure["data"]))
    columns = min(len(panels), PANELS)
    rows = -(-len(panels) // columns)
    page = Figure(figsize=(SIZE[0] * columns, SIZE[1] * rows), dpi=300, layout="constrained")
    FigureCanvasAgg(page)
    bars = [trace for trace in figure["data"] if trace["type"] == "bar"]
    axes = page.add_subplot(rows, columns, 1)
    titles = [entry["text"] for entry in layout.get("annotations", ())]
    for number, panel in enumerate(panels):
        axes = axes if number == 0 else page.add_subplot(rows, columns, number + 1)
        for trace in figure["data"]:
            if str(trace.get("xaxis") or "x") != panel:
                continue
            plain = {key: _unpacked(value) for key, value in trace.items()}
            if trace["type"] == "bar":
                _draw_bars(axes, plain, bars.index(trace), len(bars))
            else:
                _draw_trace(axes, plain)
        _dress(axes, layout, panel.removeprefix("x"), small=bool(bars))
        if titles:
            axes.set_title(titles[number], fontsize=8)
    _add_legend(page, page.axes[0])
    for kind in FORMATS:
        page.savefig(stem.with_suffix(f".{kind}"))


def _dress(axes: Any, layout: dict[str, Any], number: str, small: bool) -> None:
    """Limits, labels and ticks of one panel, as its layout has them.

    Args:
        axes: of the panel.
        layout: of the plotly figure.
        number: of its axes there, "" for the first.
        small: whether ticks have long labels.
    """
    from matplotlib.ticker import MultipleLocator

    for axis in "xy":
        entry = layout.get(f"{axis}axis{number}", {})
        if "dtick" in entry:
            getattr(axes, f"{axis}axis").set_major_locator(MultipleLocator(entry["dtick"]))
        getattr(axes, f"set_{axis}label")(entry.get("title", {}).get("text", ""), fontsize=9)
        if "range" in entry:
            getattr(axes, f"set_{axis}lim")(*entry["range"])
    if layout.get(f"yaxis{number}", {}).get("scaleanchor"):
        axes.set_aspect("equal")
    axes.tick_params(labelsize=5 if small else 8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _add_legend(page: Any, axes: Any) -> None:
    """A legend above the axes, where it hides no data; marks of one size, as points of a dense plot are too small."""
    from matplotlib.collections import PathCollection

    if axes.get_legend_handles_labels()[1]:
        handles, labels = axes.get_legend_handles_labels()
        legend = page.legend(
            handles, labels, loc="outside upper left", fontsize=7, frameon=False, ncols=2, columnspacing=1.0
        )
        for handle in legend.legend_handles:
            if isinstance(handle, PathCollection):
                handle.set(sizes=[16], alpha=1)


def _draw_bars(axes: Any, trace: dict[str, Any], place: int, n: int) -> None:
    """One set's bars next to those of the others: the `place`-th of n at each name."""
    width = 0.8 / n
    at = np.arange(len(trace["x"]))
    axes.bar(at + (place - (n - 1) / 2) * width, trace["y"], width, color=trace["marker"]["color"], label=trace["name"])
    axes.set_xticks(at, trace["x"], rotation=90)


def _draw_trace(axes: Any, trace: dict[str, Any]) -> None:
    name = trace.get("name") or None
    if trace["type"] == "contour":
        style = ":" if trace["line"].get("dash") == "dot" else "-"
        z = np.asarray(trace["z"])
        axes.contour(trace["x"], trace["y"], z, levels=[0.5], colors=GREY, linewidths=0.8, linestyles=style)
        axes.plot([], [], style, color=GREY, linewidth=0.8, label=name)  # for the legend: a contour has no entry
    elif trace["type"] == "histogram":
        bins = trace["xbins"]
        values = np.asarray(trace["x"], dtype=float)
        edges = np.arange(bins["start"], bins["end"] + bins["size"], bins["size"])
        weights = np.full(len(values), 100.0 / max(1, len(values)))
        axes.hist(values, edges, weights=weights, color=trace["marker"]["color"], alpha=0.6, label=name)
    elif trace.get("mode") == "lines":
        style = ":" if trace["line"].get("dash") == "dot" else "-"
        axes.plot(trace["x"], trace["y"], style, color=GREY, linewidth=0.9, label=name)
    else:
        size = np.asarray(_unpacked(trace["marker"]["size"]), dtype=float)
        small = float(trace["marker"].get("opacity", 1)) < 0.5
        axes.scatter(
            _plain(trace["x"]),
            _plain(trace["y"]),
            s=1.5 if small else size * 1.6,
            color=trace["marker"]["color"],
            alpha=trace["marker"].get("opacity", 1),
            linewidths=0,
            label=name,
            rasterized=small,
            zorder=2 + 1 / (1 + len(trace["x"])),  # small sets over large ones
        )


def _unpacked(value: Any) -> Any:
    """Plotly writes numbers as base64 of their bytes; here they are an array again."""
    if not (isinstance(value, dict) and "bdata" in value):
        return value
    array = np.frombuffer(base64.b64decode(value["bdata"]), dtype=np.dtype(value["dtype"]))
    shape = [int(n) for n in str(value.get("shape", len(array))).split(",")]
    return array.reshape(shape)


def _plain(values: Sequence[float]) -> np.ndarray:
    return np.asarray(values, dtype=float)
