"""What pulls atoms while a design is relaxed: peptide joints, and overlaps of residues that are no neighbours.

Both are distances with a goal, so their slopes are computed together. Pairs that may overlap are looked for again only
when an atom has moved so far that there may be others (Verlet 1967, Phys. Rev. 159:98).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from protgen.geometry import constants as ideal

# Distances (Å) below which two atoms are pushed apart. They lie between the 2.0 Å that counts as a clash and the
# closest contacts of natives (2.7 Å; 2.8 Å in hydrogen bonds), so that packing and hydrogen bonds stay as they came.
CONTACT, HYDROGEN_BOND, CA_CONTACT = 2.4, 2.3, 3.5
MARGIN = 0.6  # Å; pairs are kept that are closer than these and this
JOINT_WEIGHT, OVERLAP_WEIGHT = 100.0, 30.0


@dataclass(frozen=True)
class Joint:
    """A distance that fixes bond, angles or planarity of a peptide.

    Attributes:
        own: atom of the first residue.
        other: atom of the next one.
        goal: Å.
        weight: of the square of its error.
        near: Å, below which the goal is another.
        near_goal: that other goal, Å.
    """

    own: int
    other: int
    goal: float
    weight: float = 1.0
    near: float = 0.0
    near_goal: float = 0.0


# CA-CA is 3.80 Å across a trans and 2.96 Å across a cis bond. Only what is cis already stays so: a design has no
# proline yet, and a bond near trans must not be pulled below the 3.05 Å at which a chain counts as broken.
JOINTS = (
    Joint(2, 0, ideal.C_N, weight=4.0),
    Joint(1, 0, ideal.CA_N_NEXT),
    Joint(2, 1, ideal.C_CA_NEXT),
    Joint(1, 1, ideal.CA_CA, near=3.05, near_goal=ideal.CA_CA_CIS),
)


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
    """Pairs that overlap but for `MARGIN`, of residues at least two apart along the chain, closed or not.

    Args:
        atoms: N, CA, C, O, Å.
        mask: which residues are real.
        rings: chains whose last residue is bonded to the first.
    """
    length = mask.shape[1]
    residue = torch.arange(length, device=mask.device)
    apart = ((residue - residue[:, None]) >= 2) & mask[:, :, None] & mask[:, None]
    if rings is not None:
        ends = (residue[:, None] == 0) & (residue == mask.sum(-1)[:, None, None] - 1)
        apart = apart & ~(rings[:, None, None] & ends)
    # Residues first: there are 16 times as many pairs of atoms.
    ca = atoms[:, :, 1]
    widest = float((atoms - ca[:, :, None])[mask].norm(dim=-1).amax())
    reach = max(CA_CONTACT, CONTACT + 2 * widest) + MARGIN
    near = torch.cdist(ca, ca, compute_mode="donot_use_mm_for_euclid_dist") < reach
    design, first, second = (near & apart).nonzero(as_tuple=True)
    least = torch.full((4, 4), CONTACT, device=mask.device, dtype=atoms.dtype)
    least[0, 3] = least[3, 0] = HYDROGEN_BOND
    least[1, 1] = CA_CONTACT
    separation = (atoms[design, first][:, :, None] - atoms[design, second][:, None]).norm(dim=-1)
    pair, own, other = (separation < least + MARGIN).nonzero(as_tuple=True)
    offset = design[pair] * length
    return NearPairs((offset + first[pair]) * 4 + own, (offset + second[pair]) * 4 + other, least[own, other])


@dataclass(frozen=True)
class Pulls:
    """Pairs of atoms that are pulled to a distance.

    Attributes:
        atoms: the first of each pair and then the second, indices into the flattened (b * 4 l) atoms.
        goal: Å.
        near_goal: Å, where the atoms are nearer than `near`.
        near: Å.
        most: Å by which a distance can count as too long: 0 of pairs that may be as far as they like.
        weight: twice that of the square of the error.
    """

    atoms: Int[Tensor, " 2p"]
    goal: Float[Tensor, " p"]
    near_goal: Float[Tensor, " p"]
    near: Float[Tensor, " p"]
    most: Float[Tensor, " p"]
    weight: Float[Tensor, " p"]

    def and_apart(self, pairs: NearPairs) -> "Pulls":
        """The same and pairs that are to be no nearer than a distance."""
        first, second = self.atoms.chunk(2)
        zero = torch.zeros_like(pairs.least)
        return Pulls(
            torch.cat([first, pairs.first, second, pairs.second]),
            torch.cat([self.goal, pairs.least]),
            torch.cat([self.near_goal, pairs.least]),
            torch.cat([self.near, zero]),
            torch.cat([self.most, zero]),
            torch.cat([self.weight, zero + 2 * OVERLAP_WEIGHT]),
        )

    def slope(self, atoms: Float[Tensor, "a 3"]) -> Float[Tensor, "a 3"]:
        """Derivatives by the atoms of the sum of weight / 2 * error^2.

        Args:
            atoms: their places, Å.
        """
        first, second = atoms.index_select(0, self.atoms).chunk(2)
        apart = first - second
        distance = torch.linalg.vecdot(apart, apart).add_(1e-8).sqrt_()  # never 0
        goal = torch.where(distance < self.near, self.near_goal, self.goal)
        force = torch.minimum(distance - goal, self.most).mul_(self.weight).div_(distance)
        pull = apart.mul_(force[:, None])
        # Of the ways to add rows the one whose order, and so whose rounding, is the same in every run on any device.
        both = torch.cat([pull, pull.neg()])
        return torch.zeros_like(atoms).index_put_((self.atoms,), both, accumulate=True)


def joints(mask: Bool[Tensor, "b l"], rings: Bool[Tensor, " b"] | None, like: Tensor) -> Pulls:
    """The distances that fix each peptide.

    Args:
        mask: which residues are real.
        rings: chains whose last residue is bonded to the first; None for none.
        like: a tensor of the dtype of atoms.
    """
    first, second = (4 * residue for residue in bonded(mask, rings))
    count = len(first)
    goal, near_goal, near, weight = (
        like.new_tensor([getattr(joint, name) for joint in JOINTS]).repeat_interleave(count)
        for name in ("goal", "near_goal", "near", "weight")
    )
    atoms = [first + joint.own for joint in JOINTS] + [second + joint.other for joint in JOINTS]
    most = torch.full_like(goal, torch.inf)
    return Pulls(torch.cat(atoms), goal, near_goal, near, most, 2 * JOINT_WEIGHT * weight)


class Springs:
    """Joints and overlaps of a batch.

    Args:
        mask: which residues are real.
        rings: chains whose last residue is bonded to the first; None for none.
        like: a tensor of the dtype of atoms.
    """

    def __init__(self, mask: Bool[Tensor, "b l"], rings: Bool[Tensor, " b"] | None, like: Tensor) -> None:
        self.mask, self.rings = mask, rings
        self.joints = joints(mask, rings, like)
        self.pulls = self.joints
        self.found_at: Tensor | None = None  # atoms when pairs were last looked for

    def slope(self, atoms: Float[Tensor, "n 4 3"]) -> Float[Tensor, "n 4 3"]:
        """Derivatives by the atoms, n = b l, of the sum of weighted squares of deviations and of overlaps.

        Args:
            atoms: N, CA, C, O, Å.
        """
        flat = atoms.view(-1, 3)
        # The sum of squares of the three components is at most 3 times the largest.
        if self.found_at is None or float((flat - self.found_at).abs().max()) * 3**0.5 > MARGIN / 2:
            self.found_at = flat.clone()
            pairs = near_pairs(atoms.view(*self.mask.shape, 4, 3), self.mask, self.rings)
            self.pulls = self.joints.and_apart(pairs)
        return self.pulls.slope(flat).view_as(atoms)


def bonded(mask: Bool[Tensor, "b l"], rings: Bool[Tensor, " b"] | None) -> tuple[Int[Tensor, " k"], Int[Tensor, " k"]]:
    """Indices into the flattened (b * l) residues of both residues of each peptide bond.

    Args:
        mask: which residues are real.
        rings: chains whose last residue is bonded to the first; None for none.
    """
    length = mask.shape[1]
    row, residue = (mask[:, 1:] & mask[:, :-1]).nonzero(as_tuple=True)
    first = row * length + residue
    second = first + 1
    if rings is not None:
        start = rings.nonzero()[:, 0] * length
        first = torch.cat([first, start + mask.sum(-1)[rings] - 1])
        second = torch.cat([second, start])
    return first, second
