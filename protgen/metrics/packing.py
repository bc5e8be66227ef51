"""How a backbone packs, without side chains: neighbours in front of each residue, and what touches what.

Pure functions of coordinates in Å; `soundness` judges by them.
"""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from protgen.structure.ideal import add_cb
from protgen.structure.protein import BACKBONE, CA, C, N, Protein

# Rosetta's layer selection by side-chain neighbours (its defaults): a soft count of CB atoms in a cone along CA-CB.
CONE_DISTANCE = 9.0  # Å, where a neighbour counts half
CONE_SHIFT, CONE_POWER = 0.5, 2.0  # ((cos angle + shift) / (1 + shift))^power
CONE_REACH = 16.0  # Å: a neighbour further away counts less than 0.001
TOUCH = 10.0  # Å, CA-CA
LEAST_APART = 6  # residues of a chain: nearer ones touch by being neighbours
LEAST_TOUCHES = 4  # CA pairs that make two elements of structure neighbours


def side_neighbours(protein: Protein) -> np.ndarray:
    """(l,) neighbours in the direction of each side chain, on ideal CB atoms; NaN where N, CA or C is missing.

    Sum over other residues of 1 / (1 + exp(d - 9)) ((cos a + 0.5) / 1.5)^2, with d the CB-CB distance in Å, a the angle
    between CA-CB and CB-CB, and 0 below cos a = -0.5. Rosetta calls residues with 5.2 or more core, below 2 surface.
    """
    result = np.full(protein.length, np.nan)
    known = np.flatnonzero(protein.mask[:, [N, CA, C]].all(axis=1))
    if not len(known):
        return result
    cb = add_cb(protein.atoms[known][:, BACKBONE])
    out = cb - protein.atoms[known, CA]
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    pairs = KDTree(cb).query_pairs(CONE_REACH, output_type="ndarray")
    i, j = np.concatenate([pairs, pairs[:, ::-1]]).T
    towards = cb[j] - cb[i]
    d = np.linalg.norm(towards, axis=1)
    cosine = np.einsum("ni,ni->n", towards, out[i]) / np.maximum(d, 1e-9)
    weight = np.clip((cosine + CONE_SHIFT) / (1.0 + CONE_SHIFT), 0.0, None) ** CONE_POWER
    weight /= 1.0 + np.exp(d - CONE_DISTANCE)
    result[known] = np.bincount(i, weight, minlength=len(known))
    return result


def touching(protein: Protein) -> np.ndarray:
    """(n, 2) residue pairs i < j with CA within 10 Å, j - i >= 6 in file order or in different chains."""
    index = np.flatnonzero(protein.mask[:, CA])
    if len(index) < 2:
        return np.empty((0, 2), int)
    pairs = index[np.sort(KDTree(protein.atoms[index, CA]).query_pairs(TOUCH, output_type="ndarray"), axis=1)]
    i, j = pairs.T
    return pairs[(j - i >= LEAST_APART) | (protein.chain_ids[i] != protein.chain_ids[j])]


def weakest_joint(pairs: np.ndarray, length: int, margin: int) -> float:
    """Least number of touching pairs across any cut of a chain, over the residues of the smaller side.

    Args:
        pairs: (n, 2) pairs i < j of residues of the chain, counted from 0.
        length: residues of the chain.
        margin: residues that either side has at least.

    Returns:
        Pairs a residue; NaN if the chain is shorter than two margins.
    """
    cuts = np.arange(margin, length - margin + 1)
    if not len(cuts):
        return np.nan
    opened, closed = (np.bincount(side + 1, minlength=length + 1) for side in pairs.T)
    across = np.cumsum(opened - closed)  # at k: pairs with i < k <= j
    return float((across[cuts] / np.minimum(cuts, length - cuts)).min())


def share_apart(pairs: np.ndarray, elements: list[tuple[int, int]]) -> float:
    """Share of the residues of helices and strands that are not in the largest group of touching ones.

    Two elements touch if four pairs of their residues do.

    Args:
        pairs: (n, 2) touching pairs of residues.
        elements: first residue of each, and the one past its last; at least one residue each.

    Returns:
        A fraction; 0 without elements.
    """
    if not elements:
        return 0.0
    sizes = np.array([stop - start for start, stop in elements])
    owner = np.full(1 + max(pairs.max(initial=0), elements[-1][1]), -1)
    for number, (start, stop) in enumerate(elements):
        owner[start:stop] = number
    of = owner[pairs]
    of = of[(of >= 0).all(axis=1)]
    n = len(elements)
    touches = np.zeros((n, n), int)
    np.add.at(touches, (of[:, 0], of[:, 1]), 1)
    _, group = connected_components(coo_array(touches + touches.T >= LEAST_TOUCHES), directed=False)
    return float(1.0 - np.bincount(group, sizes).max() / sizes.sum())


def bare_end(covered: np.ndarray) -> int:
    """Length of the longer run of False at either end of a boolean array."""
    if not covered.any():
        return len(covered)
    return int(max(covered.argmax(), covered[::-1].argmax()))
