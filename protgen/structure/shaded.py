"""Drawings that are ready to be painted, and the grid on which they stand, whatever paints them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CELL = 2.7  # inches, width of one drawing
DPI = 160
TITLE_GREY, ENDS_GREY = "#333333", "#555555"


@dataclass(frozen=True)
class Shaded:
    """What is painted of one drawing, from back to front.

    Attributes:
        corners: (n, 4, 2) Å, across and up.
        colours: (n, 3) of 0 to 1.
        widths: (n,) points, of the line around each; wide behind those at the silhouette.
        ends: (2, 2) where the names of the chain ends stand, N and C, Å.
    """

    corners: np.ndarray
    colours: np.ndarray
    widths: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True)
class Grid:
    """Where drawings stand.

    Attributes:
        n, columns: number of drawings, and of those in a row.
        x, y: half the width and height of each, Å.
        titles: a line above each; None for none.
    """

    n: int
    columns: int
    x: float
    y: float
    titles: Sequence[str] | None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return -(-self.n // self.columns)

    @property
    def title_height(self) -> float:
        """Inches."""
        return 0.25 if self.titles is not None else 0.0

    @property
    def height(self) -> float:
        """Inches, of one drawing with its title."""
        return CELL * self.y / self.x + self.title_height
