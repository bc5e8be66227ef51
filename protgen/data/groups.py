"""Groups that grow by joining: a group is named by the first of its members."""

from collections.abc import Hashable, Sequence

import numpy as np


class Groups:
    """Disjoint groups of the numbers 0 to n - 1.

    Args:
        n: how many.

    Examples:
        >>> groups = Groups(4)
        >>> groups.join(3, 1)
        >>> groups.labels().tolist()
        [0, 1, 2, 1]
    """

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def first(self, k: int) -> int:
        """The first member of the group of k."""
        root = k
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[k] != root:  # the way is short from now on
            self._parent[k], k = root, self._parent[k]
        return root

    def join(self, a: int, b: int) -> None:
        """Make one group of those of a and b."""
        low, high = sorted((self.first(a), self.first(b)))
        self._parent[high] = low

    def join_alike(self, names: Sequence[Hashable]) -> None:
        """Join those that have one name; those whose name is empty stay as they are."""
        first: dict[Hashable, int] = {}
        for k, name in enumerate(names):
            if name:
                self.join(k, first.setdefault(name, k))

    def labels(self) -> np.ndarray:
        """(n,) the first member of each one's group."""
        return np.array([self.first(k) for k in range(len(self._parent))], dtype=int)
