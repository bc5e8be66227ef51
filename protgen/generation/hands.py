"""Crossovers of sheets that go left, seen in the first predictions of a design, so that it can begin anew.

A connection between two parallel strands of a sheet that lie side by side nearly always goes round to the right in
natives (`protgen.structure.sheets`). Which way it will go in a design shows when a quarter of the noise is gone: of 57
crossovers of drawn topologies 54 were then as in the end; at 0.95, 30 of 42 that had a side. Chains of 128 to 256
residues decide later: 64 of 73 at 0.75, 70 of 74 at 0.5, so it is looked for twice.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from protgen.conditions.base import Condition
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.strand_pairing import StrandPairing
from protgen.families.base import Family, IterativeFamily
from protgen.generation.conflicts import find
from protgen.generation.plan import Plan
from protgen.samplers.redraw import Redraw
from protgen.spaces.atoms import BackboneAtoms
from protgen.structure.protein import CA
from protgen.structure.sheets import crossover_hands, strands_of
from protgen.types import State

Strands = tuple[list[tuple[int, int]], Int[np.ndarray, "l l"]]


def redraw_of(family: Family, plans: Sequence[Plan], tries: int) -> Redraw | None:
    """When designs of a batch begin anew; None where none has strands whose pairs are known.

    Args:
        family: of the model; it must iterate from noise.
        plans: of the batch.
        tries: how often at the most.
    """
    space = family.space
    # What is drawn completes what is asked.
    known = [strands_and_pairs([*plan.drawn, *plan.asked], plan.length) for plan in plans]
    if not tries or not any(known) or not isinstance(space, BackboneAtoms) or not isinstance(family, IterativeFamily):
        return None

    def faults(prediction: State) -> Float[Tensor, " b"]:
        ca = space.observe(prediction)[..., CA, :].double().cpu().numpy()
        return torch.tensor([float(left_handed(row, own)) for row, own in zip(ca, known, strict=True)]).to(
            prediction.mask.device
        )

    return Redraw(faults, tries=tries)


def left_handed(ca: Float[np.ndarray, "l 3"], known: Strands | None) -> int:
    """Number of crossovers that go left.

    Args:
        ca: of a design, Å.
        known: its strands and which residues pair; None where that is open.
    """
    return 0 if known is None else sum(hand < 0 for hand in crossover_hands(ca, *known))


def strands_and_pairs(conditions: Sequence[Condition], length: int) -> Strands | None:
    """Strands, and which residues pair, as conditions have them; None where either is open.

    Args:
        conditions: of a design; of two that say the same the first counts.
        length: of the design.
    """
    structure, pairing = find(conditions, SecondaryStructure), find(conditions, StrandPairing)
    if structure is None or pairing is None:
        return None
    partners = np.zeros((length, length), dtype=int)
    for first, second, _ in pairing.pairs():
        partners[first - 1, second - 1] = partners[second - 1, first - 1] = 1
    return strands_of(structure.codes), partners
