"""Radius of gyration: how compact a design is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.conditions.base import Adherence, EnergyCondition, LearnedCondition, random_rows
from protgen.conditions.flags import Flag
from protgen.conditions.quantities import ca_of, check_number, parse_number
from protgen.errors import ConflictError
from protgen.geometry.constants import EXTENDED_RISE, RG_EXPONENT, RG_SCALE
from protgen.geometry.size import radius_of_gyration
from protgen.types import Batch

# Å: a ball of residues of 110 Å^3, less than the 135 Å^3 of protein interiors (Richards, 1974), has Rg 2.3 l^(1/3).
DENSEST = 2.3
UNUSUAL = (0.85, 1.5)  # times 2.2 l^0.38 Å: beyond them lie fewer than one in a hundred native domains


@dataclass(frozen=True)
class RadiusOfGyration(EnergyCondition, LearnedCondition):
    """Rg of the CA atoms, unweighted.

    Args:
        radius: Å.
        tolerance: largest relative difference that will do.

    Raises:
        UsageError: if the radius is not positive.

    Examples:
        >>> RadiusOfGyration.parse("12.5")
        RadiusOfGyration(radius=12.5, tolerance=0.05)
    """

    radius: float
    tolerance: float = 0.05

    name: ClassVar[str] = "radius_of_gyration"
    large_steps: ClassVar[bool] = True  # 20, 40 and 80 steps of `flow-small` are the same: errors below 0.01 %
    several_chains: ClassVar[bool] = True
    flags: ClassVar[tuple[Flag, ...]] = (Flag("--rg", "Radius of gyration, Å.", metavar="Å"),)
    global_dim: ClassVar[int] = 2
    requires: ClassVar[tuple[str, ...]] = ("atoms",)
    dropout: ClassVar[float | None] = 0.5

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """7 Å."""
        return {"radius": 7.0}

    def __post_init__(self) -> None:
        check_number(self.radius, "radius of gyration", 1.0)
        check_number(self.tolerance, "tolerance of the radius of gyration", 0.0)

    @classmethod
    def parse(cls, text: str) -> "RadiusOfGyration":
        """A number of Å.

        Raises:
            UsageError: for anything else.
        """
        return cls(parse_number(text, "radius of gyration", "12.5 (Å)"))

    def check_length(self, length: int) -> None:
        """Raise ConflictError if no chain of that length is so compact or so long."""
        # The longest chain has all its peptides stretched: CA atoms at equal distances on a line.
        low, high = DENSEST * length ** (1 / 3), EXTENDED_RISE * math.sqrt((length**2 - 1) / 12)
        if not low <= self.radius <= high:
            raise ConflictError(
                f"radius_of_gyration {self.radius:g} Å conflicts with a length of {length} residues, "
                f"for which {low:.1f} to {high:.1f} Å is possible (natives: {RG_SCALE * length**RG_EXPONENT:.1f}); "
                "change one of them"
            )

    def cautions(self, lengths: Sequence[int]) -> list[str]:
        """A radius that no native of these lengths has."""
        length = min(lengths, key=lambda own: abs(math.log(self.radius / (RG_SCALE * own**RG_EXPONENT))))
        native = RG_SCALE * length**RG_EXPONENT
        if UNUSUAL[0] * native <= self.radius <= UNUSUAL[1] * native:
            return []
        return [
            f"{self.name} {self.radius:g} Å is {self.radius / native:.2g} times that of natives of {length} residues "
            f"({native:.1f} Å); expect designs that miss it, or are no folds; {UNUSUAL[0] * native:.1f} to "
            f"{UNUSUAL[1] * native:.1f} Å is usual"
        ]

    def adherence(self, structure: Any) -> Adherence:
        """Relative difference of Rg."""
        ca = ca_of(structure, self.name)
        got = float(np.sqrt(np.square(ca - ca.mean(0)).sum(-1).mean()))
        off = abs(got / self.radius - 1)
        return Adherence(self.name, self.radius, round(got, 2), off, off <= self.tolerance, self.tolerance)

    def energy(self, xyz: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """l (Rg - target)^2 / 2, Å^2: its gradient step of weight 1 scales the chain to the target."""
        off = radius_of_gyration(xyz[:, :, 1], mask) - self.radius
        return 0.5 * mask.sum(-1) * off.square()

    @classmethod
    def from_data(cls, batch: Batch, rng: Generator, dropout: float | None = None) -> Tensor:
        """Rg over 2.2 l^0.38 Å, known in half of the examples unless another dropout is given."""
        radius = radius_of_gyration(batch["atoms"][:, :, 1], batch.mask)
        given = random_rows(len(radius), 1 - cls.rate(dropout), rng).to(radius)
        typical = RG_SCALE * batch.mask.sum(-1).to(radius).pow(RG_EXPONENT)
        return torch.stack([radius / typical * given, given], dim=-1)

    @classmethod
    def unknown(cls, mask: Bool[Tensor, "b l"]) -> Tensor:
        """Free."""
        return torch.zeros(len(mask), cls.global_dim, device=mask.device)

    def features(self, mask: Bool[Tensor, " l"]) -> Float[Tensor, " g"]:
        """Rg over 2.2 l^0.38 Å, and the flag."""
        return torch.tensor([self.radius / (RG_SCALE * int(mask.sum()) ** RG_EXPONENT), 1.0])
