"""Secondary structure as fractions: how much helix and strand a design has, wherever it lies."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.conditions.base import Adherence, Condition, LearnedCondition, random_rows
from protgen.conditions.flags import Flag
from protgen.conditions.mechanisms import Capabilities
from protgen.conditions.quantities import is_number
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.errors import UsageError
from protgen.structure.dssp import dssp
from protgen.types import Batch


@dataclass(frozen=True)
class Fractions(LearnedCondition):
    """Fractions of residues in helices and in strands; None leaves one free.

    Args:
        helix: from 0 to 1.
        strand: likewise.
        tolerance: largest difference of either that will do.

    Raises:
        UsageError: if a fraction is outside 0 to 1, or they sum to more than 1.
    """

    helix: float | None = None
    strand: float | None = None
    tolerance: float = 0.1

    name: ClassVar[str] = "fractions"
    several_chains: ClassVar[bool] = True
    small_steps: ClassVar[bool] = True  # in 20, 40, 80 steps `flow-small` met 10, 12, 15 of 18 within 0.1
    flags: ClassVar[tuple[Flag, ...]] = (
        Flag("--helix", "Fraction of residues in helices, 0 to 1.", field="helix", kind="number"),
        Flag("--strand", "Fraction of residues in strands, 0 to 1.", field="strand", kind="number"),
    )
    global_dim: ClassVar[int] = 4
    requires: ClassVar[tuple[str, ...]] = ("labels",)
    dropout: ClassVar[float | None] = 0.5

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """Half of it in helices."""
        return {"helix": 0.5}

    def __post_init__(self) -> None:
        for label, value in (("helix", self.helix), ("strand", self.strand)):
            if value is not None and not (is_number(value) and 0 <= value <= 1):
                raise UsageError(f"{label} fraction {value}: give a fraction from 0 to 1")
        if (self.helix or 0) + (self.strand or 0) > 1:
            raise UsageError(f"helix {self.helix} and strand {self.strand} sum to more than 1; lower one of them")

    def mechanisms(self, model: Capabilities) -> frozenset[str]:
        """A blueprint can be drawn near them."""
        return super().mechanisms(model) | ({"blueprint"} if model.blueprints else set())

    def conflicts_with(self, other: Condition) -> str | None:
        """Secondary structure whose free residues, however filled, cannot give the fractions within tolerance."""
        if not isinstance(other, SecondaryStructure):
            return None
        for label, code, fraction in (("helix", "H", self.helix), ("strand", "E", self.strand)):
            if fraction is None:
                continue
            fixed = other.codes.count(code) / other.length
            most = fixed + other.codes.count("X") / other.length
            if not fixed - self.tolerance <= fraction <= most + self.tolerance:
                return (
                    f"secondary structure allows a {label} fraction of {fixed:.2f} to {most:.2f}, "
                    f"but the fractions ask for {fraction:.2f}; change one of them"
                )
        return None

    def describe(self) -> str:
        """The fractions as percentages."""
        asked = {"helix": self.helix, "strand": self.strand}
        return ", ".join(f"{100 * fraction:.0f} % {name}" for name, fraction in asked.items() if fraction is not None)

    def adherence(self, structure: Any) -> Adherence:
        """Compare with the DSSP fractions."""
        codes = dssp(structure)
        got = {"helix": codes.count("H") / len(codes), "strand": codes.count("E") / len(codes)}
        asked = {k: v for k, v in (("helix", self.helix), ("strand", self.strand)) if v is not None}
        off = max((abs(got[k] - v) for k, v in asked.items()), default=0.0)
        shown = {k: round(got[k], 3) for k in asked}
        return Adherence(self.name, asked, shown, off, off <= self.tolerance, self.tolerance)

    @classmethod
    def from_data(cls, batch: Batch, rng: Generator, dropout: float | None = None) -> Tensor:
        """True fractions, each known in half of the examples unless another dropout is given."""
        count = batch.mask.sum(-1).float()
        labels = batch["labels"].long()
        columns = []
        for label in (1, 2):
            given = random_rows(len(labels), 1 - cls.rate(dropout), rng).to(labels.device).float()
            columns += [((labels == label) & batch.mask).sum(-1) / count * given, given]
        return torch.stack(columns, dim=-1)

    @classmethod
    def unknown(cls, mask: Bool[Tensor, "b l"]) -> Tensor:
        """Both free."""
        return torch.zeros(len(mask), cls.global_dim, device=mask.device)

    def features(self, mask: Bool[Tensor, " l"]) -> Float[Tensor, " g"]:
        """Each fraction and its flag."""
        pairs = [(0.0, 0.0) if v is None else (v, 1.0) for v in (self.helix, self.strand)]
        return torch.tensor([value for pair in pairs for value in pair])
