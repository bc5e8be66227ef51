"""Holds motifs in place: the frames of a motif replace those of the predicted structure where it is to lie."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from protgen.conditions.roles import Anchor
from protgen.geometry import alignment, frames
from protgen.spaces.atoms import ResidueFrames
from protgen.types import State


class MotifProjection:
    """Puts each row's motif onto the predicted structure: as one rigid body, laid where its residues are predicted.

    Args:
        space: where motifs are placed.
        anchors: the motif of each row, None for rows without.
        device: of the states.
    """

    def __init__(self, space: ResidueFrames, anchors: Sequence[Anchor | None], device: torch.device) -> None:
        self.space = space
        most = max((len(anchor.indices) for anchor in anchors if anchor), default=0)
        index = np.zeros((len(anchors), most), dtype=np.int64)
        atoms = np.zeros((len(anchors), most, 3, 3))
        atoms[:] = np.eye(3)  # frames of padding must exist, whatever they are
        real = np.zeros((len(anchors), most), dtype=bool)
        for row, anchor in enumerate(anchors):
            if anchor is not None:
                count = len(anchor.indices)
                index[row, :count], atoms[row, :count], real[row, :count] = anchor.indices, anchor.xyz, True
                atoms[row, :count] -= anchor.xyz[:, 1].mean(0)  # near the origin: float32 is finer there
        self.index = torch.from_numpy(index).to(device)
        self.real = torch.from_numpy(real).to(device)
        self.rots, self.trans = frames.frames_from_backbone(torch.from_numpy(atoms).float().to(device))

    def __call__(self, state: State) -> State:
        """The state with motifs in place."""
        rows = torch.arange(len(self.index), device=self.index.device)[:, None]
        all_rots, all_trans = self.space.residue_frames(state)
        placed_rots, placed_trans = all_rots[rows, self.index], all_trans[rows, self.index]
        # Three points a residue, so that a single residue has an orientation too.
        own, target = points(self.rots, self.trans), points(placed_rots, placed_trans)
        rotation, shift = alignment.kabsch(own, target, self.real.repeat_interleave(3, dim=1))
        rots = rotation[:, None] @ self.rots
        trans = self.trans @ rotation.transpose(-1, -2) + shift[:, None]
        picked, place = self.real.nonzero(as_tuple=True)
        all_rots, all_trans = all_rots.clone(), all_trans.clone()
        all_rots[picked, self.index[picked, place]] = rots[picked, place]
        all_trans[picked, self.index[picked, place]] = trans[picked, place]
        return self.space.with_residue_frames(state, all_rots, all_trans)


def points(rots: Tensor, trans: Tensor) -> Tensor:
    """N, CA, C of frames (b, k, ...), flattened: (b, 3 k, 3) Å."""
    local = frames.local_backbone(trans)
    return (torch.einsum("bkij,aj->bkai", rots, local) + trans[:, :, None]).flatten(1, 2)
