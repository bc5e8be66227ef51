"""FASTA files that programs for inverse folding write: which of their records are designs, and whether they fit.

Chains are joined by "/" or ":". ProteinMPNN and LigandMPNN put the sequence of the file they were given first; they
mark their own with "sample=" or "id=" in the header, and where a header is marked the unmarked are left out.
"""

import re
from collections.abc import Sequence

from protgen.errors import ToolError
from protgen.folding.base import CHAIN
from protgen.inverse_folding.chain_letters import chain_lengths
from protgen.structure.protein import Protein
from protgen.structure.residue_names import ONE_LETTER

SUFFIXES = (".fasta", ".fa")
_MARKED = re.compile(r"(^|[\s,])(sample|id)=")
_GAPS = str.maketrans("", "", "X-")  # what ProteinMPNN writes for residue numbers that the file lacks


def fitting_records(protein: Protein, records: Sequence[tuple[str, str]], source: str) -> list[tuple[str, str]]:
    """Header and sequence of the records that were made for a protein, chains joined by ":".

    Args:
        protein: the backbone; each chain must have as many letters as residues.
        records: header and sequence of each.
        source: the program or file that they are of, for messages.

    Raises:
        ToolError: if there is none, or one does not fit.
    """
    marked = [record for record in records if _MARKED.search(record[0])]
    found = []
    wanted = chain_lengths(protein)
    for header, text in marked or records:
        chains = [part.translate(_GAPS) for part in text.upper().replace("/", CHAIN).split(CHAIN)]
        if [len(chain) for chain in chains] != wanted:
            got = "+".join(str(len(chain)) for chain in chains)
            raise ToolError(f"{source}: sequence {header[:40]!r} has {got} letters for {'+'.join(map(str, wanted))}")
        odd = set("".join(chains)) - set(ONE_LETTER.values())
        if odd:
            raise ToolError(f"{source}: sequence {header[:40]!r} has letters {''.join(sorted(odd))}, no amino acids")
        found.append((header, CHAIN.join(chains)))
    if not found:
        raise ToolError(f"{source}: left no sequence")
    return found
