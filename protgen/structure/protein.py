"""The one structure object: a protein as numpy arrays, in Å.

A `Protein` holds what a backbone model needs and what a file must get back on writing: chains, residue numbers,
insertion codes, residue names, and the atoms N, CA, C, O and CB with a mask of which were present.
"""

import warnings as python_warnings
from dataclasses import dataclass, field, replace
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from protgen.errors import StructureError
from protgen.structure.read_warnings import ReadWarning

ATOM_NAMES = ("N", "CA", "C", "O", "CB")  # the last axis but one of `Protein.atoms`
BACKBONE = slice(0, 4)  # N, CA, C, O
N, CA, C, O, CB = range(5)  # noqa: E741 - the field's name for the carbonyl oxygen
MOST_CHAINS_SHOWN = 6  # in the repr


@dataclass(frozen=True)
class Protein:
    """Residues of one or more chains, in file order.

    Attributes:
        atoms: (l, 5, 3) float64, Å; N, CA, C, O, CB. Missing atoms are NaN, so that they can never pass as positions.
        mask: (l, 5) bool, True where the atom is present.
        residue_names: (l,) str, three-letter names of the standard parents ("MET" for MSE); "UNK" where unknown.
        chain_ids: (l,) str, author chain names.
        residue_numbers: (l,) int, author numbering.
        insertion_codes: (l,) str, "" where none.
        name: a short name for tables and messages, usually the file's stem.
        resolution: Å, None where the file does not say.
        warnings: what the reader noticed in the file, one entry for each code; empty for a protein made in memory.

    Raises:
        StructureError: if shapes disagree, or a present atom has a coordinate that is not finite.

    Example:
        >>> import numpy as np
        >>> Protein.from_backbone(np.arange(24.0).reshape(2, 4, 3)).length
        2
    """

    atoms: np.ndarray
    mask: np.ndarray
    residue_names: np.ndarray
    chain_ids: np.ndarray
    residue_numbers: np.ndarray
    insertion_codes: np.ndarray
    name: str = "protein"
    resolution: float | None = None
    warnings: tuple[ReadWarning, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        length = len(self.atoms)
        if self.atoms.shape != (length, 5, 3) or self.mask.shape != (length, 5):
            raise StructureError(
                f"{self.name}: atoms have shape {self.atoms.shape} and mask {self.mask.shape}; "
                f"expected ({length}, 5, 3) and ({length}, 5)"
            )
        for entry in ("residue_names", "chain_ids", "residue_numbers", "insertion_codes"):
            if len(getattr(self, entry)) != length:
                raise StructureError(
                    f"{self.name}: {entry} has {len(getattr(self, entry))} entries for {length} residues"
                )
        if not np.isfinite(self.atoms[self.mask]).all():
            raise StructureError(f"{self.name}: a present atom has a coordinate that is not finite")

    def __repr__(self) -> str:
        """One line: name, size, chains and how many warnings the reader gave."""
        chains = self.chains
        shown = ", ".join(chains[:MOST_CHAINS_SHOWN]) + (", ..." if len(chains) > MOST_CHAINS_SHOWN else "")
        parts = [counted(self.length, "residue"), f"chain{'' if len(chains) == 1 else 's'} {shown}".strip()]
        parts += [counted(len(self.warnings), "warning")] if self.warnings else []
        return f"<Protein {self.name}: {', '.join(parts)}>"

    def _repr_html_(self) -> str:
        """A drawing and a table, for notebooks."""
        return _notebook().protein_html(self)

    def show(self) -> Any:
        """Show the structure in Mol*, in a notebook; works offline.

        Raises:
            UsageError: if ipymolstar is not installed.
        """
        return _notebook().viewer(self)

    @property
    def protein(self) -> "Protein":
        """Itself. Deprecated: `read_structure` returned a pair before 0.2, and scripts read its `.protein`."""
        python_warnings.warn("read_structure returns the Protein; leave out .protein", DeprecationWarning, stacklevel=2)
        return self

    @property
    def length(self) -> int:
        """Number of residues over all chains."""
        return len(self.atoms)

    @property
    def backbone(self) -> np.ndarray:
        """(l, 4, 3) Å; N, CA, C, O, NaN where missing."""
        return self.atoms[:, BACKBONE]

    @property
    def chains(self) -> list[str]:
        """Chain names in order of first appearance."""
        return list(dict.fromkeys(self.chain_ids.tolist()))

    @classmethod
    def from_backbone(
        cls,
        backbone: np.ndarray,
        *,
        name: str = "protein",
        chain_ids: np.ndarray | None = None,
        residue_numbers: np.ndarray | None = None,
        residue_names: np.ndarray | None = None,
    ) -> "Protein":
        """Make a protein of coordinates alone.

        Args:
            backbone: (l, 4, 3) Å; N, CA, C, O. NaN marks a missing atom.
            name: a short name for tables and messages.
            chain_ids: (l,) str; chain A throughout by default.
            residue_numbers: (l,) int; 1 to l by default.
            residue_names: (l,) str; glycine, the placeholder for a residue not designed yet, by default.
        """
        length = len(backbone)
        atoms = np.full((length, 5, 3), np.nan)
        atoms[:, BACKBONE] = backbone
        mask = np.asarray(np.isfinite(atoms).all(axis=-1))
        atoms[~mask] = np.nan
        return cls(
            atoms=atoms,
            mask=mask,
            residue_names=np.full(length, "GLY") if residue_names is None else np.asarray(residue_names),
            chain_ids=np.full(length, "A") if chain_ids is None else np.asarray(chain_ids),
            residue_numbers=np.arange(1, length + 1) if residue_numbers is None else np.asarray(residue_numbers),
            insertion_codes=np.full(length, ""),
            name=name,
        )

    def select(self, keep: np.ndarray) -> "Protein":
        """The residues picked by a boolean mask or an index array, everything else unchanged."""
        fields = ("atoms", "mask", "residue_names", "chain_ids", "residue_numbers", "insertion_codes")
        return replace(self, **{field: getattr(self, field)[keep] for field in fields})


def _notebook() -> ModuleType:
    """What shows a protein in a notebook. By name, as it stands above this file and needs matplotlib."""
    return import_module("protgen.structure.notebook")


def counted(n: int, noun: str) -> str:
    """A number and its noun: "1 residue", "2 residues"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
