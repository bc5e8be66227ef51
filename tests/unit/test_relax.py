"""The relaxation repairs joints and clashes, moves little, and leaves good structures alone."""

import numpy as np
import pytest
import torch

from protgen.generation.relax import (
    KEPT_WEIGHT,
    MOVE_WEIGHT,
    TURN_WEIGHT,
    Penalty,
    Request,
    relax_frames,
    with_closing_oxygen,
)
from protgen.generation.springs import Springs, joints, near_pairs
from protgen.geometry import constants as ideal
from protgen.geometry import frames, so3
from protgen.geometry.adam import Adam
from protgen.metrics.clashes import Clashes
from protgen.spaces.backbone import Backbone
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein
from protgen.types import Batch, State

pytestmark = pytest.mark.slow

SPACE = Backbone()


def state_of(*backbones) -> State:
    longest = max(len(b) for b in backbones)
    atoms = torch.zeros(len(backbones), longest, 4, 3)
    mask = torch.zeros(len(backbones), longest, dtype=torch.bool)
    for row, backbone in enumerate(backbones):
        atoms[row, : len(backbone)] = torch.from_numpy(np.asarray(backbone)).float()
        mask[row, : len(backbone)] = True
    return SPACE.encode(Batch({"atoms": atoms}, mask))


def shaken(state: State, size: float, rng) -> State:
    noise = torch.randn(*state["trans"].shape, generator=rng) * size
    turn = torch.randn(*state["trans"].shape, generator=rng) * size / 2
    return SPACE.project(state.with_fields(trans=state["trans"] + noise, rots=so3.move(state["rots"], turn)))


def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return ((a - b).square().sum(-1) + 1e-8).sqrt()


def peptide_squares(here: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """4 (C-N - 1.329)^2 + the squares of CA-N, C-CA and CA-CA, from residues (..., 4, 3) and those behind them, Å^2."""
    ca_ca = distance(here[..., 1, :], there[..., 1, :])
    flat = torch.full_like(ca_ca, 3.80).masked_fill(ca_ca < 3.05, 2.96)
    c_n = 4 * (distance(here[..., 2, :], there[..., 0, :]) - 1.329).square()
    goals = ((1, 0, ideal.CA_N_NEXT), (2, 1, ideal.C_CA_NEXT))
    rest = [(distance(here[..., i, :], there[..., j, :]) - goal).square() for i, j, goal in goals]
    return c_n + rest[0] + rest[1] + (ca_ca - flat).square()


def misfit(state: State) -> torch.Tensor:
    """Of the joints of each design, Å^2."""
    atoms = SPACE.observe(state)
    return (peptide_squares(atoms[:, :-1], atoms[:, 1:]) * (state.mask[:, 1:] & state.mask[:, :-1])).sum(-1)


def overlap_squares(atoms: torch.Tensor, ring: bool = False) -> torch.Tensor:
    """Of one chain, over all pairs of atoms of residues at least two apart, Å^2."""
    length = len(atoms)
    least = torch.full((4, 4), 2.4, dtype=atoms.dtype)
    least[0, 3] = least[3, 0] = 2.3
    least[1, 1] = 3.5
    apart = torch.ones(length, length, dtype=torch.bool).triu(2)[:, :, None, None]
    apart[0, -1] &= not ring
    separation = distance(atoms[:, None, :, None], atoms[None, :, None])
    return ((least - separation).clamp(min=0).square() * apart).sum()


@pytest.mark.parametrize("backbone", [ideal_helix(30), ideal_hairpin(20)])
def test_peptide_bonds_are_mended_with_small_moves(backbone, rng):
    bad = shaken(state_of(backbone), 0.15, rng)
    good = relax_frames(SPACE, bad)
    atoms = SPACE.observe(good)[0]
    c_n = (atoms[1:, 0] - atoms[:-1, 2]).norm(dim=-1)
    assert (c_n - 1.329).abs().max() < 0.05
    assert misfit(good)[0] < 0.05 * misfit(bad)[0]
    assert (good["trans"] - bad["trans"]).norm(dim=-1).mean() < 0.3


def closest(state: State) -> torch.Tensor:
    """Least distance between backbone atoms of residues at least two apart, Å."""
    atoms = SPACE.observe(state)[0]
    length = len(atoms)
    distance = (atoms[:, None, :, None] - atoms[None, :, None]).norm(dim=-1).amin((2, 3))
    apart = torch.triu(torch.ones(length, length, dtype=torch.bool), 2)
    return distance[apart].min()


def test_overlapping_strands_are_parted():
    """A hairpin whose second strand was moved into the first: clashes under 2.0 Å before, none after."""
    backbone = np.array(ideal_hairpin(20))
    towards = backbone[:9, 1].mean(0) - backbone[11:, 1].mean(0)
    backbone[11:] += 0.6 * towards
    bad = state_of(backbone)
    good = relax_frames(SPACE, bad)
    assert closest(bad) < 2.0
    assert closest(good) > 2.2


def test_good_structures_stay():
    good = state_of(ideal_helix(30))
    assert (relax_frames(SPACE, good)["trans"] - good["trans"]).norm(dim=-1).max() < 0.1


def test_a_design_does_not_depend_on_its_batch(rng):
    short, long = ideal_helix(15), ideal_hairpin(24)
    alone = shaken(state_of(short), 0.1, torch.Generator().manual_seed(1))
    relaxed = relax_frames(SPACE, alone)
    other = state_of(short, long)
    trans = other["trans"].clone()
    rots = other["rots"].clone()
    trans[0, :15], rots[0, :15] = alone["trans"][0], alone["rots"][0]
    together = relax_frames(SPACE, other.with_fields(trans=trans, rots=rots))
    assert (together["trans"][0, :15] - relaxed["trans"][0]).abs().max() < 1e-3


def radius(atoms: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Rg of CAs, Å."""
    ca = atoms[:, :, 1]
    return (ca - ca.mean(1, keepdim=True)).square().sum(-1).mean(1).sqrt()


def test_what_was_asked_for_is_not_mended_away(rng):
    """A helix stretched by 5 %: mending draws it together again, unless it is to keep its radius."""
    state = state_of(ideal_helix(40))
    bad = state.with_fields(trans=1.05 * state["trans"])
    goal = radius(SPACE.observe(bad), bad.mask)
    free, kept = (
        relax_frames(SPACE, bad, kept=energy)
        for energy in (None, lambda xyz, mask: 20 * (radius(xyz, mask) - goal).square())
    )
    off = [float((radius(SPACE.observe(good), good.mask) - goal).abs() / goal) for good in (free, kept)]
    assert off[0] > 0.001
    assert off[1] < 1e-5
    assert misfit(kept)[0] < 0.2 * misfit(bad)[0]


def test_what_was_missed_is_left_missed(rng):
    """Relaxation keeps energies from rising; gradient descent on them would bend the repaired joints."""
    bad = shaken(state_of(ideal_helix(20)), 0.1, rng)
    free = relax_frames(SPACE, bad)
    far = relax_frames(SPACE, bad, kept=lambda xyz, mask: 20 * (radius(xyz, mask) - 30).square())
    drift = (far["trans"] - free["trans"]).norm(dim=-1).max()
    assert drift < 0.2


def test_energies_without_a_slope_do_no_harm(rng):
    bad = shaken(state_of(ideal_helix(20)), 0.1, rng)
    good = relax_frames(
        SPACE, bad, kept=lambda xyz, mask: (xyz[:, 0, 1] - xyz[:, 0, 1]).norm(dim=-1) + (0 * xyz).sum((1, 2, 3)).sqrt()
    )
    assert all(x.isfinite().all() for x in good.fields.values())


def ends_apart(last: tuple, n: tuple) -> torch.Tensor:
    """Five residues 20 Å apart, of which the last has CA at one place, C at the origin, and the first N at another."""
    atoms = 20.0 + 20.0 * torch.arange(5.0)[:, None, None] + torch.arange(4.0)[:, None]
    atoms = atoms.expand(5, 4, 3).clone()
    atoms[4, 1], atoms[4, 2], atoms[0, 0] = torch.tensor(last), torch.zeros(3), torch.tensor(n)
    return atoms


def test_the_oxygen_of_a_closing_peptide_is_opposite_to_both_bonds():
    """CA and N at 120 degrees about C: O is 1.231 Å along the third direction; of a ring alone, and of its last one."""
    half = 3**0.5 / 2
    atoms = ends_apart((-0.75, 1.5 * half, 0.0), (-0.65, -1.3 * half, 0.0)).expand(3, 5, 4, 3).clone()
    atoms = torch.cat([atoms, atoms[:, -1:] + 50.0], dim=1)  # padding behind the last residue
    mask = torch.arange(6).expand(3, 6) < 5
    rings = torch.tensor([True, False, True])
    found = with_closing_oxygen(atoms, mask, rings)
    assert found[0, 4, 3].tolist() == pytest.approx([1.231, 0.0, 0.0], abs=1e-6)
    changed = (found != atoms).any(-1).nonzero().tolist()
    assert changed == [[0, 4, 3], [2, 4, 3]]


def squeezed(size: float = 0.8) -> State:
    """A hairpin and a helix in one batch, drawn together so that atoms overlap; float64."""
    chains = [ideal_hairpin(20), ideal_helix(14)]
    atoms, mask = torch.zeros(2, 20, 4, 3, dtype=torch.float64), torch.zeros(2, 20, dtype=torch.bool)
    for row, chain in enumerate(chains):
        atoms[row, : len(chain)], mask[row, : len(chain)] = torch.from_numpy(chain), True
    state = SPACE.encode(Batch({"atoms": atoms}, mask))
    return state.with_fields(trans=state["trans"] * size)


def spread_of_squares(atoms: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (atoms - atoms.mean((1, 2), keepdim=True)).square().sum((1, 2, 3))


def two_halves(state: State) -> State:
    """The second ten residues are the first ten turned by a quarter about z, and 9 Å away."""
    quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=state["trans"].dtype)
    rots, trans = state["rots"][:, :10], state["trans"][:, :10]
    turned = {"rots": quarter @ rots, "trans": trans @ quarter.T + 9.0}
    fields = {"rots": rots, "trans": trans}
    return state.with_fields(**{name: torch.cat([fields[name], turned[name]], dim=1) for name in fields})


@pytest.mark.parametrize("case", ["open", "ring", "request", "copies"])
def test_the_slope_is_that_of_the_penalty(case, rng):
    """Closed form against automatic differentiation of the penalty as it is stated, to 1e-8 of its largest entry."""
    start = squeezed()
    mask, rings, request, tied = start.mask, None, None, None
    if case == "ring":
        rings = torch.tensor([True, False])
    if case == "request":  # far above what it was in one design, below in the other
        request = Request(spread_of_squares, torch.tensor([10.0, 1e5], dtype=torch.float64))
    if case == "copies":
        tied = two_halves
    pull = torch.where(torch.arange(20) == 3, 30.0, 1.0) * mask
    move = 0.2 * torch.randn(2, 20, 6, generator=rng, dtype=torch.float64) * mask[..., None]
    found = Penalty(start, pull, rings, request, tied).slope(move)

    move.requires_grad_()
    turn = frames.rotation_from_small_quaternion(move[..., 3:] / 4)
    moved = start.with_fields(trans=start["trans"] + move[..., :3], rots=start["rots"] @ turn)
    moved = moved if tied is None else tied(moved)
    atoms = with_closing_oxygen(SPACE.observe(moved), mask, rings)
    total = 30 * (overlap_squares(atoms[0], case == "ring") + overlap_squares(atoms[1, :14]))
    joined = mask[:, 1:] & mask[:, :-1]
    total = total + 100 * (peptide_squares(atoms[:, :-1], atoms[:, 1:]) * joined).sum()
    if case == "ring":
        total = total + 100 * peptide_squares(atoms[0, 19], atoms[0, 0])
    if request is not None:
        risen = (spread_of_squares(atoms, mask) - request.before).clamp(min=0)
        total = total + (KEPT_WEIGHT * risen / (1 + request.before)).sum()
    shift = (moved["trans"] - start["trans"]).square().sum(-1)
    turned = so3.chordal_squared(moved["rots"], start["rots"])
    total = total + ((MOVE_WEIGHT * shift + TURN_WEIGHT * turned) * pull).sum()
    (expected,) = torch.autograd.grad(total, move)
    assert expected.abs().max() > 100
    assert (found - expected).abs().max() < 1e-8 * expected.abs().max()


def test_pairs_are_found_again_when_atoms_have_moved():
    """Two residues 20 Å apart come to overlap: their slope is that of springs made there."""
    mask = torch.ones(1, 5, dtype=torch.bool)
    apart = torch.from_numpy(ideal_helix(5)).clone()
    apart[4] += 20.0
    close = apart.clone()
    close[4] += close[0] - close[4] + 1.0
    springs = Springs(mask, None, apart)
    springs.slope(apart)
    found = springs.slope(close)
    assert torch.equal(found, Springs(mask, None, close).slope(close))
    assert (found - joints(mask, None, close).slope(close.view(-1, 3)).view(5, 4, 3)).abs().max() > 10


def test_the_ends_of_a_ring_are_neighbours():
    """Pairs of the last residue and the first are left out in a ring alone; no other pair is."""
    atoms = torch.from_numpy(ideal_helix(6)).float().expand(2, 6, 4, 3).clone()
    atoms[:, 4] = atoms[:, 0] + 2.0
    mask = torch.arange(6).expand(2, 6) < 5
    pairs = near_pairs(atoms, mask, torch.tensor([True, False]))
    residues = torch.stack([pairs.first, pairs.second], dim=-1) // 4
    ring, chain = ({(a - 6 * k, b - 6 * k) for a, b in residues.tolist() if a // 6 == k} for k in (0, 1))
    assert (0, 4) in chain
    assert ring == chain - {(0, 4)}


def test_a_ring_closes_and_keeps_its_last_oxygen_off_the_first_residue():
    """Ends near each other come to a peptide bond: C-N within 0.05 Å, O where the plane of that peptide has it."""
    turn = np.radians(360 / 24)
    angles = np.arange(24) * turn
    radius = 3.8 / 2 / np.sin(turn / 2)
    outward = np.stack([np.cos(angles), np.sin(angles), np.zeros(24)], axis=-1)
    along = np.stack([-np.sin(angles), np.cos(angles), np.zeros(24)], axis=-1)
    ca = radius * outward
    atoms = np.stack([ca - 1.25 * along - 0.7 * outward, ca, ca + 1.25 * along - 0.7 * outward], axis=1)
    atoms[-1] += [0.6, -0.5, 0.4]
    mask = torch.ones(1, 24, dtype=torch.bool)
    state = SPACE.encode(Batch({"atoms": torch.from_numpy(atoms)[None].float()}, mask))
    rings = torch.tensor([True])
    relaxed = relax_frames(SPACE, state, steps=400, rings=rings)
    found = with_closing_oxygen(SPACE.observe(relaxed), mask, rings)[0].double().numpy()
    assert abs(np.linalg.norm(found[-1, 2] - found[0, 0]) - 1.329) < 0.05
    assert abs(np.linalg.norm(found[-1, 3] - found[-1, 2]) - 1.231) < 1e-3
    assert np.linalg.norm(found[-1, 3] - found[0, 0]) > 2.1
    row = Clashes().measure(Protein.from_backbone(found))
    assert row["n_clashes"] == 0
    open_chain = relax_frames(SPACE, state, steps=20)
    unchanged = relax_frames(SPACE, state, steps=20, rings=torch.tensor([False]))
    assert torch.equal(open_chain["trans"], unchanged["trans"])


@pytest.mark.parametrize(("betas", "epsilon"), [((0.9, 0.95), 1.0), ((0.9, 0.98), 1e-8), (None, None)])
def test_adam_takes_the_steps_of_torch_to_the_bit(betas, epsilon, rng):
    """Sixty slopes at a rate that falls; without settings of its own with the defaults of torch."""
    ours = torch.randn(3, 7, 6, generator=rng)
    theirs = ours.clone().requires_grad_()
    settings = ({"betas": betas} if betas else {}) | ({"epsilon": epsilon} if epsilon else {})
    theirs_of = {"betas": betas or (0.9, 0.999), "eps": epsilon or 1e-8}
    adam, reference = Adam(ours, **settings), torch.optim.Adam([theirs], **theirs_of)
    for step in range(60):
        slope, rate = torch.randn(3, 7, 6, generator=rng), 0.03 * (1 - step / 60)
        theirs.grad, reference.param_groups[0]["lr"] = slope.clone(), rate
        reference.step()
        adam.step(slope, rate)
    assert torch.equal(ours, theirs.detach())
