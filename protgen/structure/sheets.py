"""What a backbone's sheets are like: bonded amides, strands with two partners, the hand of crossovers.

Bonds and bridges are those of `protgen.geometry.hydrogen_bonds`, on one structure and without torch, cut into segments
and without N-H on prolines, as `protgen.structure.dssp` has it.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

from protgen.geometry.bond_rules import BONDED, COULOMB, LEAST_APART, N_H, NEAR
from protgen.structure.angles import distance
from protgen.structure.dssp import dssp, segments_of
from protgen.structure.protein import BACKBONE, CA, C, N, O, Protein

SHORTEST_STRAND = 3  # residues
LEAST_BRIDGES = 2  # that make two strands neighbours in a sheet
LEAST_BETWEEN = 6  # residues of a connection that can cross over; hairpins have fewer
ALONG = 0.3  # cosine of the axes of two strands that are parallel
LEAST_OFF = 3.0  # Å from the sheet to the middle of a connection, or it has no side


@dataclass(frozen=True)
class Sheets:
    """Figures of one backbone.

    Attributes:
        bonded: share of residues whose N-H is bonded (DSSP energy below -0.5 kcal/mol); nan without residues.
        two_partners: share of residues of strands that have bridges to two others; nan without strands.
        right_handed: crossovers whose connection goes round to the right, as nearly all of natives do.
        crossovers: connections between two parallel strands of a sheet, one after the other along the chain.
        helix, strand: shares of residues that are so by DSSP, three states.
    """

    bonded: float
    two_partners: float
    right_handed: int
    crossovers: int
    helix: float
    strand: float


def sheets_of(protein: Protein) -> Sheets:
    """Figures of the residues that have N, CA, C and O; strands of several chains may form one sheet."""
    whole = protein.mask[:, BACKBONE].all(axis=1)
    if not whole.any():
        return Sheets(float("nan"), float("nan"), 0, 0, float("nan"), float("nan"))
    atoms, codes = protein.backbone[whole].astype(np.float64), np.array(list(dssp(protein)))[whole]
    segments = segments_of(atoms, protein.chain_ids[whole])
    bonded = bonds_of(atoms, segments, protein.residue_names[whole] == "PRO")
    partners = partners_of(bonded, segments)
    strands = [(a, b) for part in parts_of(segments) for a, b in strands_of("".join(codes[part]), part.start)]
    inside = [k for start, stop in strands for k in range(start, stop)]
    hands = crossover_hands(atoms[:, CA], strands, partners, segments)
    return Sheets(
        bonded=float(bonded.any(axis=0).mean()),
        two_partners=float((partners.sum(1)[inside] >= 2).mean()) if inside else float("nan"),
        right_handed=int(np.sum(np.array(hands) > 0)),
        crossovers=len(hands),
        helix=float((codes == "H").mean()),
        strand=float((codes == "E").mean()),
    )


def bonds_of(
    atoms: Float[np.ndarray, "l 4 3"], segments: Int[np.ndarray, " l"], prolines: Bool[np.ndarray, " l"]
) -> Bool[np.ndarray, "l l"]:
    """Whether C=O of residue i is bonded to N-H of residue j, at (i, j).

    Args:
        atoms: N, CA, C, O, Å.
        segments: of each residue, ascending; the first of one has no amide hydrogen.
        prolines: which have none either.
    """
    n, ca, c, o = (atoms[:, k] for k in (N, CA, C, O))
    along = c[:-1] - o[:-1]
    h = n + np.concatenate([np.zeros((1, 3)), N_H * along / np.linalg.norm(along, axis=-1, keepdims=True)])
    donors = np.append(False, segments[1:] == segments[:-1]) & ~prolines
    pairs = KDTree(ca).query_pairs(NEAR, output_type="ndarray")
    i, j = np.concatenate([pairs, pairs[:, ::-1]]).T
    i, j = (index[donors[j] & (np.abs(i - j) > 1)] for index in (i, j))
    energy = COULOMB * (
        1 / distance(o[i], n[j]) + 1 / distance(c[i], h[j]) - 1 / distance(o[i], h[j]) - 1 / distance(c[i], n[j])
    )
    result = np.zeros((len(atoms), len(atoms)), dtype=bool)
    result[i, j] = energy < BONDED
    return result


def partners_of(bonded: Bool[np.ndarray, "l l"], segments: Int[np.ndarray, " l"]) -> Bool[np.ndarray, "l l"]:
    """Which residues form a bridge; one that needs the bonds of a residue's neighbours needs them in its segment."""
    index = np.arange(len(bonded))
    inner = np.zeros(len(bonded), dtype=bool)  # neither end of a segment, so that nothing wraps round below
    inner[1:-1] = (segments[2:] == segments[1:-1]) & (segments[1:-1] == segments[:-2])
    parallel = inner[:, None] & np.roll(bonded, 1, 0) & np.roll(bonded.T, -1, 0)
    narrow = np.roll(bonded, (1, -1), (0, 1)) & inner[:, None] & inner
    apart = np.abs(index[:, None] - index) >= LEAST_APART
    return (parallel | parallel.T | (bonded & bonded.T) | (narrow & narrow.T)) & apart


def parts_of(segments: Int[np.ndarray, " l"]) -> list[slice]:
    """The residues of each segment."""
    edges = np.flatnonzero(np.diff(segments)) + 1
    return [slice(int(a), int(b)) for a, b in pairwise([0, *edges, len(segments)])]


def strands_of(codes: str, first: int = 0) -> list[tuple[int, int]]:
    """(first, one past the last) of each run of E of three or more residues.

    Args:
        codes: one letter a residue.
        first: number of the first residue.
    """
    edges = np.flatnonzero(np.diff([0, *(code == "E" for code in codes), 0])) + first
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a >= SHORTEST_STRAND]


def sheet_numbers(
    strands: list[tuple[int, int]], partners: Bool[np.ndarray, "l l"] | Int[np.ndarray, "l l"]
) -> list[int]:
    """The sheet of each strand: strands are of one sheet if they are neighbours, or joined by such."""
    numbers = list(range(len(strands)))
    for x, (a, b) in enumerate(strands):
        for y, (c, d) in enumerate(strands[:x]):
            if partners[a:b, c:d].sum() >= LEAST_BRIDGES:
                old, new = numbers[x], numbers[y]
                numbers = [new if number == old else number for number in numbers]
    return numbers


def crossover_hands(
    ca: Float[np.ndarray, "l 3"],
    strands: list[tuple[int, int]],
    partners: Bool[np.ndarray, "l l"] | Int[np.ndarray, "l l"],
    segments: Int[np.ndarray, " l"] | None = None,
) -> list[float]:
    """For each crossover, Å: how far to the right the second strand lies, seen with the connection in front.

    With both strands pointing up and the connection between them towards the viewer, a right-handed crossover goes from
    left to right (Richardson 1976, PNAS 73, 2619; Sternberg and Thornton 1976).

    Args:
        ca: Å.
        strands: (first, one past the last) of each.
        partners: which residues form bridges.
        segments: of each residue; what joins strands of two is not known. One by default.
    """
    numbers, hands = sheet_numbers(strands, partners), []
    for n, ((a, b), (c, d)) in enumerate(pairwise(strands)):
        if segments is not None and segments[a] != segments[c]:
            continue
        first, second = axis_of(ca[a:b]), axis_of(ca[c:d])
        if numbers[n] != numbers[n + 1] or c - b < LEAST_BETWEEN or first[1] @ second[1] <= ALONG:
            continue
        up = first[1] + second[1]
        up = up / np.linalg.norm(up)
        front = ca[b:c].mean(0) - (first[0] + second[0]) / 2
        front = front - up * (front @ up)
        across = second[0] - first[0]
        if (off := np.linalg.norm(front)) >= LEAST_OFF:
            hands.append(float(np.cross(up, front / off) @ across))
    return hands


def axis_of(ca: Float[np.ndarray, "n 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Centre and direction of a strand, from the middles of its CA-CA steps, which take the pleat out."""
    middles = (ca[1:] + ca[:-1]) / 2
    along = middles[-1] - middles[0]
    return middles.mean(0), along / max(float(np.linalg.norm(along)), 1e-9)
