"""Frame attention over residues: an SE(3)-equivariant encoder of noisy backbone frames.

Invariant point attention with pair features, alternating with exact relative frames of chain neighbours and a
move of the frames; the frames a block sees are those the last one moved. Exactly equivariant: all learned functions
act on invariants of relative frames. By default every residue sees every other, at a cost that grows with the square
of the length; with `neighbours` each sees its neighbours, at a cost that grows with the length. The weights are the
same for both.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from protgen.encoders.base import Encoder
from protgen.errors import ConfigError
from protgen.nn.embedding import chain_places, fourier_features
from protgen.nn.frame_attention import (
    FrameAttention,
    FrameUpdate,
    LocalJoints,
    PairBias,
    PairFeatures,
    frame_vectors,
)
from protgen.nn.graph import Wiring
from protgen.nn.pairs import AllPairs, Pairs, neighbours_of
from protgen.types import Conditioning, Features, State


class Block(nn.Module):
    """Attention, joints, a transition, and a move of the frames; time and y enter by scale and shift."""

    def __init__(self, dim: int, pair_dim: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(dim)
        self.attention = FrameAttention(dim, pair_dim, heads)
        self.joints = LocalJoints(dim)
        self.norm_transition = nn.LayerNorm(dim)
        self.modulation = nn.Linear(dim, 4 * dim)
        self.transition = nn.Sequential(nn.Linear(dim, expansion * dim), nn.GELU(), nn.Linear(expansion * dim, dim))
        self.norm_update = nn.LayerNorm(dim)
        self.update = FrameUpdate(dim)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self,
        scalars: Tensor,
        globals: Tensor,
        pair: tuple[Tensor, Tensor],
        frames: tuple[Tensor, Tensor],
        mask: Tensor,
        step: Tensor,
        pairs: Pairs,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Updated scalars and frames; `pair` is pair features and this block's attention bias."""
        rots, trans = frames
        scale_a, shift_a, scale_t, shift_t = self.modulation(globals)[:, None].chunk(4, dim=-1)
        x = torch.addcmul(shift_a, self.norm_attention(scalars), 1 + scale_a)
        scalars = scalars + self.attention(x, *pair, rots, trans, mask, pairs)
        scalars = scalars + self.joints(rots, trans, mask)
        x = torch.addcmul(shift_t, self.norm_transition(scalars), 1 + scale_t)
        scalars = scalars + self.transition(x)
        return scalars, self.update(self.norm_update(scalars), rots, trans, step)


@dataclass(frozen=True)
class PairSettings:
    """The features of pairs of residues.

    Attributes:
        pair_dim: their width.
        refresh: block before which they are computed anew from the frames moved so far; at least 1.
        neighbours: how many of the nearest residues each residue sees; it also sees some along the chain
            (`nn/graph.py`) and those of which a pair is asked. None: it sees all.
    """

    pair_dim: int = 32
    refresh: int = 3
    neighbours: int | None = None


class FrameAttentionEncoder(Encoder):
    """Frame attention (IPA-like) over all pairs of residues, or over neighbours.

    Args:
        residue_dim, global_dim: widths of the conditioning it reads.
        dim: width of residue scalars.
        pairs: features of pairs; its fields are keywords of a config.
        blocks: number of blocks.
        heads: attention heads.
        expansion: hidden width of transitions, in units of dim.
        asked_dim: width of what is asked of pairs of residues.

    Raises:
        ConfigError: if `refresh` names no block, or `neighbours` is no positive number.
    """

    symmetry = "SE3"
    reads = ("trans", "rots")
    vector_dim = 3
    tells_chains_apart = True
    exact_gradients = False  # some by coordinates are cut, for speed

    @classmethod
    def example(cls) -> dict[str, Any]:
        """Keywords of a narrow one."""
        return {"dim": 32}

    def __init__(
        self,
        residue_dim: int,
        global_dim: int,
        dim: int = 192,
        pairs: PairSettings | None = None,
        blocks: int = 6,
        heads: int = 8,
        expansion: int = 4,
        asked_dim: int = 0,
    ) -> None:
        super().__init__()
        pairs = pairs or PairSettings()
        pair_dim, refresh = pairs.pair_dim, pairs.refresh
        if not 1 <= refresh <= blocks:
            raise ConfigError(f"refresh is {refresh} and blocks is {blocks}; give a refresh from 1 to blocks")
        if pairs.neighbours is not None and pairs.neighbours < 1:
            raise ConfigError(f"neighbours is {pairs.neighbours}; give 1 or more, or null for all residues")
        self.scalar_dim = dim
        self.refresh = refresh
        self.wiring = None if pairs.neighbours is None else Wiring(nearest=pairs.neighbours)
        self.embed_residue = nn.Linear(residue_dim + 16 + 1, dim)
        self.embed_global = nn.Sequential(nn.Linear(global_dim + 64, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.joints_noisy = LocalJoints(dim)
        self.joints_x_pred = LocalJoints(dim)
        self.pair = PairFeatures(dim, pair_dim, sets=2, asked=asked_dim)
        self.bias = PairBias(pair_dim, refresh, heads)
        self.pair_refreshed = PairFeatures(dim, pair_dim, sets=1, asked=asked_dim)
        self.bias_refreshed = PairBias(pair_dim, blocks - refresh, heads)
        self.blocks = nn.ModuleList(Block(dim, pair_dim, heads, expansion) for _ in range(blocks))

    def forward(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None
    ) -> Features:
        """Scalars (b, l, dim) and the three vectors of a frame head: displacement (Å), changes of the x and y axes."""
        mask = state.mask
        frames = state["rots"], state["trans"]
        dtype = self.embed_residue.weight.dtype
        globals = self.embed_global(
            torch.cat([cond.globals.to(dtype), fourier_features(t * 1000, 64).to(dtype)], dim=-1)
        )

        place = chain_places(mask, cond.chains).to(dtype)
        known = torch.full_like(place[..., :1], float(x_pred is not None))
        scalars = self.embed_residue(torch.cat([cond.residue.to(dtype), place, known], dim=-1)) + globals[:, None]
        scalars = scalars + self.joints_noisy(*frames, mask)
        if x_pred is not None:
            scalars = scalars + self.joints_x_pred(x_pred["rots"], x_pred["trans"], mask)
        guess = None if x_pred is None else (x_pred["rots"], x_pred["trans"])
        pairs = self.pairs(mask, [frames[1]] if guess is None else [frames[1], guess[1]], cond)
        pair = self.pair(scalars, frames, guess, pairs=pairs, asked=cond.pair)

        # A unit output moves a frame by about what is still unknown at this noise level.
        step = (0.3 + 6.0 * t.to(frames[1].dtype))[:, None, None]
        bias = self.bias(pair).unbind(1)
        for number, block in enumerate(self.blocks):
            if number == self.refresh:
                # Detached: gradients reach the frames through the blocks; through all pairs they cost too much.
                seen = frames[0].detach(), frames[1].detach()
                pair = pair + self.pair_refreshed(scalars, seen, pairs=pairs, asked=cond.pair)
                bias += self.bias_refreshed(pair).unbind(1)
            scalars, frames = block(scalars, globals, (pair, bias[number]), frames, mask, step, pairs)

        return Features(scalars, frame_vectors((state["rots"], state["trans"]), frames))

    def pairs(self, mask: Tensor, positions: list[Tensor], cond: Conditioning) -> Pairs:
        """Which pairs of residues it looks at.

        Neighbours are near in the noisy state or in an estimate: at high noise only the estimate predicts the final
        neighbours.

        Args:
            mask: (b, l) which residues are real.
            positions: (b, l, 3) each, Å.
            cond: requests of pairs, and chains.
        """
        if self.wiring is None:
            return AllPairs(mask.shape[1], mask.device, cond.chains)
        wanted = None if cond.pair is None or self.pair.asked is None else (cond.pair != 0).any(-1)
        return neighbours_of(mask, positions, self.wiring, wanted, cond.chains)
