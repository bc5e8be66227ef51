"""Frame2seq: symmetry of its network, drawing with given letters, and the published code's own attention."""

import importlib.machinery
import importlib.metadata
import sys
import types

import numpy as np
import pytest
import torch

from protgen.errors import ConfigError, ToolError
from protgen.folding.weights_file import weights_file
from protgen.inverse_folding.base import SequenceTask
from protgen.inverse_folding.frame2seq import MISSING, PACKAGE, Frame2seq, atoms_with_cb, file_of
from protgen.inverse_folding.frame2seq_network import Frame2seqNetwork
from protgen.inverse_folding.network_input import UNKNOWN, letters_of
from protgen.structure.ideal import add_cb, ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein


def is_installed(name):
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False


def mapped(call, nested):
    """As `tree.map_structure`, of lists."""
    return [mapped(call, each) for each in nested] if isinstance(nested, list) else call(nested)


def network(factor=1, seed=0):
    torch.manual_seed(seed)
    return Frame2seqNetwork(factor).eval().requires_grad_(False)


def inputs(n=16):
    atoms = torch.from_numpy(atoms_with_cb(Protein.from_backbone(ideal_hairpin(n)))).float()
    return atoms, torch.nn.functional.one_hot(torch.full((n,), UNKNOWN), 21).float()


@pytest.mark.parametrize("factor", [1, 4])
def test_logits_do_not_turn_with_the_backbone(factor):
    """Rotations and translations change nothing, a mirror image does; given letters are seen."""
    made, (atoms, letters) = network(factor), inputs()
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0))).Q
    turn = turn * torch.linalg.det(turn)
    found = made(atoms, letters)
    assert (made(atoms @ turn.T + 7.0, letters) - found).abs().max() < 1e-3
    assert (made(atoms * torch.tensor([-1.0, 1.0, 1.0]), letters) - found).abs().max() > 0.01
    letters[3] = torch.nn.functional.one_hot(torch.tensor(4), 21).float()
    assert (made(atoms, letters) - found).abs().max() > 0.01


def test_cb_is_that_of_an_l_amino_acid():
    backbone = ideal_helix(6)
    assert np.abs(atoms_with_cb(Protein.from_backbone(backbone))[:, 3] - add_cb(backbone)).max() < 0.1


def test_given_letters_are_kept(monkeypatch):
    """Fixed and omitted letters, a seed each, no X; several chains are refused."""
    monkeypatch.setattr(Frame2seq, "networks", lambda self: [network()])
    protein = Protein.from_backbone(ideal_hairpin(16))
    fixed = tuple("W" if k == 3 else "" for k in range(16))
    found = Frame2seq(1.0, "CM").propose(protein, 5, 0, SequenceTask(fixed, ((0, 15),)))
    assert all(each.sequence[3] == "W" and each.sequence[0] == each.sequence[15] for each in found)
    assert not set("".join(each.sequence for each in found)) & set("CMX")
    assert len({each.sequence for each in found}) == 5
    assert found[0].score == pytest.approx(-found[0].log_probs[found[0].designed].mean())
    tool = Frame2seq()
    free = tool.propose(protein, 1, 0, SequenceTask())[0]
    logits = tool.logits(protein, torch.full((16,), -1))
    numbers = letters_of(protein, free.sequence)
    wanted = logits.log_softmax(-1).gather(1, numbers[:, None])[:, 0]
    assert free.log_probs == pytest.approx(wanted.numpy(), abs=1e-6)
    logits[:, UNKNOWN] = -torch.inf
    coldest = Frame2seq(0.0).propose(protein, 1, 0, SequenceTask(None, ((2, 9),)))[0]
    logits[[2, 9]] = logits[[2, 9]].mean(0)  # tied residues share the letter of their mean logits
    assert torch.equal(letters_of(protein, coldest.sequence), logits.argmax(-1))
    assert tool.score(protein, [free.sequence], 0)[0].score == pytest.approx(free.score)
    two = Protein.from_backbone(ideal_hairpin(16), chain_ids=np.repeat(["A", "B"], 8))
    with pytest.raises(ToolError, match="2 chains"):
        tool.design(two, 1, 0)
    with pytest.raises(ConfigError):
        Frame2seq(temperature=-1.0)


@pytest.mark.skipif(not is_installed("frame2seq"), reason="needs: pip install --no-deps frame2seq")
@pytest.mark.parametrize("number", [1, 2])
def test_published_code_gives_the_same_logits(number, monkeypatch):
    """Published weights through the package's own network and ours."""
    pytest.importorskip("einops")
    for name in ("tree", "pytorch_lightning", "pandas"):  # none is needed to run the network
        stand_in = types.ModuleType(name)
        stand_in.__spec__ = importlib.machinery.ModuleSpec(name, None)
        stand_in.LightningModule, stand_in.map_structure = torch.nn.Module, mapped  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, stand_in)
    try:
        from frame2seq.model import Frame2seq as theirs
    except ImportError as error:
        pytest.skip(f"the package's own dependencies are missing: {error}")
    tool = Frame2seq()
    ours = tool.networks()[number - 1]
    content = torch.load(weights_file(PACKAGE, file_of(number), MISSING), weights_only=True)
    config = content["hyper_parameters"]["config"]
    monkeypatch.setattr(theirs.frame2seq, "save_hyperparameters", lambda self: None, raising=False)
    monkeypatch.setattr(theirs.frame2seq, "hparams", types.SimpleNamespace(config=config), raising=False)
    monkeypatch.setattr(theirs.frame2seq, "device", torch.device("cpu"), raising=False)
    made = theirs.frame2seq(config)
    made.load_state_dict(content["state_dict"])
    atoms, letters = inputs(24)
    # Shaken: of a peptide that is flat to the last bit the published code takes omega for 0.
    atoms = atoms + 0.05 * torch.randn(atoms.shape, generator=torch.Generator().manual_seed(0))
    letters[5] = torch.nn.functional.one_hot(torch.tensor(2), 21).float()
    with torch.no_grad():
        wanted = made.eval()(atoms[None], torch.ones(1, 24), letters[None])[0]
    assert (ours(atoms, letters) - wanted).abs().max() < 1e-3
