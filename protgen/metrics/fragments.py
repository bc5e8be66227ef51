"""A screen for like structures: the distances within short fragments, compared without a superposition.

Two chains of one fold share local shapes, and a piece of a longer chain has all of its own in it. A fragment of 24
residues is told by 22 distances between its CA atoms. Each fragment of a sample looks for the most alike of a
reference, wherever that is in its chain, and the reference scores the mean worth of what is found. That takes a matrix
product, some hundred times less than the quickest TM-score search.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LENGTH = 24  # residues of a fragment: more than a helix turn or a hairpin, less than the shortest chains compared
SPACING = 4  # residues between the atoms whose distances are taken
PAIRS = [(a, b) for a in range(0, LENGTH, SPACING) for b in range(a + 3, LENGTH, SPACING)] + [(0, LENGTH - 1)]
FRAGMENTS = 12  # of a sample, about: neighbours along the chain tell little more
SCALE = 2.0  # Å, root mean square difference of distances at which a fragment is half alike; 1 and 4 rank no better


@dataclass(frozen=True)
class FragmentTable:
    """The fragments of many references.

    Attributes:
        distances: (m, 22) float32 Å, of all fragments, one reference after the other.
        square: (m,) float32 Å^2, of each fragment the sum of its squared distances.
        counts: (n,) fragments of each reference.
    """

    distances: np.ndarray
    square: np.ndarray
    counts: np.ndarray

    def likeness(self, trace: np.ndarray) -> np.ndarray:
        """(n,) how alike each reference is to a trace (l, 3), 0 to 1; infinite where either is too short to say."""
        stride = max(1, (len(trace) - LENGTH) // FRAGMENTS)
        own = fragment_distances(trace)[::stride]
        score = np.full(len(self.counts), np.inf)
        known = np.flatnonzero(self.counts)
        if not len(own) or not len(known):
            return score
        starts = np.cumsum(self.counts)[known] - self.counts[known]
        total = np.zeros(len(known))
        for row in own:
            apart = self.square - 2.0 * (self.distances @ row) + row @ row
            nearest = np.maximum(np.minimum.reduceat(apart, starts), 0.0) / len(PAIRS)
            total += 1.0 / (1.0 + nearest / SCALE**2)
        score[known] = total / len(own)
        return score


def fragment_distances(trace: np.ndarray) -> np.ndarray:
    """(l - 23, 22) float32 Å: the distances within each fragment of a trace (l, 3); none of a shorter one."""
    trace = np.asarray(trace, dtype=np.float32)
    count = max(0, len(trace) - LENGTH + 1)
    if not count:
        return np.empty((0, len(PAIRS)), dtype=np.float32)
    between = {gap: np.linalg.norm(trace[gap:] - trace[:-gap], axis=1) for gap in {b - a for a, b in PAIRS}}
    return np.stack([between[b - a][a : a + count] for a, b in PAIRS], axis=1)


def fragment_table(traces: Sequence[np.ndarray]) -> FragmentTable:
    """The fragments of references, (l, 3) Å each."""
    parts = [fragment_distances(trace) for trace in traces]
    empty = np.empty((0, len(PAIRS)), dtype=np.float32)
    distances = np.concatenate([empty, *parts])
    return FragmentTable(
        distances, np.square(distances).sum(axis=1), np.array([len(part) for part in parts], dtype=int)
    )
