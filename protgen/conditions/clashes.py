"""Clashes: no two backbone atoms on top of each other."""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from protgen.conditions.base import Adherence, EnergyCondition
from protgen.conditions.flags import Flag
from protgen.conditions.quantities import backbone_of, check_number, parse_number
from protgen.metrics.clashes import HEAVY_LIMIT, close_pairs
from protgen.spaces.backbone import overlap_error


@dataclass(frozen=True)
class Clashes(EnergyCondition):
    """At most so many pairs of backbone atoms of non-neighbours closer than 2.0 Å, between chains too.

    Args:
        most: pairs allowed.

    Raises:
        UsageError: if it is negative.
    """

    most: int = 0

    name: ClassVar[str] = "clashes"
    descends: ClassVar[bool] = False
    flags: ClassVar[tuple[Flag, ...]] = (
        Flag("--clashes", "Most pairs of backbone atoms closer than 2.0 Å.", metavar="N"),
    )
    whole_assembly: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_number(self.most, "clashes", 0.0)

    @classmethod
    def parse(cls, text: str) -> "Clashes":
        """The number of clashes allowed.

        Raises:
            UsageError: for anything else.
        """
        return cls(int(parse_number(text, "clashes", "0")))

    def adherence(self, structure: Any) -> Adherence:
        """Count pairs below 2.0 Å."""
        backbone_of(structure, self.name)
        count = int((close_pairs(structure)[2] < HEAVY_LIMIT).sum())
        return Adherence(self.name, self.most, count, float(max(0, count - self.most)), count <= self.most, 0.0)

    def energy(self, xyz: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """Half the overlaps below 2.65 Å summed, Å; a step of weight 1 moves each atom of a pair half an Å."""
        return 0.5 * overlap_error(xyz, mask) * mask.sum(-1)
