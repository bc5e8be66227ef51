"""A small network on CA traces: an embedding for distances between sets of folds, and CATH probabilities.

Published fold metrics (Geffner et al. 2025) use features whose licence is not free; this network is ours, made by
`benchmarks/fit_fold_network.py` on the CATH codes of native domains. It sees CA atoms alone, so that files of CA count
as much as whole backbones, and nothing of them but invariants of rigid motions: distances, and directions in local
frames that a mirror image turns into others. Each structure is read by itself.

References:
    Geffner et al. 2025, Proteina, ICLR, section 3.4 (what the embedding and the classes are for).
    Schütt et al. 2017, SchNet, NeurIPS, eq. 4 (messages filtered by the geometry of an edge).
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

NEIGHBOURS = 10  # nearest residues in space that send messages to a residue
APART = 3  # along the chain, at least; nearer ones come by convolution
REACH = 20.0  # Å, from which an edge has weight 0
SPAN = torch.linspace(3.0, 20.0, 14)  # Å, centres of the radial functions
STEPS = torch.tensor([4, 5, 7, 10, 15, 22, 33, 64])  # bounds of the bins of separation along the chain
BETWEEN = 500  # places between two chains
CROWDS = (
    (8.0, 8.0),
    (12.0, 24.0),
    (16.0, 50.0),
)  # Å, within which neighbours are counted, and the unit of their number
WHOLE = 2048  # residues; in longer structures a block of residues at a time looks at all others, to bound memory
PAIRS = 2**19  # distances of a block, as far as that allows
STRIDE = 32  # rows of a block are a multiple: torch rounds the last numbers of an array in another way than the others
NODE_FEATURES = 12
EDGE_FEATURES = len(SPAN) + 3 + 9 + 2 * (len(STEPS) + 1)


class FoldNetwork(nn.Module):
    """Messages between residues near in space and along the chain, averaged over the chain.

    Args:
        classes: number of finest fold classes.
        dim: width of residues and edges.
        layers: rounds of messages.
        width: of the embedding.
        dropout: fraction of pooled features left out in training.
    """

    centre: Tensor
    std: Tensor

    def __init__(self, classes: int, dim: int = 48, layers: int = 3, width: int = 32, dropout: float = 0.2) -> None:
        super().__init__()
        self.residue = nn.Linear(NODE_FEATURES, dim)
        self.edge = nn.Linear(EDGE_FEATURES, dim)
        self.layers = nn.ModuleList(_Layer(dim) for _ in range(layers))
        self.pool = nn.Linear(dim, 2 * dim)
        self.squeeze = nn.Sequential(nn.LayerNorm(4 * dim + 1), nn.Dropout(dropout), nn.Linear(4 * dim + 1, width))
        self.classify = nn.Sequential(nn.Dropout(dropout / 2), nn.Linear(width, classes))
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def embed(
        self, ca: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"], place: Int[Tensor, "b l"]
    ) -> Float[Tensor, "b w"]:
        """Embedding of each chain; of mean 0 and deviation 1 in each dimension over the natives it was fitted to.

        Args:
            ca: Å.
            mask: which residues are real; padding comes last, and each chain has eight or more.
            place: number of each residue along the chain; `BETWEEN` further on in another chain.
        """
        return (self.raw(ca, mask, place) - self.centre) / self.std

    def forward(
        self, ca: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"], place: Int[Tensor, "b l"]
    ) -> Float[Tensor, "b c"]:
        """Logits of the finest classes."""
        return self.classify(self.embed(ca, mask, place))

    def raw(
        self, ca: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"], place: Int[Tensor, "b l"]
    ) -> Float[Tensor, "b w"]:
        """The embedding before it is centred and scaled."""
        nodes, edges, near, weight = read_geometry(ca, mask, place)
        keep = mask[..., None]
        hidden = self.residue(nodes) * keep
        shared = nn.functional.silu(self.edge(edges))
        for layer in self.layers:
            hidden = layer(hidden, shared, near, weight) * keep
        said = nn.functional.silu(self.pool(hidden))
        count = mask.sum(dim=1, keepdim=True)
        mean = (said * keep).sum(dim=1) / count
        most = said.masked_fill(~keep, -torch.inf).amax(dim=1)
        return self.squeeze(torch.cat([mean, most, (count / 100.0).log()], dim=-1))


class _Layer(nn.Module):
    """One round: filtered messages from the nearest, a convolution along the chain, and a step of each residue."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.filter = nn.Linear(dim, dim)
        self.send = nn.Linear(dim, dim, bias=False)
        self.along = nn.Conv1d(dim, dim, 5, padding=2)
        self.step = nn.Sequential(nn.LayerNorm(2 * dim), nn.Linear(2 * dim, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, hidden: Tensor, edges: Tensor, near: Tensor, weight: Tensor) -> Tensor:
        sent = gather(self.send(hidden), near)
        heard = (self.filter(edges) * sent * weight[..., None]).sum(dim=2) / NEIGHBOURS**0.5
        along_chain = self.along(hidden.transpose(1, 2)).transpose(1, 2)
        return hidden + self.step(torch.cat([heard, along_chain], dim=-1))


def gather(values: Float[Tensor, "b l *d"], index: Int[Tensor, "b l k"]) -> Float[Tensor, "b l k *d"]:
    """The rows of `values` that an index names."""
    return values[torch.arange(len(values), device=values.device)[:, None, None], index]


@torch.no_grad()
def read_geometry(
    ca: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"], place: Int[Tensor, "b l"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The input features of a batch of traces.

    Returns:
        Features of residues (b, l, f) and edges (b, l, k, e), the neighbours (b, l, k), and the weight of each edge.
    """
    distance, near, steps, crowd = _surroundings(ca, mask, place)
    weight = torch.where(distance < REACH, 0.5 + 0.5 * torch.cos(torch.pi * distance.clamp(max=REACH) / REACH), 0.0)
    distance = distance.nan_to_num(posinf=2 * REACH)
    frames = local_frames(ca, mask)
    direction = (gather(ca, near) - ca[:, :, None]) / distance.clamp(min=1e-3)[..., None]
    local = torch.einsum("blij,blkj->blki", frames, direction).clamp(-1.0, 1.0)
    rotated = torch.einsum("blij,blkmj->blkim", frames, gather(frames, near)).flatten(-2)
    bins = torch.bucketize(steps.abs(), STEPS.to(ca.device), right=True) + (len(STEPS) + 1) * (steps > 0)
    radial = torch.exp(-((distance[..., None] - SPAN.to(ca.device)) / 1.3).square())
    one_hot = nn.functional.one_hot(bins, 2 * (len(STEPS) + 1)).to(ca.dtype)
    edges = torch.cat([radial, local, rotated, one_hot], dim=-1)
    return _residue_features(ca, mask, place, crowd), edges, near, weight


def _surroundings(
    ca: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"], place: Int[Tensor, "b l"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`_look_around` of all residues.

    Each block is copied into its place in the result. Small results kept between the large temporaries of two blocks
    would hold the freed memory of all of them.
    """
    length = ca.shape[1]
    if length <= WHOLE:
        return _look_around(ca, mask, place, slice(0, length))
    wide, some = (len(ca), length, NEIGHBOURS), (len(ca), length, len(CROWDS))
    whole = ca.new_empty(wide), place.new_empty(wide), place.new_empty(wide), ca.new_empty(some)
    size = STRIDE * max(1, PAIRS // length // STRIDE)
    for first in range(0, length, size):
        rows = slice(first, first + size)
        for target, part in zip(whole, _look_around(ca, mask, place, rows), strict=True):
            target[:, rows] = part
    return whole


def _look_around(
    ca: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"], place: Int[Tensor, "b l"], rows: slice
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Some residues and all others: distances and indices of the nearest, how far on they are, how crowded it is."""
    between = torch.cdist(ca[:, rows], ca, compute_mode="donot_use_mm_for_euclid_dist")
    pair = mask[:, rows, None] & mask[:, None]
    offset = place[:, None] - place[:, rows, None]  # of the second less the first
    hidden = ~pair | (offset.abs() < APART)
    distance, near = between.masked_fill(hidden, torch.inf).topk(min(NEIGHBOURS, ca.shape[1]), largest=False)
    seen = between.masked_fill(~pair, torch.inf)
    crowd = [torch.sigmoid(bound - seen).sum(dim=2) / scale for bound, scale in CROWDS]
    return distance, near, offset.gather(2, near), torch.stack(crowd, dim=-1)


def local_frames(ca: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l 3 3"]:
    """Right-handed axes (as rows) of each residue from the CA before and after it; ends take their neighbour's."""
    before, after = ca[:, :-2], ca[:, 2:]
    along = _unit(after - before)
    out = 2 * ca[:, 1:-1] - before - after
    out = _unit(out - (out * along).sum(-1, keepdim=True) * along)
    inner = torch.stack([along, out, torch.linalg.cross(along, out)], dim=-2)
    last = mask.sum(dim=1) - 1
    at = torch.arange(ca.shape[1], device=ca.device).clamp(min=1)
    at = torch.minimum(at.expand(len(ca), -1), last[:, None] - 1) - 1
    return inner[torch.arange(len(ca), device=ca.device)[:, None], at.clamp(min=0)]


def _residue_features(
    ca: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"], place: Int[Tensor, "b l"], crowd: Float[Tensor, "b l 3"]
) -> Float[Tensor, "b l 12"]:
    """Distances to the residues 2 to 5 further on, the angle and dihedral of the trace, and how crowded it is."""
    length = ca.shape[1]
    features = []
    for step in (2, 3, 4, 5):
        apart = (ca[:, step:] - ca[:, :-step]).norm(dim=-1) / (3.0 * step)
        features.append(_padded(apart, mask, place, step, length))
    bond = _unit(ca[:, 1:] - ca[:, :-1])
    features.append(_padded((bond[:, 1:] * bond[:, :-1]).sum(-1), mask, place, 2, length))
    normal = _unit(torch.linalg.cross(bond[:, :-1], bond[:, 1:]))
    features.append(_padded((normal[:, 1:] * normal[:, :-1]).sum(-1), mask, place, 3, length))
    features.append(_padded((bond[:, :-2] * normal[:, 1:]).sum(-1), mask, place, 3, length))
    features += crowd.unbind(-1)
    index = torch.arange(length, device=ca.device).expand(len(ca), -1)
    features.append(1.0 / (1.0 + 0.2 * index))
    features.append(1.0 / (1.0 + 0.2 * (mask.sum(dim=1, keepdim=True) - 1 - index).clamp(min=0)))
    return torch.stack(features, dim=-1) * mask[..., None]


def _padded(values: Tensor, mask: Tensor, place: Tensor, step: int, length: int) -> Tensor:
    """Values of residues i to i + step at i, 0 where the chain ends or another begins before i + step."""
    whole = mask[:, step:] & (place[:, step:] - place[:, :-step] == step)
    return nn.functional.pad(values * whole, (0, length - values.shape[1]))


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=1e-6)
