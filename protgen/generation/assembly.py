"""Copies of a chain about an axis: where to put it so that the copies touch and do not clash.

The network makes one chain; its place relative to the axis is found here by trying orientations and moving the chain
out from the axis until its copies just do not clash. The orientation with the largest interface is kept. All copies
are made by the group's rotations, so the symmetry is exact.
"""

import numpy as np
import torch
from torch import Generator

from protgen.conditions.roles import Assembly
from protgen.geometry import so3

ORIENTATIONS = 120
STEP = 1.0  # Å, outward from the axis
LEAST_CA = 5.0  # Å, CA-CA between chains: side chains are to find room
LEAST_ATOM = 3.0  # Å, between backbone atoms of different chains: no clash by any definition, hydrogen bonds kept
CONTACT = 9.0  # Å, CA-CA: what counts as interface


def assemble(backbone: np.ndarray, assembly: Assembly, rng: Generator) -> np.ndarray:
    """Copies of a backbone about the axes of its symmetry.

    Args:
        backbone: (l, 4, 3) Å.
        assembly: the operations of the group.
        rng: where orientations come from.

    Returns:
        (n, l, 4, 3) Å; the group's n-fold axis is z, through the origin, and a two-fold of Dn is x.
    """
    operations = assembly.operations()
    centred = backbone - backbone[:, 1].mean(0)
    turns = so3.uniform(torch.randn(ORIENTATIONS, 4, generator=rng, dtype=torch.float64)).numpy()
    directions = torch.randn(ORIENTATIONS, 3, generator=rng, dtype=torch.float64).numpy()
    if np.allclose(operations[:, 2, 2], 1.0):
        directions[:, 2] = 0.0  # all turns are about z: along that axis nothing changes
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    reach = 2 * float(np.linalg.norm(centred[:, 1], axis=-1).max()) + 2 * LEAST_CA
    best, most = None, -1.0
    for turn, direction in zip(turns, directions, strict=True):
        # Near an axis of Dn the direction leads along it, and copies about it never part.
        apart = min(float(np.linalg.norm(direction - operation @ direction)) for operation in operations[1:])
        if apart < 0.2:
            continue
        ca = centred[:, 1] @ turn.T
        distance = first_free(ca, direction, operations, reach / apart)
        placed = ca + distance * direction
        score = sum(float((pairs(placed, placed @ op.T) < CONTACT).sum()) for op in operations[1:])
        if score > most:
            best, most = (turn, direction, distance), score
    assert best is not None
    turn, direction, distance = best
    atoms = centred @ turn.T + distance * direction
    while closest(atoms, operations) < LEAST_ATOM:
        atoms = atoms + STEP / 4 * direction
    return np.einsum("gij,laj->glai", operations, atoms)


def first_free(ca: np.ndarray, direction: np.ndarray, operations: np.ndarray, reach: float) -> float:
    """The least distance along a direction at which no CA of a copy is near one of the first, nor farther out.

    Args:
        ca: (l, 3) CA atoms of the first copy about the origin, Å.
        direction: unit vector, outward from the axis.
        operations: (n, 3, 3) rotations, the identity first.
        reach: distance at which copies are surely apart, Å.
    """
    distances = np.arange(0.0, reach + STEP, STEP)
    free = distances[-1]
    for distance in distances[::-1]:  # from outside in, and no farther than the first touch: no chain passes another
        placed = ca + distance * direction
        if min(pairs(placed, placed @ op.T).min() for op in operations[1:]) < LEAST_CA:
            break
        free = distance
    return float(free)


def closest(atoms: np.ndarray, operations: np.ndarray) -> float:
    """The least distance of two atoms of different copies, Å."""
    flat = atoms.reshape(-1, 3)
    return float(min(pairs(flat, flat @ op.T).min() for op in operations[1:]))


def pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances of all pairs of points, Å."""
    squared = np.square(a).sum(-1)[:, None] + np.square(b).sum(-1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(squared, 0.0))
