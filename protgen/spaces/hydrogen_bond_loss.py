"""A loss on backbone hydrogen bonds: the four distances that a bond's energy is made of, where natives have a bond."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from protgen.geometry.hydrogen_bonds import BONDED, amide_hydrogens, bond_energies

LOCAL = 5  # residues along the chain: bonds of helices and turns reach no further, those of sheets mostly do
SCALE = 0.25  # Å: by about so much O-H distances of native bonds scatter; errors are in units of it


def hydrogen_bond_error(
    predicted: Float[Tensor, "b l 4 3"], real: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]
) -> Float[Tensor, " b"]:
    """Error of O-H, O-N, C-H and C-N distances over the hydrogen bonds of the real structure, in units of 0.25 Å.

    A smooth L1 in those units: quadratic below one, linear above. Bonds of up to five residues along the chain and
    longer ones have a mean each, which are summed: else helices, which a network learns first, outvote sheets.

    Args:
        predicted: N, CA, C, O, Å.
        real: the same of the real structure.
        mask: True where a residue is real.
    """
    with torch.no_grad():
        bonded = bond_energies(real, mask) < BONDED
        # The first residue of a further chain has no amide hydrogen that is known.
        bonded[:, :, 1:] &= mask[:, None, :-1]
        index = torch.arange(mask.shape[1], device=mask.device)
        local = ((index[:, None] - index).abs() <= LOCAL).expand_as(bonded)
    row, acceptor, donor = bonded.nonzero(as_tuple=True)
    error = predicted.new_zeros(len(row))
    found = [acceptor_and_donor(x, row, acceptor, donor) for x in (predicted, real)]
    for part in range(2):
        for other in range(2):
            d_pred, d_real = (((a[part] - d[other]).square().sum(-1) + 1e-8).sqrt() for a, d in found)
            error = error + nn.functional.smooth_l1_loss(d_pred / SCALE, d_real / SCALE, reduction="none") / 4
    total = predicted.new_zeros(len(mask))
    for kind in (local, ~local):
        chosen = kind[row, acceptor, donor].to(error.dtype)
        summed = torch.zeros_like(total).index_add(0, row, error * chosen)
        total = total + summed / torch.zeros_like(total).index_add(0, row, chosen).clamp(min=1)
    return total


def acceptor_and_donor(
    atoms: Float[Tensor, "b l 4 3"], row: Tensor, acceptor: Tensor, donor: Tensor
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Positions (n, 3) of C and O of the acceptors, and of N and H of the donors."""
    h = amide_hydrogens(atoms)
    c, o = atoms[row, acceptor, 2], atoms[row, acceptor, 3]
    return (c, o), (atoms[row, donor, 0], h[row, donor])
