"""Backbone hydrogen bonds and beta bridges as DSSP defines them (Kabsch and Sander 1983), on batches of structures.

Matrices are indexed [acceptor, donor]: entry (i, j) is the bond from C=O of residue i to N-H of residue j. Å, kcal/mol.
Every residue but the first has an amide hydrogen, as nothing here knows a sequence.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from protgen.geometry.bond_rules import BONDED, COULOMB, LEAST_APART, N_H, NEAR


@dataclass(frozen=True)
class Bridges:
    """Which residues are partners in a sheet.

    Attributes:
        parallel, antiparallel: (b, l, l) symmetric, True where residues i and j form a bridge of that kind.
    """

    parallel: Bool[Tensor, "b l l"]
    antiparallel: Bool[Tensor, "b l l"]


def amide_hydrogens(atoms: Float[Tensor, "b l 4 3"]) -> Float[Tensor, "b l 3"]:
    """H of each residue, Å: 1.0 Å from N, opposite to C=O of the residue before; that of the first is its N."""
    n, c, o = atoms[:, :, 0], atoms[:, :-1, 2], atoms[:, :-1, 3]
    along = c - o
    along = along / (along.square().sum(-1, keepdim=True) + 1e-8).sqrt()
    return torch.cat([n[:, :1], n[:, 1:] + N_H * along], dim=1)


def distances(a: Float[Tensor, "b l 3"], b: Float[Tensor, "b m 3"]) -> Float[Tensor, "b l m"]:
    """All distances with a finite gradient at 0, Å."""
    return ((a[:, :, None] - b[:, None]).square().sum(-1) + 1e-8).sqrt()


def bond_energies(atoms: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l l"]:
    """DSSP energy of each possible bond, kcal/mol; 0 where there can be none.

    Args:
        atoms: N, CA, C, O, Å.
        mask: True where a residue is real.
    """
    n, ca, c, o = atoms.unbind(2)
    h = amide_hydrogens(atoms)
    energy = COULOMB * (1 / distances(o, n) + 1 / distances(c, h) - 1 / distances(o, h) - 1 / distances(c, n))
    index = torch.arange(mask.shape[1], device=mask.device)
    possible = (index[:, None] - index).abs() > 1
    possible = possible & (index > 0) & mask[:, :, None] & mask[:, None] & (distances(ca, ca) < NEAR)
    return torch.where(possible, energy, torch.zeros_like(energy))


def moved(x: Bool[Tensor, "b l l"], rows: int, columns: int) -> Bool[Tensor, "b l l"]:
    """x[:, i + rows, j + columns] at (i, j), False past the ends."""
    length = x.shape[1]
    result = torch.zeros_like(x)
    if max(abs(rows), abs(columns)) < length:
        to_rows, to_columns = (slice(max(0, -k), length - max(0, k)) for k in (rows, columns))
        from_rows, from_columns = (slice(max(0, k), length - max(0, -k)) for k in (rows, columns))
        result[:, to_rows, to_columns] = x[:, from_rows, from_columns]
    return result


def bridges(atoms: Float[Tensor, "b l 4 3"], mask: Bool[Tensor, "b l"]) -> Bridges:
    """All bridges of structures, those that stand alone too."""
    return bridges_of_bonds(bond_energies(atoms, mask) < BONDED)


def bridges_of_bonds(bonded: Bool[Tensor, "b l l"]) -> Bridges:
    """Bridges from which residue's C=O is bonded to which residue's N-H (Kabsch and Sander 1983, patterns of bridges).

    Parallel: bonds (i - 1, j) and (j, i + 1), or (j - 1, i) and (i, j + 1). Antiparallel: bonds (i, j) and (j, i), or
    (i - 1, j + 1) and (j - 1, i + 1).
    """
    back = bonded.transpose(1, 2)
    parallel = (moved(bonded, -1, 0) & moved(back, 1, 0)) | (moved(back, 0, -1) & moved(bonded, 0, 1))
    antiparallel = (bonded & back) | (moved(bonded, -1, 1) & moved(back, 1, -1))
    index = torch.arange(bonded.shape[1], device=bonded.device)
    apart = (index[:, None] - index).abs() >= LEAST_APART
    return Bridges(parallel & apart, antiparallel & apart & ~parallel)


def in_ladders(found: Bridges) -> Bridges:
    """The bridges that have another of their kind beside them along both strands, over a bulge of one at the most."""
    steps = ((1, 1), (1, 2), (2, 1))

    def beside(x: Tensor, sign: int) -> Tensor:
        near = [moved(x, way * a, way * sign * b) for a, b in steps for way in (1, -1)]
        return x & torch.stack(near).any(0)

    return Bridges(beside(found.parallel, 1), beside(found.antiparallel, -1))
