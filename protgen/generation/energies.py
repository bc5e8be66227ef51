"""Energies of a batch whose designs may each have their own conditions, as one function for guides and samplers."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from protgen.conditions.base import Condition, EnergyCondition
from protgen.conditions.roles import Anchor
from protgen.geometry import alignment

Weighted = Sequence[tuple[EnergyCondition, float]]  # conditions of one design, with weights


def is_local(condition: Condition) -> bool:
    """Whether a condition has an energy that moves a few residues."""
    return isinstance(condition, EnergyCondition) and condition.local


class BatchEnergy:
    """Sum of weighted energies of each row's own conditions.

    Args:
        rows: (condition, weight) for each row.
        anchors: the frame of each row's file, for conditions whose coordinates are in it; None for the design's own.
    """

    def __init__(self, rows: Sequence[Weighted], anchors: Sequence[Anchor | None] | None = None) -> None:
        anchors = [None] * len(rows) if anchors is None else anchors
        # One evaluation for all rows with the same condition. Conditions are compared by identity, as functions and
        # weights may differ where fields are equal.
        self.groups: dict[tuple[int, float], tuple[EnergyCondition, float, list[int]]] = {}
        self.framed: list[tuple[EnergyCondition, float, int, Anchor]] = []
        for row, requests in enumerate(rows):
            for condition, weight in requests:
                anchor = anchors[row]
                if condition.in_frame and anchor is not None:
                    self.framed.append((condition, weight, row, anchor))
                    continue
                self.groups.setdefault((id(condition), weight), (condition, weight, []))[2].append(row)

    @classmethod
    def of_kind(
        cls,
        rows: Sequence[Weighted],
        anchors: Sequence[Anchor | None] | None,
        local: bool,
    ) -> "BatchEnergy":
        """Only the energies that are local, or only the others.

        Args:
            rows: conditions of each row, with weights.
            anchors: as of the class.
            local: which of them.
        """
        return cls([[(c, w) for c, w in own if c.local == local] for own in rows], anchors)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.groups and not self.framed

    def __call__(self, xyz: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """Energies (b,) of coordinates in Å."""
        total = xyz.new_zeros(len(xyz))
        for condition, weight, members in self.groups.values():
            rows = torch.tensor(members, device=xyz.device)
            length = int(mask[rows].sum(-1).max())
            values = condition.energy(xyz[rows, :length], mask[rows, :length])
            total = total.index_add(0, rows, weight * values)
        for condition, weight, row, anchor in self.framed:
            pick = torch.tensor([row], device=xyz.device)
            value = condition.energy(in_frame(xyz[pick], anchor), mask[pick])
            total = total.index_add(0, pick, weight * value)
        return total


def in_frame(xyz: Float[Tensor, "1 l 4 3"], anchor: Anchor) -> Float[Tensor, "1 l 4 3"]:
    """A design's atoms in the frame of its anchor; the motion itself is not differentiated."""
    with torch.no_grad():
        target = torch.from_numpy(anchor.xyz).to(xyz).reshape(1, -1, 3)
        mobile = xyz[:, list(anchor.indices), :3].reshape(1, -1, 3)
        rotation, shift = alignment.kabsch(
            mobile, target, torch.ones(target.shape[:2], dtype=torch.bool, device=xyz.device)
        )
    return xyz @ rotation[:, None].transpose(-1, -2) + shift[:, None, None]


def moved_to(atoms: np.ndarray, anchor: Anchor) -> np.ndarray:
    """Atoms (l, 4, 3) of a finished design in the frame of its anchor, Å."""
    return in_frame(torch.from_numpy(np.ascontiguousarray(atoms))[None], anchor)[0].numpy()
