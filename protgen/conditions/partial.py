"""Partial: vary a given structure, by noise up to a certain level and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from protgen.conditions.base import Adherence, Condition
from protgen.conditions.files import checksum, confirm, file_cautions, structure_of
from protgen.conditions.flags import Flag
from protgen.conditions.mechanisms import Capabilities
from protgen.conditions.quantities import ca_of, check_number, parse_number
from protgen.conditions.roles import Anchor, StartingStructure
from protgen.errors import ConflictError, UsageError
from protgen.metrics.tm import tm_score
from protgen.structure.dssp import UNASSIGNED, dssp
from protgen.structure.gaps import Filled, filled, gaps_in_words
from protgen.structure.protein import Protein

GAPS = ("refuse", "fill")


@dataclass(frozen=True)
class Partial(Condition, StartingStructure):
    """A structure to start from, in place of pure noise.

    Args:
        file: structure file.
        chain: of the file; may be left out if it has one.
        gaps: what to do where residues are missing: "refuse", or "fill" to build them anew.
        noise: time of the noise it is mixed with, above 0 (hardly changed) to 1 (nothing left of it).
        tolerance: largest 1 - TM-score to the given structure that will do; 0.5 is the limit of the same fold.
        checksum: of the coordinates; filled in, and checked where given.

    Raises:
        UsageError: if the chain is not complete and not to be filled, or the noise is out of range.
    """

    file: str
    noise: float = 0.3
    tolerance: float = 0.5
    checksum: str = ""
    chain: str = ""
    gaps: str = "refuse"

    name: ClassVar[str] = "partial"
    flags: ClassVar[tuple[Flag, ...]] = (
        Flag("--partial", "Structure file to vary.", metavar="FILE", field="file", required=True),
        Flag("--noise", "How far to vary it, 0 to 1 (default 0.3).", field="noise", kind="number"),
        Flag("--partial-chain", "Its chain, if the file has several.", metavar="CHAIN", field="chain"),
        Flag("--gaps", "Missing residues of it: refuse or fill (built anew).", metavar="refuse|fill", field="gaps"),
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
        if self.gaps not in GAPS:
            raise UsageError(f"gaps {self.gaps!r} of the partial structure: choose {' or '.join(GAPS)}")
        object.__setattr__(self, "file", str(self.file))
        found = checksum(self.protein().backbone[:, :3])
        self.filled()
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

    def protein(self) -> Protein:
        """The chain of the file.

        Raises:
            UsageError: if there is no such chain, or a residue is incomplete.
        """
        protein = structure_of(self.file)
        if self.chain and self.chain not in protein.chains:
            raise UsageError(f"{self.file}: has no chain {self.chain}; it has {', '.join(protein.chains)}")
        if not self.chain and len(protein.chains) != 1:
            raise UsageError(
                f"{self.file}: has {len(protein.chains)} chains ({', '.join(protein.chains)}); say which one to vary "
                "(--partial-chain)"
            )
        own = protein.select(protein.chain_ids == (self.chain or protein.chains[0]))
        if own.length < 5 or not own.mask[:, :3].all():
            raise UsageError(f"{self.file}: lacks N, CA or C of a residue, or has fewer than 5; give a complete chain")
        return own

    def filled(self) -> Filled:
        """The chain, with a start for the residues that are missing.

        Raises:
            UsageError: if some are, and they are not to be filled.
        """
        own = self.protein()
        missing = gaps_in_words(own)
        if missing and self.gaps == "refuse":
            raise UsageError(f"{self.file}: {missing}; add --gaps fill to build them, or give a complete chain")
        try:
            return filled(own)
        except UsageError as error:
            raise UsageError(f"{self.file}: {error}") from None

    def backbone(self) -> np.ndarray:
        """(l, 3, 3) N, CA, C of the structure, residues that were missing on an arc between their neighbours, Å."""
        return self.filled().backbone

    def codes(self) -> str:
        """DSSP codes of the chain: H, E, L, and X for residues that it lacks."""
        found = self.filled()
        own = iter(dssp(self.protein()).replace(UNASSIGNED, "C").replace("C", "L"))
        return "".join(next(own) if known else "X" for known in found.known)

    def cautions(self, lengths: Sequence[int]) -> list[str]:
        """What the reader noticed in the file, and which residues are built."""
        missing = gaps_in_words(self.protein())
        built = [f"{self.name}: {self.file}: {missing}; they are built anew"] if missing else []
        return file_cautions(self.name, self.file, but=("chain_break",)) + built

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
        """Every residue of the file, where it has it."""
        found = self.filled()
        return Anchor(tuple(np.flatnonzero(found.known).tolist()), found.backbone[found.known])

    def check_length(self, length: int) -> None:
        """Raise ConflictError for another length."""
        if length != self.length:
            raise ConflictError(
                f"partial: {self.file} has {self.length} residues, but the length is {length}; leave the length out"
            )

    def adherence(self, structure: Any) -> Adherence:
        """1 - TM-score to the given structure, over the residues that the file has."""
        ca, found = ca_of(structure, self.name), self.filled()
        ca = ca[found.known] if len(ca) == len(found.known) else ca
        off = max(0.0, 1 - tm_score(ca, found.backbone[found.known, 1])[1])
        asked = f"{self.file}, noise {self.noise:g}"
        got = f"TM-score {1 - off:.3f}"
        return Adherence(self.name, asked, got, off, off <= self.tolerance, self.tolerance)
