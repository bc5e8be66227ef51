"""Numbers that describe a CA trace: size, contacts, and how it winds through space.

On plain arrays of coordinates. Each number is defined here, so that anyone can compute it again.
"""

import numpy as np
from scipy.spatial import KDTree

from protgen.geometry.constants import RG_SCALE

CONTACT = 8.0  # Å, CA-CA
MIN_SEPARATION = 3  # residues: closer ones touch by being neighbours
FEWEST = 8  # residues; a shorter trace has no fold to describe

_RANGES = ((3, 10), (10, 25), (25, 60), (60, 10_000))  # residues between two segments
_BANDS = tuple(f"{near}_{far}" for near, far in _RANGES)
DESCRIPTORS = (
    "writhe",
    "abs_writhe",
    *(f"crossings_{band}" for band in _BANDS),
    *(f"writhe_{band}" for band in _BANDS),
    "helix",
    "strand",
    "rg_exponent",
    "contacts_per_residue",
    "contact_order",
    "shape_second",
    "shape_third",
    "log_length",
)


def radius_of_gyration(ca: np.ndarray) -> float:
    """Root mean square distance of CA atoms from their centre, Å."""
    return float(np.sqrt(((ca - ca.mean(0)) ** 2).sum(-1).mean()))


def contacts(ca: np.ndarray, places: np.ndarray | None = None, chains: np.ndarray | None = None) -> np.ndarray:
    """Pairs within 8 Å, at least three places apart or in different chains.

    Args:
        ca: (n, 3) Å.
        places: (n,) number of each residue in its file, rising; 0 to n - 1 by default.
        chains: (n,) chain of each; one chain by default.

    Returns:
        (m, 2) rows of `ca`, the first below the second.
    """
    if len(ca) < 2:
        return np.empty((0, 2), int)
    places = np.arange(len(ca)) if places is None else places
    pairs = np.sort(KDTree(ca).query_pairs(CONTACT, output_type="ndarray"), axis=1)
    apart = places[pairs[:, 1]] - places[pairs[:, 0]] >= MIN_SEPARATION
    if chains is not None:
        apart |= chains[pairs[:, 0]] != chains[pairs[:, 1]]
    return pairs[apart]


def relative_contact_order(pairs: np.ndarray, chains: np.ndarray) -> float:
    """Mean separation of contacts within chains over the length of the chain; NaN without contacts.

    References: Plaxco, Simons and Baker, J. Mol. Biol. 277, 985 (1998), there on all heavy atoms.

    Args:
        pairs: (m, 2) residues, the first below the second.
        chains: (n,) chain of each residue.
    """
    inside = pairs[chains[pairs[:, 0]] == chains[pairs[:, 1]]]
    if len(inside) == 0:
        return np.nan
    names, counts = np.unique(chains, return_counts=True)
    lengths = counts[np.searchsorted(names, chains[inside[:, 0]])]
    return float(np.mean((inside[:, 1] - inside[:, 0]) / lengths))


def describe(ca: np.ndarray, helix: float, strand: float, pairs: np.ndarray, contact_order: float) -> np.ndarray:
    """The numbers of `DESCRIPTORS`: ten of how a trace winds, eight of its size and secondary structure.

    Writhe and crossing numbers are Gauss integrals over pairs of CA-CA segments (Røgen & Fain, PNAS 100, 119, 2003),
    signed and absolute, in all and by separation along the chain, over the number of residues.

    Args:
        ca: (n, 3) Å, n at least `FEWEST`.
        helix, strand: fractions of residues by DSSP.
        pairs: see `contacts`.
        contact_order: relative contact order; NaN (no contacts) counts as 0.
    """
    n = len(ca)
    gauss = gauss_integrals(ca)
    i, j = np.triu_indices(len(gauss), k=2)
    values, apart = gauss[i, j], j - i
    bands = [values[(apart >= low) & (apart < high)] for low, high in _RANGES]
    std = np.sort(np.linalg.eigvalsh(np.cov(ca.T)))[::-1]
    return np.array(
        [
            values.sum() / n,
            np.abs(values).sum() / n,
            *(np.abs(band).sum() / n for band in bands),
            *(band.sum() / n for band in bands),
            helix,
            strand,
            np.log(radius_of_gyration(ca) / RG_SCALE) / np.log(n),
            len(pairs) / n,
            0.0 if np.isnan(contact_order) else contact_order,
            *(std[1:] / max(std[0], 1e-9)),
            np.log(n),
        ]
    )


def gauss_integrals(ca: np.ndarray) -> np.ndarray:
    """(n - 1, n - 1) fraction of the writhe of each pair of segments of a trace (n, 3): solid angle over 2 pi, signed.

    References: Klenin & Langowski, Biopolymers 54, 307 (2000), method 1a.
    """
    start, stop = ca[:-1], ca[1:]
    r13, r14 = start[None] - start[:, None], stop[None] - start[:, None]
    r23, r24 = start[None] - stop[:, None], stop[None] - stop[:, None]
    faces = [np.cross(r13, r14), np.cross(r14, r24), np.cross(r24, r23), np.cross(r23, r13)]
    faces = [face / np.maximum(np.linalg.norm(face, axis=-1, keepdims=True), 1e-12) for face in faces]
    turns = [
        np.arcsin(np.clip((a * b).sum(axis=-1), -1.0, 1.0))
        for a, b in zip(faces, [*faces[1:], faces[0]], strict=True)
    ]  # fmt: skip
    along = stop - start
    hand = np.sign((np.cross(along[None], along[:, None]) * r13).sum(axis=-1))
    return hand * np.sum(turns, axis=0) / (2 * np.pi)
