"""PyTorch Geometric: batches there and back, its convolutions as encoders, its message passing against a loop."""

import pytest
import torch
from torch_geometric.data import Batch as PyGBatch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GCNConv, global_mean_pool

from protgen import registry
from protgen.errors import ConfigError, DataError
from protgen.geometry import so3
from protgen.nn.graph import Wiring, build_graph, edge_weights
from protgen.nn.passing import WeightedMeanPassing
from protgen.nn.pyg import from_pyg, to_pyg
from protgen.spaces.backbone import Backbone
from protgen.types import Batch, Conditioning, State

CONVOLUTIONS = [
    "GATConv",
    "GATv2Conv",
    {"conv": "TransformerConv", "heads": 2, "beta": True},
    "GINEConv",
    "GENConv",
    "ResGatedGraphConv",
    "CGConv",
    "GeneralConv",
    "GCNConv",
    "GraphConv",
    "SAGEConv",
    {"conv": "ChebConv", "K": 3},
]


def random_batch(rng) -> Batch:
    """Two chains of 9 and 5 residues with arrays of residues and of chains."""
    mask = torch.arange(9)[None] < torch.tensor([9, 5])[:, None]
    atoms = 3 * torch.randn(2, 9, 4, 3, generator=rng) * mask[..., None, None]
    labels = torch.randint(1, 4, (2, 9), generator=rng, dtype=torch.uint8) * mask
    return Batch({"atoms": atoms, "labels": labels, "fold": torch.tensor([2, 0])}, mask)


def test_there_and_back_is_the_same_batch(rng):
    """Every array, its type and the mask return to the bit, with edges or without."""
    batch = random_batch(rng)
    for wiring in (None, Wiring(nearest=2, sequence=1, long_range=1)):
        found = from_pyg(to_pyg(batch, wiring))
        assert torch.equal(found.mask, batch.mask)
        assert found.arrays.keys() == batch.arrays.keys()
        for name, value in batch.arrays.items():
            assert found[name].dtype == value.dtype
            assert torch.equal(found[name], value), name


def test_edges_are_those_of_the_graph_encoders(rng):
    """Source, target and weight of each chain as `build_graph` has them for the whole batch."""
    batch = random_batch(rng)
    wiring = Wiring(nearest=2, sequence=1, long_range=1)
    data = to_pyg(batch, wiring)
    trans = batch["atoms"][:, :, 1]
    graph = build_graph(batch.mask, [trans], wiring)
    assert torch.equal(data.edge_index, graph.edge_index)
    assert torch.equal(data.edge_weight, edge_weights(graph, [graph.flat(trans)]))
    assert torch.equal(data.batch, graph.example)
    assert torch.equal(data.pos, graph.flat(trans))


def test_loaders_and_layers_of_pyg_take_it(rng):
    """A loader of single chains joins them to what they were; a layer and a pooling run over them."""
    data = to_pyg(random_batch(rng), Wiring(nearest=2, sequence=1, long_range=1))
    (joined,) = DataLoader([data[0], data[1]], batch_size=2)
    assert torch.equal(joined.edge_index, data.edge_index)
    assert torch.equal(from_pyg(joined)["atoms"], from_pyg(data)["atoms"])
    hidden = GCNConv(3, 8)(joined.pos, joined.edge_index, joined.edge_weight)
    assert global_mean_pool(hidden, joined.batch).shape == (2, 8)


def test_chains_of_a_pyg_user_become_a_batch():
    """Data that was never ours: attributes of nodes padded, of graphs as they are."""
    chains = [Data(trans=torch.ones(n, 3), y=torch.tensor([float(n)]), num_nodes=n) for n in (4, 2)]
    batch = from_pyg(PyGBatch.from_data_list(chains))
    assert batch.mask.sum(-1).tolist() == [4, 2]
    assert batch["trans"].sum((1, 2)).tolist() == [12.0, 6.0]
    assert batch["y"].tolist() == [4.0, 2.0]
    with pytest.raises(DataError, match="no attribute of nodes"):
        from_pyg(PyGBatch.from_data_list([Data(y=torch.ones(1), num_nodes=3)]))


def test_messages_are_weighted_means_at_the_target(rng):
    """A block that sends what both ends hold, against a loop over edges; the weight below one stays as it is."""

    class Block(WeightedMeanPassing):
        def message(self, near_i, far_j, edge):
            return near_i + 2 * far_j + edge, far_j[:, :1]

    edge_index = torch.tensor([[1, 2, 0, 0], [0, 0, 2, 3]])
    weights = torch.tensor([0.5, 1.0, 0.25, 1.0])
    near, far, edge = (torch.randn(n, 3, generator=rng) for n in (5, 5, 4))
    both, one = Block().propagate(edge_index, near=near, far=far, edge=edge, weights=weights)
    expected = torch.zeros(5, 3)
    for k, (source, target) in enumerate(edge_index.T.tolist()):
        total = max(1.0, float(weights[edge_index[1] == target].sum()))
        expected[target] += weights[k] * (near[target] + 2 * far[source] + edge[k]) / total
    assert torch.allclose(both, expected, atol=1e-6)
    assert one.shape == (5, 1)
    assert (both[[1, 4]] == 0).all()


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
def test_any_convolution_is_an_equivariant_encoder(layer, rng):
    """In float64: scalars invariant and vectors turned to 1e-9; edges' features reach the output."""
    torch.manual_seed(0)
    encoder = registry.build("encoders", "pyg", residue_dim=3, global_dim=2, dim=16, blocks=2, layer=layer)
    for parameter in encoder.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    encoder = encoder.double().eval()
    mask = torch.ones(2, 20, dtype=torch.bool)
    state = Backbone().noise(mask, torch.randn(2, 20, 7, generator=rng)).map(torch.Tensor.double)
    state = state.with_fields(rots=so3.project(state["rots"]))
    cond = Conditioning(torch.randn(2, 20, 3, generator=rng).double(), torch.randn(2, 2, generator=rng).double())
    t = torch.tensor([0.3, 0.8])
    features = encoder(state, t, cond)
    turn = so3.project(so3.uniform(torch.randn(1, 4, generator=rng, dtype=torch.float64)))[0]
    turned = State({"trans": state["trans"] @ turn.T + 5.0, "rots": turn @ state["rots"]}, mask)
    moved = encoder(turned, t, cond)
    assert (moved.scalars - features.scalars).abs().max() < 1e-9
    assert (moved.vectors - features.vectors @ turn.T).abs().max() < 1e-9 * max(
        1.0, float(features.vectors.abs().max())
    )
    scaled = encoder(state.with_fields(trans=1.1 * state["trans"]), t, cond)
    assert (scaled.scalars - features.scalars).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("GATv2Con", "did you mean 'GATv2Conv'"),
        ("MessagePassing", "no convolution of torch_geometric.nn"),
        ({"conv": "GATv2Conv", "head": 2}, "unexpected keyword argument 'head'"),
        ({"conv": "GATv2Conv", "heads": 5}, "not a multiple of the 5 heads"),
        ("ChebConv", "missing 1 required positional argument: 'K'"),
        ("MixHopConv", r"it returns \(3, 48\) for 3 nodes, not \(3, 16\)"),
        ("NNConv", "cannot be built over 16 channels"),
    ],
)
def test_what_does_not_fit_is_told_when_the_encoder_is_built(layer, message):
    with pytest.raises(ConfigError, match=message):
        registry.build("encoders", "pyg", residue_dim=3, global_dim=2, dim=16, layer=layer)
