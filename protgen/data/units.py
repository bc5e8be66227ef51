"""The units of a file that become items: its protein chains, its domains, or the file as it is.

Copies of one chain in a file, the subunits of a homo-oligomer, differ by the noise of the crystal alone; sets of single
chains hold one of them. So of copies the first that passes the filters is kept, the most complete one first, and the
others are dropped by name. Copies have one sequence, or the same residue names at the numbers they share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from protgen.data.domains import Domain, residues_of
from protgen.structure.protein import Protein

if TYPE_CHECKING:
    from protgen.types import JSON

Kind = Literal["chain", "file", "domain"]
KINDS: tuple[Kind, ...] = ("chain", "file", "domain")
SHARED = 0.8  # of the shorter chain's residues have their number in both
AGREEING = 0.95  # of these have one name: a few are modified or unknown in one copy
LEAST_TYPES = 8  # of amino acids in a sequence that says something: designs are all glycine


@dataclass(frozen=True)
class Unit:
    """What may become an item.

    Attributes:
        id: unique within the file; that of the file where it holds one protein chain.
        chain: name of the chain.
        protein: its residues.
        topologies: CATH codes C.A.T that are known of it.
    """

    id: str
    chain: str
    protein: Protein
    topologies: tuple[str, ...] = ()


def units_of(
    name: str, protein: Protein, kind: Kind, domains: Sequence[Domain] = (), pdb: str = ""
) -> "tuple[list[Unit], list[JSON]]":
    """The units of a file, and an entry with `id` and `reason` for each chain that gives none.

    Args:
        name: id of the file.
        protein: all its chains.
        kind: of unit.
        domains: of the PDB entry, for units that are domains.
        pdb: ID of the entry.
    """
    if kind == "file":
        return [Unit(name, ",".join(protein.chains), protein)], []
    chains = [
        Unit(name if len(protein.chains) == 1 else f"{name}_{chain}", chain, protein.select(protein.chain_ids == chain))
        for chain in protein.chains
    ]
    if kind == "chain":
        return chains, []
    found, dropped = [], []
    for unit in chains:
        own = _domains_of(unit, name, domains, pdb)
        found += own
        if not own:
            dropped.append({"id": unit.id, "reason": "no domain: none in the boundaries file is of this chain"})
    return found, dropped


def _domains_of(unit: Unit, name: str, domains: Sequence[Domain], pdb: str) -> list[Unit]:
    """The domains of a chain."""
    found = []
    for domain in domains:
        inside = residues_of(domain, unit.protein)
        if inside.any():
            own = domain.id if name.lower() in (pdb, f"pdb{pdb}") else f"{name}_{domain.id}"
            topology = ".".join(domain.superfamily.split(".")[:3])
            found.append(Unit(own, unit.chain, unit.protein.select(inside), (topology,) if topology else ()))
    return found


def copies_of(units: Sequence[Unit]) -> list[list[Unit]]:
    """The units of a file in groups of copies, the most complete of each first; else in order."""
    groups: list[list[Unit]] = []
    for unit in units:
        group = next((group for group in groups if is_copy(unit.protein, group[0].protein)), None)
        if group is None:
            groups.append([unit])
        else:
            group.append(unit)
    return [sorted(group, key=lambda unit: -int(unit.protein.mask[:, :4].all(axis=1).sum())) for group in groups]


def is_copy(first: Protein, second: Protein) -> bool:
    """Whether two chains of a file are copies of one molecule."""
    if min(len(set(first.residue_names.tolist())), len(set(second.residue_names.tolist()))) < LEAST_TYPES:
        return False
    if np.array_equal(first.residue_names, second.residue_names):
        return True
    names = [_names(chain) for chain in (first, second)]
    shared = names[0].keys() & names[1].keys()
    if len(shared) < SHARED * min(len(own) for own in names):
        return False
    return sum(names[0][place] == names[1][place] for place in shared) >= AGREEING * len(shared)


def _names(chain: Protein) -> dict[tuple[int, str], str]:
    """Residue names by number and insertion code."""
    places = zip(chain.residue_numbers.tolist(), chain.insertion_codes.tolist(), strict=True)
    return dict(zip(places, chain.residue_names.tolist(), strict=True))
