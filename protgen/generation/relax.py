"""A short relaxation of final frames: peptide geometry and clashes, nothing else.

Every residue stays a rigid body; frames move as little as is needed to bring the joints between residues to the
geometry of a peptide bond and atoms that overlap apart. Gradient descent by Adam with a fixed number of steps: all its
state is per coordinate, so a design does not depend on the others of its batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from protgen.geometry import constants as ideal
from protgen.geometry import frames, so3
from protgen.geometry.adam import Adam
from protgen.samplers.energy import Energy
from protgen.spaces.backbone import Backbone
from protgen.types import State

# Distances (Å) below which two atoms are pushed apart. They lie between the 2.0 Å that counts as a clash and the
# closest contacts of natives (2.7 Å; 2.8 Å in hydrogen bonds), so that packing and hydrogen bonds stay as they came.
CONTACT, HYDROGEN_BOND, CA_CONTACT = 2.4, 2.3, 3.5
REACH = 5.0  # Å; pairs farther apart at the start cannot come to overlap, as residues move by tenths of an Å
JOINT_WEIGHT, OVERLAP_WEIGHT = 100.0, 30.0
# The pull to where the residues were, per Å^2 and rad^2: holds phi and psi, which joints alone would bend.
MOVE_WEIGHT, TURN_WEIGHT = 3.0, 10.0


HELD = 30.0  # times that pull, for residues of a motif: its surroundings move instead
# Of what an energy that was asked for rises by; where it is far from met it is also steep, and would outweigh joints.
KEPT_WEIGHT = 100.0
# What little of such a rise is left at the end is taken back by steps that halve a radius' error, none longer than a
# joint can bear (a bond of 1.33 Å varies by 0.02 Å in natives).
LAST_STEPS, LAST_LONGEST = 12, 0.005


def energy(
    state: State, atoms: Float[Tensor, "b l 4 3"], start: State, pairs: "NearPairs", pull: Float[Tensor, "b l"]
) -> Float[Tensor, ""]:
    """Penalty summed over designs: joints, overlaps, and the pull to where the residues were; no unit."""
    mask = state.mask
    joined = mask[:, 1:] & mask[:, :-1]
    total = JOINT_WEIGHT * joint_energy(atoms, joined).sum() + OVERLAP_WEIGHT * overlap_energy(atoms, pairs)
    moved = (state["trans"] - start["trans"]).square().sum(-1)
    rotated = so3.chordal_squared(state["rots"], start["rots"])
    return total + ((MOVE_WEIGHT * moved + TURN_WEIGHT * rotated) * pull * mask).sum()


@dataclass(frozen=True)
class NearPairs:
    """Pairs of atoms that may overlap, over the whole batch.

    Attributes:
        first, second: indices into the flattened (b * 4 l) atoms.
        least: Å, least distance of each pair.
    """

    first: Int[Tensor, " p"]
    second: Int[Tensor, " p"]
    least: Float[Tensor, " p"]


def near_pairs(
    atoms: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"], rings: Bool[Tensor, " b"] | None = None
) -> NearPairs:
    """Pairs within reach of residues at least two apart along the chain, and along the closed chain of a ring."""
    length = mask.shape[1]
    flat = atoms.flatten(1, 2)
    residue = torch.arange(length, device=mask.device).repeat_interleave(4)
    real = mask.repeat_interleave(4, dim=1)
    apart = ((residue[None] - residue[:, None]) >= 2)[None] & real[:, :, None] & real[:, None]
    if rings is not None:
        ends = (residue[None, None] == 0) & (residue[None, :, None] == mask.sum(-1)[:, None, None] - 1)
        apart = apart & ~(rings[:, None, None] & (ends | ends.transpose(1, 2)))
    near = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist") < REACH
    design, first, second = (near & apart).nonzero(as_tuple=True)
    least = torch.full((4, 4), CONTACT, device=mask.device)
    least[0, 3] = least[3, 0] = HYDROGEN_BOND
    least[1, 1] = CA_CONTACT
    offset = design * 4 * length
    return NearPairs(first + offset, second + offset, least[first % 4, second % 4])


def joint_energy(atoms: Float[Tensor, "b l 4 3"], joined: Bool[Tensor, "b k"]) -> Float[Tensor, " b"]:
    """Squared deviations of the distances that fix bond, angles and planarity of each peptide, Å^2."""
    return (_joint_squares(atoms[:, :-1], atoms[:, 1:]) * joined).sum(-1)


def closing_energy(
    atoms: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"], rings: Bool[Tensor, " b"]
) -> Float[Tensor, ""]:
    """The same of the joints between the last residue and the first, over the designs that are rings, Å^2."""
    last = atoms[torch.arange(len(atoms), device=atoms.device), mask.sum(-1) - 1]
    return (_joint_squares(last[:, None], atoms[:, :1])[:, 0] * rings).sum()


def with_closing_oxygen(
    atoms: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"], rings: Bool[Tensor, " b"] | None
) -> Float[Tensor, "b l 4 3"]:
    """Atoms with O of a ring's last residue where the peptide to the first has it: in plane, opposite to both bonds.

    An open chain has no residue behind the last one, and its O lies by a torsion of its own.
    """
    if rings is None:
        return atoms
    rows = torch.arange(len(atoms), device=atoms.device)
    last = mask.sum(-1) - 1
    ca, c, n = atoms[rows, last, 1], atoms[rows, last, 2], atoms[:, 0, 0]
    back = torch.nn.functional.normalize(ca - c, dim=-1) + torch.nn.functional.normalize(n - c, dim=-1)
    placed = c - ideal.C_O * torch.nn.functional.normalize(back, dim=-1)
    at = (rings[:, None] & (torch.arange(atoms.shape[1], device=atoms.device) == last[:, None]))[..., None, None]
    oxygen = (torch.arange(4, device=atoms.device) == 3)[:, None]
    return torch.where(at & oxygen, placed[:, None, None], atoms)


def _joint_squares(here: Float[Tensor, "b k 4 3"], there: Float[Tensor, "b k 4 3"]) -> Float[Tensor, "b k"]:
    c_n = distance(here[:, :, 2], there[:, :, 0]) - ideal.C_N
    ca_n = distance(here[:, :, 1], there[:, :, 0]) - ideal.CA_N_NEXT
    c_ca = distance(here[:, :, 2], there[:, :, 1]) - ideal.C_CA_NEXT
    ca_ca = distance(here[:, :, 1], there[:, :, 1])
    # CA-CA is 3.80 Å across a trans and 2.96 Å across a cis bond. Only what is cis already stays so: a design has no
    # proline yet, and a bond near trans must not be pulled below the 3.05 Å at which a chain counts as broken.
    flat = ca_ca - torch.where(ca_ca < 3.05, ideal.CA_CA_CIS, ideal.CA_CA)
    return 4 * c_n.square() + ca_n.square() + c_ca.square() + flat.square()


def overlap_energy(atoms: Float[Tensor, "b l 4 3"], pairs: NearPairs) -> Float[Tensor, ""]:
    """Squared overlaps summed over pairs, Å^2."""
    flat = atoms.flatten(0, 2)
    separation = distance(flat[pairs.first], flat[pairs.second])
    return (pairs.least - separation).clamp(min=0).square().sum()


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Distance over the last axis with a finite gradient at 0."""
    return ((a - b).square().sum(-1) + 1e-8).sqrt()


def relax_frames(
    space: Backbone,
    state: State,
    steps: int = 120,
    rate: float = 0.03,
    held: Bool[Tensor, "b l"] | None = None,
    kept: Energy | None = None,
    rings: Bool[Tensor, " b"] | None = None,
    tied: Callable[[State], State] | None = None,
) -> State:
    """Relax peptide joints and overlaps.

    Args:
        space: the backbone space, which places O.
        state: final frames.
        steps: Adam steps.
        rate: first step size, Å and radians / 4; falls linearly to 0.
        held: residues that hardly move, such as those of a motif.
        kept: what was asked for, as an energy of atoms, which the relaxation is not to raise. Lowering it is the
            sampler's task.
        rings: chains whose last residue is bonded to the first.
        tied: makes copies of a chain, where chains are to stay alike: the others follow the first.

    Returns:
        The relaxed frames, rotations exact.
    """
    with torch.enable_grad():
        b, length = state.mask.shape
        atoms = with_closing_oxygen(space.observe(state), state.mask, rings)
        pairs = near_pairs(atoms, state.mask, rings)
        before = torch.zeros(b) if kept is None else kept(atoms, state.mask).detach()
        pull = torch.ones(b, length, device=state.mask.device)
        pull = pull if held is None else torch.where(held, HELD * pull, pull)
        move = torch.zeros(b, length, 6, device=state.mask.device, requires_grad=True)
        # eps of the size of a gradient worth following: with the usual 1e-8, residues that are fine would move by
        # the sign of rounding errors.
        adam = Adam(move, betas=(0.9, 0.95), epsilon=1.0)
        for step in range(steps):
            moved = displace(state, move) if tied is None else tied(displace(state, move))
            atoms = with_closing_oxygen(space.observe(moved), state.mask, rings)
            total = energy(moved, atoms, state, pairs, pull)
            if rings is not None:
                total = total + JOINT_WEIGHT * closing_energy(atoms, state.mask, rings)
            if kept is not None:
                risen = (kept(atoms, state.mask) - before).clamp(min=0)
                total = total + (KEPT_WEIGHT * risen / (1 + before)).sum()
            (slope,) = torch.autograd.grad(total, move)
            if kept is not None:
                slope.nan_to_num_(0.0, 0.0, 0.0)  # a user's function may have no slope somewhere
            adam.step(slope, rate * (1 - step / steps))
        moved = displace(state, move.detach())
        relaxed = space.project(moved if tied is None else tied(moved))
        return relaxed if kept is None else taken_back(space, relaxed, kept, before)


def taken_back(space: Backbone, state: State, kept: Energy, before: Float[Tensor, " b"]) -> State:
    """Residues shifted by thousandths of an Å, so that energies are what they were, to rounding.

    Polyak's step (1969) to the energy before: rise / |g|^2 g, g the gradient at the positions.

    Args:
        space: the backbone space.
        state: relaxed frames.
        kept: the energy.
        before: (b,) its values before the relaxation.
    """
    for _ in range(LAST_STEPS):
        trans = state["trans"].detach().requires_grad_()
        now = kept(space.observe(state.with_fields(trans=trans)), state.mask)
        risen = (now.detach() - before).nan_to_num(0.0, 0.0, 0.0).clamp(min=0)
        if not now.requires_grad or not bool((risen > 0).any()):
            break
        (slope,) = torch.autograd.grad(now.sum(), trans)
        slope = torch.where(slope.isfinite() & state.mask[..., None], slope, torch.zeros_like(slope))
        step = -(risen / slope.square().sum((1, 2)).clamp(min=1e-12))[:, None, None] * slope
        longest = step.norm(dim=-1).amax(1)[:, None, None]
        state = state.with_fields(trans=state["trans"] + step * (LAST_LONGEST / longest.clamp(min=LAST_LONGEST)))
    return state


def displace(state: State, move: Float[Tensor, "b l 6"]) -> State:
    """Frames moved by a step in Å and a turn (half-tangent of a quaternion, quartered to suit the same step size)."""
    rots = state["rots"] @ frames.rotation_from_small_quaternion(move[..., 3:] / 4)
    return state.with_fields(trans=state["trans"] + move[..., :3], rots=rots)


clean_up = relax_frames  # the old name, for one release
