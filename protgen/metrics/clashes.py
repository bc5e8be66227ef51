"""Steric clashes, by every definition in use, each under its own name.

Repositories disagree on what a clash is, so one number never stands alone: CA-CA below 1.0 (FrameFlow), 1.5
(FrameDiff) and 2.0 Å (La-Proteina); backbone heavy atoms of residues |i - j| > 1 below 1.5 (RFdiffusion3)
and 2.0 Å; and overlap of van der Waals spheres. All counts are of pairs of atoms.
"""

import numpy as np
from scipy.spatial import KDTree

from protgen.errors import StructureError
from protgen.metrics.base import Metric, Quantity
from protgen.structure.protein import BACKBONE, CA, C, N, Protein

CA_LIMITS = {"framediff": 1.5, "frameflow": 1.0, "la_proteina": 2.0}  # Å
HEAVY_LIMIT = 2.0  # Å: the default clash of this package
HEAVY_LIMIT_RFD3 = 1.5  # Å
CLOSED = 1.6  # Å; C and N of the ends nearer than this are bonded: a clash of C and N that are not is seldom so near
RADII = np.array([1.55, 1.70, 1.70, 1.52])  # Å: N, CA, C, O; Bondi, J. Phys. Chem. 68, 441 (1964)
OVERLAP = 0.4  # Å, as in MolProbity's clashscore (which has hydrogens: the numbers do not compare)
POLAR_ALLOWANCE = 0.4  # Å more for N...O, which attract: hydrogen bonds reach 2.6 Å
_REACH = 2.0 * float(RADII.max()) - OVERLAP  # no pair further apart than this can count
_MAX_PAIRS = 20_000_000  # beyond it the structure is collapsed, and listing its pairs would fill the memory


def close_pairs(protein: Protein) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of backbone heavy atoms near enough to matter, of residues that are not neighbours.

    Residues of one chain are neighbours if they are next to each other in file order (|i - j| <= 1), and so are the
    ends of a chain that are bonded head to tail; residues of different chains never are.

    Returns:
        Two (n,) int arrays, atom kinds as indices into N, CA, C, O, and (n,) distances in Å.

    Raises:
        StructureError: if the coordinates are so collapsed that the pairs cannot be listed.
    """
    residue, kind = np.nonzero(protein.mask[:, BACKBONE])
    xyz = protein.atoms[residue, kind]
    if len(xyz) < 2:
        return np.empty(0, int), np.empty(0, int), np.empty(0)
    first, second = near_pairs(xyz, _REACH, protein.name)
    i, j = residue[first], residue[second]
    apart = (np.abs(i - j) > 1) | (protein.chain_ids[i] != protein.chain_ids[j])
    for start, end in closed_ends(protein):
        apart &= ~((np.minimum(i, j) == start) & (np.maximum(i, j) == end))
    first, second = first[apart], second[apart]
    return kind[first], kind[second], np.linalg.norm(xyz[first] - xyz[second], axis=-1)


def closed_ends(protein: Protein) -> list[tuple[int, int]]:
    """First and last residue of each chain of five or more whose ends have C and N within the limit of a bond."""
    found = []
    for chain in protein.chains:
        own = np.flatnonzero(protein.chain_ids == chain)
        start, end = int(own[0]), int(own[-1])
        apart = np.linalg.norm(protein.atoms[end, C] - protein.atoms[start, N])
        if len(own) >= 5 and apart <= CLOSED:  # False for NaN
            found.append((start, end))
    return found


def ca_clashes(protein: Protein, limit: float) -> int:
    """Number of pairs of CA atoms closer than `limit` Å, sequence neighbours included."""
    xyz = protein.atoms[protein.mask[:, CA], CA]
    if len(xyz) < 2:
        return 0
    tree = KDTree(xyz)
    below = np.nextafter(limit, 0.0)  # the definitions say "<"
    return int((tree.count_neighbors(tree, below) - len(xyz)) // 2)


def near_pairs(xyz: np.ndarray, reach: float, name: str) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of points within reach: two (n,) arrays of their indices.

    Args:
        xyz: (m, 3) Å.
        reach: Å.
        name: of the structure, for the message.

    Raises:
        StructureError: if the points are so collapsed that the pairs cannot be listed.
    """
    tree = KDTree(xyz)
    if len(xyz) ** 2 > _MAX_PAIRS and tree.count_neighbors(tree, reach) > 2 * _MAX_PAIRS:
        raise StructureError(f"{name}: {len(xyz)} atoms lie on top of each other; check units and coordinates")
    pairs = tree.query_pairs(reach, output_type="ndarray")
    return pairs[:, 0], pairs[:, 1]


class Clashes(Metric):
    """Counts of atom pairs that are too close.

    Examples:
        >>> from protgen.structure.ideal import ideal_helix
        >>> Clashes().measure(Protein.from_backbone(ideal_helix(12)))["n_clashes"]
        0.0
    """

    name = "clashes"
    requires = ("ca", "backbone")
    quantities = (
        Quantity(
            "n_clashes",
            "count",
            "lower",
            "pairs of backbone heavy atoms (N, CA, C, O) < 2.0 Å apart, |i - j| > 1 or in different chains; the "
            "ends of a chain that are bonded head to tail are neighbours",
        ),
        Quantity("clash_free", "fraction", "higher", "1 if n_clashes is 0"),
        Quantity(
            "heavy_clashes_rfd3",
            "count",
            "lower",
            "the same below 1.5 Å (RFdiffusion3), on the backbone heavy atoms",
        ),
        Quantity("ca_clashes_frameflow", "count", "lower", "pairs of CA < 1.0 Å apart (FrameFlow)"),
        Quantity("ca_clashes_framediff", "count", "lower", "pairs of CA < 1.5 Å apart (FrameDiff)"),
        Quantity("ca_clashes_la_proteina", "count", "lower", "pairs of CA < 2.0 Å apart (La-Proteina)"),
        Quantity(
            "vdw_clash_score",
            "per 1000 atoms",
            "lower",
            "pairs of backbone heavy atoms, |i - j| > 1, whose van der Waals spheres (Bondi radii) overlap "
            "by >= 0.4 Å, N...O by >= 0.8 Å, per 1000 atoms",
        ),
    )

    def measure(self, sample: Protein) -> dict[str, float]:
        """Every count for one protein; the heavy-atom ones are NaN for a CA-only structure."""
        row = {f"ca_clashes_{who}": float(ca_clashes(sample, limit)) for who, limit in CA_LIMITS.items()}
        n_atoms = int(sample.mask[:, BACKBONE].sum())
        if n_atoms <= sample.mask[:, CA].sum():
            names = ("n_clashes", "clash_free", "heavy_clashes_rfd3", "vdw_clash_score")
            return row | dict.fromkeys(names, np.nan)
        first, second, d = close_pairs(sample)
        polar = ((first == 0) & (second == 3)) | ((first == 3) & (second == 0))
        overlap = RADII[first] + RADII[second] - d
        n_overlaps = int((overlap >= OVERLAP + POLAR_ALLOWANCE * polar).sum())
        n_clashes = int((d < HEAVY_LIMIT).sum())
        return row | {
            "n_clashes": float(n_clashes),
            "clash_free": float(n_clashes == 0),
            "heavy_clashes_rfd3": float((d < HEAVY_LIMIT_RFD3).sum()),
            "vdw_clash_score": 1000.0 * n_overlaps / n_atoms,
        }
