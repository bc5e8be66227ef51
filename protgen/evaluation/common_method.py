"""One method of secondary structure for all that is compared.

Files of CA atoms alone have no hydrogen bonds: DSSP cannot read them, P-SEA does. The two differ: of 1,444 natives
DSSP finds 36 % helix and 23 % strand, P-SEA 32 % and 17 %. So where one structure can be read by P-SEA alone, all are.
"""

from collections.abc import Sequence
from typing import Any

from protgen.evaluation.reference import Reference
from protgen.evaluation.result import Measured
from protgen.evaluation.set_summary import Row
from protgen.metrics.base import Quantity
from protgen.metrics.secondary_structure import DSSP, P_SEA, SecondaryStructure, method_of
from protgen.structure.protein import Protein

NAMES = {DSSP: "DSSP", P_SEA: "P-SEA"}


def common_method(proteins: Sequence[Protein | None], reference: Reference | None) -> str:
    """The method that can read every structure: P-SEA if one has CA atoms alone, or if all natives do.

    A few natives of CA atoms among others are left out of what depends on secondary structure.
    """
    ca_only = any(protein is not None and method_of(protein) == P_SEA for protein in proteins)
    if not ca_only and reference is not None and len(reference):
        ca_only = all(method_of(protein) == P_SEA for protein in reference.proteins)
    return P_SEA if ca_only else DSSP


def unify(measured: Measured, reference: Reference | None) -> None:
    """Write the columns of secondary structure anew into the rows that another method made.

    Args:
        measured: every structure; its rows and its method change.
        reference: natives, if there are any.
    """
    measured.ss_method = common_method(measured.proteins, reference)
    for row, protein in zip(measured.rows, measured.proteins, strict=True):
        if protein is not None:
            unify_row(row, protein, measured.ss_method)


def unify_row(row: Row, protein: Protein, method: str) -> None:
    """Write the columns of secondary structure of one protein anew if another method made them."""
    if row.get("ss_method") != method:
        row.update(SecondaryStructure().measure_by(protein, method))


def named(quantities: Sequence[Quantity], method: str) -> dict[str, str]:
    """The definitions of the columns of secondary structure as they were measured, by name."""
    own = {quantity.name for quantity in SecondaryStructure.quantities}
    return {q.name: q.definition.replace(DEFAULT, f"by {NAMES[method]}") for q in quantities if q.name in own}


DEFAULT = "by DSSP (mdtraj); P-SEA if only CA is there"


def describe_method(measured: Measured) -> dict[str, Any]:
    """The method, and why it is not DSSP, for `summary.json`."""
    if measured.ss_method == DSSP:
        return {"ss_method": DSSP}
    few = sum(protein is not None and method_of(protein) == P_SEA for protein in measured.proteins)
    why = f"{few} of {len(measured.read)} structures" if few else "the natives"
    return {"ss_method": P_SEA, "ss_method_reason": f"{why} have CA atoms alone, so all are read by P-SEA"}
