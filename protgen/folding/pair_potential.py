"""An energy of backbones from distributions of distances and orientations between residues.

The energy of a pair is minus the logarithm of its probability, interpolated between classes; that of a distance is
relative to a reference (d / 20 Å)^1.57, as in the folding protocol of trRosetta (Yang et al. 2020, PNAS 117, 1496).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from protgen.folding.trrosetta_network import Distributions
from protgen.geometry.angles import dihedral
from protgen.geometry.frames import virtual_cb

FIRST, STEP = 2.25, 0.5  # Å: middle of the first class of distances, and their width
TURN = math.pi / 12  # width of a class of angles
REFERENCE = 1.57
FLOOR = 1e-4  # added to probabilities
NEAR_ENOUGH = 0.1  # probability of being within 20 Å from which a distance counts,
ORIENTED = 0.5  # and from which an orientation does
CLOSEST = (6.0, 4.0, 2.0, 1.0)  # added below 4 Å, where no CB pair is
OVERLAP = 4.0  # Å between CA atoms, below which they repel
WEIGHTS = (5.0, 1.0, 5.0)  # of distances, orientations, overlaps


@dataclass(frozen=True)
class Table:
    """Energies of one kind of geometry of some pairs.

    Attributes:
        first: (p,) residue that looks.
        second: (p,) residue looked at.
        energies: (p, c) at the middle of each class.
        weight: (p,) of each pair.
    """

    first: Int[Tensor, " p"]
    second: Int[Tensor, " p"]
    energies: Float[Tensor, "p c"]
    weight: Float[Tensor, " p"]

    def __getitem__(self, chosen: Tensor) -> "Table":
        return Table(self.first[chosen], self.second[chosen], self.energies[chosen], self.weight[chosen])

    def total(self, place: Float[Tensor, "r p"], wraps: bool) -> Float[Tensor, " r"]:
        """Energy of each structure.

        Args:
            place: in units of classes; 0 is the middle of the first.
            wraps: whether the last class is followed by the first.
        """
        classes = self.energies.shape[1]
        if not wraps:
            place = place.clamp(0, classes - 1.001)
        below = place.detach().floor()
        low = below.long() % classes
        high = (low + 1) % classes
        row = torch.arange(len(self.energies)) * classes
        flat = self.energies.reshape(-1)
        low_energy, high_energy = flat[row + low], flat[row + high]
        return ((low_energy + (place - below) * (high_energy - low_energy)) * self.weight).sum(-1)


class PairPotential:
    """The energy of backbones under predicted distributions.

    Args:
        found: the distributions.
    """

    def __init__(self, found: Distributions) -> None:
        self.length = len(found.distance)
        near = 1 - found.distance[..., 0]
        i, j = torch.triu_indices(self.length, self.length, 1)
        kept = near[i, j] > NEAR_ENOUGH
        self.distance = distance_table(found.distance, i[kept], j[kept])
        kept = near[i, j] > ORIENTED
        i, j = i[kept], j[kept]
        both = torch.cat([i, j]), torch.cat([j, i])
        self.omega = angle_table(found.omega, i, j, near, wraps=True)
        self.theta = angle_table(found.theta, *both, near, wraps=True)
        self.phi = angle_table(found.phi, *both, near, wraps=False)
        self.apart = (torch.arange(self.length)[:, None] - torch.arange(self.length)).abs() > 2

    def energy(
        self, atoms: Float[Tensor, "r l 4 3"], reach: int, share: float, generator: torch.Generator
    ) -> Float[Tensor, " r"]:
        """Energy of each structure.

        Args:
            atoms: N, CA, C, O; Å.
            reach: farthest residues along the chain that count.
            share: of the pairs, drawn at random and weighted up; 1 for all.
            generator: of those draws.
        """
        n, ca, c = atoms[:, :, 0], atoms[:, :, 1], atoms[:, :, 2]
        cb = virtual_cb(n, ca, c)

        def chosen(table: Table) -> Tensor:
            kept = (table.first - table.second).abs() <= reach
            return kept if share >= 1 else kept & (torch.rand(len(kept), generator=generator) < share)

        pairs = self.distance[chosen(self.distance)]
        length = (cb[:, pairs.first] - cb[:, pairs.second]).norm(dim=-1)
        total = WEIGHTS[0] / share * pairs.total((length - FIRST) / STEP, wraps=False)
        pairs = self.omega[chosen(self.omega)]
        i, j = pairs.first, pairs.second
        angle = dihedral(ca[:, i], cb[:, i], cb[:, j], ca[:, j])
        total = total + WEIGHTS[1] / share * pairs.total((angle + math.pi) / TURN - 0.5, wraps=True)
        mask = chosen(self.theta)
        pairs, angles = self.theta[mask], self.phi[mask]
        i, j = pairs.first, pairs.second
        angle = dihedral(n[:, i], ca[:, i], cb[:, i], cb[:, j])
        total = total + WEIGHTS[1] / share * pairs.total((angle + math.pi) / TURN - 0.5, wraps=True)
        total = total + WEIGHTS[1] / share * angles.total(bend(ca[:, i], cb[:, i], cb[:, j]) / TURN - 0.5, wraps=False)
        return total + WEIGHTS[2] * overlap(ca, self.apart)


def distance_table(probability: Float[Tensor, "l l 37"], first: Int[Tensor, " p"], second: Int[Tensor, " p"]) -> Table:
    """Energies of distances, 0 at the farthest class."""
    p = probability[first, second, 1:] + FLOOR
    middles = FIRST + STEP * torch.arange(p.shape[1])
    energies = -p.log() + p[:, -1:].log() + REFERENCE * (middles / middles[-1]).log()
    closest = torch.maximum(energies[:, : len(CLOSEST)], energies[:, len(CLOSEST), None])
    energies = torch.cat([closest + torch.tensor(CLOSEST), energies[:, len(CLOSEST) :]], 1)
    return Table(first, second, smoothed(energies, wraps=False), torch.ones(len(first)))


def angle_table(
    probability: Float[Tensor, "l l c"],
    first: Int[Tensor, " p"],
    second: Int[Tensor, " p"],
    near: Float[Tensor, "l l"],
    *,
    wraps: bool,
) -> Table:
    """Energies of angles about their mean, weighted by the probability that the pair is near."""
    energies = -(probability[first, second, 1:] + FLOOR).log()
    energies = energies - energies.mean(-1, keepdim=True)
    return Table(first, second, smoothed(energies, wraps=wraps), near[first, second])


def smoothed(energies: Float[Tensor, "p c"], *, wraps: bool) -> Float[Tensor, "p c"]:
    """Each class with a quarter of both its neighbours."""
    if wraps:
        before, after = energies.roll(1, -1), energies.roll(-1, -1)
    else:
        before = torch.cat([energies[:, :1], energies[:, :-1]], 1)
        after = torch.cat([energies[:, 1:], energies[:, -1:]], 1)
    return 0.5 * energies + 0.25 * (before + after)


def bend(a: Float[Tensor, "*b 3"], b: Float[Tensor, "*b 3"], c: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b"]:
    """Angle a-b-c, radians, with finite slopes where the three are in line."""
    u, v = a - b, c - b
    cosine = (u * v).sum(-1) / (u.norm(dim=-1) * v.norm(dim=-1) + 1e-6)
    return cosine.clamp(-0.999, 0.999).arccos()


def overlap(ca: Float[Tensor, "r l 3"], apart: Bool[Tensor, "l l"]) -> Float[Tensor, " r"]:
    """Squared depth, Å^2, by which CA atoms of residues that do not follow one another are too near, summed."""
    depth = (OVERLAP - torch.cdist(ca, ca)).clamp(min=0)
    return (depth.square() * apart).sum((1, 2)) / 2
