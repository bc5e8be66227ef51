"""Fold class: mainly alpha, mainly beta, or mixed, from the DSSP fractions."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.conditions.base import Adherence, Condition, LearnedCondition, random_rows
from protgen.conditions.flags import Flag
from protgen.conditions.fractions import Fractions
from protgen.conditions.mechanisms import Capabilities
from protgen.conditions.quantities import backbone_of
from protgen.conditions.roles import BlueprintScore, FixedBlueprint
from protgen.errors import UsageError
from protgen.metrics.secondary_structure import HELIX_CLASS, STRAND_CLASS, fold_class
from protgen.structure.dssp import dssp
from protgen.types import Batch

CLASSES = ("alpha", "beta", "mixed")
MARGIN = 0.06  # of the fractions, inside the limits of a class: strands of a design end sooner than asked
USUAL = {"alpha": (1.0, 0.0), "beta": (0.0, 1.0), "mixed": (0.5, 0.5)}  # helix and strand, where one is left open


@dataclass(frozen=True)
class FoldClass(LearnedCondition, BlueprintScore):
    """A class by fractions of helix and strand: alpha (helix >= 15 %, strand < 10 %), beta (helix < 15 %, strand
    >= 10 %), mixed (both reached); Nakashima, Nishikawa and Ooi 1986.

    Args:
        fold: alpha, beta or mixed.

    Raises:
        UsageError: for another class.
    """

    fold: str

    name: ClassVar[str] = "fold_class"
    blueprint_weight: ClassVar[float] = 2.0
    flags: ClassVar[tuple[Flag, ...]] = (Flag("--fold-class", "By DSSP.", metavar="alpha|beta|mixed"),)
    global_dim: ClassVar[int] = len(CLASSES)
    requires: ClassVar[tuple[str, ...]] = ("labels",)
    dropout: ClassVar[float | None] = 0.5

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """All alpha."""
        return {"fold": "alpha"}

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

    def mechanisms(self, model: Capabilities) -> frozenset[str]:
        """A blueprint of the class can be drawn."""
        return super().mechanisms(model) | ({"blueprint"} if model.blueprints else set())

    def blueprint_score(self, codes: str) -> float:
        """0 for a blueprint of another class, 1 for one well inside its limits, and from a half on between them."""
        room = self.room(*(codes.count(code) / len(codes) for code in "HE"))
        return 0.0 if not self.holds(codes.replace("X", "L")) else min(1.0, 0.5 + 0.5 * room / MARGIN)

    def conflicts_with(self, other: Condition) -> str | None:
        """Fixed secondary structure, or fractions, of another class."""
        if isinstance(other, FixedBlueprint):
            return self.conflict_with_codes(other.fixed_codes(), other.blueprint_label)
        return self.conflict_with_fractions(other) if isinstance(other, Fractions) else None

    def conflict_with_codes(self, codes: str, label: str) -> str | None:
        """Why no way of filling the free residues gives the class; None if one does."""
        n, free = len(codes), codes.count("X")
        helix, strand = codes.count("H"), codes.count("E")
        step = max(1, free // 100)  # a hundredth is fine enough for limits of 10 and 15 %
        fillings = ((helix + a, strand + b) for a in range(0, free + 1, step) for b in range(0, free + 1 - a, step))
        if any(self.room(h / n, e / n) >= 0 for h, e in fillings):
            return None
        return (
            f"fold_class {self.fold} conflicts with the {label}, which has {100 * helix / n:.0f} % helix and "
            f"{100 * strand / n:.0f} % strand; change one of them"
        )

    def conflict_with_fractions(self, asked: Fractions) -> str | None:
        """Why fractions within tolerance of those asked for are of another class; None if some are of this one."""
        pairs = zip((asked.helix, asked.strand), USUAL[self.fold], strict=True)
        if -self.room(*(usual if own is None else own for own, usual in pairs)) <= asked.tolerance:
            return None
        return (
            f"fold_class {self.fold} conflicts with the fractions (helix {asked.helix}, strand {asked.strand}); "
            "change one of them"
        )

    def room(self, helix: float, strand: float) -> float:
        """How far inside the class fractions are: the smaller distance from its two limits, negative outside."""
        helical = HELIX_CLASS - helix if self.fold == "beta" else helix - HELIX_CLASS
        stranded = STRAND_CLASS - strand if self.fold == "alpha" else strand - STRAND_CLASS
        return min(helical, stranded)

    def adherence(self, structure: Any) -> Adherence:
        """Compare with the class of the DSSP string; the difference is the fraction of residues that misses it."""
        backbone_of(structure, self.name)  # raises where an atom is missing
        codes = dssp(structure)
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
