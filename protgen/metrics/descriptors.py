"""Numbers that describe a fold whatever its length, for the Fréchet distance and its relatives.

Hand-made and stated, so that anyone can compute them again: ten that say how the CA trace winds through space, and
eight that say how it is built.
"""

from collections.abc import Sequence

import numpy as np

from protgen.metrics.compactness import contacts, radius_of_gyration, relative_contact_order
from protgen.metrics.secondary_structure import fractions, secondary_structure
from protgen.structure.protein import CA, Protein

NAMES = (
    "writhe",
    "abs_writhe",
    *(f"crossings_{near}_{far}" for near, far in ((3, 10), (10, 25), (25, 60), (60, 10_000))),
    *(f"writhe_{near}_{far}" for near, far in ((3, 10), (10, 25), (25, 60), (60, 10_000))),
    "helix",
    "strand",
    "rg_exponent",
    "contacts_per_residue",
    "contact_order",
    "shape_second",
    "shape_third",
    "log_length",
)
_RANGES = ((3, 10), (10, 25), (25, 60), (60, 10_000))  # residues between two segments
_FEWEST = 8  # residues


def descriptors(proteins: Sequence[Protein]) -> np.ndarray:
    """(n, 18) descriptors in the order of `NAMES`; a row of NaN for fewer than eight CA atoms."""
    return np.array([describe(protein) for protein in proteins]).reshape(len(proteins), len(NAMES))


def describe(protein: Protein) -> np.ndarray:
    """The descriptors of one structure.

    Writhe and crossing numbers are Gauss integrals over pairs of CA-CA segments (Røgen & Fain, PNAS 100, 119, 2003),
    signed and absolute, in all and by separation along the chain, over the number of residues.
    """
    ca = protein.atoms[protein.mask[:, CA], CA]
    n = len(ca)
    if n < _FEWEST:
        return np.full(len(NAMES), np.nan)
    gauss = gauss_integrals(ca)
    i, j = np.triu_indices(len(gauss), k=2)
    values, apart = gauss[i, j], j - i
    bands = [values[(apart >= low) & (apart < high)] for low, high in _RANGES]
    share = fractions(secondary_structure(protein))
    pairs = contacts(protein)
    spread = np.sort(np.linalg.eigvalsh(np.cov(ca.T)))[::-1]
    order = relative_contact_order(protein, pairs)
    return np.array(
        [
            values.sum() / n,
            np.abs(values).sum() / n,
            *(np.abs(band).sum() / n for band in bands),
            *(band.sum() / n for band in bands),
            share["helix"],
            share["strand"],
            np.log(radius_of_gyration(protein) / 2.2) / np.log(n),
            len(pairs) / n,
            0.0 if np.isnan(order) else order,
            *(spread[1:] / max(spread[0], 1e-9)),
            np.log(n),
        ]
    )


def gauss_integrals(ca: np.ndarray) -> np.ndarray:
    """(n - 1, n - 1) share of the writhe of each pair of segments of a trace (n, 3): solid angle over 2 pi, signed.

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
