"""The interactive figures of a report, as plotly figures; colours that depend on the theme are set in the page."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from protgen.evaluation.sets import Compared
from protgen.metrics.base import Value
from protgen.metrics.fold import ARCHITECTURES
from protgen.metrics.reference_data import native_statistics, ramachandran_reference, typical_radius_of_gyration
from protgen.structure.links import backbone_torsions
from protgen.structure.protein import Protein

PALETTE = ("#2f6db5", "#d2723c", "#3f9b6c", "#9a5fb0", "#c2a12e", "#4aa3b8", "#c0507a", "#7a7f87")
NATIVE = "#8a9099"
MOST_TORSIONS = 6000  # points drawn of each set; evenly thinned, so that the page stays quick
PANELS = 3  # Ramachandran plots side by side
PANEL_HEIGHT = 330  # pixels
MOST_TITLE = 28  # characters of a set's name above its panel
LEAST_FRACTION = 0.01  # mean probability in some set below which an architecture has no bar
DEGREES = {"range": [-180, 180], "dtick": 60, "zeroline": False}

Rows = Sequence[dict[str, Value]]


def colour_of(names: Sequence[str]) -> dict[str, str]:
    """A colour for each set, in order of appearance."""
    return {name: PALETTE[k % len(PALETTE)] for k, name in enumerate(dict.fromkeys(names))}


def column(rows: Rows, name: str) -> np.ndarray:
    """(n,) values of a column; NaN where there is none."""
    values = [row.get(name) for row in rows]
    return np.array([float(v) if isinstance(v, int | float) else np.nan for v in values])


def ramachandran_plot(proteins: Sequence[Protein], names: Sequence[str]) -> go.Figure:
    """phi and psi of every residue over the contours of the training natives (98 % and 99.95 %, general class).

    One panel a set, all alike: points of several sets in one panel hide each other.

    Args:
        proteins: of all sets.
        names: (n,) the set of each.
    """
    colours = colour_of(names)
    columns = min(len(colours), PANELS)
    rows = -(-len(colours) // columns)
    several = len(colours) > 1
    titles = [name if len(name) <= MOST_TITLE else f"{name[: MOST_TITLE - 3]}..." for name in colours]
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=titles if several else None,
        horizontal_spacing=0.06 if several else None,
        vertical_spacing=0.22 / rows if several else None,
    )
    for place, (name, colour) in enumerate(colours.items()):
        row, col = place // columns + 1, place % columns + 1
        for contour in _native_contours(legend=place == 0):
            figure.add_trace(contour, row=row, col=col)
        own = [protein for protein, its in zip(proteins, names, strict=True) if its == name]
        figure.add_trace(_torsion_points(own, name, colour), row=row, col=col)
        anchor = f"x{place + 1 if place else ''}"
        figure.update_xaxes(title={"text": "phi, deg"}, **DEGREES, constrain="domain", row=row, col=col)
        # the axes end at 180 degrees, whatever the window
        figure.update_yaxes(**DEGREES, scaleanchor=anchor, constrain="domain", row=row, col=col)
        if col == 1:
            figure.update_yaxes(title={"text": "psi, deg"}, row=row, col=col)
    if several:
        figure.update_layout(height=60 + rows * PANEL_HEIGHT)
    return figure


def _native_contours(legend: bool) -> list[go.Contour]:
    reference = ramachandran_reference()
    grid = reference.log_density[0]
    at = np.linspace(-180, 180, len(grid) + 1)
    closed = np.pad(grid, ((0, 1), (0, 1)), mode="wrap")
    return [
        go.Contour(
            x=at,
            y=at,
            z=(level <= closed.T).astype(np.uint8),
            contours={"start": 0.5, "end": 0.5, "size": 1, "coloring": "none"},
            line={"color": NATIVE, "width": 1.4, "dash": "dot" if "99" in label else "solid"},
            showscale=False,
            name=label,
            showlegend=legend,
            hoverinfo="skip",
        )
        for level, label in ((reference.allowed[0], "99.95 % of natives"), (reference.favoured[0], "98 % of natives"))
    ]


def _torsion_points(proteins: Sequence[Protein], name: str, colour: str) -> go.Scattergl:
    torsions = [np.rad2deg(np.stack(backbone_torsions(protein)[:2])) for protein in proteins]
    both = np.concatenate([np.zeros((2, 0)), *torsions], axis=1)
    both = both[:, np.isfinite(both).all(axis=0)]
    both = both[:, :: max(1, -(-both.shape[1] // MOST_TORSIONS))]
    marker = {"color": colour, "size": 3.5, "opacity": 0.45}
    return go.Scattergl(x=_short(both[0], 1), y=_short(both[1], 1), mode="markers", marker=marker, name=name)


def compactness_plot(rows: Rows, names: Sequence[str]) -> go.Figure:
    """Rg by length, with the median of the training natives and 15 % about it."""
    figure = go.Figure()
    lengths = column(rows, "length")
    table = native_statistics()["radius_of_gyration"]["length"]
    top = max(float(np.nanmax(lengths, initial=60)) * 1.05, 60.0)
    at = np.unique(np.round(np.geomspace(min(30.0, float(table[0])), top, 60)))
    median = np.array([typical_radius_of_gyration(int(n)) for n in at])
    for factor, label, dash in ((1.0, "natives, median", "solid"), (0.85, "natives ± 15 %", "dot"), (1.15, "", "dot")):
        line = {"color": NATIVE, "width": 1.4, "dash": dash}
        figure.add_trace(
            go.Scatter(
                x=at.tolist(), y=_short(median * factor), mode="lines", line=line, name=label, showlegend=bool(label),
                hoverinfo="skip",
            )
        )  # fmt: skip
    _add_points(figure, rows, names, lengths, column(rows, "rg"))
    figure.update_layout(xaxis={"title": {"text": "residues"}}, yaxis={"title": {"text": "Rg, Å"}})
    return figure


def structure_plot(rows: Rows, names: Sequence[str]) -> go.Figure:
    """Fraction of strand by fraction of helix: one point a structure."""
    figure = go.Figure()
    _add_points(figure, rows, names, 100 * column(rows, "helix"), 100 * column(rows, "strand"))
    figure.update_layout(
        xaxis={"title": {"text": "helix, %"}, "range": [-3, 103]},
        yaxis={"title": {"text": "strand, %"}, "range": [-3, 83]},
    )
    return figure


def histogram(rows: Rows, names: Sequence[str], metric: str, title: str, scale: float = 1.0) -> go.Figure:
    """How one number is distributed in each set, as fractions of the set.

    Args:
        rows: of the table.
        names: the set of each row.
        metric: column to plot.
        title: of the x axis.
        scale: factor of the values, 100 for percent.
    """
    figure = go.Figure()
    values = scale * column(rows, metric)
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    width = max((high - low) / 30, 0.001 * max(abs(low), abs(high), 1e-3))  # of one value as well, a bar to be seen
    for name, colour in colour_of(names).items():
        mine = values[np.array(names) == name]
        figure.add_trace(
            go.Histogram(
                x=_short(mine[np.isfinite(mine)]),
                xbins={"start": low, "end": high + width, "size": width},
                histnorm="percent",
                marker={"color": colour},
                opacity=0.6,
                name=name,
            )
        )
    alone = {"range": [low - 15 * width, high + 16 * width]} if high - low < width else {}
    figure.update_layout(
        barmode="overlay", xaxis={"title": {"text": title}, **alone}, yaxis={"title": {"text": "% of the set"}}
    )
    return figure


def architecture_plot(
    fractions: Mapping[str, Mapping[str, float] | None], natives: Mapping[str, float] | None
) -> go.Figure:
    """Bars of the mean probability of each CATH architecture: a colour a set, natives in grey.

    Args:
        fractions: of each set, by CATH code; None for sets with too few structures, one at least has them.
        natives: the same of natives.
    """
    figure = go.Figure()
    colours = colour_of(list(fractions))
    entries = [(name, fraction, colours[name]) for name, fraction in fractions.items() if fraction is not None]
    if natives:
        entries.append(("natives", natives, NATIVE))
    codes = list(entries[0][1])
    most = {code: max(fraction[code] for _, fraction, _ in entries) for code in codes}
    codes = [code for code in codes if most[code] >= LEAST_FRACTION]
    for name, fraction, colour in entries:
        figure.add_trace(
            go.Bar(
                x=[f"{code} {ARCHITECTURES.get(code, '')}".strip() for code in codes],
                y=_short(100 * np.array([fraction[code] for code in codes]), 2),
                marker={"color": colour},
                name=name,
            )
        )
    figure.update_layout(barmode="group", xaxis={"tickangle": -45, "automargin": True}, bargap=0.25)
    figure.update_layout(yaxis={"title": {"text": "mean probability, %"}})
    return figure


def cluster_map(compared: Compared, rows: Rows, names: Sequence[str]) -> go.Figure:
    """The structures in the plane so that 1 - TM is kept as well as two dimensions can (classical scaling).

    Args:
        compared: all pairs of structures compared.
        rows: of the table, with clusters.
        names: the set of each row.
    """
    places = classical_scaling(1.0 - compared.tm)
    figure = go.Figure()
    members = [rows[k] for k in compared.members.tolist()]
    of_set = [str(names[k]) for k in compared.members.tolist()]
    _add_points(figure, members, of_set, places[:, 0], places[:, 1], outlined="representative")
    figure.update_layout(
        xaxis={"title": {"text": "first coordinate of 1 - TM"}, "zeroline": False},
        yaxis={"title": {"text": "second coordinate"}, "zeroline": False, "scaleanchor": "x"},
    )
    return figure


def classical_scaling(distances: np.ndarray) -> np.ndarray:
    """(n, 2) coordinates by the two largest eigenvectors of the centred squared distances (Torgerson, 1952).

    Examples:
        >>> bool(np.isclose(np.ptp(classical_scaling(np.array([[0.0, 2.0], [2.0, 0.0]]))[:, 0]), 2.0))
        True
    """
    square = distances**2
    centred = -0.5 * (square - square.mean(axis=0) - square.mean(axis=1)[:, None] + square.mean())
    values, vectors = np.linalg.eigh(centred)
    places = np.zeros((len(distances), 2))
    for axis in range(min(2, len(values))):
        vector = vectors[:, -1 - axis]
        vector = vector * np.sign(vector[np.abs(vector).argmax()])  # one sign, whatever the library returns
        places[:, axis] = vector * np.sqrt(max(values[-1 - axis], 0.0))
    return places


def _add_points(
    figure: go.Figure,
    rows: Rows,
    names: Sequence[str],
    x: np.ndarray,
    y: np.ndarray,
    outlined: str = "",
) -> None:
    """One trace a set, each point named by its file."""
    of_set = np.array(names)
    for name, colour in colour_of(names).items():
        mine = np.flatnonzero((of_set == name) & np.isfinite(x) & np.isfinite(y)).tolist()
        text = [str(rows[k]["file"]) for k in mine]
        marker: dict = {"color": colour, "size": 7, "opacity": 0.75}
        if outlined:
            text = [f"{t}<br>cluster {rows[k].get('cluster', '')}" for t, k in zip(text, mine, strict=True)]
            marker["size"] = [11 if rows[k].get(outlined) == 1 else 6 for k in mine]
        figure.add_trace(
            go.Scattergl(
                x=_short(x[mine]),
                y=_short(y[mine]),
                mode="markers",
                marker=marker,
                text=text,
                name=name,
                hovertemplate="%{text}<br>%{x:.3g}, %{y:.3g}<extra></extra>",
            )
        )


def _short(values: np.ndarray, digits: int = 3) -> list[float]:
    """Plain rounded numbers: a page half the size."""
    return np.round(np.asarray(values, dtype=float), digits).tolist()
