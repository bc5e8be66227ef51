"""What a backbone's sheets are like: bonded amides, strands with two partners, the hand of crossovers."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int

from protgen.geometry.hydrogen_bonds import BONDED, bond_energies, bridges
from protgen.structure.dssp import assign_dssp

SHORTEST_STRAND = 3  # residues
LEAST_BRIDGES = 2  # that make two strands neighbours in a sheet
LEAST_BETWEEN = 6  # residues of a connection that can cross over; hairpins have fewer
ALONG = 0.3  # cosine of the axes of two strands that are parallel
LEAST_OFF = 3.0  # Å from the sheet to the middle of a connection, or it has no side


@dataclass(frozen=True)
class Sheets:
    """Figures of one backbone.

    Attributes:
        bonded: share of residues whose N-H is bonded (DSSP energy below -0.5 kcal/mol).
        two_partners: share of residues of strands that have bridges to two others; nan without strands.
        right_handed: crossovers whose connection goes round to the right, as nearly all of natives do.
        crossovers: connections between two parallel strands of a sheet, one after the other along the chain.
    """

    bonded: float
    two_partners: float
    right_handed: int
    crossovers: int


def sheets_of(atoms: Float[np.ndarray, "l 4 3"]) -> Sheets:
    """Figures of a chain from N, CA, C and O, Å."""
    atoms = np.asarray(atoms, dtype=np.float64)
    batch = torch.from_numpy(atoms)[None]
    mask = torch.ones(batch.shape[:2], dtype=torch.bool)
    found = bridges(batch, mask)
    partners = (found.parallel | found.antiparallel)[0].numpy()
    strands = strands_of("".join(assign_dssp(atoms[None])[0]))
    inside = [k for start, stop in strands for k in range(start, stop)]
    hands = crossover_hands(atoms[:, 1], strands, partners)
    return Sheets(
        bonded=float((bond_energies(batch, mask) < BONDED).any(1).double().mean()),
        two_partners=float((partners.sum(1)[inside] >= 2).mean()) if inside else float("nan"),
        right_handed=int(np.sum(np.array(hands) > 0)),
        crossovers=len(hands),
    )


def strands_of(codes: str) -> list[tuple[int, int]]:
    """(first, one past the last) of each run of E of three or more residues."""
    edges = np.flatnonzero(np.diff([0, *(code == "E" for code in codes), 0]))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a >= SHORTEST_STRAND]


def sheet_numbers(strands: list[tuple[int, int]], partners: Int[np.ndarray, "l l"]) -> list[int]:
    """The sheet of each strand: strands are of one sheet if they are neighbours, or joined by such."""
    numbers = list(range(len(strands)))
    for x, (a, b) in enumerate(strands):
        for y, (c, d) in enumerate(strands[:x]):
            if partners[a:b, c:d].sum() >= LEAST_BRIDGES:
                old, new = numbers[x], numbers[y]
                numbers = [new if number == old else number for number in numbers]
    return numbers


def crossover_hands(
    ca: Float[np.ndarray, "l 3"], strands: list[tuple[int, int]], partners: Int[np.ndarray, "l l"]
) -> list[float]:
    """For each crossover, Å: how far to the right the second strand lies, seen with the connection in front.

    With both strands pointing up and the connection between them towards the viewer, a right-handed crossover goes from
    left to right (Richardson 1976, PNAS 73, 2619; Sternberg and Thornton 1976).
    """
    numbers, hands = sheet_numbers(strands, partners), []
    for n, ((a, b), (c, d)) in enumerate(pairwise(strands)):
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
