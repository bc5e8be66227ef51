"""Compact crops: stretches of long chains that hold together on their own, as further training examples.

A crop is a run of consecutive residues most of whose contacts are among themselves, without a chain break inside.
Multi-domain chains give their domains that way, and large domains their compact halves.
"""

import numpy as np

CONTACT = 10.0  # Å between CA atoms
SEPARATION = 4  # residues along the chain; nearer pairs are in contact in any conformation


def compact_crops(
    ca: np.ndarray, breaks: np.ndarray, lengths: tuple[int, ...], most: int, fraction: float = 0.7
) -> list[tuple[int, int]]:
    """The most self-contained windows of a chain, overlapping each other by less than half.

    Args:
        ca: (l, 3) CA positions, Å.
        breaks: (l - 1,) True where residue i + 1 does not follow i.
        lengths: window lengths, in the order in which each may choose its best place.
        most: how many windows at the most.
        fraction: least fraction of a window's contacts that must lie inside it.

    Returns:
        (start, stop) of each window.
    """
    n = len(ca)
    distance = np.linalg.norm(ca[:, None] - ca[None], axis=-1)
    contact = (distance < CONTACT) & (np.abs(np.subtract.outer(np.arange(n), np.arange(n))) >= SEPARATION)
    # Summed-area table: contacts inside any window in O(1).
    table = np.zeros((n + 1, n + 1), dtype=np.int64)
    table[1:, 1:] = contact.cumsum(0).cumsum(1)
    broken = np.concatenate([[0], np.cumsum(breaks)])
    chosen: list[tuple[int, int]] = []
    for length in lengths:
        best = (0.0, 0, 0)
        for start in range(0, n - length + 1, 4):
            stop = start + length
            if broken[stop - 1] - broken[start] or overlaps(start, stop, chosen):
                continue
            inside = table[stop, stop] - table[start, stop] - table[stop, start] + table[start, start]
            touching = table[stop, n] - table[start, n]
            # Contacts per residue guard against windows that are alone because they are extended.
            if touching and inside / touching >= fraction and inside / length >= 6.0:
                best = max(best, (inside / touching, start, stop))
        if best[2] and len(chosen) < most:
            chosen.append(best[1:])
    return chosen


def overlaps(start: int, stop: int, chosen: list[tuple[int, int]]) -> bool:
    """Whether a window shares half or more of the shorter one with a window chosen before."""
    return any(2 * (min(stop, b) - max(start, a)) >= min(stop - start, b - a) for a, b in chosen)
