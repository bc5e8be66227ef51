"""Statistics of the training natives that ship with the package: the definition of "native-like".

Written by `benchmarks/fit_reference.py`; no structure is in them.
"""

import json
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from protgen.errors import DataError
from protgen.geometry.constants import RG_EXPONENT

RAMACHANDRAN_CLASSES = ("general", "glycine", "proline", "pre_proline")


@dataclass(frozen=True)
class RamachandranReference:
    """Smoothed densities of (phi, psi) of the training natives, one a class of residue.

    Attributes:
        log_density: (k, g, g) natural log of the density per cell, axes class, phi, psi; cell j is at -180
            + 360 j / g degrees and the grid is periodic.
        favoured: (k,) log density above which residues are favoured: 98 % of the fitted ones, or as many as by
            MolProbity.
        allowed: (k,) likewise for 99.95 %, or MolProbity's share.
    """

    log_density: np.ndarray
    favoured: np.ndarray
    allowed: np.ndarray


@cache
def ramachandran_reference(name: str = "ramachandran") -> RamachandranReference:
    """The shipped densities.

    Args:
        name: "ramachandran", or "ramachandran_molprobity" for those of MolProbity's six classes, on its scale.

    Raises:
        DataError: if the file is missing from the installation or damaged.
    """
    try:
        path = resources.files("protgen.metrics").joinpath(f"reference/{name}.npz")
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as table:
            return RamachandranReference(
                table["log_density"].astype(np.float64),
                table["favoured"].astype(np.float64),
                table["allowed"].astype(np.float64),
            )
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"reference/{name}.npz of the installed package: {error}; reinstall protgen") from error


def _shipped(name: str) -> dict[str, Any]:
    """The content of a JSON file of the reference tables.

    Raises:
        DataError: if the file is missing from the installation or damaged.
    """
    try:
        return json.loads(resources.files("protgen.metrics").joinpath(f"reference/{name}").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"reference/{name} of the installed package: {error}; reinstall protgen") from error


@cache
def native_statistics() -> dict[str, Any]:
    """Geometry and Rg-by-length statistics of the training natives."""
    return _shipped("natives.json")


@dataclass(frozen=True)
class SoundnessReference:
    """What natives of a length have, and the limits that at most one in twenty exceeds.

    Attributes:
        length: (n,) residues, rising.
        curves: (n,) values by column.
        beyond: shares of natives beyond each limit, by split and kind of native.
    """

    length: np.ndarray
    curves: dict[str, np.ndarray]
    beyond: dict[str, Any] = field(default_factory=dict)

    def at(self, column: str, length: float) -> float:
        """The value of a column for a length, interpolated in log L; that of the table's end beyond it."""
        return float(np.interp(np.log(max(length, 1.0)), np.log(self.length), self.curves[column]))


@cache
def soundness_reference() -> SoundnessReference:
    """The shipped limits of `metrics/soundness.py`."""
    table = _shipped("soundness.json")
    curves = {column: np.array(values, float) for column, values in table["curves"].items()}
    return SoundnessReference(np.array(table["length"], float), curves, table["beyond"])


def typical_radius_of_gyration(length: int) -> float:
    """Median Rg of the training natives of a length, Å.

    Interpolated in log L between the table's lengths; beyond its ends it grows as L^0.38.
    """
    table = native_statistics()["radius_of_gyration"]
    lengths, medians = np.array(table["length"], float), np.array(table["median"], float)
    nearest = float(np.clip(length, lengths[0], lengths[-1]))
    median = float(np.exp(np.interp(np.log(nearest), np.log(lengths), np.log(medians))))
    return median * (length / nearest) ** RG_EXPONENT
