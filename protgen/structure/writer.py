"""Write a `Protein` as PDB or mmCIF, atomically, refusing what the format cannot hold."""

import gzip
import os
import tempfile
from os import PathLike
from pathlib import Path

import gemmi
import numpy as np

from protgen.errors import StructureError
from protgen.structure.protein import ATOM_NAMES, Protein

PDB_LIMIT = 9999.999  # Å; the largest coordinate eight columns hold on either side of zero, after the sign
PDB_MAX_ATOMS = 99_999  # serial numbers have five columns
PDB_SUFFIXES = (".pdb", ".ent")
CIF_SUFFIXES = (".cif", ".mmcif")


def write_structure(
    protein: Protein, path: str | PathLike[str], *, b_factors: np.ndarray | None = None
) -> None:
    """Write by suffix: .pdb, .ent, .cif or .mmcif, each with an optional .gz.

    Args:
        protein: what to write; missing atoms are left out.
        path: where to.
        b_factors: (l,) one value a residue, written on each of its atoms; zero by default.

    Raises:
        StructureError: if the suffix is unknown or the format cannot hold the protein.
    """
    name = Path(path).name.lower().removesuffix(".gz")
    if name.endswith(PDB_SUFFIXES):
        write_pdb(protein, path, b_factors=b_factors)
    elif name.endswith(CIF_SUFFIXES):
        write_cif(protein, path, b_factors=b_factors)
    else:
        raise StructureError(f"{path}: unknown suffix; use .pdb, .ent, .cif or .mmcif, with .gz if you like")


def write_pdb(protein: Protein, path: str | PathLike[str], *, b_factors: np.ndarray | None = None) -> None:
    """Write PDB, with TER after each chain and END.

    Args:
        protein: what to write; missing atoms are left out.
        path: where to; gzipped if it ends in .gz.
        b_factors: (l,) one value a residue; zero by default.

    Raises:
        StructureError: if a coordinate, name or count does not fit the columns of the format.
    """
    structure = _to_gemmi(protein, path, b_factors)
    _check_pdb(protein, path)
    options = gemmi.PdbWriteOptions(minimal=True, ter_records=True, end_record=True)
    options.cryst1_record = False
    _write_atomically(structure.make_pdb_string(options), path)


def write_cif(protein: Protein, path: str | PathLike[str], *, b_factors: np.ndarray | None = None) -> None:
    """Write mmCIF.

    Args:
        protein: what to write; missing atoms are left out.
        path: where to; gzipped if it ends in .gz.
        b_factors: (l,) one value a residue; zero by default.

    Raises:
        StructureError: if a coordinate is not finite.
    """
    structure = _to_gemmi(protein, path, b_factors)
    _write_atomically(structure.make_mmcif_document().as_string(gemmi.cif.Style.Pdbx), path)


def _to_gemmi(protein: Protein, path: str | PathLike[str], b_factors: np.ndarray | None) -> gemmi.Structure:
    if not np.isfinite(protein.atoms[protein.mask]).all():
        raise StructureError(f"{path}: a coordinate is not finite, nothing written")
    b_values = np.zeros(protein.length) if b_factors is None else np.asarray(b_factors, dtype=float)
    structure = gemmi.Structure()
    structure.name = protein.name
    model = gemmi.Model(1)
    chains: dict[str, gemmi.Chain] = {}
    for i in range(protein.length):
        chain_id = str(protein.chain_ids[i])
        chain = chains.setdefault(chain_id, gemmi.Chain(chain_id))
        residue = gemmi.Residue()
        residue.name = str(protein.residue_names[i])
        residue.seqid = gemmi.SeqId(int(protein.residue_numbers[i]), str(protein.insertion_codes[i]) or " ")
        residue.entity_type = gemmi.EntityType.Polymer
        for j in np.flatnonzero(protein.mask[i]):
            atom = gemmi.Atom()
            atom.name = ATOM_NAMES[j]
            atom.element = gemmi.Element(ATOM_NAMES[j][0])
            atom.pos = gemmi.Position(*protein.atoms[i, j])
            atom.b_iso = b_values[i]
            residue.add_atom(atom)
        chain.add_residue(residue)
    for chain in chains.values():
        model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    structure.assign_serial_numbers()
    return structure


def _check_pdb(protein: Protein, path: str | PathLike[str]) -> None:
    if (np.abs(protein.atoms[protein.mask]) > PDB_LIMIT).any():
        raise StructureError(
            f"{path}: a coordinate is beyond {PDB_LIMIT} Å, which PDB cannot hold; write mmCIF"
        )
    if protein.mask.sum() > PDB_MAX_ATOMS:
        raise StructureError(f"{path}: {protein.mask.sum()} atoms, PDB holds {PDB_MAX_ATOMS}; write mmCIF")


def _write_atomically(text: str, path: str | PathLike[str]) -> None:
    path = Path(path)
    data = text.encode()
    if path.name.lower().endswith(".gz"):
        data = gzip.compress(data, mtime=0)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
