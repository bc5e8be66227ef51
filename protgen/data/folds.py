"""CATH codes of the items of a store: which they are, and the field that a condition is learned from.

A code has a class, an architecture and a topology: 3, 3.40, 3.40.50. What one level says includes what those above say.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from protgen.data.domains import pdb_id_of, read_topologies, topologies_of
from protgen.data.fields import CATH, Field
from protgen.data.splits import topologies_in
from protgen.errors import DataError

if TYPE_CHECKING:
    from protgen.data.gathering import Gathered
    from protgen.data.sources import Source

LEVELS = ("class", "architecture", "topology")
LEAST_MEMBERS = 8  # training items of a code that is a category of its own


def fold_nodes(code: str) -> list[str]:
    """A CATH code and those above it, from the class down; none of an empty one.

    Examples:
        >>> fold_nodes("3.40.50")
        ['3', '3.40', '3.40.50']
    """
    parts = code.split(".") if code else []
    return [".".join(parts[: k + 1]) for k in range(len(parts))]


def fold_order(code: str) -> tuple[int, list[int]]:
    """What sorts CATH codes level by level, and by number within one."""
    numbers = [int(part) for part in code.split(".")]
    return len(numbers), numbers


def encode_folds(topologies: Sequence[str], splits: Sequence[str]) -> tuple[Field, list[np.ndarray]]:
    """The field of CATH codes: of each item the categories of its class, architecture and topology.

    Categories are the codes of all levels that at least eight training items have. An item of a rarer one is unknown at
    that level, and known at those above.

    Args:
        topologies: C.A.T of each item, empty where it is not known.
        splits: of the items.

    Returns:
        The field, and for each item (3,) places among its categories, -1 where unknown.

    Raises:
        DataError: if no code has so many training items.
    """
    nodes = [fold_nodes(code) for code in topologies]
    counts = Counter(node for own, split in zip(nodes, splits, strict=True) if split == "train" for node in own)
    values = tuple(sorted((node for node, count in counts.items() if count >= LEAST_MEMBERS), key=fold_order))
    if not values:
        most = max(counts.values(), default=0)
        raise DataError(
            f"CATH codes: each has {most} training items that are whole chains or domains at the most, "
            f"{LEAST_MEMBERS} are needed; leave out --topologies"
        )
    places = {node: place for place, node in enumerate(values)}
    about = "places of CATH class, architecture and topology among the categories; -1 unknown, or of few training items"
    field = Field(CATH, "chain", "int64", (len(LEVELS),), about, values=values)
    unknown = [""] * len(LEVELS)
    return field, [np.array([places.get(node, -1) for node in own or unknown], dtype=np.int64) for own in nodes]


def name_folds(gathered: "Gathered", sources: "Sequence[Source]", path: Path | None) -> list[str]:
    """The CATH topology of each item, which becomes one of its facts; empty where it is unknown.

    A crop has none: a part of a fold is another one. Nor has a chain of several topologies.

    Args:
        gathered: the items; their facts are changed in place.
        sources: the files.
        path: CATH's list of domains; None for none.

    Raises:
        DataError: if a cell of the index or the list cannot be read.
    """
    found = []
    for row, known in zip(gathered.rows, item_topologies(gathered, sources, path), strict=True):
        whole = row.id == gathered.chains[row.unit].id
        code = known[0] if whole and len(known) == 1 else ""
        if code:
            row.facts[CATH] = code
        found.append(code)
    return found


def item_topologies(gathered: "Gathered", sources: "Sequence[Source]", path: Path | None) -> list[tuple[str, ...]]:
    """CATH topologies of each item: of its boundaries, of the index (column cath), and of CATH's list.

    Raises:
        DataError: if a cell of the index or the list cannot be read.
    """
    listed = read_topologies(path) if path is not None else {}
    found = []
    for row in gathered.rows:
        source = sources[row.source]
        text = source.facts.get("cath") or ""
        own = {*gathered.topologies[row.unit], *topologies_in(text, f"index.csv: column cath of {source.id}")}
        pdb = (source.facts.get("pdb") or pdb_id_of(source.id)).lower()
        own |= {*topologies_of(gathered.chains[row.unit].id, pdb, gathered.names[row.unit], listed)}
        found.append(tuple(sorted(own)))
    return found
