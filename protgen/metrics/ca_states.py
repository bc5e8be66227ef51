"""Secondary structure of a CA trace by TM-align's five distances: rough, and fast enough to align by."""

import numpy as np

COIL, HELIX, TURN, STRAND = 1, 2, 3, 4  # TM-align's numbering

# Distances among CA i-2 to i+2, by pair, in the order of TM-align's `sec_str`; Å.
_PAIRS = ((0, 2), (0, 3), (0, 4), (1, 3), (1, 4), (2, 4))
_HELIX = np.array([5.45, 5.18, 6.37, 5.45, 5.18, 5.45])
_STRAND = np.array([6.1, 10.4, 13.0, 6.1, 10.4, 6.1])
_HELIX_WIDTH, _STRAND_WIDTH, _TURN_REACH = 2.1, 1.42, 8.0


def ca_states(trace: np.ndarray) -> np.ndarray:
    """(l,) int8 states of a CA trace (l, 3) in Å, coil at both ends.

    References: Zhang & Skolnick, Nucleic Acids Res. 33, 2302 (2005).
    """
    length = len(trace)
    states = np.full(length, COIL, dtype=np.int8)
    if length < 5:
        return states
    inner = length - 4
    d = np.stack([np.linalg.norm(trace[a : a + inner] - trace[b : b + inner], axis=1) for a, b in _PAIRS], axis=1)
    middle = states[2:-2]
    middle[d[:, 2] < _TURN_REACH] = TURN
    middle[(np.abs(d - _STRAND) < _STRAND_WIDTH).all(axis=1)] = STRAND
    middle[(np.abs(d - _HELIX) < _HELIX_WIDTH).all(axis=1)] = HELIX
    return states
