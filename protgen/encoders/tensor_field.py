"""Tensor field network over residue frames: depthwise tensor products with spherical harmonics of edge directions.

Node features are irreps of SO(3): scalars, vectors and (at degree 2) traceless symmetric tensors. A message is the
depthwise (`uvu`) product of a node's features with the harmonics of an edge, with weights read from invariants of the
edge and both its ends; a linear mixing of channels follows the sum over edges, so nothing fully connected runs at an
edge. All irreps are even: what a reflection would do is left open, and invariants of relative frames are read besides,
so this is SE(3).

References:
    Thomas et al. 2018, Tensor field networks, eq. 5-8.
    Batzner et al. 2022, NequIP, eq. 4-6 (weights from invariants, gates).
    Geiger and Smidt 2022, e3nn: Euclidean Neural Networks.
"""

from collections.abc import Sequence
from typing import Any

import torch
from e3nn import o3
from jaxtyping import Float
from torch import Tensor, nn

from protgen.encoders.base import Encoder
from protgen.errors import ConfigError
from protgen.nn.edges import unit_vectors
from protgen.nn.graph import Wiring
from protgen.nn.irreps import DepthwiseProduct, even_irreps, interpreted, keep_parameters_alone
from protgen.nn.modulation import Modulation
from protgen.nn.passing import WeightedMeanPassing
from protgen.nn.precision import full_precision
from protgen.nn.residue_graph import ResidueGraph, ResidueGraphReader
from protgen.nn.vectors import FrameReadout
from protgen.types import Conditioning, Features, State


class Block(WeightedMeanPassing):
    """A convolution with gates, and a transition of the scalars.

    Args:
        channels: channels of nodes of each degree 0, 1, ...
        harmonics: channels of harmonics of each degree.
        edge_dim: width of edge features.
    """

    def __init__(self, channels: Sequence[int], harmonics: Sequence[int], edge_dim: int) -> None:
        super().__init__()
        dim, self.higher = channels[0], list(channels[1:])
        self.dim = dim
        irreps = even_irreps(channels)
        narrow = [max(dim // 2, 1), *self.higher]
        self.norm = Modulation(dim)
        self.product = DepthwiseProduct(narrow, harmonics)
        self.target = nn.Linear(dim, edge_dim)
        self.source = nn.Linear(dim, edge_dim, bias=False)
        self.edge = nn.Linear(edge_dim, edge_dim, bias=False)
        self.weights = nn.Linear(edge_dim, self.product.weight_numel)
        with interpreted():
            self.narrow = o3.Linear(irreps, even_irreps(narrow))
            # As many scalars more as there are gates for vectors and tensors.
            gated = even_irreps([dim + sum(self.higher), *self.higher])
            self.mix = o3.Linear(self.product.irreps_out, gated, biases=True)
            self.out = o3.Linear(irreps, irreps)
        self.norm_transition = Modulation(dim)
        self.transition = nn.Sequential(nn.Linear(dim, 2 * dim), nn.SiLU(), nn.Linear(2 * dim, dim))
        for module in (self.narrow, self.mix, self.out):
            keep_parameters_alone(module)

    @full_precision
    def forward(self, x: Tensor, harmonics: Tensor, given: ResidueGraph) -> Tensor:
        """Updated node features (n, irreps)."""
        dim = self.dim
        normed = torch.cat([self.norm(x[:, :dim], given.globals), self.normalise(x[:, dim:])], dim=-1)
        seen = normed[:, :dim]
        (received,) = self.propagate(
            given.graph.edge_index,
            target=self.target(seen),
            source=self.source(seen),
            narrowed=self.narrow(normed),
            edge=self.edge(given.edges),
            harmonics=harmonics,
            weights=given.weights,
        )
        x = x + self.out(self.gate(self.mix(received)))
        change = self.transition(self.norm_transition(x[:, :dim], given.globals))
        return torch.cat([x[:, :dim] + change, x[:, dim:]], dim=-1)

    def message(
        self, target_i: Tensor, source_j: Tensor, narrowed_j: Tensor, edge: Tensor, harmonics: Tensor
    ) -> tuple[Tensor]:
        """The features of the source times the harmonics of the edge, (e, irreps)."""
        factors = self.weights(nn.functional.silu(target_i + source_j + edge))
        return (self.product(narrowed_j, harmonics, factors),)

    def normalise(self, higher: Tensor) -> Tensor:
        """Vectors and tensors over the root mean square of their lengths, each degree by itself."""
        scaled = [
            part / (part.square().sum((1, 2), keepdim=True) / part.shape[1] + 1e-4).sqrt()
            for part in self.by_degree(higher)
        ]
        return torch.cat([part.flatten(1) for part in scaled], dim=-1)

    def gate(self, mixed: Tensor) -> Tensor:
        """Scalars through an activation, each vector and tensor times a number in (0, 1) of its own."""
        count = sum(self.higher)
        scalars, gates, higher = mixed.tensor_split([self.dim, self.dim + count], dim=-1)
        opened = [
            part * torch.sigmoid(gate)[..., None]
            for part, gate in zip(self.by_degree(higher), gates.split(self.higher, dim=-1), strict=True)
        ]
        return torch.cat([nn.functional.silu(scalars), *[part.flatten(1) for part in opened]], dim=-1)

    def by_degree(self, higher: Tensor) -> list[Tensor]:
        """Vectors (n, v, 3) and tensors (n, v, 5) of flat features."""
        widths = [2 * degree + 1 for degree in range(1, len(self.higher) + 1)]
        sizes = [count * width for count, width in zip(self.higher, widths, strict=True)]
        parts = higher.split(sizes, dim=-1)
        return [part.unflatten(-1, (-1, width)) for part, width in zip(parts, widths, strict=True)]


class TensorFieldEncoder(Encoder):
    """Tensor field network over residue frames.

    Args:
        residue_dim, global_dim: widths of the conditioning it reads.
        dim: scalar channels of a residue; messages carry half as many.
        vectors: channels of vectors; half as many of tensors of degree 2.
        degree: highest degree of features and harmonics: 1, or 2 at about four times the cost.
        blocks: number of blocks.
        edge_dim: width of edge features.
        neighbours: nearest in space that a residue sees beside its neighbours along the chain and a few far ones.

    Raises:
        ConfigError: if the degree is neither 1 nor 2.
    """

    symmetry = "SE3"
    reads = ("trans", "rots")
    vector_dim = 3

    @classmethod
    def example(cls) -> dict[str, Any]:
        """Keywords of a narrow one."""
        return {"dim": 32}

    def __init__(
        self,
        residue_dim: int,
        global_dim: int,
        dim: int = 128,
        vectors: int = 16,
        degree: int = 1,
        blocks: int = 4,
        edge_dim: int = 64,
        neighbours: int = 16,
    ) -> None:
        super().__init__()
        if degree not in (1, 2):
            raise ConfigError(f"degree is {degree}; tensor_field takes 1 or 2")
        self.scalar_dim, self.vectors, self.degree = dim, vectors, degree
        channels = [dim, vectors, vectors // 2][: degree + 1]
        # Harmonics of two directions: in the noisy state and in the estimate.
        harmonics = [1, 2, 2][: degree + 1]
        self.reader = ResidueGraphReader(residue_dim, global_dim, dim, edge_dim, Wiring(nearest=neighbours))
        with interpreted():
            self.embed = o3.Linear(even_irreps([dim, 6]), even_irreps(channels))
        keep_parameters_alone(self.embed)
        self.blocks = nn.ModuleList(Block(channels, harmonics, edge_dim) for _ in range(blocks))
        self.readout = FrameReadout(dim, vectors)

    def forward(
        self, state: State, t: Float[Tensor, " b"], cond: Conditioning, x_pred: State | None = None
    ) -> Features:
        """Scalars (b, l, dim) and the three vectors of a frame head: displacement (Å), changes of the x and y axes."""
        given = self.reader(state, t, cond, x_pred)
        dtype = given.scalars.dtype
        x = self.mix_axes(given).to(dtype)
        harmonics = self.harmonics(given).to(dtype)
        for block in self.blocks:
            x = block(x, harmonics, given)
        s, v = x[:, : self.scalar_dim], x[:, self.scalar_dim : self.scalar_dim + 3 * self.vectors]
        vectors = self.readout(s, v.unflatten(-1, (self.vectors, 3)).transpose(-1, -2), given.frames[0], given.step)
        return Features(given.graph.dense(s), given.graph.dense(vectors))

    @full_precision
    def mix_axes(self, given: ResidueGraph) -> Tensor:
        """First features: the scalars, and the axes of the noisy frame and of the estimate's."""
        noisy = given.frames[0]
        guess = torch.zeros_like(noisy) if given.x_pred is None else given.x_pred[0]
        axes = torch.cat([noisy, guess], dim=-1).transpose(-1, -2).flatten(1)
        return self.embed(torch.cat([given.scalars, axes.to(given.scalars.dtype)], dim=-1))

    @full_precision
    def harmonics(self, given: ResidueGraph) -> Tensor:
        """Spherical harmonics of edge directions, (e, irreps); degree by degree, zero without an estimate."""
        columns = [torch.ones_like(given.weights)[:, None]]
        for degree in range(1, self.degree + 1):
            for frames in (given.frames, given.x_pred):
                direction, _ = unit_vectors(given.graph, given.frames[1] if frames is None else frames[1])
                values = o3.spherical_harmonics(degree, direction, normalize=False, normalization="component")
                columns.append(torch.zeros_like(values) if frames is None else values)
        return torch.cat(columns, dim=-1)
