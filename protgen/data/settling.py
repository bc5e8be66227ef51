"""Which of what was read stays, in which cluster, and on which side of the split.

Copies are dropped by name and conformers noted (`data/relatives.py`); relatives by sequence or by backbone are of one
cluster (`data/clusters.py`); splits go by cluster, topology or date (`data/splits.py`).
"""

from collections.abc import Sequence
from pathlib import Path

from protgen.data.clusters import Clustering, join_sequences
from protgen.data.folds import item_topologies
from protgen.data.gathering import Gathered
from protgen.data.groups import Groups
from protgen.data.relatives import LEAST_TYPES, Chain, join_by_parts, relatives_of
from protgen.data.sources import Source
from protgen.data.splits import SplitRule, by_cluster, by_date, by_topology
from protgen.errors import DataError
from protgen.geometry.native_size import native_radius
from protgen.types import JSON


def settle(gathered: Gathered, facts: Sequence[dict[str, str]], clustering: Clustering, jobs: int) -> JSON:
    """Drop copies, note conformers, and give each item its cluster.

    A chain that the index gives a cluster keeps it. The others take that of their relatives: the index's, if one of
    these has one, else the name of the first of them.

    Args:
        gathered: changed in place.
        facts: row of the index of each unit.
        clustering: when two sequences are of one cluster.
        jobs: processes that compare sequences.

    Returns:
        How clusters were made, for the manifest.
    """
    related = relatives_of(gathered.chains)
    made = {"program": "index"}
    if not all(row.get("cluster40") for row in facts):
        made = join_relatives(gathered.chains, related.groups, clustering, jobs)
    labels = related.groups.labels().tolist()
    known: dict[int, str] = {}  # of each group: the first cluster that the index names
    for row, label in zip(facts, labels, strict=True):
        if row.get("cluster40"):
            known.setdefault(label, row["cluster40"])
    kept = []
    for row in gathered.rows:
        label = labels[row.unit]
        if gathered.chains[row.unit].id not in related.copy_of:
            own = facts[row.unit].get("cluster40") or known.get(label)
            row.cluster = own or gathered.chains[label].id
            kept.append(row)
    for name, original in related.copy_of.items():
        gathered.drop(name, f"same backbone as {original}, moved")
    gathered.rows = kept
    gathered.conformer_of = related.conformer_of
    return made


def join_relatives(chains: Sequence[Chain], groups: Groups, clustering: Clustering, jobs: int) -> JSON:
    """Join chains whose sequences are alike, and complexes that have such chains.

    Args:
        chains: chains and complexes.
        groups: of them; changed in place.
        clustering: when two sequences are of one cluster.
        jobs: processes that compare sequences.

    Returns:
        How, for the manifest.
    """
    if not any(chain.ends for chain in chains):
        return join_sequences(groups, [chain.sequence for chain in chains], clustering, jobs)
    owners = [k for k, chain in enumerate(chains) for _ in chain.sequences]
    texts = [text for chain in chains for text in chain.sequences]
    parts = Groups(len(texts))
    parts.join_alike([text if len(set(text)) >= LEAST_TYPES else b"" for text in texts])
    made = join_sequences(parts, texts, clustering, jobs)
    join_by_parts(groups, parts, owners)
    return made


def split_items(
    gathered: Gathered, sources: Sequence[Source], fraction: float, rule: SplitRule, topologies: Path | None
) -> None:
    """Give each item its split; drop those that the rule knows nothing of.

    Args:
        gathered: changed in place.
        sources: the files.
        fraction: of clusters or topologies that are for validation.
        rule: what the split goes by.
        topologies: CATH's list of domains, for a split by topology.
    """
    rows = gathered.rows
    facts = [sources[row.source].facts for row in rows]
    clusters = [row.cluster for row in rows]
    if rule.by == "date":
        splits = by_date(facts, rule.cutoff)
    elif rule.by == "topology":
        splits = by_topology(clusters, item_topologies(gathered, sources, topologies), fraction)
    else:
        splits = by_cluster(clusters, facts, fraction)
    for row, split in zip(rows, splits, strict=True):
        row.split = split
        if not split:
            gathered.drop(row.id, "no date in the index, by which the split is made")
    gathered.rows = [row for row in rows if row.split]


def drop_extended(gathered: Gathered, percentile: float) -> None:
    """Drop the items that are larger than this percentile of natives of their length.

    The measure is natives and not the set itself, so that a set of nothing but globules, or of nothing but rods, is
    judged as each of its chains would be in any other. Complexes are left out: those natives are single chains.
    """
    kept = []
    for row in gathered.rows:
        limit = native_radius(row.facts["length"], percentile)
        if "chains" in row.facts or row.facts["rg"] <= limit:
            kept.append(row)
        else:
            share = f"{percentile:g} % of natives of {row.facts['length']} residues"
            gathered.drop(row.id, f"extended: Rg {row.facts['rg']:.1f} Å; {share} have at most {limit:.1f} Å")
    gathered.rows = kept
    if not kept:
        raise DataError(f"no structure passed the filters; all are extended; raise --rg-percentile {percentile:g}")
