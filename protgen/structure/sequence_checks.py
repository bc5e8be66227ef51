"""Compare the residues of a file with the sequence it declares (SEQRES, or the polymer tables of mmCIF)."""

from protgen.structure.atom_table import AtomTable
from protgen.structure.protein import Protein
from protgen.structure.read_warnings import WarningLog
from protgen.structure.residue_names import UNKNOWN, parent


def check_sequences(table: AtomTable, protein: Protein, log: WarningLog) -> None:
    """Note chains that do not follow their declared sequence, and declared chains that are absent.

    Missing residues are ordinary (loops not seen); residues that were never declared are not.

    Args:
        table: the atoms, with the header.
        protein: what was made of them.
        log: takes the warnings.
    """
    for chain, declared in table.header.sequences.items():
        names = [_standard(table, name) for name in declared]
        if sum(name is not None for name in names) * 2 <= len(names):
            continue  # a nucleic acid or a sugar
        observed = protein.residue_names[protein.chain_ids == chain].tolist()
        if not observed:
            log.add("seqres_mismatch", f"chain {chain}, declared with {len(declared)} residues, has none")
        elif not _follows(observed, names):
            log.add("seqres_mismatch", f"chain {chain}, {len(observed)} residues against {len(declared)} declared")


def _standard(table: AtomTable, name: str) -> str | None:
    found = parent(name)
    return found if found not in (None, UNKNOWN) else table.header.parents.get(name, found)


def _follows(observed: list[str], declared: list[str | None]) -> bool:
    """True if `observed` is what is left of `declared` when some residues are taken out."""
    rest = iter(declared)
    return all(any(name in (other, UNKNOWN) or other in (UNKNOWN, None) for other in rest) for name in observed)
