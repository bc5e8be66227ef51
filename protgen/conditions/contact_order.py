"""Relative contact order: how far along the chain the residues are that touch; long-range folds have a high one."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.conditions.base import Adherence, EnergyCondition, LearnedCondition, random_rows
from protgen.conditions.flags import Flag
from protgen.conditions.quantities import ca_of, check_number, pair_distances, parse_number
from protgen.metrics.compactness import relative_contact_order
from protgen.structure.trace import CONTACT, MIN_SEPARATION
from protgen.types import Batch

SOFTNESS = 1.0  # Å over which the soft count of contacts falls from 1 to 0
STIFFNESS = 200.0  # Å^2 a residue: brings a step of weight 1 to about a tenth of an Å where the order is off by 0.1


@dataclass(frozen=True)
class ContactOrder(EnergyCondition, LearnedCondition):
    """Mean |i - j| of CA contacts (< 8 Å, |i - j| >= 3) over the length (Plaxco, Simons and Baker 1998, on CA).

    Args:
        order: a fraction of the length, 0 to 1; natives of 60 to 120 residues have 0.15 to 0.45.
        tolerance: largest difference that will do.

    Raises:
        UsageError: if the order is outside 0 to 1.
    """

    order: float
    tolerance: float = 0.05

    name: ClassVar[str] = "contact_order"
    flags: ClassVar[tuple[Flag, ...]] = (
        Flag("--contact-order", "Relative contact order, 0 to 1; natives have 0.15 to 0.45.", metavar="FRACTION"),
    )
    global_dim: ClassVar[int] = 2
    requires: ClassVar[tuple[str, ...]] = ("atoms",)
    dropout: ClassVar[float | None] = 0.5

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """0.4."""
        return {"order": 0.4}

    def __post_init__(self) -> None:
        check_number(self.order, "contact order", 0.0, 1.0)
        check_number(self.tolerance, "tolerance of the contact order", 0.0)

    @classmethod
    def parse(cls, text: str) -> "ContactOrder":
        """A fraction of the length.

        Raises:
            UsageError: for anything else.
        """
        return cls(parse_number(text, "contact order", "0.3"))

    def adherence(self, structure: Any) -> Adherence:
        """Difference of the order; a chain without contacts has none and counts as 0."""
        ca_of(structure, self.name)
        got = relative_contact_order(structure)
        got = 0.0 if got != got else got
        off = abs(got - self.order)
        return Adherence(self.name, self.order, round(got, 3), off, off <= self.tolerance, self.tolerance)

    def energy(self, xyz: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """Squared difference of the order with soft contacts, times 200 Å^2 a residue."""
        off = soft_contact_order(xyz[:, :, 1], mask, SOFTNESS) - self.order
        return STIFFNESS * mask.sum(-1) * off.square()

    @classmethod
    def from_data(cls, batch: Batch, rng: Generator, dropout: float | None = None) -> Tensor:
        """The order, known in half of the examples unless another dropout is given."""
        order = soft_contact_order(batch["atoms"][:, :, 1], batch.mask, 0.01)
        given = random_rows(len(order), 1 - cls.rate(dropout), rng).to(order)
        return torch.stack([order * given, given], dim=-1)

    @classmethod
    def unknown(cls, mask: Bool[Tensor, "b l"]) -> Tensor:
        """Free."""
        return torch.zeros(len(mask), cls.global_dim, device=mask.device)

    def features(self, mask: Bool[Tensor, " l"]) -> Float[Tensor, " g"]:
        """The order, and the flag."""
        return torch.tensor([self.order, 1.0])


def soft_contact_order(ca: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"], softness: float) -> Float[Tensor, " b"]:
    """Relative contact order with contacts that fade out over `softness` Å about 8 Å.

    Args:
        ca: CA positions, Å.
        mask: real residues.
        softness: Å.
    """
    place = torch.arange(ca.shape[1], device=ca.device)
    apart = (place[None] - place[:, None]).to(ca.dtype)
    pairs = (apart >= MIN_SEPARATION)[None] & mask[:, :, None] & mask[:, None]
    weight = torch.sigmoid((CONTACT - pair_distances(ca[:, :, None], ca[:, None])) / softness) * pairs
    total = weight.sum((1, 2))
    return (weight * apart).sum((1, 2)) / (total + 1e-6) / mask.sum(-1).clamp(min=1)
