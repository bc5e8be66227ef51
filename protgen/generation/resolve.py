"""What a request leaves open is drawn here, for each design from its own random stream: length, places, layout."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Generator

from protgen.conditions.base import Condition, Conditions
from protgen.conditions.contact_map import ContactMap
from protgen.conditions.contacts import Contacts
from protgen.conditions.fold_class import FoldClass
from protgen.conditions.fractions import Fractions
from protgen.conditions.motif import Motif, share_agreeing
from protgen.conditions.partial import Partial
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.strand_pairing import StrandPairing
from protgen.generation.conflicts import feasible_lengths, find
from protgen.generation.energies import Anchor
from protgen.generation.motif_projection import anchor_of
from protgen.models.layouts import SHORTEST, LayoutPrior, complete_request
from protgen.models.pairing import draw_pairing
from protgen.models.topologies import Topology, TopologyPrior

RISE = {"H": 1.5, "E": 3.3}  # Å a residue along an alpha helix and a strand
LAYOUT_TRIES = 60  # layouts drawn to find one of a class, or one that suits a motif or contacts
TOPOLOGY_TELLING = (
    Motif,
    Partial,
    ContactMap,
    Contacts,
    StrandPairing,
)  # what else says where strands are, or who pairs
CLASS_ROOM = 0.06  # of the shares, inside the limits of a class: strands of a design end sooner than asked


@dataclass(frozen=True)
class Plan:
    """One design before it is made.

    Attributes:
        index: i of design i.
        candidate: 0, or the number of a further candidate for the same design.
        length: residues of the chain the network makes.
        asked: conditions of the user, with what they left open drawn.
        drawn: conditions added.
        rng: the generator its noise comes from.
    """

    index: int
    candidate: int
    length: int
    asked: Conditions
    drawn: tuple[Condition, ...]
    rng: Generator

    @property
    def noise(self) -> float | None:
        """Noise of the structure it starts from, None if it starts from noise alone."""
        partial = find(self.asked, Partial)
        return None if partial is None else partial.noise

    def anchor(self) -> Anchor | None:
        """The frame of the motif or the partial structure that is asked for."""
        motif, partial = find(self.asked, Motif), find(self.asked, Partial)
        if motif is not None:
            return anchor_of(motif)
        return None if partial is None else Anchor(tuple(range(partial.length)), partial.backbone())


def sample_generator(seed: int, index: int, candidate: int = 0) -> Generator:
    """The random stream of sample `index` of a run: a function of (seed, index, candidate) alone.

    NumPy's SeedSequence mixes them into one well-spread seed; neighbouring seeds give unrelated streams.
    """
    entropy = [seed, index] if candidate == 0 else [seed, index, candidate]
    mixed = np.random.SeedSequence(entropy).generate_state(2, np.uint32)
    return Generator().manual_seed(int(mixed[0]) << 31 ^ int(mixed[1]))


def plan_design(
    conditions: Conditions,
    layouts: LayoutPrior | None,
    seed: int,
    index: int,
    candidate: int = 0,
    topologies: TopologyPrior | None = None,
) -> Plan:
    """Draw the length, the places of a motif and the layout of one design, where they are open.

    With topologies its strand pairing is drawn too, unless something else is asked that tells where strands are.
    """
    rng = sample_generator(seed, index, candidate)
    lengths = feasible_lengths(conditions)
    structure = find(conditions, SecondaryStructure)
    if structure is not None:
        residues = structure.length
    else:
        residues = lengths[int(torch.randint(0, len(lengths), (), generator=rng))]  # drawn even of one: streams stay
    motif = find(conditions, Motif)
    asked = conditions
    if motif is not None:
        layout = find(conditions, ContactMap)
        codes = structure.codes if structure else layout.layout if layout else None
        placed = motif.place(residues, rng, codes)
        asked, motif = conditions.replaced(motif, placed), placed
    drawn: list[Condition] = []
    if topologies is not None and not any(isinstance(c, TOPOLOGY_TELLING) for c in conditions):
        drawn += draw_open(conditions, topologies, residues, structure, rng)
    elif structure is None:
        found = draw_layout(conditions, layouts, residues, motif, rng)
        drawn += [] if found is None else [found]
    return Plan(index, candidate, residues, asked, tuple(drawn), rng)


def draw_open(
    conditions: Conditions, topologies: TopologyPrior, length: int, structure: SecondaryStructure | None, rng: Generator
) -> tuple[Condition, ...]:
    """Secondary structure and strand pairing, or the pairing alone of structure that is asked for."""
    if structure is None:
        return draw_topology(conditions, topologies, length, rng).conditions()
    found = draw_pairing(topologies, structure.codes.replace("C", "L"), rng)
    return () if found is None else (found,)


def draw_topology(conditions: Sequence[Condition], topologies: TopologyPrior, length: int, rng: Generator) -> Topology:
    """Secondary structure with its strand pairing, near the fractions that are asked for, or of the class."""
    fractions, wanted = find(conditions, Fractions), find(conditions, FoldClass)

    def score(codes: str) -> float:
        shares = {} if fractions is None else {"H": fractions.helix, "E": fractions.strand}
        off = max((abs(codes.count(c) / length - share) for c, share in shares.items() if share is not None), default=0)
        return min(0.0, 0.03 - off) + (0.0 if wanted is None else class_score(wanted, codes) - 1)

    return topologies.draw_best(length, score, 0.0, rng)


def draw_layout(
    conditions: Sequence[Condition], layouts: LayoutPrior | None, length: int, motif: Motif | None, rng: Generator
) -> SecondaryStructure | None:
    """A layout for a design whose secondary structure is open: near its fractions, of its class, around its motif."""
    fractions, wanted = find(conditions, Fractions), find(conditions, FoldClass)
    blocks, contacts, pairing = (find(conditions, kind) for kind in (ContactMap, Contacts, StrandPairing))
    if blocks is not None and layouts is not None:
        return SecondaryStructure(blocks.layout)
    if wanted is None and motif is None and contacts is None and pairing is None:
        return complete_request(layouts, length, fractions, rng)
    own, places = (motif.codes(), list(motif.indices())) if motif else ("", [])
    if pairing is not None:
        strands = pairing.residues()
        own, places = own + "E" * len(strands), [*places, *(n - 1 for n in strands)]
    best, most = None, -1.0
    for _ in range(LAYOUT_TRIES):
        drawn = complete_request(layouts, length, fractions, rng)
        if drawn is None:
            return None
        codes = overlay(drawn.codes, own, places)
        in_class = 1.0 if wanted is None else class_score(wanted, codes)
        possible = 1.0 if contacts is None else share_possible(contacts, codes)
        score = share_agreeing(own, drawn.codes, places) + 2 * in_class + possible
        if score > most:
            best, most = SecondaryStructure(codes), score
        if score == 4:
            break
    return best


def class_score(wanted: FoldClass, codes: str) -> float:
    """0 for a layout that is not of the class, 1 for one well inside its limits, and from a half on between them."""
    room = wanted.room(*(codes.count(code) / len(codes) for code in "HE"))
    return 0.0 if not wanted.holds(codes.replace("X", "L")) else min(1.0, 0.5 + 0.5 * room / CLASS_ROOM)


def share_possible(contacts: Contacts, codes: str) -> float:
    """Share of the pairs that a layout lets come together: the ends of one helix or strand cannot."""
    good = 0
    for i, j, _, upper in contacts.pairs:
        between = set(codes[i - 1 : j])
        rise = RISE.get(between.pop(), 0.0) if len(between) == 1 else 0.0
        good += rise * (j - i) <= upper + 1.0
    return good / len(contacts.pairs)


def overlay(codes: str, own: str, places: Sequence[int]) -> str:
    """A layout with a motif's helices and strands in their places; what is cut too short by them becomes free.

    Where the motif is coil the layout is left free: out of its protein, strands without a partner are called coil.
    """
    letters = list(codes)
    for code, place in zip(own, places, strict=True):
        letters[place] = code if code in "HE" else "L" if letters[place] == "L" else "X"
    kept = set(places)
    place = 0
    for code, run in groupby("".join(letters)):
        count = len(list(run))
        inside = range(place, place + count)
        if count < SHORTEST.get(code, 0) and not kept & set(inside):
            letters[place : place + count] = "X" * count
        place += count
    return "".join(letters)
