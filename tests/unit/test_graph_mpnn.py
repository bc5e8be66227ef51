"""Our graph network of letters: its features by value, its symmetries, what it may see, and the tool about it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save, save_file

from protgen.cli.sequence_options import SequenceOptions
from protgen.errors import ConfigError, ToolError, UsageError
from protgen.geometry.angles import backbone_torsions
from protgen.geometry.frames import frames_from_backbone
from protgen.inverse_folding.base import SequenceTask
from protgen.inverse_folding.best_installed import best_installed
from protgen.inverse_folding.graph_features import (
    EDGE_INPUTS,
    FARTHEST,
    NEAREST,
    NODE_INPUTS,
    RADIAL,
    WIDTH,
    edge_inputs,
    node_inputs,
)
from protgen.inverse_folding.graph_mpnn import SHAPE, WEIGHTS, GraphMPNN
from protgen.inverse_folding.graph_network import GraphNetwork, GraphShape
from protgen.inverse_folding.letter_drawing import Drawing, streams
from protgen.inverse_folding.mpnn_decoding import draw, score
from protgen.inverse_folding.mpnn_features import PLACES, Chains, nearest, places_of
from protgen.inverse_folding.network_input import LETTERS, atoms_for, numbering
from protgen.structure.ideal import add_cb, ideal_hairpin, ideal_helix, ideal_strand
from protgen.structure.protein import Protein

TINY = GraphShape(dim=16, k=6, encoder_layers=2, decoder_layers=2)


def network(shape=TINY, seed=0):
    torch.manual_seed(seed)
    return GraphNetwork(shape).eval().requires_grad_(False)


def dimer(n=14, m=11):
    """Two hairpins side by side, with a gap in the numbers of the first."""
    xyz = np.concatenate([ideal_hairpin(n), ideal_hairpin(m) + np.array([9.0, 0.0, 2.0])])
    numbers = np.concatenate([np.arange(1, n + 1) + 5 * (np.arange(n) > 6), np.arange(1, m + 1)])
    return Protein.from_backbone(xyz, chain_ids=np.repeat(["A", "B"], [n, m]), residue_numbers=numbers)


def inputs(protein):
    numbers, chains = numbering(protein)
    atoms = torch.from_numpy(atoms_for(protein, "test")).float()
    return atoms, Chains(torch.from_numpy(numbers), torch.from_numpy(chains))


def random_order(length, seed=1):
    """Letters, a rank for each residue."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 20, (length,), generator=generator), torch.rand(length, generator=generator)


def written(folder, made):
    """The folder with the weights of a network."""
    (folder / WEIGHTS).write_bytes(save(made.state_dict()))
    (folder / SHAPE).write_text(json.dumps({"shape": made.shape.to_json()}))
    return folder


def shaken(protein):
    """Off the ideal geometry, where torsions are alike and rounding decides which residues are nearest."""
    atoms, chains = inputs(protein)
    return atoms + 0.05 * torch.randn(atoms.shape, generator=torch.Generator().manual_seed(2)), chains


def test_edges_tell_distances_directions_and_rotations():
    """By value, of every pair of atoms: distances, directions in both residues' frames, and the rotation between."""
    atoms, _ = shaken(Protein.from_backbone(ideal_helix(8)))
    neighbours = nearest(atoms[:, 1], 4)
    assert torch.equal(neighbours[:, 0], torch.arange(8))
    found = edge_inputs(atoms, neighbours)
    assert found.shape == (8, 4, EDGE_INPUTS)
    rots, ca = frames_from_backbone(atoms)
    points = torch.cat([atoms, torch.from_numpy(add_cb(atoms.numpy()))[:, None]], 1)
    centres = torch.linspace(NEAREST, FARTHEST, RADIAL)
    for i, k in ((0, 0), (2, 1), (5, 3)):
        j = int(neighbours[i, k])
        apart = torch.cdist(points[i], points[j]).flatten()
        radial = (-(((apart[:, None] - centres) / WIDTH) ** 2)).exp().flatten()
        theirs = F.normalize((points[j] - ca[i]) @ rots[i], dim=-1).flatten()
        ours = F.normalize((points[i] - ca[j]) @ rots[j], dim=-1).flatten()
        turned = (rots[i].T @ rots[j]).T.flatten()  # a row is an axis of the neighbour
        assert (found[i, k] - torch.cat([radial, theirs, ours, turned])).abs().max() < 2e-3


def test_nodes_tell_torsions_where_there_are_any():
    """Sines and cosines of phi, psi and the omega before; 0 at ends, and at the gap between chains."""
    atoms, chains = shaken(Protein.from_backbone(ideal_helix(9)))
    found = node_inputs(atoms, chains)
    assert found.shape == (9, NODE_INPUTS)
    phi, psi, omega = backbone_torsions(atoms)
    angles = torch.stack([phi, psi, torch.cat([torch.tensor([torch.nan]), omega[:-1]])], -1)
    assert (found[:, :6] - torch.cat([angles.sin(), angles.cos()], -1).nan_to_num(0.0)).abs().max() < 1e-5
    u, v = (F.normalize(atoms[:, other] - atoms[:, 1], dim=-1) for other in (0, 2))
    assert (found[:, 6] - 10 * ((u * v).sum(-1).arccos() - 1.94)).abs().max() < 1e-4
    assert found[:, 7:].T.tolist() == [[0.0] + [1.0] * 8, [1.0] * 8 + [0.0]]
    two = node_inputs(*inputs(dimer()))
    assert (two[14, [0, 2, 3, 5, 7]] == 0).all()
    assert two[13, 8] == 0
    assert (two[1:13, 7:9] == 1).all()


def test_places_tell_chains_and_gaps():
    _, chains = inputs(dimer())
    neighbours = torch.tensor([[0, 1, 7, 14]]).expand(25, -1)
    found = places_of(chains, neighbours)
    assert found[0].tolist() == [32, 31, 32 - 12, PLACES - 1]  # residue 7 is numbered 13, after a gap of five


def test_logits_do_not_turn_with_the_backbone():
    """Rotations and translations change nothing, a mirror image does."""
    made, (atoms, chains) = network(), shaken(dimer())
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0))).Q
    turn = turn * torch.linalg.det(turn)
    letters, rank = random_order(len(atoms))

    def logits(xyz):
        encoded = made.encode(xyz, chains)
        return made(encoded, letters, rank[encoded.neighbours] < rank[:, None])

    found = logits(atoms)
    assert (logits(atoms @ turn.T + 7.0) - found).abs().max() < 1e-4
    assert (logits(atoms * torch.tensor([-1.0, 1.0, 1.0])) - found).abs().max() > 1e-3


def test_all_residues_at_once_equal_one_after_the_other():
    """The pass of training and scoring against the decoder that draws; three sequences, each in its own order."""
    made, (atoms, chains) = network(), inputs(dimer())
    encoded = made.encode(atoms, chains)
    letters, orders, one_by_one = [], [], []
    for seed in range(3):
        letters.append(random_order(len(atoms), seed)[0])
        given = Drawing(1.0, torch.arange(len(atoms))[:, None], letters[-1])
        orders.append(streams(given, seed)[0])
        one_by_one.append(draw(made, encoded, given, [seed]).log_probs[0])
    found = score(made, encoded, torch.stack(letters), torch.stack(orders)).log_probs
    assert (found - torch.stack(one_by_one)).abs().max() < 1e-5
    rank = orders[2].argsort()
    alone = made(encoded, letters[2], rank[encoded.neighbours] < rank[:, None]).log_softmax(-1)
    assert torch.equal(alone, found[2])


def test_a_residue_sees_only_letters_before_it():
    """A letter's gradient of 0 is one that is not seen: nothing flows from later letters, nor from its own."""
    made, (atoms, chains) = network(), inputs(dimer())
    encoded = made.encode(atoms, chains)
    letters, rank = random_order(len(atoms))
    before = rank[encoded.neighbours] < rank[:, None]
    for changed in (0, 9, 20):
        other = letters.clone()
        other[changed] = (letters[changed] + 7) % 20
        moved = (made(encoded, other, before) - made(encoded, letters, before)).abs().amax(-1) > 0
        assert not moved[rank <= rank[changed]].any()
        assert moved.any() or rank[changed] == rank.max()


def test_backbones_side_by_side_do_not_mix():
    """Two in one graph give what each gives alone."""
    made = network()
    parts = [inputs(Protein.from_backbone(xyz)) for xyz in (ideal_helix(12), ideal_hairpin(10))]
    alone = [made.encode(*part) for part in parts]
    atoms = torch.cat([part[0] for part in parts])
    chains = Chains(torch.cat([part[1].number for part in parts]), torch.repeat_interleave(torch.tensor([12, 10])))
    neighbours = torch.cat([alone[0].neighbours, alone[1].neighbours + 12])
    both = made.encode(atoms, chains, neighbours)
    assert (both.nodes - torch.cat([one.nodes for one in alone])).abs().max() < 1e-5
    assert (both.edges - torch.cat([one.edges for one in alone])).abs().max() < 1e-5


def test_it_learns_letters_by_heart():
    """Every residue of a small fold, from the backbone alone: no letter is seen before another."""
    torch.manual_seed(0)
    made = GraphNetwork(TINY)
    atoms, chains = inputs(dimer())
    letters, _ = random_order(len(atoms))
    optimizer = torch.optim.Adam(made.parameters(), 1e-2, fused=True)
    logits = torch.zeros(())
    for _ in range(80):
        encoded = made.encode(atoms, chains)
        logits = made(encoded, letters, torch.zeros_like(encoded.neighbours, dtype=torch.bool))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, letters).backward()
        optimizer.step()
    assert torch.equal(logits.argmax(-1), letters)


def test_the_tool_keeps_given_letters_and_ties(tmp_path):
    """Fixed letters stay, tied ones are the same, omitted ones never come; scores are those of the network."""
    tool = GraphMPNN(written(tmp_path, network()), temperature=1.0, omit="cw")
    protein = dimer(12, 12)
    fixed = ("M", *[""] * 11, *[""] * 12)
    task = SequenceTask(fixed, tuple((k, k + 12) for k in range(12)))
    found = tool.propose(protein, 3, 5, task)
    for one in found:
        first, second = one.sequence.split(":")
        assert first == second
        assert first[0] == "M"
        assert not set(first) & set("CW")
        assert one.designed.tolist() == [False, *[True] * 11, False, *[True] * 11]
    assert tool.propose(protein, 2, 5, task)[1].sequence == found[1].sequence
    scored = tool.score(protein, [one.sequence for one in found], 3)
    assert [one.sequence for one in scored] == [one.sequence for one in found]
    assert all((one.log_probs < 0).all() for one in scored)
    cold = tool.at_temperature(0.0)
    assert cold.propose(protein, 1, 1, task)[0].score <= np.mean([one.score for one in found])


def test_weights_are_those_of_the_folder(tmp_path):
    """Other weights, other settings; missing ones and those of another shape are one line."""
    with pytest.raises(UsageError, match=r"graph_mpnn: .*has no network\.safetensors; train them"):
        GraphMPNN(tmp_path / "none").prepare()
    tool = GraphMPNN(written(tmp_path, network()))
    before = tool.settings
    assert (tool.network().letter_out.weight - network().letter_out.weight).abs().max() == 0
    assert GraphMPNN(written(tmp_path, network(seed=1))).settings != before
    (tmp_path / SHAPE).write_text(json.dumps({"shape": GraphShape().to_json()}))
    with pytest.raises(UsageError, match="weights that do not fit") as caught:
        GraphMPNN(tmp_path).network()
    assert "\n" not in str(caught.value)


def spoilt(folder: Path, change: Callable[[dict], object]) -> GraphMPNN:
    """Weights after a change of their tensors, or of a copy of them."""
    written(folder, network())
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)
    return GraphMPNN(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda held: held.pop("letter_out.bias"), "letter_out.bias is missing in the weights"),
        (lambda held: held.update(more=torch.zeros(1)), "more is missing in the sizes"),
        (lambda held: held["letter_out.bias"].fill_(float("nan")), "letter_out.bias has a value that is not finite"),
        (
            lambda held: held.update({"letter_out.bias": torch.zeros(21, dtype=torch.int64)}),
            "letter_out.bias holds int64",
        ),
    ],
)
def test_weights_that_are_none_of_the_network_are_refused(tmp_path, change, said):
    with pytest.raises(UsageError, match=said):
        spoilt(tmp_path, change).network()


@pytest.mark.parametrize("sizes", [{"dim": 10**9}, {"dim": 0}, {"k": "24"}, {"encoder_layers": 10**6}, {"dim": True}])
def test_sizes_that_are_none_of_a_network_are_refused(tmp_path, sizes):
    """Before anything is allocated: a width of 10^9 would be an error of memory."""
    written(tmp_path, network())
    (tmp_path / SHAPE).write_text(json.dumps({"shape": network().shape.to_json() | sizes}))
    with pytest.raises(UsageError, match=f"{next(iter(sizes))} is .* a whole number from 1"):
        GraphMPNN(tmp_path).network()


def shares(atoms: np.ndarray, groups: tuple[str, ...]) -> list[float]:
    """Fractions of groups of letters among 40 sequences of the network of the package, at temperature 1."""
    found = GraphMPNN(temperature=1.0).propose(Protein.from_backbone(atoms), 40, 0, SequenceTask())
    text = "".join(one.sequence for one in found)
    return [sum(text.count(letter) for letter in group) / len(text) for group in groups]


def test_the_network_of_the_package_knows_helices_and_strands():
    """Letters that favour helices and strands (Chou and Fasman 1978): 0.63 and 0.16 on a helix, 0.34 and 0.33 on a
    strand, where ProteinMPNN has 0.75 and 0.10, 0.35 and 0.42; prolines are rare on both. A draw errs by 0.02."""
    groups = ("AELMQKR", "VIT", "P")
    assert shares(ideal_helix(40), groups) == pytest.approx([0.634, 0.163, 0.003], abs=0.05)
    assert shares(ideal_strand(24), groups) == pytest.approx([0.345, 0.326, 0.011], abs=0.05)


def test_our_network_is_taken_where_proteinmpnn_is_missing(monkeypatch):
    def missing(self):
        raise UsageError("proteinmpnn: not installed")

    monkeypatch.setattr("protgen.inverse_folding.proteinmpnn.ProteinMPNN.prepare", lambda self: None)
    assert best_installed() == "proteinmpnn"
    monkeypatch.setattr("protgen.inverse_folding.proteinmpnn.ProteinMPNN.prepare", missing)
    assert best_installed() == "graph_mpnn"
    assert SequenceOptions().tool().name == "graph_mpnn"


def test_what_makes_no_sense_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="graph_mpnn: temperature -1 is outside 0 to 10"):
        GraphMPNN(tmp_path, temperature=-1)
    with pytest.raises(ConfigError, match="give letters of amino acids"):
        GraphMPNN(tmp_path, omit="B")
    with pytest.raises(ToolError, match="a sequence of 3 letters for 12"):
        GraphMPNN(written(tmp_path, network())).score(Protein.from_backbone(ideal_helix(12)), ["AAA"], 0)


def test_the_shape_of_the_released_size_has_under_two_million_parameters():
    n = sum(parameter.numel() for parameter in network(GraphShape()).parameters())
    assert 1_000_000 < n < 2_000_000
    assert len(LETTERS) == 21
