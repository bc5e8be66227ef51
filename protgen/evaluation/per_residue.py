"""Values per residue, which locate a fault in a chain: one row a residue."""

import numpy as np

from protgen.metrics.base import Value
from protgen.metrics.chirality import virtual_chirality
from protgen.metrics.ramachandran import ALLOWED, FAVOURED, OUTLIER, ramachandran, residue_classes
from protgen.metrics.reference_data import RAMACHANDRAN_CLASSES
from protgen.metrics.secondary_structure import secondary_structure
from protgen.structure.links import backbone_torsions, links
from protgen.structure.protein import Protein

COLUMNS = (
    "file",
    "chain",
    "number",
    "insertion_code",
    "residue",
    "ss",
    "phi",
    "psi",
    "omega",
    "rama_class",
    "rama",
    "ca_next",
    "c_n_next",
    "break_after",
    "d_residue",
)
VERDICTS = {FAVOURED: "favoured", ALLOWED: "allowed", OUTLIER: "outlier"}


def residue_rows(protein: Protein, label: str, ss_method: str | None = None) -> list[dict[str, Value]]:
    """One row a residue: angles in degrees, distances to the next residue in Å, verdicts; empty where unknown.

    Args:
        protein: any protein.
        label: of its file.
        ss_method: of secondary structure, "dssp" or "p-sea"; by default the one its atoms allow.
    """
    joints = links(protein)
    torsions = np.rad2deg(np.stack(backbone_torsions(protein, joints)))
    verdicts, classes = ramachandran(protein, joints), residue_classes(protein, joints)
    codes, hands = secondary_structure(protein, ss_method), virtual_chirality(protein)
    gaps = [np.append(values, np.nan) for values in (joints.ca_distance, joints.cn_distance)]
    chained = np.append(joints.same_chain, False)
    broken = np.append(joints.broken, False)
    missing = np.append(joints.missing, False)
    return [
        {
            "file": label,
            "chain": str(protein.chain_ids[i]),
            "number": int(protein.residue_numbers[i]),
            "insertion_code": str(protein.insertion_codes[i]),
            "residue": str(protein.residue_names[i]),
            "ss": codes[i],
            "phi": float(torsions[0, i]),
            "psi": float(torsions[1, i]),
            "omega": float(torsions[2, i]),
            "rama_class": RAMACHANDRAN_CLASSES[classes[i]],
            "rama": VERDICTS.get(int(verdicts[i]), ""),
            "ca_next": float(gaps[0][i]) if chained[i] else np.nan,
            "c_n_next": float(gaps[1][i]) if chained[i] else np.nan,
            "break_after": "missing residues" if missing[i] else "break" if broken[i] else "",
            "d_residue": int(hands[i] < 0) if hands[i] else "",
        }
        for i in range(protein.length)
    ]
