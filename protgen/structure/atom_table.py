"""The atoms of one model as columns: the common output of the PDB, mmCIF and BinaryCIF readers."""

import re
from dataclasses import dataclass, field

import numpy as np

from protgen.errors import StructureError

MAX_ABS = 1e5  # Å; no structure is larger, an overflowing column is
NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_OCCUPANCY = re.compile(rf"\s*{NUMBER}(?:[eE][+-]?\d+)?(?:\(\d+\))?\s*", re.ASCII)


@dataclass(frozen=True)
class Header:
    """The metadata of a file.

    Attributes:
        resolution: Å, None if not said.
        sequences: declared residue names of each chain.
        parents: standard parents of modified residues, as the file gives them.
    """

    resolution: float | None = None
    sequences: dict[str, list[str]] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AtomTable:
    """n atoms of one model, in file order.

    Attributes:
        name: (n,) str, atom names, stripped.
        altloc: (n,) str, "" where none.
        residue_name: (n,) str.
        chain: (n,) str, author names.
        number: (n,) int, author numbering.
        insertion: (n,) str, "" where none.
        xyz: (n, 3) Å, NaN where the file gives no position.
        occupancy: (n,) NaN where not given.
        element: (n,) str, upper case, "" where not given.
        hetero: (n,) bool, HETATM.
        in_polymer: (n,) bool, True where the file says so: before TER, or with a label_seq_id.
        header: what else the file says.
    """

    name: np.ndarray
    altloc: np.ndarray
    residue_name: np.ndarray
    chain: np.ndarray
    number: np.ndarray
    insertion: np.ndarray
    xyz: np.ndarray
    occupancy: np.ndarray
    element: np.ndarray
    hetero: np.ndarray
    in_polymer: np.ndarray
    header: Header

    def __len__(self) -> int:
        return len(self.name)


def map_unique(values: np.ndarray, convert) -> np.ndarray:
    """Apply `convert` once to each distinct value of an array and return the results in place."""
    distinct, inverse = np.unique(values, return_inverse=True)
    return np.array([convert(value) for value in distinct.tolist()])[inverse]


def occupancy_of(text: str) -> float:
    """An occupancy as a number, NaN where it is missing or no number."""
    return float(text.split("(")[0]) if _OCCUPANCY.fullmatch(text) else float("nan")


def check_range(xyz: np.ndarray, place) -> None:
    """Raise unless every given coordinate is below `MAX_ABS`; `place(i)` names row i."""
    bad = (np.abs(xyz) >= MAX_ABS).any(axis=1)
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        raise StructureError(
            f"{place(i)}: position {xyz[i].tolist()} is beyond {MAX_ABS:g} Å; a column has overflowed or is damaged"
        )
