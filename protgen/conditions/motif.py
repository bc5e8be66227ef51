"""Motif: residues of a given structure that a design must hold, in place, in segments along its chain."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from protgen.conditions.base import Adherence, Condition, EnergyCondition
from protgen.conditions.contig_dialects import read_genie2
from protgen.conditions.contigs import Contig
from protgen.conditions.files import checksum, confirm, file_cautions, structure_of
from protgen.conditions.flags import Flag
from protgen.conditions.mechanisms import Capabilities
from protgen.conditions.motif_search import find_placement, motif_rmsd
from protgen.conditions.quantities import check_number
from protgen.conditions.roles import Anchor, FixedBlueprint, FixedResidues, MotifResidue
from protgen.conditions.segments import Segment, places_of
from protgen.errors import ConflictError, UsageError
from protgen.geometry import alignment
from protgen.structure.dssp import UNASSIGNED, dssp
from protgen.structure.protein import Protein
from protgen.structure.residue_id import residue_id

PLACEMENTS_TRIED = 200  # draws among which the one that fits a secondary structure best is taken
LEAST_AGREEMENT = 0.7  # fraction of the motif's helix and strand residues that fixed codes must not contradict


@dataclass(frozen=True)
class Motif(EnergyCondition, FixedResidues):
    """Segments of a structure file, laid out along the design by a contig.

    By itself a design is made to hold it (projection). As an energy it draws the design there instead, and weighs the
    particles of the sampler `smc`: twisted diffusion (Wu et al. 2023, section 3.3).

    Args:
        file: structure file that holds the motif.
        contig: its segments and the gaps between them (`protgen.conditions.contigs`); read from the file's
            `REMARK 999 INPUT` lines where not given.
        order: "fixed" keeps the segments in the contig's order, "free" draws one for each design.
        tolerance: largest RMSD of N, CA, C after superposing the motif, Å.
        checksum: of the motif's coordinates; filled in, and checked where given.

    Raises:
        UsageError: if the contig cannot be read, or the file lacks one of its residues.
    """

    file: str
    contig: str = ""
    order: str = "fixed"
    tolerance: float = 1.0
    checksum: str = ""

    name: ClassVar[str] = "motif"
    large_steps: ClassVar[bool] = True  # in 40 steps `flow-small` holds and joins RFdiffusion's motifs as in 80
    flags: ClassVar[tuple[Flag, ...]] = (
        Flag("--motif", "Structure file that holds the motif.", metavar="FILE", field="file", required=True),
        Flag(
            "--contig",
            "Its place: 10-40/A163-181/10-40, total length behind a colon. A52A: insertion code; A1.3-6: chain A1.",
            metavar="TEXT",
            field="contig",
        ),
    )

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """Eight residues of the file."""
        return {"file": file, "contig": "4/A5-12/12"}

    def __post_init__(self) -> None:
        if self.order not in ("fixed", "free"):
            raise UsageError(f"motif order {self.order!r}: choose fixed or free")
        check_number(self.tolerance, "tolerance of the motif", 0.0)
        if not isinstance(self.file, str | PathLike):
            raise UsageError(f"motif file {self.file!r}: give the path of a structure file")
        if not self.contig:
            from pathlib import Path

            object.__setattr__(self, "contig", str(read_genie2(Path(self.file)).contig))
        parsed = Contig.parse(str(self.contig), count=lambda segment: len(self.places(segment)))
        if not parsed.segments:
            raise UsageError(f"contig {parsed} has no segment of the motif; add one, such as A163-181")
        object.__setattr__(self, "contig", str(parsed))
        object.__setattr__(self, "_parsed", parsed)
        object.__setattr__(self, "file", str(self.file))
        found = checksum(self.residues().backbone[:, :3])
        object.__setattr__(self, "checksum", confirm(self.checksum, found, self.file))

    @classmethod
    def parse(cls, text: str) -> "Motif":
        """`FILE CONTIG`, or `FILE` alone if it has `REMARK 999 INPUT` lines.

        Raises:
            UsageError: if file or contig cannot be read.
        """
        file, _, contig = text.strip().partition(" ")
        if not file:
            raise UsageError("motif is empty: give a structure file, a blank, and a contig")
        return cls(file, contig)

    @property
    def parsed(self) -> Contig:
        """The contig, whose segments have as many residues as the file has there."""
        return self.__dict__["_parsed"]

    def mechanisms(self, model: Capabilities) -> frozenset[str]:
        """In addition to its energy: predicted structures are projected onto the motif."""
        return super().mechanisms(model) | ({"projection"} if model.projections else set())

    def lengths(self) -> tuple[int, int]:
        """Those that the contig can have."""
        return self.parsed.lengths

    def conflicts_with(self, other: Condition) -> str | None:
        """Fixed secondary structure that contradicts the motif's own wherever it may be placed."""
        low, high = self.parsed.lengths
        if not isinstance(other, FixedBlueprint) or not low <= len(codes := other.fixed_codes()) <= high:
            return None
        best = self.place(len(codes), Generator().manual_seed(0), codes)
        agreement = fraction_agreeing(best.codes(), codes, best.indices())
        if agreement >= LEAST_AGREEMENT:
            return None
        return (
            f"the {other.blueprint_label} contradicts the motif: at best {100 * agreement:.0f} % of the motif's helix "
            f"and strand residues ({self.codes().replace('C', 'L')}) agree with it; free those residues with X, or "
            "change one of them"
        )

    def check_generation(self) -> None:
        """Raise UsageError for a contig with a chain break."""
        if len(self.parsed.chains) > 1:
            raise UsageError(
                f"contig {self.contig} has a chain break (/0 ): designs of several chains, such as binders, are not "
                "offered; write a linker in its place, such as /10-20/, or ask for one chain"
            )

    def describe(self) -> str:
        """How many residues of which segments."""
        segments = ", ".join(str(segment) for segment in self.parsed.segments)
        return f"{self.parsed.motif_length} residues ({segments}) of {self.file}"

    def details(self) -> list[str]:
        """Where the segments lie and what is built between them, and the motif's own secondary structure."""
        order = " in any order" if self.order == "free" else ""
        own = self.codes().replace("C", "L")
        return [f"Contig{order}: {self.parsed.drawing()}", f"Motif's own structure: {own}"]

    def anchor(self) -> Anchor:
        """Where its residues are in the file; the motif must be placed."""
        return Anchor(tuple(self.indices()), self.residues().backbone[:, :3])

    def residue_names(self) -> np.ndarray:
        """Those of the file, in the order of the contig."""
        return self.residues().residue_names

    def residues(self) -> Protein:
        """The motif's residues in the order of the contig, as the file has them."""
        return structure_of(self.file).select(np.array(self.rows()))

    def rows(self) -> list[int]:
        """Where the motif's residues are in the protein of the file, in the order of the contig."""
        protein, rows = structure_of(self.file), []
        for segment in self.parsed.segments:
            rows += self.places(segment)
        for row in rows:
            if rows.count(row) > 1:
                raise UsageError(
                    f"{self.file}: the contig uses residue {residue_id(protein, row)} twice; use each residue once"
                )
            if not protein.mask[row, :3].all():
                raise UsageError(f"{self.file}: residue {residue_id(protein, row)} lacks N, CA or C")
        return rows

    def places(self, segment: Segment) -> list[int]:
        """Where the residues of a segment are in the protein of the file, insertions between its ends included.

        Raises:
            UsageError: if the file lacks one of them.
        """
        protein = structure_of(self.file)
        try:
            return places_of(segment, protein)
        except UsageError as error:
            raise UsageError(f"{self.file}: {error}") from None

    def cautions(self, lengths: Sequence[int]) -> list[str]:
        """What the reader noticed in the file."""
        return file_cautions(self.name, self.file)

    def codes(self) -> str:
        """DSSP codes of the motif's residues within their own file, C for coil."""
        whole = dssp(structure_of(self.file)).replace(UNASSIGNED, "C")
        return "".join(whole[row] for row in self.rows())

    @property
    def placed(self) -> bool:
        """Whether every gap has one size, so that each residue has its place."""
        return self.order == "fixed" and all(gap.low == gap.high for gap in self.parsed.gaps)

    def place(self, length: int, rng: Generator, codes: str | None = None) -> "Motif":
        """The motif with each gap at one size, drawn at random among those that give the length.

        Args:
            length: residues of the design.
            rng: where the draw comes from.
            codes: secondary structure asked for (H, E, L or C, X free); the placement that contradicts it least is
                taken among a number drawn.

        Raises:
            ConflictError: if no choice of gaps gives the length.
        """
        best, most = self, -1.0
        own = self.codes() if codes else ""
        for _ in range(PLACEMENTS_TRIED if codes else 1):
            contig = self.parsed
            kept = list(range(len(contig.segments)))
            if self.order == "free":
                kept = torch.randperm(len(kept), generator=rng).tolist()
            drawn = replace(self, contig=str(contig.reordered(kept).draw(length, rng)), order="fixed", checksum="")
            if codes is None:
                return drawn
            agreement = fraction_agreeing(drawn.codes() if self.order == "free" else own, codes, drawn.indices())
            if agreement > most:
                best, most = drawn, agreement
            if most == 1.0:
                break
        return best

    def indices(self) -> list[int]:
        """Place in the design of each residue of the motif, from 0; the motif must be placed."""
        contig = self.parsed
        starts = zip(contig.starts(), contig.segments, strict=True)
        return [start + offset for start, segment in starts for offset in range(segment.length)]

    def mapping(self) -> list[MotifResidue]:
        """Which residue of the design is which of the motif file; the motif must be placed."""
        protein = structure_of(self.file)
        ids = [residue_id(protein, row) for row in self.rows()]
        return [
            MotifResidue(index, own.chain, own.number, own.insertion)
            for index, own in zip(self.indices(), ids, strict=True)
        ]

    def check_length(self, length: int) -> None:
        """Raise ConflictError unless the contig can have that many residues."""
        low, high = self.parsed.lengths
        if not low <= length <= high:
            raise ConflictError(
                f"motif ({self.parsed.motif_length} residues, contig {self.contig}) makes designs of {low} to {high} "
                f"residues, but the length is {length}; change one of them"
            )

    def energy(self, xyz: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """A sixth of the squared distances of N, CA, C from the motif laid on them, Å^2; the motif must be placed.

        A residue that moves as a whole, three atoms, goes all the way by a step of weight 1.

        Raises:
            UsageError: if a gap is open: there is no place then to go to.
        """
        if not self.placed:
            raise UsageError(
                f"motif {self.contig}: its gaps are open, and an energy needs them placed; give each a size"
            )
        at = xyz[:, self.indices(), :3].flatten(1, 2)
        motif = torch.from_numpy(self.residues().backbone[:, :3].reshape(1, -1, 3)).to(at).expand_as(at)
        # Where the motif lies best the energy does not change with its motion, so that needs no gradient.
        target = alignment.superpose(motif, at.detach(), torch.ones_like(at[..., 0], dtype=torch.bool))
        return (at - target).square().sum((1, 2)) / 6

    def adherence(self, structure: Any) -> Adherence:
        """RMSD of N, CA, C after superposing the motif, Å; where the gaps are open, at the place that fits best."""
        backbone = structure.backbone[:, :3]
        motif = self.residues().backbone[:, :3]
        if not np.isfinite(backbone).all():
            raise UsageError(f"{structure.name}: motif needs N, CA and C of every residue, and some are missing")
        if self.placed:
            self.check_length(len(backbone))
            off = motif_rmsd(backbone, motif, self.indices())
            contig = self.contig
        else:
            contig, off = find_placement(backbone, motif, self.parsed, free=self.order == "free")
        asked = f"{self.file} {self.contig}"
        got = {"rmsd": round(off, 3), "contig": contig}
        return Adherence(self.name, asked, got, off, off <= self.tolerance, self.tolerance)


def fraction_agreeing(motif_codes: str, codes: str, indices: Sequence[int]) -> float:
    """Fraction of the motif's helix and strand residues that codes at their places do not contradict; 1 without any.

    Args:
        motif_codes: of the motif: H, E, C.
        codes: of the design: H, E, L or C, X free.
        indices: place of each residue of the motif, from 0.
    """
    pairs = [(own, codes[index]) for own, index in zip(motif_codes, indices, strict=True) if own in "HE"]
    return sum(asked in ("X", own) for own, asked in pairs) / len(pairs) if pairs else 1.0
