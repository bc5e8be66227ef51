"""Custom: a user's own condition, as a Python function of coordinates.

From Python only: no file of conditions names code to be run. A condition to be used from the command line is a file
added to this folder.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from protgen.conditions.base import Adherence, EnergyCondition
from protgen.conditions.quantities import backbone_of, check_number
from protgen.errors import UsageError


def off_sphere(xyz: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
    """How far CA atoms are from the sphere of 10 Å about the origin, all together: an example."""
    return ((xyz[:, :, 1].square().sum(-1) - 100.0) * mask).sum(-1).square() / 1e4


@dataclass(frozen=True)
class Custom(EnergyCondition):
    """An energy of backbone coordinates, 0 where it is content.

    Args:
        function: (xyz (b, l, 4, 3) Å, mask (b, l)) -> (b,), differentiable; each row's from that row alone.
        label: what to call it in tables.
        tolerance: largest energy that will do.

    Raises:
        UsageError: if it is no function.

    Example:
        >>> flat = Custom(lambda xyz, mask: (xyz[..., 2].square().mean(-1) * mask).sum(-1), "flat", 50.0)
    """

    function: Callable[[Tensor, Tensor], Tensor]
    label: str = "custom"
    tolerance: float = 0.0

    name: ClassVar[str] = "custom"
    invariant: ClassVar[bool] = False
    descends: ClassVar[bool] = False
    plain: ClassVar[bool] = False
    repeatable: ClassVar[bool] = True

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """Every CA on a sphere of 10 Å about the origin."""
        return {"function": off_sphere, "tolerance": 1.0}

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise UsageError(
                "custom takes a Python function, and code is not read from files; add a file to conditions/"
            )
        check_number(self.tolerance, f"tolerance of {self.label}", 0.0)

    @classmethod
    def parse(cls, text: str) -> "Custom":
        """Refused: code is not run from text.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"custom: {text!r} is text; it takes a Python function, from Python only")

    def adherence(self, structure: Any) -> Adherence:
        """The energy of the structure."""
        xyz = torch.from_numpy(np.ascontiguousarray(backbone_of(structure, self.name), dtype=np.float32))[None]
        with torch.no_grad():
            value = float(self.energy(xyz, torch.ones(xyz.shape[:2], dtype=torch.bool)))
        return Adherence(
            self.name, f"{self.label} <= {self.tolerance:g}", round(value, 4), max(0.0, value),
            value <= self.tolerance, self.tolerance,
        )  # fmt: skip

    def energy(self, xyz: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """The function's value.

        Raises:
            UsageError: if it has another shape than (b,).
        """
        value = self.function(xyz, mask)
        if not isinstance(value, Tensor) or value.shape != (len(xyz),):
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise UsageError(f"the function {self.label!r} returned {shape}; expected a tensor of shape ({len(xyz)},)")
        return value
