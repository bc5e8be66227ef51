"""The validity of one structure in a few numbers: what `protgen sample` prints beside each design.

Light: numpy, scipy and mdtraj, no torch; a few milliseconds for 150 residues.
"""

from protgen.metrics.base import Value
from protgen.metrics.bonds import Bonds
from protgen.metrics.chirality import Chirality
from protgen.metrics.clashes import Clashes
from protgen.metrics.compactness import Compactness
from protgen.metrics.ramachandran import Ramachandran
from protgen.metrics.secondary_structure import SecondaryStructure
from protgen.structure.protein import Protein

STRUCTURE_METRICS = (Bonds(), Clashes(), Ramachandran(), Chirality(), SecondaryStructure(), Compactness())


def validity(protein: Protein) -> dict[str, Value]:
    """Every single-structure number and label of one protein, by column name.

    Among them: `length` (int), `chain_breaks`, `n_clashes`, `rama_favoured`, `peptide_valid`, `helix`,
    `strand`, `coil`, `ss` (string), `rg`, `rg_ratio`, `left_handed_helices`. Definitions are those of the
    metrics' quantities; what the structure cannot answer is NaN.

    Args:
        protein: any protein.

    Returns:
        Column name to value, in the order of the evaluation table.
    """
    row: dict[str, Value] = {"length": protein.length}
    for metric in STRUCTURE_METRICS:
        row.update(metric.measure(protein))
    return row
