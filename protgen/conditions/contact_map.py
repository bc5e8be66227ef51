"""Contact map, coarse: which helices and strands touch, and which way strands pair."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from protgen.conditions.base import Adherence, Condition, EnergyCondition
from protgen.conditions.flags import Flag
from protgen.conditions.mechanisms import Capabilities
from protgen.conditions.quantities import ca_of, check_number, pair_distances
from protgen.conditions.roles import FixedPairs
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.errors import ConflictError, UsageError

KINDS = ("near", "parallel", "antiparallel")
PAIRED = 6.5  # Å: CA atoms of neighbouring strands are 4.4 to 5.5 Å apart, those one further along 6.5 and more
TOUCHING = 8.0  # Å, CA-CA
AIM = (4.4, 5.4)  # Å: where the energy puts the CA atoms of paired residues
NEAR_AIM = 9.5  # Å: distance of the centres of packed elements

LEARNED = {"secondary_structure", "strand_pairing"}  # what a model knows that is told pairs

Pair = tuple[int, int, str]
Ladder = tuple[int, int, int, int]
Element = tuple[str, int, int]


@dataclass(frozen=True)
class ContactMap(EnergyCondition, FixedPairs):
    """Pairs of secondary structure elements that touch.

    Strands are paired if half the residues of the shorter one have a CA of the other within 6.5 Å; parallel or not
    is the sign of the product of their directions. Other elements are near if two CA atoms are within 8 Å. A model that
    has learned strand pairing is told the pairs of strands, middle against middle; elements that are to be near, and
    pairs without such a model, are pulled by an energy.

    Args:
        blueprint: secondary structure as runs or letters (`L2E6L3E6`); its helices and strands are numbered from 1.
        pairs: (first element, second element, "near" | "parallel" | "antiparallel").
        tolerance: fraction of the pairs that may be missing.

    Raises:
        UsageError: if a pair names an element that is not there, or pairs a helix as a strand.

    Examples:
        >>> ContactMap.parse("L2E6L3E6L2; 1-2:antiparallel").pairs
        ((1, 2, 'antiparallel'),)
    """

    blueprint: str
    pairs: tuple[Pair, ...]
    tolerance: float = 0.0

    name: ClassVar[str] = "contact_map"
    descends: ClassVar[bool] = False
    local: ClassVar[bool] = True
    blueprint_label: ClassVar[str] = "blueprint of contact_map"
    flags: ClassVar[tuple[Flag, ...]] = (
        Flag("--contact-map", "Blueprint and pairs of its elements: 'L2E6L3E6L2; 1-2:antiparallel'.", metavar="TEXT"),
    )

    @classmethod
    def example(cls, file: str) -> dict[str, Any]:
        """A parallel hairpin."""
        return {"blueprint": "L2E8L4E8L2", "pairs": ((1, 2, "parallel"),)}

    def __post_init__(self) -> None:
        object.__setattr__(self, "blueprint", SecondaryStructure.parse(str(self.blueprint)).codes)
        check_number(self.tolerance, "tolerance of the contact map", 0.0, 1.0)
        elements = self.elements()
        if isinstance(self.pairs, str) or not isinstance(self.pairs, Sequence) or not self.pairs:
            raise UsageError("contact_map: no pair of elements is given; give at least one, such as 1-2:near")
        checked = []
        for entry in self.pairs:
            if isinstance(entry, str) or not isinstance(entry, Sequence) or len(entry) != 3:
                raise UsageError(f"contact_map: {entry!r} is no pair; give (first, second, kind)")
            first, second, kind = entry
            if kind not in KINDS:
                raise UsageError(f"contact_map: kind {kind!r}; choose one of {', '.join(KINDS)}")
            if not all(isinstance(n, int) and 1 <= n <= len(elements) for n in (first, second)) or first == second:
                raise UsageError(
                    f"contact_map: pair {first}-{second}, but the blueprint has elements 1 to {len(elements)}"
                )
            strands = all(elements[n - 1][0] == "E" for n in (first, second))
            if kind != "near" and not strands:
                raise UsageError(f"contact_map: {first}-{second} cannot be {kind}, as both must be strands; use near")
            checked.append((min(first, second), max(first, second), kind))
        object.__setattr__(self, "pairs", tuple(checked))

    @classmethod
    def parse(cls, text: str) -> "ContactMap":
        """`BLUEPRINT; 1-2:antiparallel, 1-3:near`.

        Raises:
            UsageError: naming the pair that cannot be read.
        """
        blueprint, _, rest = text.partition(";")
        if not rest.strip():
            shown = text if len(text) <= 40 else f"{text[:37]}..."
            raise UsageError(
                f"contact_map: {shown!r} has no pairs; write a blueprint, ';', and pairs, as in L2E6L3E6L2; 1-2:near"
            )
        pairs = []
        for entry in re.split(r"[\s,;]+", rest.strip()):
            match = re.fullmatch(r"([0-9]{1,3})-([0-9]{1,3}):([a-z]+)", entry, flags=re.ASCII)
            if not match:
                raise UsageError(f"contact_map: cannot read {entry!r}; write a blueprint, ';', and pairs like 1-2:near")
            pairs.append((int(match.group(1)), int(match.group(2)), match.group(3)))
        return cls(blueprint, tuple(pairs))

    def elements(self) -> list[Element]:
        """The helices and strands of the blueprint."""
        return elements_of(self.blueprint)

    def mechanisms(self, model: Capabilities) -> frozenset[str]:
        """The blueprint with its pairs, too, where they are of strands alone and the model has learned pairing."""
        told = model.blueprints and model.learned >= LEARNED and bool(self.ladders())
        return super().mechanisms(model) | ({"blueprint"} if told else set())

    def ladders(self) -> tuple[Ladder, ...]:
        """A ladder for each pair of strands; none where elements are asked to be near."""
        if any(kind == "near" for *_, kind in self.pairs):
            return ()
        elements, found = self.elements(), []
        for first, second, kind in self.pairs:
            i, j = register(elements[first - 1], elements[second - 1], kind)
            found.append((int(i[0]) + 1, int(i[-1]) + 1, int(j[0]) + 1, int(j[-1]) + 1))
        return tuple(found)

    def lengths(self) -> tuple[int, int]:
        """A code of the blueprint a residue."""
        return len(self.blueprint), len(self.blueprint)

    def fixed_codes(self) -> str:
        """The blueprint."""
        return self.blueprint

    def conflicts_with(self, other: Condition) -> str | None:
        """Secondary structure with another code where both say something."""
        if not isinstance(other, SecondaryStructure):
            return None
        for place, (one, two) in enumerate(zip(self.blueprint, other.codes, strict=False), start=1):
            if "X" not in (one, two) and one.replace("C", "L") != two.replace("C", "L"):
                return f"contact_map has {one} at residue {place} and secondary structure {two}; make them equal"
        return None

    def check_length(self, length: int) -> None:
        """Raise ConflictError unless the blueprint has that many residues."""
        if length != len(self.blueprint):
            raise ConflictError(
                f"contact_map has a blueprint of {len(self.blueprint)} residues, but the length is {length}; change one"
            )

    def describe(self) -> str:
        """Blueprint, in runs, and pairs as `parse` reads them."""
        runs = ((code.replace("C", "L"), len(list(run))) for code, run in groupby(self.blueprint))
        pairs = ", ".join(f"{first}-{second}:{kind}" for first, second, kind in self.pairs)
        return "".join(f"{code}{n}" for code, n in runs) + f"; {pairs}"

    def adherence(self, structure: Any) -> Adherence:
        """Fraction of the pairs that are not there."""
        ca = ca_of(structure, self.name)
        self.check_length(len(ca))
        elements = self.elements()
        got = [relation(ca, elements[first - 1], elements[second - 1]) for first, second, _ in self.pairs]
        good = [
            found == kind or (kind == "near" and found != "apart")
            for found, (*_, kind) in zip(got, self.pairs, strict=True)
        ]
        off = 1 - sum(good) / len(good)
        asked = [f"{first}-{second}: {kind}" for first, second, kind in self.pairs]
        shown = [f"{first}-{second}: {found}" for found, (first, second, _) in zip(got, self.pairs, strict=True)]
        return Adherence(self.name, asked, shown, off, off <= self.tolerance, self.tolerance)

    def energy(self, xyz: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """Squared violations over 4, Å^2: of the distances of paired residues, or of the centres of near elements."""
        ca = xyz[:, :, 1]
        elements = self.elements()
        total = xyz.new_zeros(len(xyz))
        for first, second, kind in self.pairs:
            a, b = elements[first - 1], elements[second - 1]
            if kind == "near":
                distance = pair_distances(ca[:, a[1] : a[2]].mean(1), ca[:, b[1] : b[2]].mean(1))
                weight = float(
                    min(a[2] - a[1], b[2] - b[1])
                )  # so that a step moves residues, not their fraction of a mean
                total = total + 0.25 * weight * (distance - NEAR_AIM).clamp(min=0).square()
                continue
            i, j = register(a, b, kind)
            distance = pair_distances(ca[:, i], ca[:, j])
            beyond = (AIM[0] - distance).clamp(min=0) + (distance - AIM[1]).clamp(min=0)
            total = total + 0.25 * beyond.square().sum(-1)
        return total


def elements_of(codes: str) -> list[Element]:
    """(H or E, first residue, one past the last), from 0, of each helix and strand of a string."""
    found, place = [], 0
    for code, run in groupby(codes):
        length = len(list(run))
        if code in "HE":
            found.append((code, place, place + length))
        place += length
    return found


def register(a: Element, b: Element, kind: str) -> tuple[Tensor, Tensor]:
    """Paired residues of two strands whose middles are paired.

    Args:
        a, b: strands: code, first residue, one past the last.
        kind: parallel or antiparallel.
    """
    paired = min(a[2] - a[1], b[2] - b[1])
    starts = [element[1] + (element[2] - element[1] - paired) // 2 for element in (a, b)]
    i, j = (start + torch.arange(paired) for start in starts)
    return i, j.flip(0) if kind == "antiparallel" else j


def relation(ca: np.ndarray, a: Element, b: Element) -> str:
    """How two elements lie: parallel or antiparallel (paired strands), near, or apart.

    Args:
        ca: (l, 3) CA positions, Å.
        a, b: elements: code, first residue, one past the last.
    """
    first, second = ca[a[1] : a[2]], ca[b[1] : b[2]]
    distance = np.linalg.norm(first[:, None] - second[None], axis=-1)
    if a[0] == b[0] == "E" and len(first) > 1 and len(second) > 1:
        shorter = distance.min(1) if len(first) <= len(second) else distance.min(0)
        if (shorter < PAIRED).mean() >= 0.5:
            along = float((first[-1] - first[0]) @ (second[-1] - second[0]))
            return "parallel" if along > 0 else "antiparallel"
    return "near" if distance.min() < TOUCHING else "apart"
