"""A transformer over residue frames whose work is matrix products: wide layers, and few operations on pairs.

Geometry enters attention by biases that are computed once for every two layers. It leaves attention by points that are
seen from the frame of each residue. Frames move after every two layers, and then the exact relative frames of chain
neighbours enter again. Exactly equivariant: all learned functions act on invariants of relative frames. Unlike
`frame_attention` no layer keeps features of pairs, so that at equal cost there are twice as many parameters, and nearly
all of the work runs in bfloat16 where a processor has units for that.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from protgen.encoders.base import Encoder
from protgen.errors import ConfigError
from protgen.nn.embedding import chain_places, fourier_features
from protgen.nn.frame_attention import FrameUpdate, LocalJoints, frame_vectors, placed, seen_from
from protgen.nn.pair_planes import PairPlanes
from protgen.types import Conditioning, Features, State

POINTS = 4  # of each head
LAYERS = 2  # of a block
Frames = tuple[Tensor, Tensor]


class Layer(nn.Module):
    """Attention with a bias and points (Jumper et al. 2021, supplement algorithm 22, less its pair values), and a
    transition by squared ReLU (So et al. 2021, Primer); time and y enter by scale and shift (Peebles and Xie 2023).

    Args:
        dim: width of scalars.
        global_dim: width of what is known of the whole structure.
        heads: attention heads.
        expansion: hidden width of transitions, in units of dim.
    """

    def __init__(self, dim: int, global_dim: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, dim // heads
        self.norm_attention = nn.LayerNorm(dim, elementwise_affine=False)
        self.norm_transition = nn.LayerNorm(dim, elementwise_affine=False)
        self.modulation = nn.Linear(global_dim, 4 * dim)
        self.read = nn.Linear(dim, 3 * dim + heads * POINTS * 3)
        self.out = nn.Linear(dim + heads * POINTS * 4, dim)
        self.widen = nn.Linear(dim, expansion * dim)
        self.narrow = nn.Linear(expansion * dim, dim)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self, scalars: Float[Tensor, "b l d"], globals: Float[Tensor, "b g"], bias: Float[Tensor, "h b l l"], at: Frames
    ) -> Float[Tensor, "b l d"]:
        """Updated scalars.

        Args:
            scalars: of residues.
            globals: what is known of the whole structure.
            bias: of attention, from pairs; very low for keys that are no residues.
            at: rotations and positions (Å) of residues.
        """
        scale_a, shift_a, scale_t, shift_t = self.modulation(globals)[:, None].chunk(4, dim=-1)
        x = torch.addcmul(shift_a, self.norm_attention(scalars), 1 + scale_a)
        scalars = scalars + self.attend(x, bias, at)
        x = torch.addcmul(shift_t, self.norm_transition(scalars), 1 + scale_t)
        return scalars + self.narrow(nn.functional.relu(self.widen(x)).square())

    def attend(self, x: Float[Tensor, "b l d"], bias: Float[Tensor, "h b l l"], at: Frames) -> Float[Tensor, "b l d"]:
        """What attention adds to the scalars.

        Args:
            x: normalised scalars.
            bias: of attention.
            at: rotations and positions (Å) of residues.
        """
        b, length, _ = x.shape
        qkv, local = self.read(x).split([3 * self.heads * self.head_dim, self.heads * POINTS * 3], dim=-1)
        # Heads come first, as in the planes of the biases.
        q, k, v = qkv.reshape(b, length, 3, self.heads, self.head_dim).permute(2, 3, 0, 1, 4)
        points = placed(local, *at).reshape(b, length, self.heads, POINTS * 3).permute(2, 0, 1, 3)
        values = torch.cat([v, points.to(v.dtype)], dim=-1).flatten(0, 1)
        keys = k.flatten(0, 1).transpose(1, 2)
        scores = torch.baddbmm(bias.flatten(0, 1), q.flatten(0, 1), keys, alpha=self.head_dim**-0.5)
        seen = torch.bmm(scores.softmax(-1), values).unflatten(0, (self.heads, b))
        scalar, points = seen.permute(1, 2, 0, 3).split([self.head_dim, POINTS * 3], dim=-1)
        local = seen_from(points.reshape(b, length, self.heads * POINTS, 3), *at)
        norms = (local.square().sum(-1) + 1e-6).sqrt()
        parts = [scalar.flatten(-2), local.flatten(-2), norms]
        return self.out(torch.cat([part.to(v.dtype) for part in parts], dim=-1))


class Block(nn.Module):
    """Biases from the frames of now, layers, a move of the frames, and the joints of the moved frames.

    Args:
        dim: width of scalars.
        global_dim: width of what is known of the whole structure.
        heads: attention heads.
        expansion: hidden width of transitions, in units of dim.
        sets: sets of frames that biases are computed from.
        asked: width of what is asked of pairs.
        last: whether no block follows that would read the joints.
    """

    def __init__(
        self, dim: int, global_dim: int, heads: int, expansion: int, sets: int, asked: int, last: bool
    ) -> None:
        super().__init__()
        self.heads = heads
        self.pairs = PairPlanes(global_dim, LAYERS * heads, sets, asked=asked)
        self.layers = nn.ModuleList(Layer(dim, global_dim, heads, expansion) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(dim)
        self.update = FrameUpdate(dim)
        self.joints = None if last else LocalJoints(dim)

    def forward(self, flow: "Flow", seen: list[Frames | None], cond: Conditioning) -> "Flow":
        """What flows through the blocks, one block on.

        Args:
            flow: scalars, frames and what goes with them.
            seen: frames that biases are computed from.
            cond: requests of pairs, and chains.
        """
        bias = self.pairs(flow.globals, seen, cond.pair, flow.mask, cond.chains)
        scalars = flow.scalars
        for layer, own in zip(self.layers, bias.unflatten(0, (LAYERS, self.heads)).unbind(0), strict=True):
            scalars = layer(scalars, flow.globals, own, flow.frames)
        frames = self.update(self.norm(scalars), *flow.frames, flow.step)
        if self.joints is not None:
            scalars = scalars + self.joints(*frames, flow.mask)
        return replace(flow, scalars=scalars, frames=frames)


@dataclass(frozen=True)
class Flow:
    """What goes from block to block.

    Attributes:
        scalars: (b, l, d) of residues.
        frames: rotations (b, l, 3, 3) and positions (b, l, 3), Å, moved so far.
        globals: (b, g) what is known of the whole structure.
        step: (b, 1, 1) size of a unit move, Å.
        mask: (b, l) which residues are real.
    """

    scalars: Tensor
    frames: Frames
    globals: Float[Tensor, "b g"]
    step: Float[Tensor, "b 1 1"]
    mask: Bool[Tensor, "b l"]


class FrameTransformerEncoder(Encoder):
    """Blocks of transformer layers over residue frames.

    Args:
        residue_dim, global_dim: widths of the conditioning it reads.
        dim: width of residue scalars; a multiple of `heads`.
        blocks: number of blocks, of two layers each.
        heads: attention heads.
        expansion: hidden width of transitions, in units of dim.
        modulation: width of what is known of the whole structure.
        asked_dim: width of what is asked of pairs of residues.

    Raises:
        ConfigError: if `dim` is no multiple of `heads`.
    """

    symmetry = "SE3"
    reads = ("trans", "rots")
    vector_dim = 3
    tells_chains_apart = True
    exact_gradients = False  # those through the frames of later blocks to biases are cut, for speed

    @classmethod
    def example(cls) -> dict[str, Any]:
        """Keywords of a narrow one."""
        return {"dim": 32, "blocks": 2, "heads": 4, "modulation": 8}

    def __init__(
        self,
        residue_dim: int,
        global_dim: int,
        dim: int = 256,
        blocks: int = 4,
        heads: int = 8,
        expansion: int = 4,
        modulation: int = 20,
        asked_dim: int = 0,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ConfigError(f"frame_transformer: dim is {dim} and heads is {heads}; give a multiple of the heads")
        self.scalar_dim = dim
        self.embed_residue = nn.Linear(residue_dim + 16 + 1, dim)
        self.embed_global = nn.Sequential(
            nn.Linear(global_dim + 64, dim), nn.SiLU(), nn.Linear(dim, modulation), nn.SiLU()
        )
        self.global_to_residue = nn.Linear(modulation, dim)
        self.joints_noisy = LocalJoints(dim)
        self.joints_x_pred = LocalJoints(dim)
        self.blocks = nn.ModuleList(
            Block(dim, modulation, heads, expansion, 2 if number == 0 else 1, asked_dim, number == blocks - 1)
            for number in range(blocks)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None
    ) -> Features:
        """Scalars (b, l, dim) and the three vectors of a frame head: displacement (Å), changes of the x and y axes."""
        mask = state.mask
        frames = state["rots"], state["trans"]
        guess = None if x_pred is None else (x_pred["rots"], x_pred["trans"])
        dtype = self.embed_residue.weight.dtype
        known = torch.cat([cond.globals.to(dtype), fourier_features(t * 1000, 64).to(dtype)], dim=-1)
        globals = self.embed_global(known)
        place = chain_places(mask, cond.chains).to(dtype)
        guessed = torch.full_like(place[..., :1], float(x_pred is not None))
        own = torch.cat([cond.residue.to(dtype), place, guessed], dim=-1)
        scalars = self.embed_residue(own) + self.global_to_residue(globals)[:, None] + self.joints_noisy(*frames, mask)
        if guess is not None:
            scalars = scalars + self.joints_x_pred(*guess, mask)
        # A unit output moves a frame by about what is still unknown at this noise level.
        step = (0.3 + 6.0 * t.to(frames[1].dtype))[:, None, None]
        flow = Flow(scalars, frames, globals, step, mask)
        for number, block in enumerate(self.blocks):
            seen = [frames, guess] if number == 0 else [(flow.frames[0].detach(), flow.frames[1].detach())]
            flow = block(flow, seen, cond)
        return Features(self.norm(flow.scalars), frame_vectors(frames, flow.frames))
