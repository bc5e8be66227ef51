"""Fold class: mainly alpha, mainly beta, or mixed, from the DSSP fractions."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.conditions.base import Adherence, LearnedCondition, random_rows
from protgen.conditions.quantities import backbone_of
from protgen.errors import UsageError
from protgen.metrics.secondary_structure import HELIX_CLASS, STRAND_CLASS, fold_class
from protgen.structure.dssp import assign_dssp
from protgen.types import Batch

CLASSES = ("alpha", "beta", "mixed")


@dataclass(frozen=True)
class FoldClass(LearnedCondition):
    """A class by fractions of helix and strand: alpha (helix >= 15 %, strand < 10 %), beta (helix < 15 %, strand
    >= 10 %), mixed (both reached); Nakashima, Nishikawa and Ooi 1986.

    Args:
        fold: alpha, beta or mixed.

    Raises:
        UsageError: for another class.
    """

    fold: str

    name: ClassVar[str] = "fold_class"
    global_dim: ClassVar[int] = len(CLASSES)
    requires: ClassVar[tuple[str, ...]] = ("labels",)
    dropout: ClassVar[float | None] = 0.5

    def __post_init__(self) -> None:
        if self.fold not in CLASSES:
            raise UsageError(f"fold class {self.fold!r}: choose one of {', '.join(CLASSES)}")

    @classmethod
    def parse(cls, text: str) -> "FoldClass":
        """The name of a class.

        Raises:
            UsageError: for another word.
        """
        return cls(text.strip().lower())

    def holds(self, codes: str) -> bool:
        """Whether a string of H, E and other letters is of the class."""
        return fold_class(codes) == self.fold

    def room(self, helix: float, strand: float) -> float:
        """How far inside the class shares are: the smaller of the distances from its two limits, negative outside."""
        helical = HELIX_CLASS - helix if self.fold == "beta" else helix - HELIX_CLASS
        stranded = STRAND_CLASS - strand if self.fold == "alpha" else strand - STRAND_CLASS
        return min(helical, stranded)

    def adherence(self, structure: Any) -> Adherence:
        """Compare with the class of the DSSP string; the difference is the fraction of residues that misses it."""
        codes = "".join(assign_dssp(backbone_of(structure, self.name)[None])[0])
        fractions = [codes.count(code) / len(codes) for code in "HE"]
        got = fold_class(codes)
        return Adherence(self.name, self.fold, got, max(0.0, -self.room(*fractions)), got == self.fold, 0.0)

    @classmethod
    def from_data(cls, batch: Batch, rng: Generator, dropout: float | None = None) -> Tensor:
        """One-hot class, known in half of the examples unless another dropout is given."""
        labels = batch["labels"].cpu().numpy()
        given = random_rows(len(labels), 1 - cls.rate(dropout), rng)
        result = cls.unknown(batch.mask)
        for row, (codes, real) in enumerate(zip(labels, batch.mask.cpu().numpy(), strict=True)):
            found = fold_class("".join(np.array(list("CHE"))[codes[real]]))
            if given[row] and found in CLASSES:
                result[row, CLASSES.index(found)] = 1.0
        return result

    @classmethod
    def unknown(cls, mask: Bool[Tensor, "b l"]) -> Tensor:
        """Free."""
        return torch.zeros(len(mask), cls.global_dim, device=mask.device)

    def features(self, mask: Bool[Tensor, " l"]) -> Float[Tensor, " g"]:
        """One-hot class."""
        return torch.nn.functional.one_hot(torch.tensor(CLASSES.index(self.fold)), len(CLASSES)).float()
