"""A short relaxation of final frames: peptide geometry and clashes, nothing else.

Every residue stays a rigid body; frames move as little as is needed to bring the joints between residues to the
geometry of a peptide bond and atoms that overlap apart. Gradient descent by Adam with a fixed number of steps: all its
state is per coordinate, so a design does not depend on the others of its batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from protgen.generation.springs import Springs
from protgen.geometry import constants as ideal
from protgen.geometry.adam import Adam
from protgen.geometry.rigid_residues import RigidResidues, Turns
from protgen.samplers.energy import Energy
from protgen.spaces.backbone import Backbone
from protgen.types import State

# The pull to where the residues were, per Å^2 and rad^2: holds phi and psi, which joints alone would bend.
MOVE_WEIGHT, TURN_WEIGHT = 3.0, 10.0
HELD = 30.0  # times that pull, for residues of a motif: its surroundings move instead
# Of what an energy that was asked for rises by; where it is far from met it is also steep, and would outweigh joints.
KEPT_WEIGHT = 100.0
# What little of such a rise is left at the end is taken back by steps that halve a radius' error, none longer than a
# joint can bear (a bond of 1.33 Å varies by 0.02 Å in natives).
LAST_STEPS, LAST_LONGEST = 12, 0.005


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


@torch.no_grad()
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
    """Relax peptide joints and overlaps. The slope is in closed form, but for `kept`, rings and copies.

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
    mask = state.mask
    atoms = with_closing_oxygen(space.observe(state), mask, rings)
    request = None if kept is None else Request(kept, kept(atoms, mask).detach())
    pull = mask if held is None else torch.where(held, HELD, 1.0) * mask
    penalty = Penalty(state, pull, rings, request, tied)
    move = torch.zeros(*mask.shape, 6, device=mask.device, dtype=state["trans"].dtype)
    # eps of the size of a gradient worth following: with the usual 1e-8, residues that are fine would move by
    # the sign of rounding errors.
    adam = Adam(move, betas=(0.9, 0.95), epsilon=1.0)
    for step in range(steps):
        adam.step(penalty.slope(move), rate * (1 - step / steps))
    moved = displace(state, move)
    relaxed = space.project(moved if tied is None else tied(moved))
    return relaxed if request is None else taken_back(space, relaxed, request)


@dataclass(frozen=True)
class Request:
    """An energy that the relaxation is not to raise.

    Attributes:
        energy: of atoms.
        before: its values before the relaxation.
    """

    energy: Energy
    before: Float[Tensor, " b"]

    def slope(self, atoms: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l 4 3"]:
        """Derivatives of what it rose by; 0 where a user's function has no slope.

        Args:
            atoms: N, CA, C, O, Å.
            mask: which residues are real.
        """
        with torch.enable_grad():
            atoms = atoms.detach().requires_grad_()
            risen = (self.energy(atoms, mask) - self.before).clamp(min=0)
            total = (KEPT_WEIGHT * risen / (1 + self.before)).sum()
            return torch.autograd.grad(total, atoms)[0].nan_to_num_(0.0, 0.0, 0.0)


Slopes = tuple[Float[Tensor, "n 3 3"], Float[Tensor, "n 3"]]


class Penalty:
    """Joints, overlaps, what was asked for, and the pull to where the residues were, as a function of their moves.

    Inside, the residues of all designs of a batch are n = b l rows.

    Args:
        start: frames before.
        pull: weight of the pull of each residue.
        rings: chains whose last residue is bonded to the first.
        request: what is not to rise.
        tied: makes copies of a chain.
    """

    def __init__(
        self,
        start: State,
        pull: Float[Tensor, "b l"],
        rings: Bool[Tensor, " b"] | None = None,
        request: Request | None = None,
        tied: Callable[[State], State] | None = None,
    ) -> None:
        mask = start.mask
        self.mask, self.rings, self.request, self.tied = mask, rings, request, tied
        self.rots, self.trans = start["rots"].flatten(0, 1), start["trans"].flatten(0, 1)
        self.back = self.rots.transpose(1, 2)
        weight = pull.flatten()[:, None].to(self.trans)
        self.move_pull, self.turn_pull = 2 * MOVE_WEIGHT * weight, TURN_WEIGHT * weight[..., None]
        follows = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)
        self.residues = RigidResidues(follows.flatten(), self.trans)
        self.springs = Springs(mask, rings, self.trans)

    def slope(self, move: Float[Tensor, "b l 6"]) -> Float[Tensor, "b l 6"]:
        """Derivatives by the moves.

        Args:
            move: as of `displace`.
        """
        step, half = halves(move)
        turns = Turns(half)
        moved = torch.bmm(self.rots, turns.matrices()), self.trans + step
        of_rots, of_trans = self.of_frames(*moved) if self.tied is None else self.of_tied(*moved, self.tied)
        of_half = turns.slope(torch.bmm(self.back, of_rots))
        return torch.cat([of_trans, of_half / 4], dim=-1).view_as(move)

    def of_frames(self, rots: Float[Tensor, "n 3 3"], trans: Float[Tensor, "n 3"]) -> Slopes:
        """Derivatives by the entries of rotations and by positions.

        Args:
            rots: rotations of residues.
            trans: CA positions, Å.
        """
        placed = self.residues.place(rots, trans)
        of_rots, of_trans = self.residues.slopes(placed, self.of_atoms(placed.atoms))
        of_rots.addcmul_(self.turn_pull, rots - self.rots)
        of_trans.addcmul_(self.move_pull, trans - self.trans)
        return of_rots, of_trans

    def of_tied(
        self, rots: Float[Tensor, "n 3 3"], trans: Float[Tensor, "n 3"], tied: Callable[[State], State]
    ) -> Slopes:
        """The same by the frames that copies are made of.

        Args:
            rots: rotations of residues.
            trans: CA positions, Å.
            tied: makes copies of a chain.
        """
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_() for x in (rots, trans)]
            fields = {name: x.unflatten(0, self.mask.shape) for name, x in zip(("rots", "trans"), leaves, strict=True)}
            copies = tied(State(fields, self.mask))
            made = [copies[name].flatten(0, 1) for name in ("rots", "trans")]
        of_rots, of_trans = torch.autograd.grad(made, leaves, self.of_frames(*(x.detach() for x in made)))
        return of_rots, of_trans

    def of_atoms(self, atoms: Float[Tensor, "n 4 3"]) -> Float[Tensor, "n 4 3"]:
        """Derivatives by the atoms that the frames give.

        Args:
            atoms: N, CA, C, O, Å, of open chains.
        """
        if self.rings is None:
            return self.of_closed(atoms)
        with torch.enable_grad():
            leaf = atoms.detach().requires_grad_()
            closed = with_closing_oxygen(leaf.unflatten(0, self.mask.shape), self.mask, self.rings).flatten(0, 1)
        return torch.autograd.grad(closed, leaf, self.of_closed(closed.detach()))[0]

    def of_closed(self, atoms: Float[Tensor, "n 4 3"]) -> Float[Tensor, "n 4 3"]:
        """Derivatives by the atoms of chains, closed or not.

        Args:
            atoms: N, CA, C, O, Å.
        """
        slope = self.springs.slope(atoms)
        if self.request is None:
            return slope
        return slope + self.request.slope(atoms.unflatten(0, self.mask.shape), self.mask).flatten(0, 1)


def taken_back(space: Backbone, state: State, request: Request) -> State:
    """Residues shifted by thousandths of an Å, so that energies are what they were, to rounding.

    Polyak's step (1969) to the energy before: rise / |g|^2 g, g the gradient at the positions.

    Args:
        space: the backbone space.
        state: relaxed frames.
        request: the energy.
    """
    for _ in range(LAST_STEPS):
        trans = state["trans"].detach().requires_grad_()
        with torch.enable_grad():
            now = request.energy(space.observe(state.with_fields(trans=trans)), state.mask)
        risen = (now.detach() - request.before).nan_to_num(0.0, 0.0, 0.0).clamp(min=0)
        if not now.requires_grad or not bool((risen > 0).any()):
            break
        (slope,) = torch.autograd.grad(now, trans, torch.ones_like(now))
        slope = torch.where(slope.isfinite() & state.mask[..., None], slope, torch.zeros_like(slope))
        step = -(risen / slope.square().sum((1, 2)).clamp(min=1e-12))[:, None, None] * slope
        longest = step.norm(dim=-1).amax(1)[:, None, None]
        state = state.with_fields(trans=state["trans"] + step * (LAST_LONGEST / longest.clamp(min=LAST_LONGEST)))
    return state


def displace(state: State, move: Float[Tensor, "b l 6"]) -> State:
    """Frames moved by a step in Å and a turn (half-tangent of a quaternion, quartered to suit the same step size)."""
    step, half = halves(move)
    rots = state["rots"] @ Turns(half).matrices().view_as(state["rots"])
    return state.with_fields(trans=state["trans"] + step.view_as(state["trans"]), rots=rots)


def halves(move: Float[Tensor, "b l 6"]) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """Steps in Å and half-tangents of a move, a row for each residue."""
    step, turn = move.view(-1, 6).split(3, dim=-1)
    return step, turn / 4


clean_up = relax_frames  # the old name, for one release
