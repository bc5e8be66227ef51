"""Manifests of public IDs: which residues of which PDB entries a data set is, so that anyone can rebuild it.

A CSV file with a row an item: `id` (begins with the PDB ID), `residues` (`1-87:A,146-243:A`, numbers of the PDB file),
and, each of which may be empty, `length`, `rg` (Å, CA), `sequence` (first 16 digits of the SHA-256 of its residue
types), `split` and `cluster`. What differs from these in the files at hand is said: archives remediate entries.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from protgen.data.domains import Domain, segments_in
from protgen.data.fields import AATYPE
from protgen.data.sources import SPLITS
from protgen.data.store import Item
from protgen.documents import MAX_BYTES, number_in, read_table, whole_number_in
from protgen.errors import DataError

RG_TOLERANCE = 0.05  # Å: coordinates of old files have fewer digits
COLUMNS: tuple[str, ...] = ("id", "residues", "length", "rg", "sequence", "split", "cluster")


@dataclass(frozen=True)
class Entry:
    """An item of a manifest.

    Attributes:
        domain: its id and residues.
        length: residues; None if unknown.
        rg: radius of gyration of CA, Å; None if unknown.
        sequence: see `sequence_digest`; "" if unknown.
        split, cluster: where it belongs; "" to have them made anew.
    """

    domain: Domain
    length: int | None = None
    rg: float | None = None
    sequence: str = ""
    split: str = ""
    cluster: str = ""


def sequence_digest(aatype: bytes) -> str:
    """The first 16 digits of the SHA-256 of residue types, a byte each."""
    return hashlib.sha256(aatype).hexdigest()[:16]


def read_manifest(path: Path) -> dict[str, Entry]:
    """The entries of a manifest by id.

    Raises:
        DataError: if it cannot be read; the message names the row.
    """
    found: dict[str, Entry] = {}
    for number, row in enumerate(read_table(path, 20 * MAX_BYTES), start=1):
        try:
            entry = _entry(row)
        except (KeyError, ValueError) as error:
            reason = f"no column {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(f"{path}: row {number}: {reason}; give the columns {', '.join(COLUMNS)}") from None
        if entry.domain.id in found:
            raise DataError(f"{path}: row {number}: {entry.domain.id} comes twice; name each item once")
        found[entry.domain.id] = entry
    if not found:
        raise DataError(f"{path}: names no item; give a manifest of public IDs")
    return found


def _entry(row: Mapping[str, str]) -> Entry:
    name, (chain, segments) = row["id"].strip(), segments_in(row["residues"].strip())
    if not name[:1].isdigit() or not name[:4].isalnum() or len(name) < 4:
        raise ValueError(f"id {name[:20]!r} does not begin with a PDB ID")
    split = row.get("split", "").strip()
    if split and split not in SPLITS:
        raise ValueError(f"split {split[:20]!r} is none of {', '.join(SPLITS)}")
    length, rg = row.get("length", "").strip(), row.get("rg", "").strip()
    return Entry(
        Domain(name, chain, segments),
        whole_number_in(length) if length else None,
        number_in(rg) if rg else None,
        row.get("sequence", "").strip(),
        split,
        row.get("cluster", "").strip(),
    )


def domains_of(entries: Iterable[Entry]) -> dict[str, list[Domain]]:
    """The items as domains, by PDB ID in lower case."""
    found: dict[str, list[Domain]] = {}
    for entry in entries:
        found.setdefault(entry.domain.pdb, []).append(entry.domain)
    return found


def entry_of(name: str, entries: Mapping[str, Entry]) -> Entry | None:
    """The entry of an item, whose name may have that of its file before it."""
    if name in entries:
        return entries[name]
    starts = (k + 1 for k, letter in enumerate(name) if letter == "_")
    return next((entries[name[k:]] for k in starts if name[k:] in entries), None)


def differences(entries: Mapping[str, Entry], items: Iterable[Item], dropped: Sequence[Mapping[str, str]]) -> list[str]:
    """What of a manifest the files at hand have otherwise, or not at all, a line each, in its order.

    Args:
        entries: of the manifest.
        items: that were built.
        dropped: `id` and `reason` of what was not.
    """
    reasons = {entry.domain.id: str(one["reason"]) for one in dropped if (entry := entry_of(str(one["id"]), entries))}
    built: dict[str, str] = {}
    for item in items:
        entry = entry_of(item.id, entries)
        if entry is not None:
            found = _difference(entry, item)
            name = entry.domain.id
            built[name] = found if built.get(name, found) else ""  # one of several files may be right
    lines = {name: f"{name}: {found}" for name, found in built.items() if found}
    for name in entries:
        if name not in built:
            lines[name] = f"{name}: {reasons.get(name, 'not there: no file has these residues')}"
    return [lines[name] for name in entries if name in lines]


def _difference(entry: Entry, item: Item) -> str:
    """In words, how an item differs from its entry; "" if it does not."""
    found = []
    if entry.length is not None and entry.length != len(item.atoms):
        found.append(f"{len(item.atoms)} complete residues, the manifest has {entry.length}")
    if entry.sequence and entry.sequence != sequence_digest(item.residue[AATYPE.name].tobytes()):
        found.append("other residue types")
    if entry.rg is not None and abs(entry.rg - item.facts["rg"]) > RG_TOLERANCE:
        found.append(f"Rg {item.facts['rg']:.2f} Å, the manifest has {entry.rg:.2f}")
    return "; ".join(found)
