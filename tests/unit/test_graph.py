"""Sparse graphs: which edges there are, that they follow the residues and not their order, and the way back."""

import itertools

import pytest
import torch

from protgen.geometry import so3
from protgen.nn.edges import EdgeFeatures
from protgen.nn.graph import Wiring, build_graph, draw_long_range, edge_weights, hashed_uniform

WIRING = Wiring(nearest=8, sequence=2, long_range=3)


def chain(length: int, batch: int, rng: torch.Generator) -> torch.Tensor:
    """Positions of random walks, Å."""
    return 2.2 * torch.randn(batch, length, 3, generator=rng, dtype=torch.float64).cumsum(1)


def edge_set(graph, example: int = 0) -> set[tuple[int, int]]:
    """(target, source) pairs of one example, counted from its first node."""
    first = int((graph.example < example).sum())
    inside = graph.example[graph.target] == example
    return {(int(i) - first, int(j) - first) for i, j in zip(graph.target[inside], graph.source[inside], strict=True)}


def test_edges_are_chain_neighbours_far_ones_and_the_nearest(rng):
    """Against a search by hand: of those not fixed, exactly the 8 nearest; the rim is the ninth."""
    x = chain(60, 1, rng)
    mask = torch.ones(1, 60, dtype=torch.bool)
    graph = build_graph(mask, [x], WIRING)
    distance = torch.cdist(x[0], x[0])
    fixed = set(zip(graph.target[graph.fixed].tolist(), graph.source[graph.fixed].tolist(), strict=True))
    found = edge_set(graph)
    for i in range(60):
        sequence = {j for j in range(60) if 0 < abs(i - j) <= 2}
        mine = {j for t, j in fixed if t == i}
        assert sequence <= mine
        assert len(mine - sequence) == 3
        rest = sorted((float(distance[i, j]), j) for j in range(60) if j != i and j not in mine)
        assert {j for t, j in found if t == i} == mine | {j for _, j in rest[:8]}
        assert int(graph.cutoff[i]) == rest[8][1]


def test_near_in_any_of_the_positions_is_near(rng):
    """A pair far apart in the noisy state and close in the estimate is an edge."""
    x, y = chain(60, 1, rng), chain(60, 1, rng)
    mask = torch.ones(1, 60, dtype=torch.bool)
    graph = build_graph(mask, [x, y], WIRING)
    least = torch.minimum(torch.cdist(x[0], x[0]), torch.cdist(y[0], y[0]))
    inside = least[graph.target, graph.source][~graph.fixed]
    radius = least[torch.arange(60), graph.cutoff][graph.target][~graph.fixed]
    assert (inside <= radius + 1e-2).all()
    assert len(graph.source) == len(build_graph(mask, [x], WIRING).source)


def test_relabelled_residues_have_relabelled_edges(rng):
    """Residues and their places along the chain in another order: the same edges, weights and features, renamed."""
    length = 50
    x = chain(length, 1, rng)
    rots = so3.uniform(torch.randn(length, 4, generator=rng, dtype=torch.float64))
    mask = torch.ones(1, length, dtype=torch.bool)
    order = torch.randperm(length, generator=rng)
    back = order.argsort()
    features = EdgeFeatures(8).double()

    def described(positions, rotations, index):
        graph = build_graph(mask, [positions], WIRING, index)
        weights = edge_weights(graph, [graph.flat(positions)])
        return graph, weights, features(graph, (rotations, graph.flat(positions)), None)

    index = torch.arange(length)[None]
    graph, weights, values = described(x, rots, index)
    other, other_weights, other_values = described(x[:, order], rots[order], index[:, order])
    renamed = {
        (int(order[i]), int(order[j])): k for k, (i, j) in enumerate(zip(other.target, other.source, strict=True))
    }
    assert set(renamed) == edge_set(graph)
    pick = torch.tensor([renamed[int(i), int(j)] for i, j in zip(graph.target, graph.source, strict=True)])
    assert (other_weights[pick] - weights).abs().max() < 1e-12
    assert (other_values[pick] - values).abs().max() < 1e-12
    messages = torch.randn(len(graph.source), 4, generator=rng, dtype=torch.float64)
    moved = torch.empty_like(messages)
    moved[pick] = messages
    assert (other.mean(moved, other_weights)[back] - graph.mean(messages, weights)).abs().max() < 1e-12


def test_edges_do_not_depend_on_padding_batch_or_blocks(rng, monkeypatch):
    """Chains of several lengths in one batch, in any arrangement of rows, have the edges they have alone."""
    lengths = [5, 31, 60]
    x = chain(60, 3, rng)
    mask = torch.arange(60)[None] < torch.tensor(lengths)[:, None]
    for rows in (256, 7):
        monkeypatch.setattr("protgen.nn.graph.ROWS", rows)
        together = build_graph(mask, [x], WIRING)
        assert (together.target.diff() >= 0).all()
        for i, length in enumerate(lengths):
            monkeypatch.setattr("protgen.nn.graph.ROWS", 256)
            alone = build_graph(mask[i : i + 1, :length], [x[i : i + 1, :length]], WIRING)
            assert edge_set(together, i) == edge_set(alone)
    everyone = {(i, j) for i in range(5) for j in range(5) if i != j}
    assert edge_set(together, 0) == everyone


def test_causal_edges_lead_forward(rng):
    """Sources come before targets, and their number does not depend on where residues are."""
    mask = torch.ones(1, 60, dtype=torch.bool)
    wiring = Wiring(nearest=8, sequence=2, long_range=3, causal=True)
    one, two = (build_graph(mask, [chain(60, 1, rng)], wiring) for _ in range(2))
    assert (one.source < one.target).all()
    assert torch.equal(one.target, two.target)
    assert torch.equal(torch.bincount(one.target, minlength=60)[:14], torch.arange(14).clamp(max=13))


def test_a_neighbour_fades_before_another_takes_its_place(rng):
    """As a residue moves through the rim, a weighted mean of messages changes by as little as the step is small."""
    x = chain(40, 1, rng) / 2
    mask = torch.ones(1, 40, dtype=torch.bool)
    values = torch.randn(40, 4, generator=rng, dtype=torch.float64)
    direction = torch.randn(1, 40, 3, generator=rng, dtype=torch.float64)
    results, sudden, edges = [], [], []
    for step in torch.linspace(0, 0.6, 121, dtype=torch.float64):
        graph = build_graph(mask, [x + step * direction], WIRING)
        weights = edge_weights(graph, [graph.flat(x + step * direction)])
        results.append(graph.mean(values[graph.source], weights))
        sudden.append(graph.mean(values[graph.source], torch.ones_like(weights)))
        edges.append(edge_set(graph))
    assert sum(one != two for one, two in itertools.pairwise(edges)) > 10
    assert torch.stack(results).diff(dim=0).abs().max() < 0.03
    assert torch.stack(sudden).diff(dim=0).abs().max() > 0.1  # what it would be without


def test_far_edges_favour_near_offsets_as_one_over_distance():
    """Drawn with weights 1 / |i - j|: the median offset of a chain of 512 is near that of the distribution."""
    length = 512
    index = torch.arange(length)[None]
    allowed = (index[:, :, None] - index[:, None, :]) != 0
    chosen = draw_long_range(allowed, index, slice(0, length), 1)[0]
    assert (chosen.sum(-1) == 1).all()
    middle = chosen.float().argmax(-1)[128:384] - index[0, 128:384]
    weights = 1 / torch.arange(1, 257).double()
    median = int((weights.cumsum(0) / weights.sum() > 0.5).nonzero()[0]) + 1
    assert median / 2 < float(middle.abs().float().median()) < median * 2
    assert 0.4 < float((middle > 0).float().mean()) < 0.6


def test_the_hash_looks_uniform():
    """Mean, spread and neighbouring correlations of 250,000 values."""
    i = torch.arange(500)
    u = hashed_uniform(i[:, None], i[None])
    assert 0 < float(u.min()) < float(u.max()) < 1
    assert float(u.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(u.std()) == pytest.approx(12**-0.5, abs=0.005)
    for one, two in ((u[1:], u[:-1]), (u[:, 1:], u[:, :-1]), (u, u.T)):
        off = one.flatten() != two.flatten()
        pair = torch.stack([one.flatten()[off], two.flatten()[off]])
        assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.02


def test_dense_and_back(rng):
    """Flat rows return to their place, zeros elsewhere; means agree with a loop."""
    x = chain(9, 2, rng)
    mask = torch.tensor([[True] * 9, [True] * 4 + [False] * 5])
    graph = build_graph(mask, [x], WIRING)
    assert torch.equal(graph.dense(graph.flat(x)), torch.where(mask[..., None], x, torch.zeros_like(x)))
    messages = torch.randn(len(graph.source), 3, generator=rng, dtype=torch.float64)
    weights = torch.rand(len(graph.source), generator=rng, dtype=torch.float64) + 1
    means = graph.mean(messages, weights)
    for node in range(graph.nodes):
        mine = graph.target == node
        expected = (messages[mine] * weights[mine, None]).sum(0) / weights[mine].sum()
        assert torch.allclose(means[node], expected)
