"""Group atoms into residues, settle alternate locations and duplicates, keep what belongs to a protein."""

from dataclasses import dataclass

import numpy as np

from protgen.errors import StructureError
from protgen.geometry.constants import PEPTIDE_BOND_LIMIT
from protgen.structure.atom_table import AtomTable
from protgen.structure.links import is_cis, is_trans
from protgen.structure.locations import Copy, settle
from protgen.structure.protein import ATOM_NAMES, CA, C, N, Protein
from protgen.structure.read_warnings import WarningLog
from protgen.structure.residue_names import STANDARD, UNKNOWN, is_foreign, parent

_ELEMENT_OF = {"N": "N", "CA": "C", "C": "C", "O": "O", "CB": "C"}


@dataclass(frozen=True)
class _Residues:
    """r candidate residues as columns: `row` points at one atom of each in the table."""

    row: np.ndarray
    xyz: np.ndarray
    mask: np.ndarray
    n_atoms: np.ndarray

    def take(self, keep: np.ndarray) -> "_Residues":
        return _Residues(self.row[keep], self.xyz[keep], self.mask[keep], self.n_atoms[keep])


def assemble(table: AtomTable, name: str, log: WarningLog) -> Protein:
    """Make a `Protein` of the atoms of one model.

    A standard amino acid counts as a residue whatever atoms it has; those of N, CA, C, O and CB that are
    missing are masked. A residue of unknown name counts if it has N, CA and C, or CA alone.

    Args:
        table: the atoms.
        name: for the protein.
        log: takes the warnings about residues.

    Raises:
        StructureError: if no protein residue is left.
    """
    table_rows = _possible_rows(table)
    slot = _slots(table)
    residues = _group(table, table_rows, slot, log)
    residues = residues.take(_belongs(table, residues))
    if not len(residues.row):
        raise StructureError(f"has {len(table)} atoms but no protein residue")
    residues = _gather_chains(table, residues, log)
    _warn_about_names(table, residues, log)
    row = residues.row
    return Protein(
        atoms=residues.xyz,
        mask=residues.mask,
        residue_names=np.array([_standard(table, r) for r in table.residue_name[row].tolist()]),
        chain_ids=table.chain[row],
        residue_numbers=table.number[row],
        insertion_codes=table.insertion[row],
        name=name,
        resolution=table.header.resolution,
    )


def place(table: AtomTable, row: int) -> str:
    """A residue in words: "chain A residue 57A TYR"."""
    number = f"{table.number[row]}{table.insertion[row]}"
    return f"chain {table.chain[row]} residue {number} {table.residue_name[row]}"


def _standard(table: AtomTable, name: str) -> str:
    found = parent(name)
    return found if found not in (None, UNKNOWN) else table.header.parents.get(name, UNKNOWN)


def _possible_rows(table: AtomTable) -> np.ndarray:
    foreign = [name for name in set(table.residue_name.tolist()) if is_foreign(name)]
    return np.flatnonzero(~np.isin(table.residue_name, foreign))


def _slots(table: AtomTable) -> np.ndarray:
    """(n,) the place of each atom on the axis of `Protein`; -1 for others, a wrong element, no position."""
    slot = np.full(len(table), -1)
    for k, name in enumerate(ATOM_NAMES):
        element = table.element
        slot[(table.name == name) & ((element == "") | (element == _ELEMENT_OF[name]))] = k
    slot[np.isnan(table.xyz).any(axis=1)] = -1
    return slot


def _group(table: AtomTable, rows: np.ndarray, slot: np.ndarray, log: WarningLog) -> _Residues:
    """Cut the rows into residues; ordinary ones by array operations, the odd ones one at a time."""
    if not len(rows):
        return _Residues(rows, np.zeros((0, 5, 3)), np.zeros((0, 5), dtype=bool), rows)
    new = np.ones(len(rows), dtype=bool)
    new[1:] = False
    for column in (table.chain, table.number, table.insertion):
        values = column[rows]
        new[1:] |= values[1:] != values[:-1]
    start = np.flatnonzero(new)
    run = np.cumsum(new) - 1
    sizes = np.diff(np.append(start, len(rows)))
    odd = _odd_runs(table, rows, run, start, slot)
    merged = _repeated_ids(table, rows[start], odd)
    xyz = np.full((len(start), 5, 3), np.nan)
    mask = np.zeros((len(start), 5), dtype=bool)
    plain = (slot[rows] >= 0) & ~odd[run]
    xyz[run[plain], slot[rows][plain]] = table.xyz[rows[plain]]
    mask[run[plain], slot[rows][plain]] = True
    residues = _Residues(rows[start], xyz, mask, sizes)
    if not odd.any():
        return residues
    return _replace_odd(table, rows, slot, residues, start, np.flatnonzero(odd), merged, log)


def _odd_runs(table: AtomTable, rows: np.ndarray, run: np.ndarray, start: np.ndarray, slot: np.ndarray) -> np.ndarray:
    """(r,) bool; runs with alternate locations, several residue names, or a backbone atom given twice."""
    odd = np.zeros(len(start), dtype=bool)
    odd[run[table.altloc[rows] != ""]] = True
    name = table.residue_name[rows]
    odd[run[1:][(name[1:] != name[:-1]) & (run[1:] == run[:-1])]] = True
    ours = slot[rows] >= 0
    counts = np.bincount(run[ours] * 5 + slot[rows][ours])
    odd[np.flatnonzero(counts > 1) // 5] = True
    return odd


def _repeated_ids(table: AtomTable, first_rows: np.ndarray, odd: np.ndarray) -> dict[int, list[int]]:
    """Runs that share a residue id, as first run -> all its runs; they are marked odd."""
    keys = [
        *zip(*(column[first_rows].tolist() for column in (table.chain, table.number, table.insertion)), strict=True)
    ]
    if len(set(keys)) == len(keys):
        return {}
    seen: dict[tuple, list[int]] = {}
    for k, key in enumerate(keys):
        seen.setdefault(key, []).append(k)
    merged = {}
    for runs in seen.values():
        if len(runs) > 1:
            odd[runs] = True
            merged[runs[0]] = runs
    return merged


def _replace_odd(
    table: AtomTable,
    rows: np.ndarray,
    slot: np.ndarray,
    residues: _Residues,
    start: np.ndarray,
    odd: np.ndarray,
    merged: dict[int, list[int]],
    log: WarningLog,
) -> _Residues:
    """Settle the odd runs and put what comes of them in their places."""
    stop = np.append(start[1:], len(rows))
    run_rows = {int(k): rows[start[k] : stop[k]] for k in odd}
    later = {k for runs in merged.values() for k in runs[1:]}
    copies: list[tuple[int, Copy]] = []
    for k, own in run_rows.items():
        if k in later:
            continue
        parts = [run_rows[j] for j in merged.get(k, [k])]
        starts = {int(part[0]): j for part, j in zip(parts, merged.get(k, [k]), strict=True)}
        for copy in settle(table, slot, parts, place(table, int(own[0])), log):
            origin = max((j for first, j in starts.items() if first <= copy.rows[0]), default=k)
            copies.append((origin, copy))
    keep = np.ones(len(residues.row), dtype=bool)
    keep[odd] = False
    order = np.concatenate([np.flatnonzero(keep), [k for k, _ in copies]]).astype(int)
    plain = residues.take(keep)
    added_xyz = np.full((len(copies), 5, 3), np.nan)
    added_mask = np.zeros((len(copies), 5), dtype=bool)
    for i, (_, copy) in enumerate(copies):
        ours = copy.rows[slot[copy.rows] >= 0]
        added_xyz[i, slot[ours]] = table.xyz[ours]
        added_mask[i, slot[ours]] = True
    joined = _Residues(
        np.concatenate([plain.row, [copy.rows[0] for _, copy in copies]]).astype(int),
        np.concatenate([plain.xyz, added_xyz]),
        np.concatenate([plain.mask, added_mask]),
        np.concatenate([plain.n_atoms, [len(copy.rows) for _, copy in copies]]).astype(int),
    )
    return joined.take(np.argsort(order, kind="stable"))


def _belongs(table: AtomTable, residues: _Residues) -> np.ndarray:
    """(r,) bool; True for residues of a protein chain, False for ligands, free amino acids and the like."""
    names = table.residue_name[residues.row].tolist()
    known = np.array([parent(name) is not None or name in table.header.parents for name in names], dtype=bool)
    ca_only = residues.mask[:, CA] & (residues.n_atoms == 1)
    shaped = residues.mask[:, [N, CA, C]].all(axis=1) | ca_only
    hetero = table.hetero[residues.row]
    in_chain = ~hetero | table.in_polymer[residues.row]
    if hetero.any():
        in_chain |= _bonded(table, residues)
    return (known | shaped) & in_chain


def _bonded(table: AtomTable, residues: _Residues) -> np.ndarray:
    """(r,) bool; True where a residue is bonded to the one before or after it in its chain."""
    bonded = np.zeros(len(residues.row), dtype=bool)
    chain = table.chain[residues.row]
    gap = np.linalg.norm(residues.xyz[1:, N] - residues.xyz[:-1, C], axis=-1)
    ca_gap = np.linalg.norm(residues.xyz[1:, CA] - residues.xyz[:-1, CA], axis=-1)
    joined = np.where(np.isnan(gap), is_trans(ca_gap) | is_cis(ca_gap), gap <= PEPTIDE_BOND_LIMIT)
    joined &= chain[1:] == chain[:-1]
    bonded[1:] |= joined
    bonded[:-1] |= joined
    return bonded


def _gather_chains(table: AtomTable, residues: _Residues, log: WarningLog) -> _Residues:
    """Bring the residues of a chain that comes back together, at its first appearance."""
    chain = table.chain[residues.row]
    begins = np.flatnonzero(np.append(True, chain[1:] != chain[:-1]))
    names = chain[begins].tolist()
    rank = {name: k for k, name in enumerate(dict.fromkeys(names))}
    if len(rank) == len(names):
        return residues
    seen: set[str] = set()
    back = [k for k, name in zip(begins.tolist(), names, strict=True) if name in seen or seen.add(name)]
    log.add("interleaved_chain", place(table, int(residues.row[back[0]])), len(back))
    return residues.take(np.argsort([rank[name] for name in chain.tolist()], kind="stable"))


def _warn_about_names(table: AtomTable, residues: _Residues, log: WarningLog) -> None:
    names = table.residue_name[residues.row]
    standard = np.isin(names, STANDARD)
    coded = table.insertion[residues.row] != ""
    cases = {
        "mse_as_met": names == "MSE",
        "nonstandard_residue": ~standard & (names != "MSE"),
        "hetatm_standard": standard & table.hetero[residues.row],
        "insertion_codes": coded,
        "missing_backbone_atom": ~residues.mask[:, :4].all(axis=1),
    }
    for code, hits in cases.items():
        if hits.any():
            log.add(code, place(table, int(residues.row[np.flatnonzero(hits)[0]])), int(hits.sum()))
