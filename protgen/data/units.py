"""The units of a file that become items: its chains, domains, all chains together, its assembly, or all as it is.

A complex is the protein chains of a file that are no peptides, two or more, each of which touches another. It and a
domain of several segments are items of several parts, which are not bonded to each other. An assembly is a complex
whose chains are copied as the file says (`data/assemblies.py`).

Copies of one chain in a file, the subunits of a homo-oligomer, differ by the noise of the crystal alone; sets of single
chains hold one of them. So of copies the first that passes the filters is kept, the most complete one first, and the
others are dropped by name. Copies have one sequence, or the same residue names at the numbers they share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.spatial import KDTree

from protgen.data.domains import Domain, segments_of
from protgen.data.fields import MOST_PARTS
from protgen.structure.links import links
from protgen.structure.protein import CA, Protein

if TYPE_CHECKING:
    from protgen.types import JSON

Kind = Literal["chain", "file", "domain", "complex", "assembly"]
KINDS: tuple[Kind, ...] = ("chain", "file", "domain", "complex", "assembly")
PEPTIDE = 20  # residues; a shorter chain is called a peptide
TOUCH = 8.0  # Å, CA-CA: chains with such a pair touch
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
        parts: (l,) number of the part that each residue is of, from 0 and ascending; None where there is one.
        assembly: name of the assembly that it is; "" for chains as deposited.
    """

    id: str
    chain: str
    protein: Protein
    topologies: tuple[str, ...] = ()
    parts: np.ndarray | None = None
    assembly: str = ""


def units_of(
    name: str, protein: Protein, kind: Kind, domains: Sequence[Domain] = (), pdb: str = ""
) -> "tuple[list[Unit], list[JSON]]":
    """The units of a file, and an entry with `id` and `reason` for each chain that gives none.

    Args:
        name: id of the file.
        protein: all its chains.
        kind: of unit; assemblies are made elsewhere.
        domains: of the PDB entry, for units that are domains.
        pdb: ID of the entry.
    """
    if kind == "file":
        return [Unit(name, ",".join(protein.chains), protein)], []
    if kind == "complex":
        kept, dropped = without_peptides(name, protein)
        whole, reason = complex_of(name, protein, kept)
        return whole, [*dropped, *reason]
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


def without_peptides(name: str, protein: Protein) -> "tuple[list[str], list[JSON]]":
    """The chains of a file that are no peptides, and an entry with `id` and `reason` for each that is one."""
    lengths = {chain: int((protein.chain_ids == chain).sum()) for chain in protein.chains}
    kept = [chain for chain in protein.chains if lengths[chain] >= PEPTIDE]
    dropped = [
        {"id": f"{name}_{chain}", "reason": f"peptide, length {lengths[chain]} < {PEPTIDE}"}
        for chain in protein.chains
        if chain not in kept
    ]
    return kept, dropped


def complex_of(name: str, protein: Protein, kept: Sequence[str]) -> "tuple[list[Unit], list[JSON]]":
    """Chains of a file as one unit; none, and an entry with the reason, where they are no complex.

    Args:
        name: id of the file.
        protein: all its chains.
        kept: names of those that are of the complex, in their order.
    """
    reason = ""
    if len(kept) < 2:
        reason = f"too few chains: {len(kept)} of {PEPTIDE} residues or more; a complex has two"
    elif len(kept) > MOST_PARTS:
        reason = f"{len(kept)} chains > {MOST_PARTS}"
    else:
        alone = _untouched(protein, kept)
        reason = f"chain {alone} touches none of the others before it (CA within {TOUCH:g} Å)" if alone else ""
    if reason:
        return [], [{"id": name, "reason": reason}]
    own = protein.select(np.isin(protein.chain_ids, kept))
    parts = np.array([kept.index(chain) for chain in own.chain_ids.tolist()])
    return [Unit(name, ",".join(kept), own, (), parts)], []


def _untouched(protein: Protein, chains: Sequence[str]) -> str:
    """The first chain that no path of touching chains leads to from the first; "" if there is none."""
    traces = {chain: protein.atoms[(protein.chain_ids == chain) & protein.mask[:, CA], CA] for chain in chains}
    trees = {chain: KDTree(trace) for chain, trace in traces.items() if len(trace)}
    reached, ahead = {chains[0]}, [chains[0]]
    while ahead:
        here = trees.get(ahead.pop())
        for chain, tree in trees.items():
            if here is not None and chain not in reached and here.count_neighbors(tree, TOUCH):
                reached.add(chain)
                ahead.append(chain)
    return next((chain for chain in chains if chain not in reached), "")


def _domains_of(unit: Unit, name: str, domains: Sequence[Domain], pdb: str) -> list[Unit]:
    """The domains of a chain."""
    found = []
    for domain in domains:
        segment = segments_of(domain, unit.protein)
        inside = segment >= 0
        if inside.any():
            own = domain.id if name.lower() in (pdb, f"pdb{pdb}") else f"{name}_{domain.id}"
            topology = ".".join(domain.superfamily.split(".")[:3])
            cut = unit.protein.select(inside)
            known = (topology,) if topology else ()
            found.append(Unit(own, unit.chain, cut, known, _pieces(cut, segment[inside])))
    return found


def _pieces(protein: Protein, segment: np.ndarray) -> np.ndarray | None:
    """(l,) number of the piece of each residue: segments of a domain that are bonded are one; None for one piece.

    Args:
        protein: the domain.
        segment: (l,) of each residue.
    """
    apart = (segment[1:] != segment[:-1]) & links(protein).broken
    return np.concatenate([[0], np.cumsum(apart)]) if 0 < apart.sum() < MOST_PARTS else None


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
