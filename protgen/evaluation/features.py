"""The features by which distributions of structures are compared: descriptors and folds, each computed once."""

from collections.abc import Sequence

import numpy as np

from protgen.metrics.descriptors import NAMES, describe
from protgen.metrics.fold import FoldReading, read_folds
from protgen.structure.protein import Protein

LONGEST = 2000  # residues of a structure that has descriptors: all pairs of its segments take 1 GB


class Features:
    """Descriptors and fold readings of a list of structures, each made when it is first asked for.

    Args:
        proteins: the structures.
        ss_method: of secondary structure, "dssp" or "p-sea": one for all features that are compared. A structure that
            it cannot read has no descriptors.
    """

    def __init__(self, proteins: Sequence[Protein], ss_method: str | None = None) -> None:
        self.proteins = proteins
        self.ss_method = ss_method
        self._descriptors: dict[int, np.ndarray] = {}
        self._folds: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.proteins)

    @property
    def lengths(self) -> np.ndarray:
        """(n,) residues of each."""
        return np.array([protein.length for protein in self.proteins], dtype=int)

    def descriptors(self, rows: np.ndarray) -> np.ndarray:
        """(m, 18) hand-made descriptors of some of them, as `descriptors.NAMES`; NaN where too short or long."""
        for k in rows.tolist():
            if k not in self._descriptors:
                whole = self.proteins[k].length <= LONGEST
                self._descriptors[k] = (
                    describe(self.proteins[k], self.ss_method) if whole else np.full(len(NAMES), np.nan)
                )
        return np.array([self._descriptors[k] for k in rows.tolist()]).reshape(len(rows), len(NAMES))

    def folds(self, rows: np.ndarray) -> FoldReading:
        """Fold readings of some of them; NaN where too short."""
        missing = [k for k in dict.fromkeys(rows.tolist()) if k not in self._folds]
        found = read_folds([self.proteins[k] for k in missing])
        self._folds |= dict(zip(missing, zip(found.embedding, found.probabilities, strict=True), strict=True))
        if not len(rows):
            return found
        parts = [self._folds[k] for k in rows.tolist()]
        return FoldReading(np.stack([part[0] for part in parts]), np.stack([part[1] for part in parts]))
