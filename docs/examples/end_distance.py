"""A condition outside the package: how far apart the ends of a chain are."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from protgen.conditions.base import Adherence, EnergyCondition
from protgen.structure.protein import CA


@dataclass(frozen=True)
class EndDistance(EnergyCondition):
    """Distance from the first CA to the last.

    Args:
        distance: Å.
        tolerance: Å.
    """

    distance: float
    tolerance: float = 2.0

    name: ClassVar[str] = "end_distance"

    @classmethod
    def parse(cls, text):
        return cls(float(text))

    def adherence(self, structure):
        got = float(np.linalg.norm(structure.atoms[-1, CA] - structure.atoms[0, CA]))
        off = abs(got - self.distance)
        return Adherence(self.name, self.distance, round(got, 2), off, off <= self.tolerance, self.tolerance)

    def energy(self, xyz, mask):
        ca = xyz[:, :, CA]
        last = mask.sum(-1) - 1
        ends = ca.gather(1, last[:, None, None].expand(-1, 1, 3))[:, 0] - ca[:, 0]
        distance = (ends.square().sum(-1) + 1e-6).sqrt()
        return 0.5 * (distance - self.distance).square()
