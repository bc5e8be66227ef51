"""Partial: vary a given structure, by noise up to a certain level and back."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from protgen.conditions.base import Adherence, Condition
from protgen.conditions.files import checksum, confirm, structure_of
from protgen.conditions.flags import Flag
from protgen.conditions.mechanisms import Capabilities
from protgen.conditions.quantities import ca_of, check_number, parse_number
from protgen.conditions.roles import Anchor, StartingStructure
from protgen.errors import ConflictError, UsageError
from protgen.metrics.tm import tm_score


@dataclass(frozen=True)
class Partial(Condition, StartingStructure):
    """A structure to start from, in place of pure noise.

    Args:
        file: structure file of one chain.
        noise: time of the noise it is mixed with, above 0 (hardly changed) to 1 (nothing left of it).
        tolerance: largest 1 - TM-score to the given structure that will do; 0.5 is the limit of the same fold.
        checksum: of the coordinates; filled in, and checked where given.

    Raises:
        UsageError: if the file is not one complete chain, or the noise is out of range.
    """

    file: str
    noise: float = 0.3
    tolerance: float = 0.5
    checksum: str = ""

    name: ClassVar[str] = "partial"
    flags: ClassVar[tuple[Flag, ...]] = (
        Flag("--partial", "Structure file to vary.", metavar="FILE", field="file", required=True),
        Flag("--noise", "How far to vary it, 0 to 1 (default 0.3).", field="noise", kind="number"),
    )

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """The file, varied."""
        return {"file": file, "noise": 0.4}

    def __post_init__(self) -> None:
        check_number(self.noise, "noise of the partial structure", 0.0, 1.0)
        check_number(self.tolerance, "tolerance of the partial structure", 0.0, 1.0)
        if self.noise == 0:
            raise UsageError("noise 0 would give the structure back; give a number above 0, up to 1")
        object.__setattr__(self, "file", str(self.file))
        found = checksum(self.backbone())
        object.__setattr__(self, "checksum", confirm(self.checksum, found, self.file))

    @classmethod
    def parse(cls, text: str) -> "Partial":
        """`FILE`, or `FILE NOISE`.

        Raises:
            UsageError: if either cannot be read.
        """
        file, _, noise = text.strip().partition(" ")
        if not file:
            raise UsageError("partial is empty: give a structure file, and the noise behind a blank")
        return cls(file, parse_number(noise, "noise of the partial structure", "0.3")) if noise else cls(file)

    def backbone(self) -> np.ndarray:
        """(l, 3, 3) N, CA, C of the structure, Å."""
        protein = structure_of(self.file)
        if len(protein.chains) != 1:
            raise UsageError(f"{self.file}: has {len(protein.chains)} chains; give a file of one chain to vary")
        if protein.length < 5 or not protein.mask[:, :3].all():
            raise UsageError(f"{self.file}: lacks N, CA or C of a residue, or has fewer than 5; give a complete chain")
        return protein.backbone[:, :3]

    @property
    def length(self) -> int:
        """Residues of the structure."""
        return len(self.backbone())

    def mechanisms(self, model: Capabilities) -> frozenset[str]:
        """Sampling starts from it, where a model samples step by step in a space of frames."""
        return frozenset({"construction"} if model.starts else ())

    def lengths(self) -> tuple[int, int]:
        """Those of the structure."""
        return self.length, self.length

    def anchor(self) -> Anchor:
        """Every residue, where the file has it."""
        xyz = self.backbone()
        return Anchor(tuple(range(len(xyz))), xyz)

    def check_length(self, length: int) -> None:
        """Raise ConflictError for another length."""
        if length != self.length:
            raise ConflictError(
                f"partial: {self.file} has {self.length} residues, but the length is {length}; leave the length out"
            )

    def adherence(self, structure: Any) -> Adherence:
        """1 - TM-score to the given structure."""
        ca = ca_of(structure, self.name)
        off = max(0.0, 1 - tm_score(ca, self.backbone()[:, 1])[1])
        asked = f"{self.file}, noise {self.noise:g}"
        got = f"TM-score {1 - off:.3f}"
        return Adherence(self.name, asked, got, off, off <= self.tolerance, self.tolerance)
