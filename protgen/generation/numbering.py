"""Residue numbers of designs: those of a motif's file in place of 1, 2, 3, ..., and positions for sequence design.

With the motif's numbers, residues between its segments get the numbers that are free there, and insertion codes where
these do not suffice (52A, 52B), so that numbers rise along the chain: ProteinMPNN and others sort residues by number.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from string import ascii_uppercase

import numpy as np

from protgen.conditions.roles import MotifResidue
from protgen.errors import UsageError
from protgen.structure.protein import Protein
from protgen.structure.writer import PDB_NUMBERS

Place = tuple[int, str]  # number and insertion code


def with_motif_numbers(protein: Protein, motif: Sequence[MotifResidue]) -> Protein:
    """A design whose motif has the chain, numbers and insertion codes of its file.

    Args:
        protein: the design, of one chain.
        motif: which of its residues are which of the file.

    Raises:
        UsageError: if the motif is of several chains, its numbers do not rise along the design, or no numbers are left
            between two segments.
    """
    if not motif:
        return protein
    held = sorted(motif, key=lambda entry: entry.index)
    chains = list(dict.fromkeys(entry.chain for entry in held))
    if len(chains) > 1 or len(protein.chains) > 1:
        raise UsageError(
            f"--keep-numbering: the motif is of chains {', '.join(chains)} and the design of "
            f"{len(protein.chains)}; one chain can keep the numbers of one. The records say which residue is which"
        )
    known = {entry.index: (entry.number, entry.insertion) for entry in held}
    before = _numbers_before(known[held[0].index], held[0].index)
    places = [*before, known[held[0].index]]
    for first, second in pairwise(held):
        places += _numbers_between(known[first.index], known[second.index], second.index - first.index - 1)
        places.append(known[second.index])
    last = places[-1][0]
    places += [(last + k + 1, "") for k in range(protein.length - held[-1].index - 1)]
    return replace(
        protein,
        chain_ids=np.full(protein.length, chains[0]),
        residue_numbers=np.array([number for number, _ in places]),
        insertion_codes=np.array([code for _, code in places]),
    )


def _numbers_before(first: Place, count: int) -> list[Place]:
    """Numbers that rise by one to that of the first residue of the motif."""
    lowest = first[0] - count
    if lowest < PDB_NUMBERS[0]:
        raise UsageError(
            f"--keep-numbering: {count} residues before number {first[0]} would begin at {lowest}; "
            "renumber the motif file"
        )
    return [(number, "") for number in range(lowest, first[0])]


def _numbers_between(first: Place, second: Place, count: int) -> list[Place]:
    """Places between two residues of the motif, in rising order: free numbers, then insertion codes."""
    free = list(range(first[0] + 1, second[0]))
    if second <= first or (count and second[0] == first[0]):
        raise UsageError(
            f"--keep-numbering: {count} residues between {first[0]}{first[1]} and {second[0]}{second[1]} of the motif; "
            "numbers must rise along the design. put the segments in the order of their numbers, or leave it out"
        )
    if count <= len(free):
        return [(number, "") for number in free[:count]]
    # Codes behind the residue that ends the first segment, or behind the last free number.
    anchor, used = (free[-1], "") if free else first
    codes = [code for code in ascii_uppercase if code > used][: count - len(free)]
    if len(codes) < count - len(free):
        raise UsageError(
            f"--keep-numbering: {count} new residues between {first[0]}{first[1]} and {second[0]}{second[1]} of the "
            f"motif, and {len(free) + len(codes)} numbers with insertion codes are left there; renumber the motif file"
        )
    return [*((number, "") for number in free), *((anchor, code) for code in codes)]


def fixed_positions(protein: Protein, motif: Sequence[MotifResidue]) -> dict[str, list[int]]:
    """Positions of the motif in each chain, from 1, as ProteinMPNN counts them (`--fixed_positions_jsonl`).

    ProteinMPNN sorts residues by number and insertion code, and counts a place for each number that is missing. In an
    assembly every copy of the chain has the motif.

    Args:
        protein: the design, numbered as in its file.
        motif: which residues of its first chain are of the motif.
    """
    chains = protein.chains
    indices = [entry.index for entry in motif]
    found = {}
    for chain in chains:
        own = np.flatnonzero(protein.chain_ids == chain)
        numbers = protein.residue_numbers[own].tolist()
        keys = list(zip(numbers, protein.insertion_codes[own].tolist(), strict=True))
        gaps = [(number, "") for number in range(min(numbers), max(numbers) + 1) if number not in set(numbers)]
        order = {key: k + 1 for k, key in enumerate(sorted([*keys, *gaps]))}
        found[str(chain)] = sorted(order[keys[index]] for index in indices)
    return found
