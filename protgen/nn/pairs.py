"""Which pairs of residues a network looks at: all of them, or each residue and its neighbours.

Both say the same of a pair (i, j), i the residue that looks and j the one it sees. Tensors of pairs have shape
(b, l, m, ...): m is l where all are looked at, and otherwise the most neighbours that a residue has, so that memory and
time grow with l alone. Neighbours are those of the graphs (`graph.py`), and each residue sees itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from protgen.nn.embedding import chain_offsets, chain_spots
from protgen.nn.graph import Wiring, build_graph, edge_weights
from protgen.nn.precision import full_precision

NOT_SEEN = -1e9  # attention bias of a neighbour that is none
FAINTEST = 1e-30  # weight of a neighbour that has faded out; its logarithm is finite


class Pairs(ABC):
    """The pairs of a batch."""

    @abstractmethod
    def offsets(self) -> Int[Tensor, "*b l m"]:
        """Places along the chain from i to j; without a batch where it is the same for all."""

    @abstractmethod
    def seen(self, x: Float[Tensor, "b l d"]) -> Float[Tensor, "b _ m d"]:
        """Of each pair what belongs to j; one row where every residue sees the same."""

    @abstractmethod
    def asked(self, x: Float[Tensor, "b l l p"]) -> Float[Tensor, "b l m p"]:
        """Of each pair what is given of all pairs."""

    @abstractmethod
    def relative_frames(
        self, rots: Float[Tensor, "b l 3 3"], trans: Float[Tensor, "b l 3"]
    ) -> tuple[Float[Tensor, "b l m"], Float[Tensor, "b l m 3"], Float[Tensor, "b l m 9"]]:
        """CA distance (Å), the unit direction of j seen from i, and the rotation from i to j."""

    @abstractmethod
    def scores(self, queries: Float[Tensor, "b h l d"], keys: Float[Tensor, "b h l d"]) -> Float[Tensor, "b h l m"]:
        """Products of the queries of i and the keys of j, very low where j is not seen."""

    @abstractmethod
    def mixed(self, attention: Float[Tensor, "b h l m"], values: Float[Tensor, "b h l d"]) -> Float[Tensor, "b h l d"]:
        """Sums of the values of j, weighted by attention."""


@dataclass(frozen=True)
class AllPairs(Pairs):
    """Every pair. Keys that are no residues are the caller's to hide.

    Attributes:
        length: residues.
        device: of the tensors.
        chains: number of the chain of each residue; None for one chain.
    """

    length: int
    device: torch.device
    chains: Int[Tensor, "b l"] | None = None

    def offsets(self) -> Int[Tensor, "*b l l"]:
        """Places along the chain from i to j."""
        return chain_offsets(self.length, self.device, self.chains)

    def seen(self, x: Float[Tensor, "b l d"]) -> Float[Tensor, "b 1 l d"]:
        """What belongs to j, the same for every i."""
        return x[:, None]

    def asked(self, x: Float[Tensor, "b l l p"]) -> Float[Tensor, "b l l p"]:
        """What is given."""
        return x

    @full_precision
    def relative_frames(
        self, rots: Float[Tensor, "b l 3 3"], trans: Float[Tensor, "b l 3"]
    ) -> tuple[Float[Tensor, "b l l"], Float[Tensor, "b l l 3"], Float[Tensor, "b l l 9"]]:
        """CA distance (Å), the unit direction of j seen from i, and the rotation from i to j."""
        batch, length = trans.shape[:2]
        difference = trans[:, None, :] - trans[:, :, None]
        distance = (difference.square().sum(-1) + 1e-6).sqrt()
        direction = torch.einsum("bijk,bikc->bijc", difference / distance[..., None], rots)
        # All R_i^T R_j at once, as one matrix product.
        rows = rots.transpose(-1, -2).reshape(batch, length * 3, 3)
        columns = rots.permute(0, 2, 1, 3).reshape(batch, 3, length * 3)
        rotation = (rows @ columns).reshape(batch, length, 3, length, 3).transpose(2, 3)
        return distance, direction, rotation.reshape(batch, length, length, 9)

    def scores(self, queries: Float[Tensor, "b h l d"], keys: Float[Tensor, "b h l d"]) -> Float[Tensor, "b h l l"]:
        """Products of queries and keys."""
        return queries @ keys.transpose(-1, -2)

    def mixed(self, attention: Float[Tensor, "b h l l"], values: Float[Tensor, "b h l d"]) -> Float[Tensor, "b h l d"]:
        """Sums of values, weighted by attention."""
        return attention @ values


@dataclass(frozen=True)
class Neighbours(Pairs):
    """Each residue, itself first, and its neighbours; padded to the most that any has.

    Attributes:
        place: of each neighbour along the chain.
        weight: logarithm of the weight of each: 0 for itself and for neighbours that distance did not choose, falling
            as the nearest fade out, `NOT_SEEN` for padding.
        chains: number of the chain of each residue; None for one chain.
    """

    place: Int[Tensor, "b l m"]
    weight: Float[Tensor, "b l m"]
    chains: Int[Tensor, "b l"] | None = None

    def offsets(self) -> Int[Tensor, "b l m"]:
        """Places along the chain from i to j."""
        spots = chain_spots(self.place.shape[1], self.place.device, self.chains).expand(self.place.shape[:2])
        return spots.gather(1, self.place.flatten(1)).view_as(self.place) - spots[..., None]

    def of(self, x: Float[Tensor, "b h l d"]) -> Float[Tensor, "b h l m d"]:
        """Rows of the neighbours."""
        b, heads, length, _ = x.shape
        first = torch.arange(0, b * heads * length, length, device=x.device).reshape(b, heads, 1, 1)
        # As an embedding: its gradient is the fastest of the ways to pick rows.
        return nn.functional.embedding(first + self.place[:, None], x.flatten(0, 2))

    def seen(self, x: Float[Tensor, "b l d"]) -> Float[Tensor, "b l m d"]:
        """What belongs to j."""
        return self.of(x[:, None])[:, 0]

    def asked(self, x: Float[Tensor, "b l l p"]) -> Float[Tensor, "b l m p"]:
        """What is given of these pairs."""
        return x.gather(2, self.place[..., None].expand(-1, -1, -1, x.shape[-1]))

    @full_precision
    def relative_frames(
        self, rots: Float[Tensor, "b l 3 3"], trans: Float[Tensor, "b l 3"]
    ) -> tuple[Float[Tensor, "b l m"], Float[Tensor, "b l m 3"], Float[Tensor, "b l m 9"]]:
        """CA distance (Å), the unit direction of j seen from i, and the rotation from i to j."""
        there = self.seen(torch.cat([trans, rots.flatten(-2)], -1))
        difference = there[..., :3] - trans[:, :, None]
        distance = (difference.square().sum(-1) + 1e-6).sqrt()
        direction = (difference / distance[..., None]) @ rots
        rotation = rots.transpose(-1, -2)[:, :, None] @ there[..., 3:].unflatten(-1, (3, 3))
        return distance, direction, rotation.flatten(-2)

    def scores(self, queries: Float[Tensor, "b h l d"], keys: Float[Tensor, "b h l d"]) -> Float[Tensor, "b h l m"]:
        """Products of queries and keys, with the weights of neighbours."""
        return (self.of(keys) @ queries[..., None])[..., 0] + self.weight[:, None].to(queries.dtype)

    def mixed(self, attention: Float[Tensor, "b h l m"], values: Float[Tensor, "b h l d"]) -> Float[Tensor, "b h l d"]:
        """Sums of values, weighted by attention."""
        return (attention[..., None, :] @ self.of(values))[..., 0, :]


@torch.no_grad()
def neighbours_of(
    mask: Bool[Tensor, "b l"],
    positions: Sequence[Float[Tensor, "b l 3"]],
    wiring: Wiring,
    asked: Bool[Tensor, "b l l"] | None = None,
    chains: Int[Tensor, "b l"] | None = None,
) -> Neighbours:
    """The neighbours of each residue of a batch. Gradients do not reach positions by the weights of neighbours.

    Args:
        mask: which residues are real; the others see themselves alone.
        positions: one or more, Å: two residues are as near as they are in the nearest of these.
        wiring: how many neighbours of each kind.
        asked: pairs that are neighbours whatever their distance.
        chains: number of the chain of each residue; None for one chain.
    """
    b, length = mask.shape
    graph = build_graph(mask, positions, wiring, asked=asked)
    counts = graph.target.bincount(minlength=graph.nodes)
    # Edges are sorted by target: the number of an edge among those of its target.
    number = torch.arange(len(graph.target), device=mask.device) - (counts.cumsum(0) - counts)[graph.target]
    most = int(counts.max()) if len(counts) else 0
    own = torch.arange(length, device=mask.device)
    place = own[:, None].repeat(b, 1, 1 + most)
    weight = torch.full_like(place, NOT_SEEN, dtype=positions[0].dtype)
    weight[..., 0] = 0.0
    example, row = mask.nonzero().T
    at = example[graph.target], row[graph.target], 1 + number
    place[at] = row[graph.source]
    weight[at] = edge_weights(graph, [graph.flat(x) for x in positions]).clamp(min=FAINTEST).log().to(weight.dtype)
    return Neighbours(place, weight, chains)
