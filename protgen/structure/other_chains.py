"""The chains of a file that are no protein: nucleic acids, ligands, sugars, water."""

import gemmi
import numpy as np

from protgen.structure.atom_table import AtomTable
from protgen.structure.protein import Protein

_KINDS = {
    gemmi.ResidueKind.DNA: "DNA",
    gemmi.ResidueKind.RNA: "RNA",
    gemmi.ResidueKind.HOH: "water",
    gemmi.ResidueKind.PYR: "sugar",
    gemmi.ResidueKind.KET: "sugar",
}
_RANKED = ("DNA", "RNA", "sugar", "ligand", "water")


def other_chains(table: AtomTable, protein: Protein) -> dict[str, str]:
    """What each chain is that gave no residue of the protein, by its name.

    Args:
        table: the atoms of the model.
        protein: what was made of them.
    """
    outside = ~np.isin(table.chain, protein.chains)
    if not outside.any():
        return {}
    names: dict[str, set[str]] = {}
    for chain, residue in zip(table.chain[outside].tolist(), table.residue_name[outside].tolist(), strict=True):
        names.setdefault(chain, set()).add(residue)
    return {chain: min(map(_kind, own), key=_RANKED.index) for chain, own in names.items()}


def _kind(residue: str) -> str:
    """What a residue is that belongs to no protein."""
    return _KINDS.get(gemmi.find_tabulated_residue(residue).kind, "ligand")
