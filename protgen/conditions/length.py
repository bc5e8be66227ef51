"""Length: how many residues a design has. Always known to the network, and met exactly by construction."""

import math
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.conditions.base import Adherence, LearnedCondition
from protgen.conditions.flags import Flag
from protgen.conditions.mechanisms import Capabilities
from protgen.conditions.quantities import is_whole
from protgen.errors import ConflictError, UsageError
from protgen.types import Batch


@dataclass(frozen=True)
class Length(LearnedCondition):
    """A number of residues, or a range from which each design draws its own.

    Args:
        low: fewest residues.
        high: most residues; the same as `low` by default.

    Raises:
        UsageError: if a bound is no positive whole number or the range is empty.

    Examples:
        >>> Length.parse("60-100")
        Length(low=60, high=100)
    """

    low: int
    high: int | None = None

    name: ClassVar[str] = "length"
    several_chains: ClassVar[bool] = True
    flags: ClassVar[tuple[Flag, ...]] = (Flag("--length", "Residues: 80, or a range such as 60-100.", metavar="N|A-B"),)
    global_dim: ClassVar[int] = 1

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """20 to 30 residues."""
        return {"low": 20, "high": 30}

    def __post_init__(self) -> None:
        for bound in (self.low, *(() if self.high is None else (self.high,))):
            if not is_whole(bound):
                raise UsageError(f"length {bound!r}: give a positive whole number such as 80, or two: Length(60, 100)")
        if self.low < 1:
            raise UsageError(f"length {self.low}: a protein has at least 1 residue; give a positive whole number")
        if self.high is not None and self.high < self.low:
            raise UsageError(f"length {self.low}-{self.high}: the range is empty; give the smaller number first")

    @classmethod
    def parse(cls, text: str) -> "Length":
        """A length from `80` or `60-100`.

        Raises:
            UsageError: for anything else.
        """
        low, dash, high = text.strip().partition("-")
        if not re.fullmatch(r"[0-9]{1,9}", low) or (dash and not re.fullmatch(r"[0-9]{1,9}", high)):
            shown = text if len(text) <= 40 else f"{text[:37]}..."
            raise UsageError(f"length {shown!r}: give a positive whole number such as 80, or a range such as 60-100")
        return cls(int(low), int(high) if dash else None)

    def draw(self, rng: Generator) -> int:
        """A length of the range, uniformly."""
        high = self.low if self.high is None else self.high
        return int(torch.randint(self.low, high + 1, (), generator=rng))

    def mechanisms(self, model: Capabilities) -> frozenset[str]:
        """Designs are made with that many residues."""
        return frozenset({"construction"})

    def lengths(self) -> tuple[int, int]:
        """The range."""
        return self.low, self.low if self.high is None else self.high

    def describe(self) -> str:
        """The range in words."""
        return f"{self.low} residues" if not self.high else f"{self.low} to {self.high} residues"

    def adherence(self, structure: Any) -> Adherence:
        """Compare with the number of residues of a protein."""
        high = self.low if self.high is None else self.high
        off = max(self.low - structure.length, structure.length - high, 0)
        asked = self.low if high == self.low else f"{self.low}-{high}"
        return Adherence(self.name, asked, structure.length, float(off), off == 0, 0.0)

    def check_length(self, length: int) -> None:
        """Raise ConflictError if another condition fixes a length outside the range."""
        high = self.low if self.high is None else self.high
        if not self.low <= length <= high:
            wanted = self.low if high == self.low else f"{self.low}-{high}"
            raise ConflictError(f"length {wanted} conflicts with a request for {length} residues; change one of them")

    @classmethod
    def from_data(cls, batch: Batch, rng: Generator, dropout: float | None = None) -> Tensor:
        """log(l / 100), never dropped: a network sees how many residues there are."""
        return cls.unknown(batch.mask)

    @classmethod
    def unknown(cls, mask: Bool[Tensor, "b l"]) -> Tensor:
        """The same: the length is in the mask."""
        return (mask.sum(-1, keepdim=True).float() / 100).log()

    def features(self, mask: Bool[Tensor, " l"]) -> Float[Tensor, " g"]:
        """log(l / 100)."""
        return torch.tensor([math.log(int(mask.sum()) / 100)])
