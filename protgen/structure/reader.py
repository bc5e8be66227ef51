"""Read one structure file into a `Protein`."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import gemmi
import numpy as np

from protgen.errors import StructureError
from protgen.structure.protein import ATOM_NAMES, Protein
from protgen.structure.read_warnings import ReadWarning


@dataclass(frozen=True)
class ReadResult:
    """What a file held.

    Attributes:
        protein: the residues of one model.
        warnings: what the reader noticed, one entry a code.
        n_models: number of models in the file.
    """

    protein: Protein
    warnings: tuple[ReadWarning, ...]
    n_models: int


def read_structure(path: str | PathLike[str], *, model: int = 0, strict: bool = False) -> ReadResult:
    """Read a PDB or mmCIF file, gzipped or not.

    Args:
        path: the file.
        model: index of the model to take, from 0.
        strict: raise on any warning.

    Raises:
        StructureError: if the file cannot be read truthfully.
    """
    path = Path(path)
    try:
        structure = gemmi.read_structure(str(path), format=gemmi.CoorFormat.Detect)
    except (OSError, ValueError, RuntimeError) as error:
        raise StructureError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    if model >= len(structure):
        raise StructureError(f"{path}: has {len(structure)} models; model {model} does not exist")
    rows = []
    for chain in structure[model]:
        for residue in chain:
            info = gemmi.find_tabulated_residue(residue.name)
            if not info.is_amino_acid():
                continue
            xyz = np.full((5, 3), np.nan)
            for atom in residue:
                if atom.name in ATOM_NAMES and np.isnan(xyz[ATOM_NAMES.index(atom.name), 0]):
                    xyz[ATOM_NAMES.index(atom.name)] = atom.pos.tolist()
            if np.isnan(xyz).all():
                continue
            parent = gemmi.expand_one_letter(info.one_letter_code.upper(), gemmi.ResidueKind.AA) or "UNK"
            rows.append((xyz, parent, chain.name, residue.seqid.num, residue.seqid.icode.strip()))
    if not rows:
        raise StructureError(f"{path}: has no protein residues")
    atoms = np.stack([row[0] for row in rows])
    protein = Protein(
        atoms=atoms,
        mask=np.isfinite(atoms).all(axis=-1),
        residue_names=np.array([row[1] for row in rows]),
        chain_ids=np.array([row[2] for row in rows]),
        residue_numbers=np.array([row[3] for row in rows]),
        insertion_codes=np.array([row[4] for row in rows]),
        name=path.name.split(".")[0],
        resolution=structure.resolution or None,
    )
    return ReadResult(protein=protein, warnings=(), n_models=len(structure))
