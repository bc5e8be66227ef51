"""Copies that are made together: places, turns and averages by value, and what encoders see of several chains."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from protgen import registry
from protgen.conditions.symmetry import Symmetry
from protgen.generation.copies import SymmetricCopies
from protgen.generation.relax import relax_frames
from protgen.geometry import so3
from protgen.nn.embedding import CHAINS_APART, chain_offsets, chain_places
from protgen.nn.pair_planes import offset_planes
from protgen.spaces.backbone import Backbone
from protgen.structure.ideal import ideal_helix
from protgen.types import CHAIN_GAP, Batch, Conditioning, State

SPACE = Backbone()
TELLING = [name for name in registry.names("encoders") if registry.find("encoders", name).tells_chains_apart]


def copies_of(*designs: tuple[int, str | None]) -> SymmetricCopies:
    plans = [
        SimpleNamespace(length=length, operations=np.eye(3)[None] if group is None else Symmetry(group).operations())
        for length, group in designs
    ]
    return SymmetricCopies(SPACE, plans, torch.device("cpu"))  # type: ignore[arg-type] # all it asks of a plan


def random_state(copies: SymmetricCopies, rng: torch.Generator) -> State:
    mask = copies.mask()
    return SPACE.noise(mask, torch.randn(*mask.shape, 7, generator=rng))


def test_chains_lie_one_after_the_other_with_gaps():
    mask = copies_of((4, "C2"), (5, None)).mask()
    gap = "0" * CHAIN_GAP
    assert ["".join(str(int(x)) for x in row) for row in mask] == ["1111" + gap + "1111", "11111" + "0" * 6]


@pytest.mark.parametrize("group", ["C3", "D2"])
def test_copies_are_the_first_chain_turned(group, rng):
    """Chain k is chain 0 turned by operation k about the origin, but for a shift along the axis of Cn; others stay."""
    copies = copies_of((4, group), (6, None))
    state = random_state(copies, rng)
    found = copies.spread(state)
    turns = torch.from_numpy(Symmetry(group).operations()).float()
    first = slice(0, 4)
    shift = found["trans"][0, 0] - state["trans"][0, 0]
    if group == "C3":
        assert shift[:2].abs().max() < 1e-5
    else:
        assert shift.abs().max() < 1e-5
    for k, turn in enumerate(turns):
        own = slice(k * (4 + CHAIN_GAP), k * (4 + CHAIN_GAP) + 4)
        assert torch.allclose(found["trans"][0, own], state["trans"][0, first] @ turn.T + shift, atol=1e-5)
        assert torch.allclose(found["rots"][0, own], turn @ state["rots"][0, first], atol=1e-6)
    assert torch.allclose(found["trans"][1, :6], state["trans"][1, :6], atol=1e-5)
    again = copies.average(found)
    assert torch.allclose(again["trans"], found["trans"], atol=1e-5)
    assert torch.allclose(again["rots"], found["rots"], atol=1e-5)


def test_the_average_is_that_of_chains_turned_back(rng):
    """Of C2: (x_0 + R x_1) / 2; a turn of each chain by +-a about one axis averages to none."""
    copies = copies_of((4, "C2"))
    state = random_state(copies, rng)
    second = slice(4 + CHAIN_GAP, None)
    half = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    trans = (state["trans"][0, :4] + state["trans"][0, second] @ half) / 2
    found = copies.average(state)
    assert torch.allclose(found["trans"][0, :4] - found["trans"][0, 0], trans - trans[0], atol=1e-5)
    even = copies.spread(state)
    vector = torch.tensor([0.0, 0.0, 0.3]).expand(4, 3)
    rots = even["rots"].clone()
    rots[0, :4] = so3.exp(vector) @ rots[0, :4]
    rots[0, second] = so3.exp(-vector) @ rots[0, second]
    turned = copies.average(even.with_fields(rots=rots))
    assert torch.allclose(turned["rots"], even["rots"], atol=1e-5)


def test_requests_of_the_first_chain_are_those_of_all(rng):
    copies = copies_of((3, "C2"))
    residue, pair = torch.zeros(1, 9, 2), torch.zeros(1, 9, 9, 1)
    residue[0, :3] = torch.randn(3, 2, generator=rng)
    pair[0, :3, :3] = torch.randn(3, 3, 1, generator=rng)
    found = copies.conditioning(Conditioning(residue, torch.ones(1, 1), pair))
    assert torch.equal(found.residue[0, 6:], residue[0, :3])
    assert found.pair is not None
    assert torch.equal(found.pair[0, 6:, 6:], pair[0, :3, :3])
    assert (found.pair[0, :3, 6:] == 0).all()
    assert found.chains is not None
    assert found.chains.tolist() == [[0] * 6 + [1] * 3]


def test_places_and_offsets_of_two_chains():
    """Places count from the ends of the own chain; offsets within it are as ever, to the other one a chain apart."""
    mask = torch.tensor([[True] * 4 + [False] * 3 + [True] * 4])
    chains = torch.tensor([[0] * 7 + [1] * 4])
    one = chain_places(mask[:, :4])
    assert torch.equal(chain_places(mask, chains)[:, :4], one)
    assert torch.equal(chain_places(mask, chains)[:, 7:], one)
    offsets = chain_offsets(11, mask.device, chains)[0]
    assert offsets[1, 3] == 2
    assert offsets[8, 10] == 2
    assert offsets[3, 7] == 4 + CHAINS_APART
    assert offsets[7, 3] == -4 - CHAINS_APART
    planes = offset_planes(11, torch.zeros(0), chains)
    assert torch.equal(planes[:, 0, 7:, 7:], offset_planes(4, torch.zeros(0)))
    assert (planes[:11, 0, :4, 7:] == 0).all()  # no indicator of a near one


@pytest.mark.parametrize("name", TELLING)
def test_encoders_that_tell_chains_apart(name, rng):
    """One chain named as such is one chain; two chains are not one that has their residues and a gap."""
    torch.manual_seed(0)
    cls = registry.find("encoders", name)
    encoder = cls(residue_dim=0, global_dim=1, **cls.example()).eval()
    copies = copies_of((6, "C2"))
    state = copies.spread(random_state(copies, rng))
    t, blank = torch.tensor([0.5]), Conditioning(torch.zeros(1, 15, 0), torch.ones(1, 1))
    one = Conditioning(blank.residue, blank.globals, None, torch.zeros(1, 15, dtype=torch.long))
    two = copies.conditioning(blank)
    with torch.no_grad():
        named, apart = (encoder(state, t, cond).scalars[0] for cond in (one, two))
    real = state.mask[0]
    assert (named - apart)[real].abs().max() > 1e-3
    trimmed = State({key: value[:, :6] for key, value in state.fields.items()}, state.mask[:, :6])
    short, zero = Conditioning(torch.zeros(1, 6, 0), torch.ones(1, 1)), torch.zeros(1, 6, dtype=torch.long)
    with torch.no_grad():
        alone = encoder(trimmed, t, short).scalars
        also = encoder(trimmed, t, Conditioning(short.residue, short.globals, None, zero)).scalars
    assert torch.allclose(alone, also, atol=1e-6)


def test_the_relaxation_keeps_copies_alike_and_parts_them(rng):
    """Two helices of C2 that overlap: apart afterwards, by the same moves turned."""
    copies = copies_of((12, "C2"))
    mask = copies.mask()
    atoms = torch.zeros(1, mask.shape[1], 4, 3)
    helix = ideal_helix(12)
    helix = helix - helix[:, 1].mean(0)
    upright = helix @ np.linalg.svd(helix[:, 1])[2].T[:, [1, 2, 0]]  # its axis along z, the axis of C2
    upright *= np.sign(np.linalg.det(np.linalg.svd(helix[:, 1])[2].T[:, [1, 2, 0]]))
    atoms[0, :12] = torch.from_numpy(upright + np.array([2.6, 0.0, 0.0])).float()
    rots, trans = SPACE.residue_frames(SPACE.encode(Batch({"atoms": atoms[:, :12]}, mask[:, :12])))
    start = State({"rots": torch.eye(3).expand(1, 27, 3, 3).clone(), "trans": torch.zeros(1, 27, 3)}, mask)
    start["rots"][:, :12], start["trans"][:, :12] = rots, trans + torch.tensor([2.6, 0.0, 0.0])
    start = copies.spread(start)

    def nearest(state: State) -> float:
        xyz = SPACE.observe(state)[0]
        return float(torch.cdist(xyz[:12].flatten(0, 1), xyz[15:].flatten(0, 1)).min())

    relaxed = relax_frames(SPACE, start, tied=copies.spread)
    assert nearest(start) < 1.6
    assert nearest(relaxed) > 2.0
    again = copies.spread(relaxed)
    assert torch.allclose(again["trans"], relaxed["trans"], atol=1e-4)
    assert torch.allclose(again["rots"], relaxed["rots"], atol=1e-5)
