"""Ribbon pictures of backbones: helices red, strands blue with arrows, loops grey; near is crisp, far fades.

A chain becomes a tube whose cross-section follows its secondary structure; the tube becomes small
quadrilaterals, shaded, sorted by depth and painted from back to front. No viewer, no GPU.

References: Carson & Bugg, J. Mol. Graph. 4:121 (1986), for ribbons along the peptide planes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from protgen.errors import UsageError
from protgen.structure.dssp import dssp
from protgen.structure.links import links
from protgen.structure.protein import CA, C, O, Protein
from protgen.structure.shaded import CELL, DPI, ENDS_GREY, TITLE_GREY, Grid, Shaded

COLOURS = {"H": "#d2423c", "E": "#2f6db5", "C": "#b4bac2"}
HALF_WIDTH = {"H": 1.45, "E": 1.4, "C": 0.28}  # Å, of the cross-section along the ribbon
HALF_THICKNESS = {"H": 0.28, "E": 0.28, "C": 0.28}  # Å, across it
ARROW = 2.5  # Å, half width where an arrow head begins
PER_RESIDUE = 7  # cross-sections a residue, on paper
AROUND = 10  # points around a cross-section, on paper
LIGHT = np.array([-0.35, 0.55, 0.76])
FOG = 0.5  # fraction of white at the far end
VECTOR = (".svg", ".pdf")  # by matplotlib, whose import takes longer than all drawings of a PNG
OUTLINE_DEPTH = 0.9  # Å; a surface this far behind another gets a dark outline between them


@dataclass(frozen=True)
class Facets:
    """One drawing: corners (n, 4, 3) of quadrilaterals, their colours (n, 3), the chain ends (2, 3); Å."""

    corners: np.ndarray
    colours: np.ndarray
    ends: np.ndarray


NOTHING = Facets(np.zeros((0, 4, 3)), np.zeros((0, 3)), np.zeros((0, 3)))


def draw_backbones(
    proteins: Sequence[Protein],
    path: str | PathLike[str] | BinaryIO,
    columns: int = 4,
    titles: Sequence[str] | None = None,
) -> None:
    """Draw proteins as ribbons on a grid and write a picture.

    All are drawn at one scale, each turned so that its longest axis lies across and its shortest in depth.

    Args:
        proteins: what to draw; only residues with all of N, CA, C, O appear.
        path: .png, .svg or .pdf; an open file gets a PNG.
        columns: drawings a row.
        titles: a line above each drawing.

    Raises:
        UsageError: if there is nothing to draw, or titles do not match.
    """
    if not proteins:
        raise UsageError("no protein to draw; give at least one")
    if titles is not None and len(titles) != len(proteins):
        raise UsageError(f"{len(titles)} titles for {len(proteins)} proteins; give one each")
    drawings = [ribbon(protein) for protein in proteins]
    x, y = (
        2.0 + max(float(np.abs(drawing.corners[..., axis]).max(initial=1.0)) for drawing in drawings) for axis in (0, 1)
    )
    grid = Grid(len(proteins), min(columns, len(proteins)), x, y, titles)
    painted = [shaded(drawing) for drawing in drawings]
    if isinstance(path, str | PathLike) and Path(path).suffix.lower() in VECTOR:
        save_by_matplotlib(painted, grid, path)
    else:
        from protgen.structure.raster import save_png

        save_png(painted, grid, path)


def save_by_matplotlib(painted: Sequence[Shaded], grid: Grid, path: str | PathLike[str]) -> None:
    """Write an SVG or a PDF.

    Args:
        painted: the drawings.
        grid: where they stand.
        path: the file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(CELL * grid.columns, grid.height * grid.rows), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    for number, drawing in enumerate(painted):
        axes = figure.add_subplot(grid.rows, grid.columns, number + 1)
        paint(axes, drawing)
        axes.set(xlim=(-grid.x, grid.x), ylim=(-grid.y, grid.y), aspect="equal")
        axes.axis("off")
        if grid.titles is not None:
            axes.set_title(grid.titles[number], fontsize=8, color=TITLE_GREY, pad=3)
    top = 1 - grid.title_height / (grid.height * grid.rows)
    figure.subplots_adjust(0, 0, 1, top, wspace=0, hspace=grid.title_height / (grid.height - grid.title_height))
    figure.savefig(path)


def ribbon(protein: Protein, *, per_residue: int = PER_RESIDUE, around: int = AROUND, turned: bool = True) -> Facets:
    """The facets of one protein.

    Args:
        protein: with whole backbones where it is to be seen.
        per_residue: cross-sections a residue.
        around: points around a cross-section.
        turned: whether in view coordinates; else in those of the protein, as for several that lie on each other.
    """
    complete = np.asarray(protein.mask[:, :4].all(axis=1))
    seen = protein.select(complete)
    if seen.length < 2:
        return NOTHING
    codes = tidy(dssp(seen))
    backbone = view(seen.backbone) if turned else seen.backbone
    joints = links(seen)
    starts = [0, *(np.flatnonzero(joints.broken | ~joints.same_chain) + 1).tolist(), len(backbone)]
    pieces = [tube(backbone[a:b], codes[a:b], per_residue, around) for a, b in pairwise(starts) if b - a > 1]
    if not pieces:
        return NOTHING
    return Facets(
        np.concatenate([piece.corners for piece in pieces]),
        np.concatenate([piece.colours for piece in pieces]),
        np.stack([pieces[0].ends[0], pieces[-1].ends[1]]),
    )


def tidy(codes: str) -> str:
    """Secondary structure without runs too short to draw: helices under 4 residues and strands under 2."""
    result = list(codes)
    start = 0
    for i in range(1, len(codes) + 1):
        if i == len(codes) or codes[i] != codes[start]:
            if i - start < {"H": 4, "E": 2}.get(codes[start], 1):
                result[start:i] = "C" * (i - start)
            start = i
    return "".join(result)


def view(backbone: np.ndarray) -> np.ndarray:
    """Coordinates (..., 3) turned, never mirrored: longest principal axis along x, shortest in depth."""
    centred = backbone - backbone[:, CA].mean(axis=0)
    _, _, axes = np.linalg.svd(centred[:, CA], full_matrices=False)
    if len(axes) < 3:
        axes = np.eye(3)
    # The first end of the chain comes left and below, so that like folds look alike.
    for row in (0, 1):
        if (centred[0, CA] - centred[-1, CA]) @ axes[row] > 0:
            axes[row] = -axes[row]
    axes[2] = np.cross(axes[0], axes[1])
    return centred @ axes.T


def tube(backbone: np.ndarray, codes: str, per_residue: int = PER_RESIDUE, around: int = AROUND) -> Facets:
    """Facets along one unbroken stretch of chain.

    Args:
        backbone: (l, 4, 3) Å, in view coordinates.
        codes: (l,) H, E and C.
        per_residue: cross-sections a residue.
        around: points around a cross-section.
    """
    from scipy.interpolate import CubicSpline

    length = len(codes)
    centres = smooth_path(backbone[:, CA], codes)
    across = ribbon_directions(backbone, codes)
    at = np.arange(length, dtype=float)
    fine = np.linspace(0, length - 1, (length - 1) * per_residue + 1)
    curve = CubicSpline(at, centres)
    path, tangent = curve(fine), unit(curve(fine, 1))
    side = CubicSpline(at, across)(fine)
    side = unit(side - (side * tangent).sum(-1, keepdims=True) * tangent)
    up = np.cross(tangent, side)
    widths, thicknesses = cross_sections(codes, fine)
    angle = np.linspace(0, 2 * np.pi, around, endpoint=False)
    # A superellipse: flat faces and round edges, and a circle where width and thickness agree.
    round_x, round_y = (np.sign(f(angle)) * np.abs(f(angle)) ** 0.75 for f in (np.cos, np.sin))
    rings = path[:, None] + (
        (widths[:, None] * round_x)[..., None] * side[:, None]
        + (thicknesses[:, None] * round_y)[..., None] * up[:, None]
    )
    rotated = np.roll(rings, -1, axis=1)
    corners = np.stack([rings[:-1], rotated[:-1], rotated[1:], rings[1:]], axis=2).reshape(-1, 4, 3)
    nearest = np.clip(np.floor((fine[:-1] + fine[1:]) / 2 + 0.5).astype(int), 0, length - 1)
    palette = {code: np.array([int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)]) for code, c in COLOURS.items()}
    colours = np.repeat(np.array([palette[codes[i]] for i in nearest]), around, axis=0)
    return Facets(corners, colours, path[[0, -1]])


def smooth_path(ca: np.ndarray, codes: str) -> np.ndarray:
    """CA positions with the zigzag of strands and the kinks of loops taken out; helices stay as they are."""
    path = ca.copy()
    for kinds, rounds in (("E", 3), ("C", 1)):
        chosen = np.array([code in kinds for code in codes])
        chosen[[0, -1]] = False
        for _ in range(rounds):
            mean = path.copy()
            mean[1:-1] = 0.25 * path[:-2] + 0.5 * path[1:-1] + 0.25 * path[2:]
            path = np.where(chosen[:, None], mean, path)
    return path


def ribbon_directions(backbone: np.ndarray, codes: str) -> np.ndarray:
    """(l, 3) unit vectors along the ribbon's width: C=O bonds, flipped where they alternate, and smoothed."""
    across = unit(backbone[:, O] - backbone[:, C])
    for i in range(1, len(across)):
        if across[i] @ across[i - 1] < 0:
            across[i] = -across[i]
    for _ in range(3):
        mean = across.copy()
        mean[1:-1] = across[:-2] + 2 * across[1:-1] + across[2:]
        across = unit(mean)
    return across


def cross_sections(codes: str, fine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half width and half thickness (Å) at each point of the path, with arrow heads where strands end."""
    length = len(codes)
    at = np.arange(length, dtype=float)
    widths = np.interp(fine, at, [HALF_WIDTH[code] for code in codes])
    thicknesses = np.interp(fine, at, [HALF_THICKNESS[code] for code in codes])
    for i in range(length):
        last = codes[i] == "E" and (i + 1 == length or codes[i + 1] != "E")
        if last:
            head = (fine >= i - 1.2) & (fine <= i + 0.5)
            widths[head] = HALF_WIDTH["C"] + (ARROW - HALF_WIDTH["C"]) * (i + 0.5 - fine[head]) / 1.7
            after = (fine > i + 0.5) & (fine < i + 1)
            widths[after] = HALF_WIDTH["C"]
    return widths, thicknesses


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1 over the last axis."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def shaded(drawing: Facets) -> Shaded:
    """Facets with light and fog, those at the silhouette with a dark outline behind."""
    normals = unit(
        np.cross(drawing.corners[:, 2] - drawing.corners[:, 0], drawing.corners[:, 3] - drawing.corners[:, 1])
    )
    depth = drawing.corners[..., 2].mean(axis=1)
    low, high = depth.min(initial=0.0), depth.max(initial=0.0)
    fog = (FOG * (high - depth) / max(high - low, 1e-9))[:, None]
    light = unit(LIGHT[None])[0]
    facing = normals[:, 2] > -0.05
    silhouette = np.abs(normals[:, 2]) < 0.6
    lit = 0.42 + 0.58 * np.clip(np.abs(normals @ light), 0, 1)
    shine = np.clip(normals @ unit((light + np.array([0.0, 0.0, 1.0]))[None])[0], 0, 1) ** 24
    faces = np.clip(drawing.colours * lit[:, None] + 0.25 * shine[:, None], 0, 1)
    faces = faces * (1 - fog) + fog
    edges = (0.28 * drawing.colours) * (1 - fog) + fog
    corners = np.concatenate([drawing.corners[silhouette], drawing.corners[facing]])[..., :2]
    order = np.argsort(np.concatenate([depth[silhouette] - OUTLINE_DEPTH, depth[facing]]), kind="stable")
    colours = np.concatenate([edges[silhouette], faces[facing]])
    widths = np.concatenate([np.full(int(silhouette.sum()), 1.1), np.full(int(facing.sum()), 0.25)])
    ends = drawing.ends[:, :2]
    away = ends / np.maximum(np.linalg.norm(ends, axis=1, keepdims=True), 1e-9)
    return Shaded(corners[order], colours[order], widths[order], ends + 1.6 * away)


def paint(axes: Any, drawing: Shaded) -> None:
    """Paint facets with matplotlib, and name the ends."""
    from matplotlib.collections import PolyCollection

    axes.add_collection(
        PolyCollection(
            list(drawing.corners),
            facecolors=drawing.colours,
            edgecolors=drawing.colours,
            linewidths=drawing.widths,
            rasterized=True,  # a picture of thousands of facets within an SVG or PDF: as shapes they take 20 MB
        )
    )
    for letter, end in zip("NC", drawing.ends, strict=False):
        axes.text(*end, letter, fontsize=6, color=ENDS_GREY, ha="center", va="center")
