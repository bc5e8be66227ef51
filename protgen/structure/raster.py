"""Paints shaded ribbons as a PNG with Pillow: a picture of eight designs takes less time than importing matplotlib."""

from collections.abc import Sequence
from os import PathLike
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from protgen.structure.shaded import CELL, DPI, ENDS_GREY, TITLE_GREY, Grid, Shaded

FINER = 2  # times as many pixels each way as are written: edges are smooth
WIDE = 1.0  # points; a line around a facet that is as wide is painted, thinner ones only close gaps
POINT = DPI / 72  # pixels


def save_png(painted: Sequence[Shaded], grid: Grid, path: str | PathLike[str] | BinaryIO) -> None:
    """Write a PNG.

    Args:
        painted: the drawings.
        grid: where they stand.
        path: the file, or an open one.
    """
    width, height = round(CELL * DPI), round(grid.height * DPI)
    picture = Image.new("RGB", (width * grid.columns, height * grid.rows), "white")
    below = round(grid.title_height * DPI)
    for number, drawing in enumerate(painted):
        row, column = divmod(number, grid.columns)
        corner = column * width, row * height
        picture.paste(cell(drawing, grid, (width, height - below)), (corner[0], corner[1] + below))
        draw = ImageDraw.Draw(picture)
        if grid.titles is not None:
            at = corner[0] + width / 2, corner[1] + below / 2
            draw.text(at, grid.titles[number], TITLE_GREY, ImageFont.load_default(8 * POINT), anchor="mm")
    picture.save(path, format="PNG")


def cell(drawing: Shaded, grid: Grid, size: tuple[int, int]) -> Image.Image:
    """One drawing.

    Args:
        drawing: its facets.
        grid: half its width and height in Å.
        size: pixels across and down.
    """
    fine = size[0] * FINER, size[1] * FINER
    scale = np.array([fine[0] / (2 * grid.x), -fine[1] / (2 * grid.y)])
    middle = np.array(fine) / 2
    image = Image.new("RGB", fine, "white")
    draw = ImageDraw.Draw(image)
    corners = (drawing.corners * scale + middle).round(1)
    outlines = np.where(drawing.widths >= WIDE, np.round(drawing.widths * POINT * FINER), 0).astype(int)
    colours = (255 * drawing.colours).round().astype(int)
    shapes = zip(corners.reshape(-1, 8).tolist(), map(tuple, colours.tolist()), outlines.tolist(), strict=True)
    for shape, colour, outline in shapes:
        draw.polygon(shape, fill=colour)
        if outline:
            draw.line([*shape, *shape[:2]], fill=colour, width=outline)
    for letter, end in zip("NC", drawing.ends * scale + middle, strict=False):
        draw.text(tuple(end.tolist()), letter, ENDS_GREY, ImageFont.load_default(6 * POINT * FINER), anchor="mm")
    return image.resize(size, Image.Resampling.BOX)
