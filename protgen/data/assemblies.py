"""The biological assembly of a file as one item: its protein chains, each as often as the assembly has it.

What an assembly would be is counted before it is made: a capsid of 60 operators is dropped by its number of chains or
residues, not made and then dropped.
"""

from typing import TYPE_CHECKING

import numpy as np

from protgen.data.fields import MOST_PARTS
from protgen.data.units import Unit, complex_of, without_peptides
from protgen.errors import StructureError
from protgen.structure.assemblies import IDENTITY, Assembly, expand
from protgen.structure.protein import Protein

if TYPE_CHECKING:
    from protgen.types import JSON

MOST_MADE = 1_000_000  # residues, complete or not, of the copies of a file


def assembly_of(
    name: str, protein: Protein, assembly: Assembly | None, max_length: int
) -> "tuple[list[Unit], list[JSON]]":
    """The assembly of a file as one unit; none, and the reason, where it is no complex or too large to be made.

    Args:
        name: id of the file.
        protein: its chains as deposited.
        assembly: of the file; None for the chains as deposited.
        max_length: most complete residues of an item.
    """
    kept, dropped = without_peptides(name, protein)
    if assembly is None:
        units, reason = complex_of(name, protein, kept)
        return units, [*dropped, *reason]
    counts = assembly.counts()
    inside = [chain for chain in kept if chain in counts]
    dropped += [
        {"id": f"{name}_{chain}", "reason": f"not in assembly {assembly.id}"} for chain in kept if chain not in inside
    ]
    counts = {chain: counts[chain] for chain in inside}
    reason = too_large(protein, counts, max_length)
    if reason:
        return [], [*dropped, {"id": name, "reason": reason}]
    try:
        whole = _made(protein, assembly, counts)
    except StructureError as error:
        return [], [*dropped, {"id": name, "reason": f"assembly not made: {error}"}]
    units, more = complex_of(name, whole, whole.chains)
    return [Unit(u.id, u.chain, u.protein, u.topologies, u.parts, assembly.id) for u in units], [*dropped, *more]


def too_large(protein: Protein, counts: dict[str, int], max_length: int) -> str:
    """Why an assembly is not made: too many chains or residues; "" if it may be.

    Chains as deposited are never too large to be made: the filters of a complex judge them.

    Args:
        protein: the chains as deposited.
        counts: copies of each of them that is of the assembly.
        max_length: most complete residues.
    """
    chains = sum(counts.values())
    if chains > MOST_PARTS:
        return f"{chains} chains > {MOST_PARTS}"
    if all(count == 1 for count in counts.values()):
        return ""
    complete = np.asarray(protein.mask[:, :4].all(axis=1))
    lengths = {chain: (protein.chain_ids == chain) for chain in counts}
    length = sum(counts[chain] * int((own & complete).sum()) for chain, own in lengths.items())
    if length > max_length:
        return f"length {length} > {max_length}; items of several chains or segments are not cropped"
    made = sum(counts[chain] * int(own.sum()) for chain, own in lengths.items())
    return f"length {made} > {MOST_MADE} with incomplete residues" if made > MOST_MADE else ""


def _made(protein: Protein, assembly: Assembly, counts: dict[str, int]) -> Protein:
    """The copies of chains that are of the assembly; coordinates that no operator moves stay to the bit."""
    motions = assembly.motions(counts)
    if all(len(moved) == 1 and np.array_equal(moved[0], IDENTITY) for moved in motions.values()):
        return protein.select(np.isin(protein.chain_ids, list(counts)))
    return expand(protein, motions)
