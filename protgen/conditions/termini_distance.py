"""Termini distance: how far apart the first and the last CA are, for fusions and circular permutations."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.conditions.base import Adherence, EnergyCondition, LearnedCondition, random_rows
from protgen.conditions.flags import Flag
from protgen.conditions.quantities import ca_of, chain_ends, check_number, pair_distances, parse_number
from protgen.errors import ConflictError
from protgen.geometry.constants import CA_CA
from protgen.types import Batch

UNIT = 20.0  # Å, of the learned feature: a typical distance


@dataclass(frozen=True)
class TerminiDistance(EnergyCondition, LearnedCondition):
    """Distance of the CA atoms of the first and the last residue.

    Args:
        distance: Å.
        tolerance: largest difference that will do, Å.

    Raises:
        UsageError: if the distance is below 3 Å.
    """

    distance: float
    tolerance: float = 2.0

    name: ClassVar[str] = "termini_distance"
    flags: ClassVar[tuple[Flag, ...]] = (
        Flag("--termini-distance", "Distance of the first and the last CA, Å.", metavar="Å"),
    )
    local: ClassVar[bool] = True
    global_dim: ClassVar[int] = 2
    requires: ClassVar[tuple[str, ...]] = ("atoms",)
    dropout: ClassVar[float | None] = 0.5

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """15 Å."""
        return {"distance": 15.0}

    def __post_init__(self) -> None:
        check_number(self.distance, "termini distance", 3.0)
        check_number(self.tolerance, "tolerance of the termini distance", 0.0)

    @classmethod
    def parse(cls, text: str) -> "TerminiDistance":
        """A number of Å.

        Raises:
            UsageError: for anything else.
        """
        return cls(parse_number(text, "termini distance", "10 (Å)"))

    def check_length(self, length: int) -> None:
        """Raise ConflictError if a straight chain of that length is shorter."""
        longest = CA_CA * (length - 1)
        if self.distance > longest:
            raise ConflictError(
                f"termini_distance {self.distance:g} Å conflicts with a length of {length} residues, "
                f"which reach {longest:.0f} Å at the most; change one of them"
            )

    def adherence(self, structure: Any) -> Adherence:
        """Difference in Å."""
        ca = ca_of(structure, self.name)
        got = float(np.linalg.norm(ca[0] - ca[-1]))
        off = abs(got - self.distance)
        return Adherence(self.name, self.distance, round(got, 2), off, off <= self.tolerance, self.tolerance)

    def energy(self, xyz: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """(d - target)^2 / 4, Å^2: a step of weight 1 takes each end half the way."""
        first, last = chain_ends(xyz, mask)
        return 0.25 * (pair_distances(first[:, 1], last[:, 1]) - self.distance).square()

    @classmethod
    def from_data(cls, batch: Batch, rng: Generator, dropout: float | None = None) -> Tensor:
        """Distance over 20 Å, known in half of the examples unless another dropout is given."""
        first, last = chain_ends(batch["atoms"], batch.mask)
        distance = pair_distances(first[:, 1], last[:, 1])
        given = random_rows(len(distance), 1 - cls.rate(dropout), rng).to(distance)
        return torch.stack([distance / UNIT * given, given], dim=-1)

    @classmethod
    def unknown(cls, mask: Bool[Tensor, "b l"]) -> Tensor:
        """Free."""
        return torch.zeros(len(mask), cls.global_dim, device=mask.device)

    def features(self, mask: Bool[Tensor, " l"]) -> Float[Tensor, " g"]:
        """Distance over 20 Å, and the flag."""
        return torch.tensor([self.distance / UNIT, 1.0])
