"""How promising the beginning of a chain is: as compact, and as much hydrogen-bonded, as beginnings of natives are.

Of the first k of L residues, Rg over 2.2 k^0.38 depends on the share k / L and little on L: a beginning is more drawn
out than a whole chain, as what follows packs against it. The tables are of N_FITTED training natives of 40 to 128
residues, printed by `benchmarks/fit_beginnings.py`.

References:
    Whiteley and Lee 2014, Twisted Particle Filters, Annals of Statistics 42, 115.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from protgen.geometry.bond_rules import BONDED
from protgen.geometry.constants import RG_EXPONENT, RG_SCALE
from protgen.geometry.hydrogen_bonds import bond_energies
from protgen.geometry.size import radius_of_gyration

LEAST = 12  # residues; of fewer nothing is said
TENTHS = 10  # of the chain, at whose ends the tables are
N_FITTED = 5365
SIZE_MEAN = (0.270, 0.322, 0.312, 0.283, 0.248, 0.212, 0.178, 0.145, 0.117, 0.099)
SIZE_STD = (0.239, 0.206, 0.169, 0.150, 0.138, 0.130, 0.124, 0.119, 0.115, 0.117)
BONDED_MEAN = (0.333, 0.421, 0.481, 0.517, 0.543, 0.561, 0.585, 0.601, 0.618, 0.637)
BONDED_STD = (0.215, 0.202, 0.174, 0.150, 0.133, 0.120, 0.104, 0.093, 0.085, 0.075)


def log_size(ca: Float[Tensor, "b l 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
    """Logarithm of Rg over 2.2 k^0.38, k the residues of the mask."""
    count = mask.sum(-1).to(ca.dtype)
    return (radius_of_gyration(ca, mask) / (RG_SCALE * count**RG_EXPONENT)).log()


def bonded_share(atoms: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, " b"]:
    """Share of residues whose N-H is bonded within the mask."""
    bonded = (bond_energies(atoms, mask) < BONDED).any(1)
    return bonded.sum(-1).to(atoms.dtype) / mask.sum(-1)


def promise(
    atoms: Float[Tensor, "b k 4 3"], mask: Bool[Tensor, "b k"], lengths: Int[Tensor, " b"]
) -> Float[Tensor, " b"]:
    """How far beginnings fall short of those of natives: minus half the squares of the standard deviations, 0 at best.

    Beginnings that are more compact or have more bonds than the mean lose nothing.

    Args:
        atoms: N, CA, C, O of what is placed, Å.
        mask: which residues are real.
        lengths: residues of the whole chains.
    """
    count = mask.sum(-1)
    place = (TENTHS * count / lengths - 1).clamp(0, TENTHS - 1)
    loose = (log_size(atoms[:, :, 1], mask) - _at(place, SIZE_MEAN)) / _at(place, SIZE_STD)
    lacking = (_at(place, BONDED_MEAN) - bonded_share(atoms, mask)) / _at(place, BONDED_STD)
    short = loose.clamp(min=0).square() + lacking.clamp(min=0).square()
    return torch.where(count >= LEAST, -short / 2, torch.zeros_like(short))


def _at(place: Float[Tensor, " b"], table: tuple[float, ...]) -> Float[Tensor, " b"]:
    """A table at places from 0 to its last, linearly."""
    values = torch.tensor(table, device=place.device, dtype=place.dtype)
    low = place.floor().long().clamp(max=len(table) - 2)
    return torch.lerp(values[low], values[low + 1], place - low)
