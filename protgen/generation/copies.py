"""Symmetric assemblies whose copies are denoised together, so that interfaces form.

The network sees all chains at once, with gaps along the chain between them. Before it reads the noisy point, the other
chains become copies of the first, and its prediction is averaged over the copies: noise, updates and design are
symmetric (Watson et al. 2023, RFdiffusion, methods, "Symmetric oligomers", where the noise of one subunit is copied
too). A chain that the assembly does not concern is its own only copy.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from protgen.generation.plan import Plan
from protgen.geometry import so3
from protgen.samplers.base import Denoiser, Guide
from protgen.samplers.projection import Projection
from protgen.spaces.atoms import ResidueFrames
from protgen.types import CHAIN_GAP, Conditioning, State


class SymmetricCopies:
    """The places and turns of the copies of each design of a batch.

    Args:
        space: of the model.
        plans: of the batch.
        device: of the states.
    """

    def __init__(self, space: ResidueFrames, plans: Sequence[Plan], device: torch.device) -> None:
        self.space = space
        turns = [plan.operations for plan in plans]
        shape = len(plans), max(map(len, turns)), max(plan.length for plan in plans)
        place, real, turn = np.zeros(shape, int), np.zeros(shape, bool), np.zeros((*shape[:2], 3, 3))
        for row, (plan, own) in enumerate(zip(plans, turns, strict=True)):
            for k, operation in enumerate(own):
                place[row, k, : plan.length] = k * (plan.length + CHAIN_GAP) + np.arange(plan.length)
                real[row, k, : plan.length] = True
                turn[row, k] = operation
        self.place, self.real = torch.from_numpy(place).to(device), torch.from_numpy(real).to(device)
        self.turn = torch.from_numpy(turn).float().to(device)

    def mask(self) -> Bool[Tensor, "b p"]:
        """Which positions are residues of a chain."""
        result = torch.zeros(len(self.place), int(self.place.max()) + 1, dtype=torch.bool, device=self.place.device)
        row, copy, residue = self.real.nonzero(as_tuple=True)
        result[row, self.place[row, copy, residue]] = True
        return result

    def spread(self, state: State) -> State:
        """The first chain and its copies."""
        rots, trans = self.space.residue_frames(state)
        rows, first = torch.arange(len(self.place), device=self.place.device)[:, None], self.place[:, 0]
        return self.placed(state, rots[rows, first], trans[rows, first])

    def average(self, state: State) -> State:
        """The mean over the copies, each turned back onto the first, and its copies."""
        rots, trans = self.space.residue_frames(state)
        rows = torch.arange(len(self.place), device=self.place.device)[:, None, None]
        back = self.turn.transpose(-1, -2)[:, :, None]
        share = self.real / self.real.sum(1, keepdim=True).clamp(min=1)
        mean_trans = ((back @ trans[rows, self.place][..., None])[..., 0] * share[..., None]).sum(1)
        mean_rots = (back @ rots[rows, self.place] * share[..., None, None]).sum(1)
        there = self.real[:, 0, :, None, None]
        return self.placed(state, so3.project(torch.where(there, mean_rots, so3.identity_like(mean_rots))), mean_trans)

    def placed(self, state: State, rots: Float[Tensor, "b l 3 3"], trans: Float[Tensor, "b l 3"]) -> State:
        """A state whose chains are copies of one.

        Args:
            state: that is changed.
            rots, trans: frames of the first chain, Å.
        """
        all_rots, all_trans = (x.clone() for x in self.space.residue_frames(state))
        row, copy, residue = self.real.nonzero(as_tuple=True)
        place, turn = self.place[row, copy, residue], self.turn[row, copy]
        all_rots[row, place] = turn @ rots[row, residue]
        all_trans[row, place] = (turn @ trans[row, residue][..., None])[..., 0]
        return self.space.with_residue_frames(state, all_rots, all_trans)

    def guide(self, denoiser: Denoiser) -> Guide:
        """A denoiser of symmetric assemblies."""
        return Projection(denoiser, self.average, inputs=self.spread)

    def conditioning(self, cond: Conditioning) -> Conditioning:
        """What is asked of the first chain asked of each copy; nothing of pairs between chains.

        Args:
            cond: with the requests of the first chain at the first positions.
        """
        residue = cond.residue.clone()
        pair = None if cond.pair is None else cond.pair.clone()
        chains = torch.zeros(residue.shape[:2], dtype=torch.long, device=residue.device)
        for row in range(len(self.place)):
            for k in range(self.place.shape[1]):
                place = self.place[row, k, self.real[row, k]]
                first = self.place[row, 0, self.real[row, k]]
                residue[row, place] = cond.residue[row, first]
                if pair is not None and cond.pair is not None:
                    pair[row, place[:, None], place] = cond.pair[row, first[:, None], first]
                if len(place):
                    chains[row, place[0] :] = k
        return Conditioning(residue, cond.globals, pair, chains)
