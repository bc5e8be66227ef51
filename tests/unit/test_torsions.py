"""The space of internal coordinates: what is known, what is placed, what a residue may know of those before it."""

import math

import numpy as np
import torch

from protgen.geometry import alignment, internal
from protgen.spaces.backbone import Backbone
from protgen.spaces.manifolds import Torus, wrap
from protgen.spaces.torsions import Torsions, within
from protgen.structure.ideal import ideal_helix, ideal_strand
from protgen.types import Batch, Features, State


def chains() -> Batch:
    """An ideal helix of 14 residues and a strand of 9, padded."""
    atoms, mask = torch.zeros(2, 14, 4, 3), torch.zeros(2, 14, dtype=torch.bool)
    for row, chain in enumerate((ideal_helix(14), ideal_strand(9))):
        atoms[row, : len(chain)] = torch.from_numpy(np.asarray(chain)).float()
        mask[row, : len(chain)] = True
    return Batch({"atoms": atoms}, mask)


def test_decoding_gives_the_chains_back():
    """All atoms but the last O within 0.05 Å: bond lengths become ideal, nothing else is lost."""
    space, batch = Torsions(), chains()
    again = space.decode(space.encode(batch))["atoms"]
    for row, length in ((0, 14), (1, 9)):
        flat, real = again[row, : length - 1].reshape(1, -1, 3), batch["atoms"][row, : length - 1].reshape(1, -1, 3)
        mask = torch.ones(flat.shape[:2], dtype=torch.bool)
        assert alignment.rmsd(flat, real, mask) < 0.05
    assert (again[1, 9:] == 0).all()


def test_decoded_chains_are_centred_on_their_ca():
    space, batch = Torsions(), chains()
    again = space.decode(space.encode(batch))["atoms"]
    for row, length in ((0, 14), (1, 9)):
        assert again[row, :length, 1].mean(0).abs().max() < 1e-5
        assert again[row, :length, 2].mean(0).abs().max() > 1e-2


def test_frames_are_those_of_the_decoded_chain():
    """As the space of frames reads them from the atoms, to 1e-5 Å; padding has the identity at zero."""
    space, batch = Torsions(), chains()
    point = space.encode(batch)
    framed, read = space.with_frames(point), Backbone().encode(space.decode(point))
    assert torch.allclose(framed["trans"], read["trans"], atol=1e-5)
    assert torch.allclose(framed["rots"], read["rots"], atol=1e-5)
    assert torch.equal(framed["torsions"], point["torsions"])


def test_encoding_ignores_rigid_motion():
    space, batch = Torsions(), chains()
    turn = torch.linalg.qr(torch.tensor([[1.0, 2.0, 0.5], [0.3, -1.0, 2.0], [1.5, 0.2, 1.0]])).Q
    turn = turn * torch.linalg.det(turn).sign()
    moved = Batch({"atoms": batch["atoms"] @ turn.T + 5.0}, batch.mask)
    here, there = space.encode(batch), space.encode(moved)
    assert wrap(here["torsions"] - there["torsions"]).abs().max() < 1e-3
    assert (here["angles"] - there["angles"]).abs().max() < 1e-2


def test_ends_and_breaks_are_undefined():
    space, batch = Torsions(), chains()
    batch["atoms"][0, 7:] += 10.0
    known = space.defined(space.encode(batch))
    torsions, angles = known["torsions"], known["angles"]
    assert not torsions[:, 0, 0].any()  # phi of the first
    assert not torsions[1, 8, 1:].any()  # psi and omega of the last
    assert angles[1, 8].tolist() == [True, False, False]
    assert torsions[0, 6].tolist() == [True, False, False]  # psi and omega across the break
    assert torsions[0, 7].tolist() == [False, True, True]  # phi behind it
    assert angles[0, 6].tolist() == [True, False, False]
    assert not torsions[1, 9:].any()
    assert torsions[0].sum() + angles[0].sum() == 14 * 6 - 5 - 5


def test_context_tells_a_residue_nothing_of_itself_or_later_ones():
    space, batch = Torsions(), chains()
    state = space.encode(batch)
    changed = state.with_fields(
        torsions=state["torsions"] + torch.where(torch.arange(14) >= 6, 1.0, 0.0)[:, None],
        angles=state["angles"] + torch.where(torch.arange(14) >= 6, 1.0, 0.0)[:, None],
    )
    before, after = space.context(state), space.context(space.project(changed))
    for name in ("trans", "rots", "torsions", "angles"):
        # Residue 6 of the strand and residue 6 of the helix alike; the end of the chain is elsewhere.
        assert torch.equal(before[name][:, :7], after[name][:, :7]), name
    assert (before["trans"][:, 7] - after["trans"][:, 7]).norm(dim=-1).min() > 0.1


def test_context_of_a_prefix_is_the_prefix_of_the_context():
    """What teacher forcing shows is what sampling shows, residue by residue."""
    space, batch = Torsions(), chains()
    state = space.encode(batch)
    whole = space.context(state)
    for length in (1, 2, 5, 13):
        part = State({k: v[:, :length] for k, v in state.fields.items()}, state.mask[:, :length])
        prefix = space.context(space.project(part))
        for name in ("trans", "rots", "torsions", "angles"):
            assert torch.allclose(prefix[name][1], whole[name][1, :length], atol=1e-5), (name, length)
            assert torch.allclose(prefix[name][0], whole[name][0, :length], atol=1e-5), (name, length)


def test_a_chain_that_folds_back_is_not_admissible():
    """With all torsions 0 a chain closes to a flat ring; an extended chain and a helix never overlap."""
    space, mask = Torsions(cis=True), torch.ones(1, 12, dtype=torch.bool)
    angles = torch.zeros(1, 12, 3)
    for phi, psi, omega, fits in ((-57.0, -47.0, 180.0, True), (-120.0, 130.0, 180.0, True), (0.0, 0.0, 0.0, False)):
        torsions = torch.tensor([phi, psi, omega]).deg2rad().expand(1, 12, 3)
        verdicts = [
            bool(space.admissible(State({"torsions": torsions[:, :n], "angles": angles[:, :n]}, mask[:, :n])))
            for n in range(1, 13)
        ]
        assert all(verdicts) == fits, (phi, psi, verdicts)


def test_cis_peptides_are_admissible_only_where_asked_for():
    """In samples; likelihoods know them either way."""
    mask, angles = torch.ones(1, 6, dtype=torch.bool), torch.zeros(1, 6, 3)
    torsions = torch.tensor([-75.0, 150.0, 180.0]).deg2rad().repeat(1, 6, 1)
    torsions[:, -1, 2] = 0.1
    for n in (1, 6):
        state = State({"torsions": torsions[:, -n:], "angles": angles[:, :n]}, mask[:, :n])
        assert not Torsions().admissible(state)
        assert Torsions(cis=True).admissible(state)
    assert Torsions().defined(State({}, mask))["torsions"][0, 2].all()


def test_noise_is_uniform_and_every_point_is_an_unbroken_chain(rng):
    space, mask = Torsions(), torch.ones(40, 60, dtype=torch.bool)
    state = space.noise(mask, torch.randn(40, 60, 6, generator=rng))
    inner = state["torsions"][:, 1:-1]
    assert inner.min() >= -math.pi
    assert inner.max() < math.pi
    assert inner.cos().mean().abs() < 0.03
    assert inner.sin().mean().abs() < 0.03
    atoms = space.decode(state)["atoms"]
    assert ((atoms[:, 1:, 0] - atoms[:, :-1, 2]).norm(dim=-1) - internal.ideal.C_N).abs().max() < 1e-3


def test_torus_goes_the_short_way():
    torus = Torus(1)
    x, y = torch.tensor([3.0]), torch.tensor([-3.0])
    assert torch.allclose(torus.logmap(x, y), torch.tensor([2 * math.pi - 6]), atol=1e-6)
    assert torch.allclose(torus.expmap(x, torus.logmap(x, y)), y, atol=1e-6)
    assert torch.allclose(torus.squared_error(x, y), 2 - 2 * torch.tensor(6.0).cos(), atol=1e-6)
    grid = torch.linspace(-math.pi, math.pi, 20_001)[:-1].double()
    for std in (0.1, 1.0, 5.0):
        mass = (-0.5 * (grid / std).square()).exp().mean() * 2 * math.pi
        assert abs(torus.log_normaliser(torch.tensor(std)) - mass.log()) < 1e-3


def test_head_reads_torsions_within_the_circle(rng):
    space = Torsions()
    state = space.noise(torch.ones(2, 5, dtype=torch.bool), torch.randn(2, 5, 6, generator=rng))
    head = space.head(8, 0)
    found = head(Features(torch.randn(2, 5, 8, generator=rng), torch.zeros(2, 5, 0, 3)), state)
    assert found["torsions"].abs().max() <= math.pi + 1e-6
    assert found["angles"].shape == (2, 5, 3)


def test_within_counts_degrees_of_freedom():
    """A chain of l residues has l - 1 of each torsion, l angles N-CA-C and l - 1 of the other two."""
    mask = torch.zeros(3, 8, dtype=torch.bool)
    for row, length in enumerate((1, 5, 8)):
        mask[row, :length] = True
        assert within(mask)[row].sum() == 6 * length - 5
