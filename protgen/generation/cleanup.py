"""A short clean-up of final frames: peptide geometry and clashes, nothing else.

Every residue stays a rigid body; frames move as little as is needed to bring the joints between residues to the
geometry of a peptide bond and atoms that overlap apart. Gradient descent by Adam with a fixed number of steps: all its
state is per coordinate, so a design does not depend on those beside it.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from protgen.geometry import constants as ideal
from protgen.geometry import frames
from protgen.spaces.backbone import Backbone
from protgen.types import State

# Least allowed distances, Å: below the native minimum (1st percentile in natives: CA-CA 3.8, any pair 2.7), N-O apart
# because a hydrogen bond brings them to 2.8, and above the 2.0 Å that counts as a clash.
CONTACT, HYDROGEN_BOND, CA_CONTACT = 3.0, 2.7, 3.75


def energy(space: Backbone, state: State, start: State) -> Float[Tensor, " b"]:
    """Penalty of each design: joints, overlaps, and a weak pull to where the residues were; no unit."""
    atoms = space.observe(state)
    mask = state.mask
    joined = mask[:, 1:] & mask[:, :-1]
    total = 100.0 * joint_energy(atoms, joined) + 10.0 * overlap_energy(atoms, mask)
    moved = (state["trans"] - start["trans"]).square().sum(-1)
    return total + 0.1 * (moved * mask).sum(-1)


def joint_energy(atoms: Float[Tensor, "b l 4 3"], joined: Bool[Tensor, "b k"]) -> Float[Tensor, " b"]:
    """Squared deviations of the distances that fix bond, angles and planarity of each peptide, Å^2."""
    here, there = atoms[:, :-1], atoms[:, 1:]
    c_n = distance(here[:, :, 2], there[:, :, 0]) - ideal.C_N
    ca_n = distance(here[:, :, 1], there[:, :, 0]) - ideal.CA_N_NEXT
    c_ca = distance(here[:, :, 2], there[:, :, 1]) - ideal.C_CA_NEXT
    ca_ca = distance(here[:, :, 1], there[:, :, 1])
    # CA-CA is 3.80 Å across a trans and 2.96 Å across a cis bond: each is drawn to the nearer.
    flat = ca_ca - torch.where(ca_ca < 3.3, 2.96, ideal.CA_CA)
    squared = 4 * c_n.square() + ca_n.square() + c_ca.square() + flat.square()
    return (squared * joined).sum(-1)


def overlap_energy(atoms: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
    """Squared overlaps of backbone atoms of residues at least two apart along the chain, Å^2."""
    length = mask.shape[1]
    flat = atoms.flatten(1, 2)
    separation = torch.sqrt((flat[:, :, None] - flat[:, None]).square().sum(-1) + 1e-8)
    kind = torch.arange(4, device=mask.device).repeat(length)
    least = torch.full((4, 4), CONTACT, device=mask.device)
    least[0, 3] = least[3, 0] = HYDROGEN_BOND
    least[1, 1] = CA_CONTACT
    residue = torch.arange(length, device=mask.device).repeat_interleave(4)
    apart = (residue[None] - residue[:, None]) >= 2
    real = mask.repeat_interleave(4, dim=1)
    pairs = apart[None] & real[:, :, None] & real[:, None]
    overlap = (least[kind][:, kind] - separation).clamp(min=0)
    return (overlap.square() * pairs).sum((1, 2))


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Distance over the last axis with a finite gradient at 0."""
    return ((a - b).square().sum(-1) + 1e-8).sqrt()


def clean_up(space: Backbone, state: State, steps: int = 200, rate: float = 0.03) -> State:
    """Mend joints and overlaps.

    Args:
        space: the backbone space, which places O.
        state: final frames.
        steps: Adam steps.
        rate: first step size, Å and radians / 4; falls linearly to 0.

    Returns:
        The mended frames, rotations exact.
    """
    with torch.enable_grad():
        b, length = state.mask.shape
        move = torch.zeros(b, length, 6, device=state.mask.device, requires_grad=True)
        # eps of the size of a gradient worth following: with the usual 1e-8, residues that are fine would move by
        # the sign of rounding errors.
        optimizer = torch.optim.Adam([move], lr=rate, betas=(0.9, 0.95), eps=1.0)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 - step / steps)
            optimizer.zero_grad()
            energy(space, displace(state, move), state).sum().backward()
            optimizer.step()
    return space.project(displace(state, move.detach()))


def displace(state: State, move: Float[Tensor, "b l 6"]) -> State:
    """Frames moved by a step in Å and a turn (half-tangent of a quaternion, quartered to suit the same step size)."""
    rots = state["rots"] @ frames.rotation_from_small_quaternion(move[..., 3:] / 4)
    return state.with_fields(trans=state["trans"] + move[..., :3], rots=rots)
