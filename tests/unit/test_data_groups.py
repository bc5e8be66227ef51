"""Groups by joining, against a search of connected components."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from protgen.data.groups import Groups


def test_groups_are_connected_components_named_by_their_first_members():
    rng = np.random.default_rng(0)
    for n, edges in ((1, 0), (30, 12), (200, 150), (200, 400)):
        pairs = rng.integers(0, n, (edges, 2))
        groups = Groups(n)
        for a, b in pairs.tolist():
            groups.join(a, b)
        _, component = connected_components(coo_matrix((np.ones(edges), pairs.T), (n, n)), directed=False)
        first = np.array([np.flatnonzero(component == c)[0] for c in component])
        assert groups.labels().tolist() == first.tolist()


def test_those_of_one_name_are_joined_and_those_without_are_not():
    groups = Groups(6)
    groups.join_alike(["x", "", "y", "x", "", "y"])
    assert groups.labels().tolist() == [0, 1, 2, 0, 4, 2]
