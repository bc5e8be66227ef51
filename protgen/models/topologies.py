"""p(y | length) of secondary structure with its strand pairing: natives' topologies, fitted to a length.

Secondary structure that is drawn without pairing (`models/blueprints.py`) asks for strands that may have no partner.
Here both are drawn at once: the runs of one compact native and its ladders, with residues put into its loops or taken
out of them until it has the length. What is kept of a native is this string and no coordinate; it travels with a model
as `topologies.json`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Generator

from protgen.conditions.cath import Cath
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.strand_pairing import Ladder, StrandPairing, ladders_of
from protgen.data.fields import CATH
from protgen.data.folds import fold_nodes, fold_order
from protgen.data.store import Item, Store
from protgen.errors import CheckpointError, ProtgenError
from protgen.metrics.reference_data import typical_radius_of_gyration
from protgen.models.blueprints import COMPACT
from protgen.models.files import load_json
from protgen.structure.dssp import to_string
from protgen.structure.trace import radius_of_gyration
from protgen.types import JSON

FILE = "topologies.json"
REACH = 6  # residues: natives no further from the length asked for are drawn from
LEAST_NATIVES = 50  # the reach grows until so many are within it
LEAST_MEMBERS = 5  # the same for members of a fold, of which there are few
LEAST_ELEMENT = {"H": 4, "E": 3}  # shorter runs are no elements: they come and go between relatives
SHORTEST_LOOP = 2  # residues left of a loop between two elements: a turn of a hairpin

Element = tuple[str, int, int]


@dataclass(frozen=True)
class Topology:
    """Secondary structure and strand pairing of one chain.

    Attributes:
        codes: H, E and L, one letter a residue.
        ladders: as `StrandPairing` has them, residues from 1.
        fold: CATH code C.A.T of the native; empty where it is not known.
    """

    codes: str
    ladders: tuple[Ladder, ...] = ()
    fold: str = ""

    def to_text(self) -> str:
        """Runs, then ladders: `L2E6L3E6 3-8:17-12`."""
        runs = "".join(f"{code}{len(list(run))}" for code, run in groupby(self.codes))
        return " ".join([runs, *(f"{a}-{b}:{c}-{d}" for a, b, c, d in self.ladders)])

    @classmethod
    def from_text(cls, text: str, fold: str = "") -> "Topology":
        """What `to_text` gave, with the CATH code.

        Raises:
            UsageError: if it cannot be read.
        """
        runs, _, ladders = text.partition(" ")
        pairing = StrandPairing.parse(f"only {ladders}".strip())
        return cls(SecondaryStructure.parse(runs).codes, pairing.ladders, fold)

    def conditions(self) -> tuple[SecondaryStructure, StrandPairing]:
        """What is asked of a design of this topology: no other strands are to pair."""
        return SecondaryStructure(self.codes), StrandPairing(self.ladders, complete=True)


@dataclass(frozen=True)
class TopologyPrior:
    """Topologies of natives, from which those of designs are drawn.

    Attributes:
        items: in order of their length.
        members: natives whose CATH code is known, drawn from where a fold is asked for; some are among the items.
        least: natives near a length among which one is drawn.
    """

    items: tuple[Topology, ...]
    members: tuple[Topology, ...] = ()
    least: int = LEAST_NATIVES

    @cached_property
    def folds(self) -> frozenset[str]:
        """The CATH codes of the members, at all levels."""
        return frozenset(node for item in self.members for node in fold_nodes(item.fold))

    @property
    def codes(self) -> list[str]:
        """The CATH topologies of the members, in the order of their numbers."""
        return sorted({item.fold for item in self.members}, key=fold_order)

    def of_fold(self, code: str) -> "TopologyPrior":
        """The members of a CATH code.

        Args:
            code: one of `folds`.
        """
        return TopologyPrior(tuple(item for item in self.members if code in fold_nodes(item.fold)), least=LEAST_MEMBERS)

    def reach(self, length: int) -> int:
        """Residues by which natives drawn for a length differ from it at the most."""
        return int(max(REACH, np.sort(self.apart(length))[min(self.least, len(self.items)) - 1]))

    def apart(self, length: int) -> np.ndarray:
        """(n,) residues by which the items differ from a length."""
        return np.abs(np.array([len(item.codes) for item in self.items]) - length)

    @cached_property
    def by_kinds(self) -> dict[str, list[Topology]]:
        """Natives of each sequence of elements, such as EEHE."""
        found: dict[str, list[Topology]] = {}
        for item in self.items:
            found.setdefault(kinds_of(elements_of(item.codes)), []).append(item)
        return found

    def draw(self, length: int, rng: Generator) -> Topology:
        """One of the natives near a length, all alike, fitted to it."""
        near = np.flatnonzero(self.apart(length) <= self.reach(length))
        return fitted(self.items[int(near[int(torch.randint(0, len(near), (), generator=rng))])], length, rng)

    def draw_best(
        self, length: int, score: Callable[[str], float], enough: float, rng: Generator, tries: int = 100
    ) -> Topology:
        """The topology with the highest score of its codes among a number drawn; stops at one that is enough."""
        best, most = self.draw(length, rng), -float("inf")
        for number in range(tries):
            drawn = best if number == 0 else self.draw(length, rng)
            if (value := score(drawn.codes)) > most:
                best, most = drawn, value
            if most >= enough:
                break
        return best

    def to_json(self) -> JSON:
        """As written to `topologies.json`."""
        plain: JSON = {"items": [item.to_text() for item in self.items]}
        known = {fold: [item.to_text() for item in self.of_fold(fold).items] for fold in self.codes}
        return plain | ({"members": known} if known else {})


def elements_of(codes: str) -> list[Element]:
    """(H or E, first residue, one past the last), from 0, of each helix and strand that is long enough to count."""
    found, place = [], 0
    for code, run in groupby(codes):
        count = len(list(run))
        if count >= LEAST_ELEMENT.get(code, count + 1):
            found.append((code, place, place + count))
        place += count
    return found


def kinds_of(elements: Sequence[Element]) -> str:
    """The sequence of elements, a letter each."""
    return "".join(kind for kind, *_ in elements)


def fitted(topology: Topology, length: int, rng: Generator) -> Topology:
    """A topology of exactly that many residues: loops grow or shrink a residue at a time, at random places.

    Loops inside keep two residues, or as many as they had. If that is not enough, ends of the longest elements go.
    """
    codes, ladders = topology.codes, topology.ladders
    while len(codes) != length:
        open_places = loop_places(codes, ladders, shrinking=len(codes) > length)
        if not open_places:
            codes, ladders = without_end(codes, ladders) if len(codes) > length else (codes + "L", ladders)
            continue
        place = open_places[int(torch.randint(0, len(open_places), (), generator=rng))]
        step = 1 if len(codes) < length else -1
        codes = codes[:place] + "L" + codes[place:] if step > 0 else codes[:place] + codes[place + 1 :]
        ladders = tuple(moved(ladder, place, step) for ladder in ladders)
    return Topology(codes, ladders)


def moved(ladder: Ladder, place: int, step: int) -> Ladder:
    """A ladder after so many residues came or went at a place, from 0."""
    a, b, c, d = (n + step * (n > place) for n in ladder)
    return a, b, c, d


def loop_places(codes: str, ladders: Sequence[Ladder], shrinking: bool) -> list[int]:
    """Residues of loops, from 0, that may go, or before which one may come; those that pair are left alone."""
    paired = {n for a, b, c, d in ladders for n in (*range(a, b + 1), *range(min(c, d), max(c, d) + 1))}
    free = [code == "L" and place + 1 not in paired for place, code in enumerate(codes)]
    places, place = [], 0
    for is_free, run in groupby(free):
        count = len(list(run))
        inside = place > 0 and place + count < len(codes)
        if is_free and not (shrinking and inside and count <= SHORTEST_LOOP):
            places += range(place, place + count)
        place += count
    return places


def without_end(codes: str, ladders: Sequence[Ladder]) -> tuple[str, tuple[Ladder, ...]]:
    """A chain less its last residue, and its ladders less the pairs of that residue."""
    last = len(codes)
    kept = []
    for a, b, c, d in ladders:
        way = 1 if d > c else -1
        pairs = [(a + k, c + way * k) for k in range(b - a + 1) if last not in (a + k, c + way * k)]
        if len(pairs) > 1:
            kept.append((pairs[0][0], pairs[-1][0], pairs[0][1], pairs[-1][1]))
    return codes[:-1], tuple(kept)


def topology_of(item: Item) -> Topology:
    """The topology of an item of a store, with its CATH code."""
    codes = to_string(np.asarray(item.labels)).replace("C", "L")
    return Topology(codes, ladders_of(np.asarray(item.atoms, dtype=float)), item.facts.get(CATH, ""))


def fit_topologies(store: Store) -> TopologyPrior:
    """Topologies of the compact training items of a store, one for each sequence cluster: the nearest to
    the usual Rg.

    Compact is an Rg within 15 % of natives of the length, as for blueprints; items with a single strand are left out.
    Those with a CATH code are members of it, several of a cluster too.
    """
    best: dict[str, tuple[float, Topology]] = {}
    members: set[Topology] = set()
    for index in store.indices("train"):
        item = store[int(index)]
        ca = np.asarray(item.atoms, dtype=float)[:, 1]
        off = abs(radius_of_gyration(ca) / typical_radius_of_gyration(len(ca)) - 1)
        nearest = off < best.get(item.cluster, (np.inf,))[0]
        if off > COMPACT or not (nearest or CATH in item.facts):
            continue
        topology = topology_of(item)
        if sum(code == "E" for code, _ in groupby(topology.codes)) == 1:
            continue
        members |= {topology} if topology.fold else set()
        if nearest:
            best[item.cluster] = float(off), replace(topology, fold="")
    return TopologyPrior(in_order(own for _, own in best.values()), in_order(members))


def in_order(topologies: Iterable[Topology]) -> tuple[Topology, ...]:
    """Topologies by length, and by their text."""
    return tuple(sorted(topologies, key=lambda own: (len(own.codes), own.to_text(), own.fold)))


def load_topologies(folder: Path) -> TopologyPrior | None:
    """The topologies of a model folder, None if it has none.

    Raises:
        CheckpointError: if the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    value = load_json(path)
    try:
        known = value.get("members", {}).items()
        members = in_order(Topology.from_text(text, Cath(fold).code) for fold, texts in known for text in texts)
        return TopologyPrior(tuple(Topology.from_text(text) for text in value["items"]), members)
    except (KeyError, TypeError, ValueError, AttributeError, ProtgenError) as error:
        raise CheckpointError(f"{path}: damaged ({error}); get the model again") from error
