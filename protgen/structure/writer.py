"""Write a `Protein` as PDB or mmCIF, atomically, refusing what the format cannot hold.

A residue none of whose atoms is present cannot be written and is left out, as are missing atoms.
"""

import gzip
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import gemmi
import numpy as np

from protgen.atomic import write_bytes
from protgen.errors import StructureError
from protgen.structure.protein import ATOM_NAMES, Protein
from protgen.structure.sniff import checked_path

FARTHEST = 9999.999  # Å from 0 along an axis; what lies farther is no structure, in whatever format
PDB_LOW = -999.999  # Å; what eight columns with three decimals hold, a sign among them
PDB_MAX_ATOMS = 99_999  # serial numbers have five columns
PDB_MAX_CHAINS = 62  # letters and digits, one column
PDB_NUMBERS = (-999, 9999)  # residue numbers have four columns
PDB_SUFFIXES = (".pdb", ".ent")
CIF_SUFFIXES = (".cif", ".mmcif")
_CIF_TAGS = [
    "group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id",
    "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy",
    "B_iso_or_equiv", "auth_seq_id", "auth_comp_id", "auth_asym_id", "auth_atom_id", "pdbx_PDB_model_num",
]  # fmt: skip


def write_structure(protein: Protein, path: str | PathLike[str], *, b_factors: np.ndarray | None = None) -> None:
    """Write by suffix: .pdb, .ent, .cif or .mmcif, each with an optional .gz.

    Args:
        protein: what to write.
        path: the file to write; its suffix says the format.
        b_factors: (l,) one value a residue, written on each of its atoms; zero by default.

    Raises:
        StructureError: if the suffix is unknown, or the format cannot hold the protein.
    """
    path = checked_path(path)
    if not isinstance(protein, Protein):
        raise StructureError(f"{path}: a {type(protein).__name__} is no Protein; of a Design, write its .protein")
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(PDB_SUFFIXES):
        write_pdb(protein, path, b_factors=b_factors)
    elif name.endswith(CIF_SUFFIXES):
        write_cif(protein, path, b_factors=b_factors)
    else:
        raise StructureError(f"{path}: unknown suffix; use .pdb, .ent, .cif or .mmcif, with .gz if you like")


def write_pdb(protein: Protein, path: str | PathLike[str], *, b_factors: np.ndarray | None = None) -> None:
    """Write PDB, with TER after each chain and END.

    Args:
        protein: what to write.
        path: where to; gzipped if it ends in .gz.
        b_factors: (l,) one value a residue; zero by default.

    Raises:
        StructureError: if a coordinate, name, number or count does not fit the columns of the format.
    """
    try:
        b_values = _checked(protein, b_factors)
        _check_pdb(protein, b_values)
        options = gemmi.PdbWriteOptions(minimal=True, ter_records=True, end_record=True)
        options.cryst1_record = False
        _write_atomically(_to_gemmi(protein, b_values).make_pdb_string(options), path)
    except StructureError as error:
        raise StructureError(f"{path}: {error}") from None


def write_models(proteins: Sequence[Protein], path: str | PathLike[str]) -> None:
    """Write several proteins as the models of one PDB file, numbered from 1.

    Args:
        proteins: what to write, in this order.
        path: where to; gzipped if it ends in .gz.

    Raises:
        StructureError: as `write_pdb`, or if there is none.
    """
    try:
        if not proteins:
            raise StructureError("there is no model to write")
        together = gemmi.Structure()
        for number, protein in enumerate(proteins, start=1):
            b_values = _checked(protein, None)
            _check_pdb(protein, b_values)
            model = _to_gemmi(protein, b_values)[0]
            model.num = number
            together.add_model(model)
        together.setup_entities()
        options = gemmi.PdbWriteOptions(minimal=True, ter_records=True, end_record=True)
        options.cryst1_record = False
        _write_atomically(together.make_pdb_string(options), path)
    except StructureError as error:
        raise StructureError(f"{path}: {error}") from None


def write_cif(protein: Protein, path: str | PathLike[str], *, b_factors: np.ndarray | None = None) -> None:
    """Write mmCIF: the atoms, with author and label names, closed by #.

    Args:
        protein: what to write.
        path: where to; gzipped if it ends in .gz.
        b_factors: (l,) one value a residue; zero by default.

    Raises:
        StructureError: if a coordinate is not finite or farther than `FARTHEST`, or two residues share an id.
    """
    path = checked_path(path)
    try:
        _write_atomically(cif_text(protein, b_factors=b_factors), path)
    except StructureError as error:
        raise StructureError(f"{path}: {error}") from None


def cif_text(protein: Protein, *, b_factors: np.ndarray | None = None) -> str:
    """The text of an mmCIF file; arguments and errors as in `write_cif`."""
    b_values = _checked(protein, b_factors)
    block = gemmi.cif.Block("".join(c if c.isalnum() or c in "-_." else "_" for c in protein.name))
    block.set_pair("_entry.id", gemmi.cif.quote(block.name))
    if protein.resolution is not None:
        block.set_pair("_refine.ls_d_res_high", f"{protein.resolution:g}")
    loop = block.init_loop("_atom_site.", _CIF_TAGS)
    loop.set_all_values(_cif_columns(protein, b_values))
    text = block.as_string(gemmi.cif.WriteOptions(gemmi.cif.Style.Pdbx))
    return text.rstrip().rstrip("#").rstrip() + "\n#\n"


def _checked(protein: Protein, b_factors: np.ndarray | None) -> np.ndarray:
    """(l,) b-factors, after the checks both formats share."""
    if not protein.mask.any():
        raise StructureError("there is no atom to write")
    if not np.isfinite(protein.atoms[protein.mask]).all():
        raise StructureError("a coordinate is not finite; nothing was written")
    if np.abs(np.round(protein.atoms[protein.mask], 3)).max() > FARTHEST:
        raise StructureError(f"a coordinate is farther than {FARTHEST} Å from 0; move the structure to the origin")
    if (np.char.strip(protein.chain_ids.astype(str)) == "").any():
        raise StructureError("a residue has no chain name; give it one")
    ids: set[tuple] = set()
    for key in zip(
        protein.chain_ids.tolist(),
        protein.residue_numbers.tolist(),
        protein.insertion_codes.tolist(),
        strict=True,
    ):
        if key in ids:
            raise StructureError(f"two residues are called {key[0]} {key[1]}{key[2]}; renumber them")
        ids.add(key)
    b_values = np.zeros(protein.length) if b_factors is None else np.asarray(b_factors, dtype=float)
    if b_values.shape != (protein.length,) or not np.isfinite(b_values).all():
        raise StructureError(
            f"b_factors have shape {b_values.shape}; give {protein.length} finite values, one a residue"
        )
    return b_values


def _check_pdb(protein: Protein, b_values: np.ndarray) -> None:
    """Raise on what the columns of PDB cannot hold, so that nothing runs over into its neighbour."""
    rounded = np.round(protein.atoms[protein.mask], 3)
    n_atoms, chains = int(protein.mask.sum()), protein.chains
    last = n_atoms + len(chains)  # TER records take a serial number each
    numbers = protein.residue_numbers
    reasons = [
        (
            rounded.min() < PDB_LOW,
            f"a coordinate is outside {PDB_LOW} to {FARTHEST} Å",
        ),
        (last > PDB_MAX_ATOMS, f"{n_atoms:,} atoms and {len(chains)} TER records, {PDB_MAX_ATOMS:,} fit"),
        (len(chains) > PDB_MAX_CHAINS, f"{len(chains)} chains, {PDB_MAX_CHAINS} fit"),
        (any(len(chain) > 1 for chain in chains), f"chain names {chains[:8]} are longer than one character"),
        (
            numbers.min() < PDB_NUMBERS[0] or numbers.max() > PDB_NUMBERS[1],
            f"residue numbers run from {numbers.min()} to {numbers.max()}, beyond four columns",
        ),
        (any(len(code) > 1 for code in protein.insertion_codes.tolist()), "an insertion code is too long"),
        (any(len(name) > 3 for name in protein.residue_names.tolist()), "a residue name is too long"),
        (b_values.min() < -99.99 or b_values.max() > 999.99, "a b-factor is outside -99.99 to 999.99"),
    ]
    for wrong, reason in reasons:
        if wrong:
            raise StructureError(f"PDB cannot hold this: {reason}; write mmCIF")


def _to_gemmi(protein: Protein, b_values: np.ndarray) -> gemmi.Structure:
    structure, model = gemmi.Structure(), gemmi.Model(1)
    structure.name = protein.name
    chains = {chain_id: gemmi.Chain(chain_id) for chain_id in protein.chains}
    for i in range(protein.length):
        residue = gemmi.Residue()
        residue.name = str(protein.residue_names[i])
        residue.seqid = gemmi.SeqId(int(protein.residue_numbers[i]), str(protein.insertion_codes[i]) or " ")
        residue.entity_type = gemmi.EntityType.Polymer
        for j in np.flatnonzero(protein.mask[i]).tolist():
            atom = gemmi.Atom()
            atom.name, atom.element = ATOM_NAMES[j], gemmi.Element(ATOM_NAMES[j][0])
            atom.pos = gemmi.Position(*protein.atoms[i, j].tolist())
            atom.b_iso = b_values[i]
            residue.add_atom(atom)
        if len(residue):
            chains[str(protein.chain_ids[i])].add_residue(residue)
    for chain in chains.values():
        if len(chain):
            model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    structure.assign_serial_numbers()
    return structure


def _cif_columns(protein: Protein, b_values: np.ndarray) -> list[list[str]]:
    """One list of raw values a tag of `_CIF_TAGS`."""
    chains = protein.chains
    order = np.argsort([chains.index(chain) for chain in protein.chain_ids.tolist()], kind="stable")
    position = dict.fromkeys(chains, 0)
    rows: list[list[str]] = []
    quote = gemmi.cif.quote
    for i in order.tolist():
        chain = str(protein.chain_ids[i])
        position[chain] += 1
        name, chain_text = quote(str(protein.residue_names[i])), quote(chain)
        number, code = str(int(protein.residue_numbers[i])), str(protein.insertion_codes[i]) or "?"
        entity = str(chains.index(chain) + 1)
        for j in np.flatnonzero(protein.mask[i]).tolist():
            x, y, z = (f"{value:.3f}" for value in protein.atoms[i, j].tolist())
            atom = ATOM_NAMES[j]
            rows.append(
                ["ATOM", str(len(rows) + 1), atom[0], atom, ".", name, chain_text, entity,
                 str(position[chain]), code, x, y, z, "1.00", f"{b_values[i]:.2f}",
                 number, name, chain_text, atom, "1"]
            )  # fmt: skip
    return [list(column) for column in zip(*rows, strict=True)]


def _write_atomically(text: str, path: str | PathLike[str]) -> None:
    """Write a whole file or nothing, gzipped where the name says so."""
    path = Path(path)
    data = text.encode()
    if path.name.lower().endswith(".gz"):
        data = gzip.compress(data, mtime=0)
    try:
        write_bytes(path, data)
    except OSError as error:
        raise StructureError(f"cannot be written: {error.strerror or error}") from None
