"""A plain transformer over any state: the control without symmetry, and a general encoder for flat spaces.

Fields are flattened and joined to one token a position; attention is full (or causal), with no bias from geometry.
For backbones it predicts the vectors of a frame head in the global frame, where x, y and z mean something only by the
data: it must learn what the equivariant encoders know. Time and y enter by scale and shift.

References:
    Vaswani et al. 2017, Attention Is All You Need.
    Peebles and Xie 2023, Scalable Diffusion Models with Transformers (adaLN).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from protgen.encoders.base import Encoder, Incremental, Memory
from protgen.errors import ConfigError, UsageError
from protgen.nn.inputs import InputEmbedding
from protgen.nn.modulation import Modulation
from protgen.nn.precision import full_precision
from protgen.types import Conditioning, Features, State

BACKBONE = {"trans": 3, "rots": 9}
NANOMETRE = 10.0  # Å; positions enter in nm, so that inputs are of order one


class Block(nn.Module):
    """Self-attention and a transition, each with a residual."""

    def __init__(self, dim: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = Modulation(dim)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim)
        self.norm_transition = Modulation(dim)
        self.transition = nn.Sequential(nn.Linear(dim, expansion * dim), nn.GELU(), nn.Linear(expansion * dim, dim))

    def forward(self, x: Tensor, globals: Tensor, seen: Tensor) -> Float[Tensor, "b l d"]:
        """Updated features; `seen` (b, 1, l, l) or (b, 1, 1, l) is True where a query may look."""
        return self.extend(x, globals, seen, ())[0]

    def extend(
        self, x: Tensor, globals: Tensor, seen: Tensor, kept: tuple[Tensor, ...]
    ) -> tuple[Float[Tensor, "b l d"], tuple[Tensor, ...]]:
        """Updated features of the positions after those kept, and the keys and values (b, l, heads, d) of all."""
        qkv = self.qkv(self.norm_attention(x, globals)).unflatten(-1, (3, self.heads, -1))
        q, *new = qkv.unbind(2)
        kept = tuple(torch.cat([old, more], 1) for old, more in zip(kept, new, strict=True)) if kept else tuple(new)
        q, k, v = (part.transpose(1, 2) for part in (q, *kept))
        attended = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = x + self.out(attended.transpose(1, 2).flatten(-2))
        return x + self.transition(self.norm_transition(x, globals)), kept


@dataclass(frozen=True)
class TokenSettings:
    """What the tokens of a transformer hold.

    Attributes:
        fields: name and flattened width of each field of the state; a backbone's trans and rots by default.
        row: length of a row where positions are the pixels of an image, None where they are a chain.
        circles: fields that are angles, read as cosine and sine: pi and -pi are one angle.
    """

    fields: Mapping[str, int] | None = None
    row: int | None = None
    circles: Sequence[str] = ()


class TransformerEncoder(Encoder, Incremental):
    """Transformer over the joined fields of a state.

    Args:
        residue_dim, global_dim: widths of the conditioning it reads.
        dim: width of features, a multiple of `heads`.
        blocks: number of blocks.
        heads: attention heads.
        expansion: hidden width of transitions, in units of dim.
        tokens: fields of the state that it reads; its fields are keywords of a config.
        causal: whether position i sees positions j <= i alone.

    Raises:
        ConfigError: if `dim` is not a multiple of `heads`.
    """

    symmetry = "none"
    causality = "optional"

    @classmethod
    def example(cls) -> dict[str, Any]:
        """Keywords of a narrow one."""
        return {"dim": 32}

    @classmethod
    def on_grid(cls, height: int, width: int, channels: int) -> dict[str, Any] | None:
        """Keywords for images of that width."""
        return {"fields": {"pixels": channels}, "row": width}

    @classmethod
    def on_fields(cls, widths: Mapping[str, int], circles: Sequence[str]) -> dict[str, Any]:
        """The fields that it reads."""
        return {"fields": dict(widths), "circles": list(circles)}

    def __init__(
        self,
        residue_dim: int,
        global_dim: int,
        dim: int = 128,
        blocks: int = 4,
        heads: int = 4,
        expansion: int = 4,
        tokens: TokenSettings | None = None,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ConfigError(f"dim is {dim} and heads is {heads}; give a dim that is a multiple of heads")
        tokens = tokens or TokenSettings()
        self.fields = dict(BACKBONE if tokens.fields is None else tokens.fields)
        if not self.fields:
            raise ConfigError("transformer: fields is empty; name the fields that it reads, with their widths")
        self.circles = tuple(tokens.circles)
        if unknown := set(self.circles) - set(self.fields):
            raise ConfigError(f"transformer: circles has {sorted(unknown)[0]!r}, which is none of its fields")
        self.reads = tuple(self.fields)
        self.scalar_dim = dim
        self.vector_dim = 3 if self.fields == BACKBONE else 0
        self.causal = causal
        width = sum((2 if name in self.circles else 1) * own for name, own in self.fields.items())
        self.inputs = InputEmbedding(residue_dim, global_dim, dim, causal=causal, row=tokens.row)
        self.noisy = nn.Linear(width, dim, bias=False)
        self.x_pred = nn.Linear(width, dim, bias=False)
        self.blocks = nn.ModuleList(Block(dim, heads, expansion) for _ in range(blocks))
        self.norm = nn.LayerNorm(dim)
        self.vectors = nn.Linear(dim, 9) if self.vector_dim else None
        if self.vectors is not None:
            nn.init.zeros_(self.vectors.weight)
            nn.init.zeros_(self.vectors.bias)

    def forward(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None
    ) -> Features:
        """Scalars (b, l, dim), and for a backbone the three vectors of a frame head."""
        x, globals = self.inputs(state.mask, t, cond, x_pred is not None)
        x = x + self.read(self.noisy, state)
        if x_pred is not None:
            x = x + self.read(self.x_pred, x_pred)
        seen = self.seen(state.mask)
        for block in self.blocks:
            x = block(x, globals[:, None], seen)
        x = self.norm(x)
        return Features(x, self.frame_vectors(x, t))

    def extend(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, memory: Memory | None
    ) -> tuple[Float[Tensor, "b d"], Memory]:
        """Scalars of the last position."""
        scalars, globals = self.inputs(state.mask, t, cond, False)
        last = State({name: value[:, -1:] for name, value in state.fields.items()}, state.mask[:, -1:])
        x = scalars[:, -1:] + self.read(self.noisy, last)
        seen = self.seen(state.mask)[:, :, -1:]
        blocks = []
        for place, block in enumerate(cast(Iterable[Block], self.blocks)):
            x, kept = block.extend(x, globals[:, None], seen, memory.blocks[place] if memory else ())
            blocks.append(kept)
        return self.norm(x)[:, 0], Memory(tuple(blocks))

    def seen(self, mask: Bool[Tensor, "b l"]) -> Bool[Tensor, "b 1 _ l"]:
        """Where a position may look."""
        if not self.causal:
            return mask[:, None, None]
        # A position that sees nothing has no softmax: each at least sees itself, padding too.
        square = torch.ones(mask.shape[1], mask.shape[1], dtype=torch.bool, device=mask.device)
        own = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        return (mask[:, None, None] & square.tril()) | own

    @full_precision
    def read(self, layer: nn.Linear, state: State) -> Float[Tensor, "b l d"]:
        """The joined fields through a linear layer.

        Raises:
            UsageError: if a field is missing or has another width.
        """
        columns = []
        for name, width in self.fields.items():
            flat = state[name].flatten(2) if name in state.fields else None
            if flat is None or flat.shape[-1] != width:
                found = {key: value.flatten(2).shape[-1] for key, value in state.fields.items()}
                raise UsageError(f"the transformer reads {self.fields} and the state has {found}; set its `fields`")
            if name in self.circles:
                columns += [flat.cos(), flat.sin()]
            else:
                columns.append(flat / NANOMETRE if name == "trans" and self.vector_dim else flat)
        return layer(torch.cat(columns, dim=-1).to(layer.weight.dtype))

    @full_precision
    def frame_vectors(self, x: Tensor, t: Float[Tensor, " b"]) -> Float[Tensor, "b l v 3"]:
        """Displacement (Å) and changes of the x and y axes in the global frame; none if it reads no backbone."""
        if self.vectors is None:
            return x.new_zeros(*x.shape[:2], 0, 3)
        vectors = self.vectors(x.to(self.vectors.weight.dtype)).unflatten(-1, (3, 3))
        step = (0.3 + 6.0 * t.to(vectors.dtype))[:, None, None, None]
        return torch.cat([vectors[:, :, :1] * step, vectors[:, :, 1:]], dim=2)
