"""Settle one residue id: alternate locations, several amino acids in one place, and things given twice."""

from dataclasses import dataclass

import numpy as np

from protgen.structure.atom_table import AtomTable
from protgen.structure.protein import CA
from protgen.structure.read_warnings import WarningLog

SAME_PLACE = 2.0  # Å; residues with one id further apart than this are two residues, not one given twice


@dataclass(frozen=True)
class Copy:
    """One residue made of these rows of the atom table."""

    rows: np.ndarray


def settle(table: AtomTable, slot: np.ndarray, runs: list[np.ndarray], place: str, log: WarningLog) -> list[Copy]:
    """The residues behind one id.

    Args:
        table: the atoms.
        slot: (n,) place of each atom of the table on the atom axis, -1 for those not kept.
        runs: row numbers of the stretches of the file that carry the id.
        place: the residue in words.
        log: takes the warnings.

    Returns:
        One residue in nearly all cases; more where different residues share an id.
    """
    rows = np.concatenate(runs)
    labels = list(dict.fromkeys(label for label in table.altloc[rows].tolist() if label))
    if len(labels) > 1:
        rows = _one_location(table, slot, rows, labels, place, log)
    copies: list[np.ndarray] = []
    for part in _by_name(table, rows):
        copies.extend(_by_occurrence(table, part))
    copies.sort(key=lambda copy: int(copy[0]))
    kept = [copies[0]]
    for copy in copies[1:]:
        if _is_repeat(table, slot, kept, copy):
            log.add("duplicate_atom", place, len(copy))
        elif (slot[copy] >= 0).any():
            log.add("duplicate_residue_id", place)
            kept.append(copy)
    return [Copy(copy) for copy in kept]


def _one_location(
    table: AtomTable, slot: np.ndarray, rows: np.ndarray, labels: list[str], place: str, log: WarningLog
) -> np.ndarray:
    """Rows of the location to keep: complete ones first, then the highest occupancy, ties to the first."""
    log.add("altloc_used", place)
    label_of, names = table.altloc[rows], table.residue_name[rows]
    if len(set(names.tolist())) > 1:
        log.add("microheterogeneity", place)
    occupancy = np.nan_to_num(table.occupancy[rows], nan=1.0)
    backbone = (slot[rows] >= 0) & (slot[rows] < 4)
    best, best_rank = labels[0], (-1, -np.inf)
    for label in labels:
        own = label_of == label
        present = len(set(slot[rows][(own | (label_of == "")) & backbone].tolist()))
        counted = own & backbone if (own & backbone).any() else own
        rank = (present, round(float(occupancy[counted].mean()), 4))
        if rank > best_rank:
            best, best_rank = label, rank
    chosen = (label_of == best) | (label_of == "")
    own_names = set(names[label_of == best].tolist())
    if len(own_names) == 1:  # atoms without a label but of another amino acid are not part of this one
        chosen &= np.isin(names, list(own_names))
    return rows[chosen]


def _by_name(table: AtomTable, rows: np.ndarray) -> list[np.ndarray]:
    names = table.residue_name[rows]
    return [rows[names == name] for name in dict.fromkeys(names.tolist())]


def _by_occurrence(table: AtomTable, rows: np.ndarray) -> list[np.ndarray]:
    """Split rows so that no atom name comes twice: first occurrences, second occurrences, and so on."""
    count: dict[str, int] = {}
    parts: dict[int, list[int]] = {}
    for row, name in zip(rows.tolist(), table.name[rows].tolist(), strict=True):
        turn = count.get(name, 0)
        count[name] = turn + 1
        parts.setdefault(turn, []).append(row)
    return [np.array(parts[turn]) for turn in sorted(parts)]


def _is_repeat(table: AtomTable, slot: np.ndarray, kept: list[np.ndarray], copy: np.ndarray) -> bool:
    """True if a copy lies where one already kept lies, by the atoms they have in common, or is but a fragment."""
    if 2 * (slot[copy] >= 0).sum() < (slot[kept[0]] >= 0).sum():
        return True
    own = {name: table.xyz[row] for row, name in zip(copy.tolist(), table.name[copy].tolist(), strict=True)}
    for other in kept:
        shared = [
            np.linalg.norm(table.xyz[row] - own[name])
            for row, name in zip(other.tolist(), table.name[other].tolist(), strict=True)
            if name in own
        ]
        known = [distance for distance in shared if np.isfinite(distance)]
        if known and np.median(known) <= SAME_PLACE:
            return True
        if not known and not (slot[copy] == CA).any():
            return True
    return False
