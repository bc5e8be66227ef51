"""Handedness: of residues, of helices, and of the whole structure.

Models of CA traces do not distinguish a fold from its mirror image, and make left-handed helices. Only this
check finds them.
"""

import numpy as np

from protgen.metrics.base import Metric, Quantity
from protgen.metrics.secondary_structure import runs
from protgen.structure.angles import distance
from protgen.structure.links import backbone_torsions, ca_dihedrals
from protgen.structure.protein import CA, CB, C, N, Protein

HELIX_DIHEDRAL = np.deg2rad(50.0)  # of four consecutive CA of a right-handed alpha helix; its mirror image has -50
DIHEDRAL_WIDTH = np.deg2rad(25.0)
HELIX_RISE = 5.3  # Å, CA(i) to CA(i+3): 5.0 alpha, 5.8 3-10
RISE_WIDTH = 0.8  # Å
MIN_RUN = 4  # consecutive dihedrals: seven residues, about two turns, which no native loop makes by chance
_MIN_EVIDENCE = 8  # residues or dihedrals needed for a verdict on the whole structure


def virtual_chirality(protein: Protein) -> np.ndarray:
    """(l,) sign of (N-CA) x (C-CA) . (CB-CA): +1 for L residues, -1 for D, 0 where an atom is missing."""
    xyz = protein.atoms
    centre = xyz[:, CA]
    triple = np.einsum("li,li->l", np.cross(xyz[:, N] - centre, xyz[:, C] - centre), xyz[:, CB] - centre)
    present = protein.mask[:, [N, CA, C, CB]].all(axis=1)
    return np.where(present, np.sign(np.where(present, triple, 0.0)), 0.0).astype(int)


def helical_turns(protein: Protein) -> np.ndarray:
    """(l - 3,) int: +1 where four CA make a right-handed helical turn, -1 a left-handed one, else 0."""
    turn = ca_dihedrals(protein)
    rise = distance(protein.atoms[3:, CA], protein.atoms[:-3, CA])
    with np.errstate(invalid="ignore"):
        compact = np.abs(rise - HELIX_RISE) <= RISE_WIDTH
        right = compact & (np.abs(turn - HELIX_DIHEDRAL) <= DIHEDRAL_WIDTH)
        left = compact & (np.abs(turn + HELIX_DIHEDRAL) <= DIHEDRAL_WIDTH)
    return right.astype(int) - left.astype(int)


def count_helices(turns: np.ndarray, hand: int) -> int:
    """Number of runs of at least four turns of one hand (+1 right, -1 left)."""
    return len(runs(turns.tolist(), hand, MIN_RUN))


def is_mirror_image(protein: Protein) -> bool | None:
    """Whether the whole structure is a mirror image; None if there is too little evidence.

    By the CB atoms if there are enough, for they decide alone; then by phi, which is negative in nearly
    every native residue but glycine; then, for CA traces, by the hand of the helices.
    """
    hands = virtual_chirality(protein)
    if np.count_nonzero(hands) >= _MIN_EVIDENCE:
        return bool(hands.sum() < 0)
    phi, _, _ = backbone_torsions(protein)
    known = phi[np.isfinite(phi)]
    if len(known) >= _MIN_EVIDENCE:
        return bool((known > 0).mean() > 0.5)
    turns = helical_turns(protein)
    if np.count_nonzero(turns) >= _MIN_EVIDENCE:
        return bool(turns.sum() < 0)
    return None


class Chirality(Metric):
    """D residues, left-handed helices, and the verdict on the whole.

    Examples:
        >>> from protgen.structure.ideal import ideal_helix
        >>> Chirality().measure(Protein.from_backbone(ideal_helix(12)))["left_handed_helices"]
        0.0
    """

    name = "chirality"
    requires = ("ca", "backbone", "cb")
    quantities = (
        Quantity("d_residues", "fraction", "lower", "residues with CB whose N-CA-C-CB chirality is that of D"),
        Quantity(
            "right_handed_helices",
            "count",
            None,
            "runs of >= 4 CA dihedrals of 50 ± 25 deg, CA(i)-CA(i+3) 5.3 ± 0.8 Å",
        ),
        Quantity("left_handed_helices", "count", "lower", "the same with -50 ± 25 deg"),
        Quantity(
            "left_handed_turns",
            "fraction",
            "lower",
            "helical turns (single CA dihedrals in either range) that are left-handed",
        ),
        Quantity(
            "mirror_image",
            "fraction",
            "lower",
            "1 if most CB are D; without CB, if most phi > 0; CA only: most turns left",
        ),
    )

    def measure(self, sample: Protein) -> dict[str, float]:
        """Every quantity for one protein."""
        hands = virtual_chirality(sample)
        n_hands = np.count_nonzero(hands)
        turns = helical_turns(sample)
        n_turns = np.count_nonzero(turns)
        mirror = is_mirror_image(sample)
        return {
            "d_residues": float((hands < 0).sum() / n_hands) if n_hands else np.nan,
            "right_handed_helices": float(count_helices(turns, 1)),
            "left_handed_helices": float(count_helices(turns, -1)),
            "left_handed_turns": float((turns < 0).sum() / n_turns) if n_turns else np.nan,
            "mirror_image": np.nan if mirror is None else float(mirror),
        }
