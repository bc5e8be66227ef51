"""Clusters of a matrix of similarities: greedy set cover, single and complete linkage."""

from typing import Literal

import numpy as np

Linkage = Literal["cover", "single", "complete"]


def cluster(similarity: np.ndarray, threshold: float, linkage: Linkage = "cover") -> tuple[np.ndarray, np.ndarray]:
    """Clusters at a threshold.

    Args:
        similarity: (n, n), symmetric.
        threshold: members are this similar or more: each to the founder of its cluster ("cover"), to one other of it
            ("single"), or to all others of it ("complete").
        linkage: the rule.

    Returns:
        (n,) labels by falling size, ties by the lowest member, and (k,) representatives: the founder, or the member
        that is most similar to the others in the mean.

    Examples:
        >>> chain = np.array([[1.0, 0.6, 0.2], [0.6, 1.0, 0.6], [0.2, 0.6, 1.0]])
        >>> [cluster(chain, 0.5, rule)[0].tolist() for rule in ("cover", "single", "complete")]
        [[0, 0, 0], [0, 0, 0], [0, 0, 1]]
    """
    if linkage == "cover" or len(similarity) < 2:
        return set_cover(similarity >= threshold)
    return _by_size(_merged(similarity, threshold, linkage), similarity)


def set_cover(neighbours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Clusters by greedy set cover.

    Args:
        neighbours: (n, n) bool, symmetric; the diagonal counts as True.

    Returns:
        (n,) labels and (k,) representatives.

    Examples:
        >>> chain = np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]], dtype=bool)
        >>> set_cover(chain)[0].tolist()
        [0, 0, 0]
    """
    free = np.ones(len(neighbours), dtype=bool)
    covers = neighbours | np.eye(len(neighbours), dtype=bool)
    labels, representatives = np.full(len(neighbours), -1), []
    while free.any():
        sizes = np.where(free, (covers & free).sum(axis=1), -1)  # only a free structure may found a cluster
        founder = int(sizes.argmax())
        members = covers[founder] & free
        labels[members] = len(representatives)
        representatives.append(founder)
        free &= ~members
    return labels, np.array(representatives, dtype=int)


def _merged(similarity: np.ndarray, threshold: float, linkage: Linkage) -> np.ndarray:
    """(n,) cluster of each, from 1, by scipy's agglomeration cut at the threshold."""
    from scipy.cluster.hierarchy import fcluster
    from scipy.cluster.hierarchy import linkage as agglomerate
    from scipy.spatial.distance import squareform

    distance = 1.0 - similarity
    np.fill_diagonal(distance, 0.0)
    # `fcluster` keeps together what is at the cut or nearer; a similarity at the threshold may round to just beyond it.
    return fcluster(agglomerate(squareform(distance, checks=False), linkage), 1.0 - threshold + 1e-12, "distance")


def _by_size(groups: np.ndarray, similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    members.sort(key=lambda own: (-len(own), own[0]))
    labels = np.empty(len(groups), dtype=int)
    for label, own in enumerate(members):
        labels[own] = label
    central = [own[similarity[np.ix_(own, own)].sum(axis=1).argmax()] for own in members]
    return labels, np.array(central, dtype=int)
