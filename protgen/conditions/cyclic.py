"""Cyclic: the last residue is bonded to the first, head to tail."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from protgen.conditions.base import Adherence, Condition, EnergyCondition
from protgen.conditions.flags import Flag
from protgen.conditions.quantities import backbone_of, chain_ends, check_number, pair_distances
from protgen.conditions.roles import Ring
from protgen.conditions.termini_distance import TerminiDistance
from protgen.errors import ConflictError, UsageError
from protgen.geometry import constants as ideal

CLOSED = 4.0  # Å: the ends of a closed ring are no farther apart than this
SHORTEST_RING = 5  # residues: smaller rings exist, but no backbone of trans peptides closes them


@dataclass(frozen=True)
class Cyclic(EnergyCondition, Ring):
    """A closed chain: C of the last residue is bonded to N of the first.

    Args:
        tolerance: largest difference of the closing C-N distance from 1.329 Å that will do, Å. Sequences and side
            chains are still to come, and any relaxation closes what is within.
    """

    tolerance: float = 0.5

    name: ClassVar[str] = "cyclic"
    descends: ClassVar[bool] = False
    flags: ClassVar[tuple[Flag, ...]] = (Flag("--cyclic", "Close the chain by a bond, head to tail.", kind="switch"),)
    local: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_number(self.tolerance, "tolerance of the closing bond", 0.0)

    @classmethod
    def parse(cls, text: str) -> "Cyclic":
        """`yes`, `true` or nothing.

        Raises:
            UsageError: for anything else.
        """
        if text.strip().lower() not in ("", "yes", "true"):
            raise UsageError(f"cyclic {text!r}: write yes, or leave the condition out")
        return cls()

    def conflicts_with(self, other: Condition) -> str | None:
        """Ends that are to be bonded and far apart."""
        if isinstance(other, TerminiDistance) and other.distance - other.tolerance > CLOSED:
            return f"cyclic conflicts with termini_distance {other.distance:g} Å; leave one of them out"
        return None

    def check_length(self, length: int) -> None:
        """Raise ConflictError for a ring that cannot close."""
        if length < SHORTEST_RING:
            raise ConflictError(f"cyclic conflicts with a length of {length}; a ring has at least {SHORTEST_RING}")

    def adherence(self, structure: Any) -> Adherence:
        """Difference of the closing bond, Å."""
        backbone = backbone_of(structure, self.name)
        got = float(np.linalg.norm(backbone[-1, 2] - backbone[0, 0]))
        off = abs(got - ideal.C_N)
        return Adherence(self.name, ideal.C_N, round(got, 3), off, off <= self.tolerance, self.tolerance)

    def energy(self, xyz: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """Squared deviations of the four distances that fix the closing peptide, over 8, Å^2."""
        first, last = chain_ends(xyz, mask)
        goals = ((2, 0, ideal.C_N), (1, 0, ideal.CA_N_NEXT), (2, 1, ideal.C_CA_NEXT), (1, 1, ideal.CA_CA))
        return sum((pair_distances(last[:, a], first[:, b]) - d).square() for a, b, d in goals) / 8  # type: ignore
