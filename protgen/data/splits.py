"""Which items are trained on and which are held out: by the index, by cluster, by CATH topology, or by date."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from protgen.data.groups import Groups
from protgen.documents import date_in, is_day
from protgen.errors import DataError, UsageError

By = Literal["cluster", "topology", "date"]
BY: tuple[By, ...] = ("cluster", "topology", "date")
_TOPOLOGY = re.compile(r"([0-9]+\.[0-9]+\.[0-9]+)(\.[0-9]+)*", re.ASCII)


@dataclass(frozen=True)
class SplitRule:
    """How the split is made.

    Attributes:
        by: "cluster": what the index names, else a draw for each cluster; "topology": a draw for each CATH topology,
            with the clusters it touches; "date": what is of the cutoff or later is held out. The last two do not look
            at the splits of the index.
        cutoff: first date that is held out, YYYY-MM-DD.

    Raises:
        UsageError: if a date is missing where it is needed, or is none.
    """

    by: By = "cluster"
    cutoff: str = ""

    def __post_init__(self) -> None:
        if self.by not in BY:
            raise UsageError(f"--split-by {self.by}: give {', '.join(BY)}")
        if self.by == "date" and not is_day(self.cutoff):
            raise UsageError(f"--date-cutoff {self.cutoff!r}: give the first date that is held out as YYYY-MM-DD")
        if self.by != "date" and self.cutoff:
            raise UsageError("--date-cutoff is of --split-by date; give both")


def drawn(group: str, fraction: float) -> str:
    """The split of a group, drawn by a hash of its name.

    Args:
        group: its name.
        fraction: of groups that are for validation.
    """
    draw = int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) / 2**32
    return "validation" if draw < fraction else "train"


def by_cluster(clusters: Sequence[str], facts: Sequence[Mapping[str, str]], fraction: float) -> list[str]:
    """The split of each item: what its row of the index says, else that of its cluster there, else one drawn for it."""
    named: dict[str, str] = {}
    for cluster, row in zip(clusters, facts, strict=True):
        if row.get("split"):
            named.setdefault(cluster, row["split"])
    return [
        row.get("split") or named.get(cluster) or drawn(cluster, fraction)
        for cluster, row in zip(clusters, facts, strict=True)
    ]


def by_topology(clusters: Sequence[str], topologies: Sequence[Sequence[str]], fraction: float) -> list[str]:
    """The split of each chain, one for all chains that a topology or a cluster connects.

    Args:
        clusters: of the chains.
        topologies: C.A.T of each domain of each chain.
        fraction: of groups that are for validation.

    Raises:
        DataError: if no topology is known.
    """
    if not any(topologies):
        raise DataError("--split-by topology: no chain has a topology; give a column `cath` or --cath FILE")
    names = sorted({code for own in topologies for code in own})
    groups = Groups(len(clusters) + len(names))
    groups.join_alike([*(("cluster", cluster) for cluster in clusters), *([""] * len(names))])
    place = {name: len(clusters) + k for k, name in enumerate(names)}
    for k, own in enumerate(topologies):
        for code in own:
            groups.join(k, place[code])
    # A group is named by its topologies, or its cluster: not by the chain that came first.
    named: dict[int, str] = {}
    for name in reversed(names):
        named[groups.first(place[name])] = name
    return [drawn(named.get(groups.first(k), cluster), fraction) for k, cluster in enumerate(clusters)]


def topologies_in(text: str, where: str) -> tuple[str, ...]:
    """The topologies C.A.T of a cell with CATH codes, separated by blanks, commas or semicolons.

    Raises:
        DataError: if there is something else.
    """
    found = []
    for word in re.split(r"[\s,;]+", text.strip()):
        code = _TOPOLOGY.fullmatch(word)
        if word and not code:
            raise DataError(f"{where}: {word[:30]!r} is no CATH code; give C.A.T.H, such as 1.10.8.10, or nothing")
        if code:
            found.append(code.group(1))
    return tuple(sorted(set(found)))


def by_date(facts: Sequence[Mapping[str, str]], cutoff: str) -> list[str]:
    """The split of each chain: "validation" from the cutoff on; "" for a chain without a date, which is left out.

    Raises:
        DataError: if no chain has a date, or one is no date.
    """
    found = []
    for row in facts:
        cell = (row.get("date") or "").strip()
        try:
            found.append("" if not cell else "validation" if date_in(cell) >= cutoff else "train")
        except ValueError:
            raise DataError(
                f"index.csv: column date: {cell[:40]!r} of {row.get('file')} is no date; give YYYY-MM-DD"
            ) from None
    if not any(found):
        raise DataError("--split-by date: no chain has a date; give a column `date` of YYYY-MM-DD in index.csv")
    return found
