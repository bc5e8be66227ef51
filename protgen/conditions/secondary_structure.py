"""Secondary structure of each residue: helix, strand, coil, or free, as in `H12L4E6L3E6` or `HHHHLLEE`."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.conditions.base import Adherence, LearnedCondition
from protgen.conditions.flags import Flag
from protgen.conditions.roles import FixedBlueprint
from protgen.errors import ConflictError, UsageError
from protgen.structure.dssp import UNASSIGNED, dssp
from protgen.types import Batch

LABELS = {"C": 0, "L": 0, "H": 1, "E": 2}  # labels of the store; L (loop) and C (coil) are one
FREE = 3
PARTIAL = 0.4  # of the training examples whose structure is known, those in which it is known in part


@dataclass(frozen=True)
class SecondaryStructure(LearnedCondition, FixedBlueprint):
    """A code for each residue.

    Args:
        codes: one letter a residue: H helix, E strand, L or C coil, X free.
        tolerance: fraction of the residues asked for that may come out otherwise.

    Raises:
        UsageError: for an empty string or another letter.

    Examples:
        >>> SecondaryStructure.parse("H5 L2 E3").codes
        'HHHHHLLEEE'
    """

    codes: str
    tolerance: float = 0.2

    name: ClassVar[str] = "secondary_structure"
    several_chains: ClassVar[bool] = True
    blueprint_label: ClassVar[str] = "secondary structure"
    flags: ClassVar[tuple[Flag, ...]] = (
        Flag(
            "--ss",
            "Secondary structure, runs (H12L4E6) or letters (HHHLLEE); X is free. Gives the length too.",
            metavar="TEXT",
        ),
    )
    residue_dim: ClassVar[int] = 4
    requires: ClassVar[tuple[str, ...]] = ("labels",)
    dropout: ClassVar[float | None] = 0.25

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """A helix of 16 residues between a loop and what is free."""
        return {"codes": "L" * 4 + "H" * 16 + "X" * 4}

    def __post_init__(self) -> None:
        if not isinstance(self.codes, str):
            raise UsageError(f"secondary structure {self.codes!r}: give letters (HHHLLEE) or runs (H12L4E6)")
        strange = sorted(set(self.codes) - set("HELCX"))
        if strange:
            raise UsageError(f"secondary structure has the letter {strange[0]!r}: use H, E, L (or C) and X for free")
        if not self.codes:
            raise UsageError("secondary structure is empty: give letters (HHHLLEE) or runs (H12L4E6)")

    @classmethod
    def parse(cls, text: str) -> "SecondaryStructure":
        """Runs (`H12L4E6`, a letter alone counts once) or raw letters; blanks and commas may separate them.

        Raises:
            UsageError: naming the first place that is neither.
        """
        compact = re.sub(r"[\s,_-]+", "", text).upper()
        place = 0
        codes = []
        for match in re.finditer(r"([A-Z])([0-9]*)", compact):
            if match.start() != place:
                break
            place = match.end()
            count = match.group(2) or "1"
            if len(count) > 5:
                raise UsageError(f"secondary structure: a run of {count} residues is too long; at most 99999")
            codes.append(match.group(1) * int(count))
        if place != len(compact):
            raise UsageError(
                f"secondary structure: cannot read {compact[place : place + 10]!r} at place {place + 1}; "
                "write runs such as H12L4E6 or letters such as HHHLLEE"
            )
        return cls("".join(codes))

    @property
    def length(self) -> int:
        """Number of residues."""
        return len(self.codes)

    def lengths(self) -> tuple[int, int]:
        """One code a residue."""
        return self.length, self.length

    def fixed_codes(self) -> str:
        """The codes."""
        return self.codes

    def describe(self) -> str:
        """How many residues are of each kind."""
        counts = {"helix": "H", "strand": "E", "free": "X"}
        kinds = ", ".join(f"{self.codes.count(code)} {name}" for name, code in counts.items())
        loop = self.length - sum(self.codes.count(code) for code in "HEX")
        return f"{self.length} residues: {kinds}, {loop} loop"

    def check_length(self, length: int) -> None:
        """Raise ConflictError unless there is one code for each residue."""
        if length != len(self.codes):
            raise ConflictError(
                f"secondary structure has {len(self.codes)} codes but the length is {length}; "
                "make them equal, or leave one out"
            )

    def adherence(self, structure: Any) -> Adherence:
        """Fraction of the residues asked for whose DSSP code came out as asked."""
        got = dssp(structure).replace(UNASSIGNED, "C")
        wanted = np.array([LABELS.get(code, FREE) for code in self.codes])
        asked = wanted != FREE
        found = np.array([LABELS[code] for code in got])
        off = float((wanted != found)[asked].mean()) if asked.any() else 0.0
        return Adherence(
            self.name,
            self.codes.replace("C", "L"),
            got.replace("C", "L"),
            off,
            off <= self.tolerance,
            self.tolerance,
        )

    @classmethod
    def from_data(cls, batch: Batch, rng: Generator, dropout: float | None = None) -> Tensor:
        """True labels; unknown in a quarter of the examples unless another dropout is given.

        In 40 % of the other examples they are known in part, for whole segments.
        """
        labels = batch["labels"].long()
        one_hot = torch.nn.functional.one_hot(labels, 3).float()
        b, length = labels.shape
        change = torch.ones_like(labels)
        change[:, 1:] = (labels[:, 1:] != labels[:, :-1]).long()
        segment = change.cumsum(1) - 1
        given = (torch.rand(b, length, generator=rng).to(labels.device) < 0.5).gather(1, segment)
        kind = torch.rand(b, generator=rng).to(labels.device)
        known = 1 - cls.rate(dropout)
        given = torch.where((kind < PARTIAL * known)[:, None], given, True) & (kind < known)[:, None] & batch.mask
        return torch.cat([one_hot, torch.ones_like(one_hot[..., :1])], dim=-1) * given[..., None]

    @classmethod
    def unknown(cls, mask: Bool[Tensor, "b l"]) -> Tensor:
        """All free."""
        return torch.zeros(*mask.shape, cls.residue_dim, device=mask.device)

    def features(self, mask: Bool[Tensor, " l"]) -> Float[Tensor, "l c"]:
        """One-hot codes and the flag; zeros where free."""
        result = torch.zeros(len(mask), self.residue_dim)
        for i, code in enumerate(self.codes):
            if code != "X":
                result[i, LABELS[code]] = result[i, 3] = 1.0
        return result
