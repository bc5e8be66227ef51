"""Turn the _atom_site category of mmCIF or BinaryCIF into columns, by exact tag, every number checked."""

import re
from dataclasses import dataclass, field

import numpy as np

from protgen.errors import StructureError
from protgen.structure.assemblies import AssemblyText
from protgen.structure.atom_table import NUMBER, AtomTable, Header, check_range, map_unique, occupancy_of
from protgen.structure.read_warnings import WarningLog
from protgen.structure.residue_names import parent

Columns = dict[str, np.ndarray]  # lower-case tag without the category -> text ("" for ? and .) or float64
MAX_TEXT = 256  # characters in any field of an atom; the longest real ones have about 10
_COORDINATE = re.compile(rf"{NUMBER}(?:[eE][+-]?\d{{1,3}})?(?:\(\d+\))?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,15}", re.ASCII)
ATOM_TAGS = (
    "group_pdb", "id", "type_symbol", "label_atom_id", "auth_atom_id", "label_alt_id", "label_comp_id",
    "auth_comp_id", "label_asym_id", "auth_asym_id", "label_entity_id", "label_seq_id", "auth_seq_id",
    "pdbx_pdb_ins_code", "cartn_x", "cartn_y", "cartn_z", "occupancy", "b_iso_or_equiv", "pdbx_pdb_model_num",
)  # fmt: skip
HEADER_TAGS = {  # category -> tags
    "refine": ("ls_d_res_high",),
    "em_3d_reconstruction": ("resolution",),
    "pdbx_poly_seq_scheme": ("pdb_strand_id", "mon_id"),
    "entity_poly_seq": ("entity_id", "mon_id"),
    "chem_comp": ("id", "mon_nstd_parent_comp_id"),
    "pdbx_struct_mod_residue": ("auth_comp_id", "label_comp_id", "parent_comp_id"),
}


@dataclass
class CifScan:
    """The atoms of a file, and the models they belong to.

    Attributes:
        atoms: columns of _atom_site.
        models: of each model, the rows of its atoms.
        other: columns of the categories in `HEADER_TAGS`.
        assemblies: what the file says of its assemblies.
    """

    atoms: Columns
    models: list[np.ndarray]
    other: dict[str, Columns] = field(default_factory=dict)
    assemblies: AssemblyText = field(default_factory=AssemblyText)


def make_scan(atoms: Columns, other: dict[str, Columns], log: WarningLog) -> CifScan:
    """Find the models.

    Args:
        atoms: columns of _atom_site.
        other: columns of other categories.
        log: takes `models_differ`.

    Raises:
        StructureError: if a column without which nothing can be read is missing, or there is no atom.
    """
    for axis in "xyz":
        if f"cartn_{axis}" not in atoms:
            raise StructureError(f"_atom_site.Cartn_{axis} is missing; without it there are no positions")
    for choices in (
        ("label_atom_id", "auth_atom_id"),
        ("label_comp_id", "auth_comp_id"),
        ("auth_seq_id", "label_seq_id"),
    ):
        if not any(tag in atoms for tag in choices):
            raise StructureError(f"_atom_site.{choices[0]} and {choices[1]} are both missing; one is needed")
    n = len(atoms["cartn_x"])
    if n == 0:
        raise StructureError("_atom_site has no rows")
    if "pdbx_pdb_model_num" not in atoms:
        return CifScan(atoms, [np.arange(n)], other)
    numbers = atoms["pdbx_pdb_model_num"]
    distinct, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    models = [np.flatnonzero(inverse == k) for k in np.argsort(first)] if len(distinct) > 1 else [np.arange(n)]
    _compare_models(atoms, models, log)
    return CifScan(atoms, models, other)


def _compare_models(atoms: Columns, models: list[np.ndarray], log: WarningLog) -> None:
    tags = [tag for tag in ("label_atom_id", "label_comp_id", "auth_seq_id", "auth_asym_id") if tag in atoms]
    different = [
        k
        for k, rows in enumerate(models)
        if len(rows) != len(models[0]) or any((atoms[tag][rows] != atoms[tag][models[0]]).any() for tag in tags)
    ]
    if different:
        log.add("models_differ", f"model {different[0] + 1} against model 1", len(different))


def cif_table(scan: CifScan, model: int, log: WarningLog) -> AtomTable:
    """The atoms of one model.

    Args:
        scan: the columns.
        model: index of the model, from 0.
        log: takes the warnings about elements and chain names.

    Raises:
        StructureError: naming the tag and row, if a value is not what the dictionary says.
    """
    rows = scan.models[model]
    n = len(rows)
    blank = np.full(n, "")

    def text(*tags: str) -> np.ndarray:
        """The first of several columns that has a value, row by row."""
        result = blank
        for tag in tags:
            if tag in scan.atoms:
                values = scan.atoms[tag][rows]
                if values.dtype.kind != "U":
                    values = np.array([f"{value:g}" if np.isfinite(value) else "" for value in values.tolist()])
                result = values if result is blank else np.where(result == "", values, result)
        return result

    element = np.char.upper(text("type_symbol"))
    if (element == "").any():
        k = int(np.flatnonzero(element == "")[0])
        log.add("element_inferred", f"_atom_site row {rows[k] + 1}", int((element == "").sum()))
    sequence_id = text("label_seq_id")
    chain = _chain_names(text("auth_asym_id", "label_asym_id"), rows, log)
    return AtomTable(
        name=np.char.upper(text("auth_atom_id", "label_atom_id")),
        altloc=text("label_alt_id"),
        residue_name=np.char.upper(text("auth_comp_id", "label_comp_id")),
        chain=chain,
        number=_numbers(text("auth_seq_id", "label_seq_id"), rows),
        insertion=text("pdbx_pdb_ins_code"),
        xyz=_coordinates(scan.atoms, rows),
        occupancy=_occupancies(scan.atoms, rows),
        element=element,
        hetero=np.char.upper(text("group_pdb")) == "HETATM",
        in_polymer=sequence_id != "",
        header=_header(scan, chain, text("label_entity_id"), sequence_id != ""),
    )


def asym_names(scan: CifScan, model: int, table: AtomTable) -> dict[str, list[str]]:
    """Author names of chains by label_asym_id, which lists of assemblies name.

    Ligands and water have labels of their own and the author name of the chain near them: a chain goes by the labels of
    its polymer, if it has one.
    """
    if "label_asym_id" not in scan.atoms:
        return {chain: [chain] for chain in np.unique(table.chain).tolist()}
    labels = scan.atoms["label_asym_id"][scan.models[model]].tolist()
    found = set(zip(map(str, labels), table.chain.tolist(), table.in_polymer.tolist(), strict=True))
    polymers = {chain for _, chain, inside in found if inside}
    names: dict[str, list[str]] = {}
    for label, chain, inside in sorted(found):
        if inside or chain not in polymers:
            names.setdefault(label, []).append(chain)
    return names


def _coordinates(atoms: Columns, rows: np.ndarray) -> np.ndarray:
    """(n, 3) Å, NaN where ? or . stands."""
    xyz = np.empty((len(rows), 3))
    for k, axis in enumerate("xyz"):
        values = atoms[f"cartn_{axis}"][rows]
        if values.dtype.kind == "U":
            values = _parse(values.tolist(), f"_atom_site.Cartn_{axis}", rows)
        elif np.isinf(values).any():
            raise StructureError(f"_atom_site.Cartn_{axis}, row {_row(rows, np.isinf(values))}: is infinite")
        xyz[:, k] = values
    xyz[np.isnan(xyz).any(axis=1)] = np.nan
    check_range(xyz, lambda i: f"_atom_site, row {rows[i] + 1}")
    return xyz


def _row(rows: np.ndarray, hits: np.ndarray) -> int:
    return int(rows[np.flatnonzero(hits)[0]]) + 1


def _parse(values: list[str], tag: str, rows: np.ndarray) -> list[float]:
    good = _COORDINATE.fullmatch
    numbers = []
    for k, value in enumerate(values):
        if not value:
            numbers.append(np.nan)
        elif good(value):
            numbers.append(float(value.split("(")[0]))
        else:
            raise StructureError(f"{tag}, row {rows[k] + 1}: {value[:40]!r} is not a number")
    return numbers


def _numbers(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    distinct, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    numbers = []
    for value, k in zip(distinct.tolist(), first.tolist(), strict=True):
        if value and not _INTEGER.fullmatch(value):
            raise StructureError(f"_atom_site.auth_seq_id, row {rows[k] + 1}: {value[:40]!r} is not an integer")
        numbers.append(int(value) if value else 0)  # waters and ligands may have none
    return np.array(numbers, dtype=np.int64)[inverse]


def _occupancies(atoms: Columns, rows: np.ndarray) -> np.ndarray:
    if "occupancy" not in atoms:
        return np.full(len(rows), np.nan)
    values = atoms["occupancy"][rows]
    return map_unique(values, occupancy_of) if values.dtype.kind == "U" else values.astype(float)


def _chain_names(chain: np.ndarray, rows: np.ndarray, log: WarningLog) -> np.ndarray:
    blank = chain == ""
    if not blank.any():
        return chain
    log.add("no_chain_id", f"_atom_site row {_row(rows, blank)}", int(blank.sum()))
    taken = set(np.unique(chain).tolist())
    return np.where(blank, next(letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ_" if letter not in taken), chain)


def _header(scan: CifScan, chain: np.ndarray, entity: np.ndarray, in_polymer: np.ndarray) -> Header:
    other = scan.other
    resolution = None
    for category, tag in (("refine", "ls_d_res_high"), ("em_3d_reconstruction", "resolution")):
        for value in other.get(category, {}).get(tag, np.zeros(0)).tolist()[:1]:
            number = value if isinstance(value, float) else occupancy_of(value)
            resolution = number if resolution is None and number > 0 else resolution
    return Header(resolution, _sequences(other, chain, entity, in_polymer), _parents(other))


def _pairs(columns: Columns, key: str, value: str) -> list[tuple[str, str]]:
    if key not in columns or value not in columns:
        return []
    return list(zip(map(str, columns[key].tolist()), map(str, columns[value].tolist()), strict=True))


def _sequences(
    other: dict[str, Columns], chain: np.ndarray, entity: np.ndarray, in_polymer: np.ndarray
) -> dict[str, list[str]]:
    sequences: dict[str, list[str]] = {}
    for name, residue in _pairs(other.get("pdbx_poly_seq_scheme", {}), "pdb_strand_id", "mon_id"):
        sequences.setdefault(name, []).append(residue.upper())
    if sequences:
        return sequences
    by_entity: dict[str, list[str]] = {}
    for name, residue in _pairs(other.get("entity_poly_seq", {}), "entity_id", "mon_id"):
        by_entity.setdefault(name, []).append(residue.upper())
    if by_entity:
        pairs = set(zip(chain[in_polymer].tolist(), entity[in_polymer].tolist(), strict=True))
        sequences = {name: by_entity[own] for name, own in sorted(pairs) if own in by_entity}
    return sequences


def _parents(other: dict[str, Columns]) -> dict[str, str]:
    modified = other.get("pdbx_struct_mod_residue", {})
    pairs = (
        _pairs(other.get("chem_comp", {}), "id", "mon_nstd_parent_comp_id")
        + _pairs(modified, "label_comp_id", "parent_comp_id")
        + _pairs(modified, "auth_comp_id", "parent_comp_id")
    )
    return {name.upper(): found for name, given in pairs if (found := parent(given.upper())) and name}
