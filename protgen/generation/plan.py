"""The plan of one design: what its request leaves open is drawn from the design's own random stream."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Generator

from protgen.conditions.base import Condition, Conditions, EnergyCondition
from protgen.conditions.roles import Anchor, Anchored, Assembly, FixedResidues, Ring, StartingStructure
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.strand_pairing import StrandPairing
from protgen.generation.conflicts import find
from protgen.generation.drawing import draw_open, draw_topology, fixed_codes
from protgen.generation.job import Job
from protgen.generation.planner import Assignment, GuidanceWeights
from protgen.generation.together import TOGETHER
from protgen.types import CHAIN_GAP


@dataclass(frozen=True)
class Plan:
    """One design before it is made.

    Attributes:
        job: the request it is of.
        index: i of design i.
        candidate: 0, or the number of a further candidate for the same design.
        length: residues of one chain.
        assignments: those of the job, of conditions with what they left open drawn.
        drawn: conditions added.
        rng: the generator its noise comes from.
    """

    job: Job
    index: int
    candidate: int
    length: int
    assignments: tuple[Assignment, ...]
    drawn: tuple[Condition, ...]
    rng: Generator

    @property
    def asked(self) -> Conditions:
        """Conditions of the user, with their weights."""
        entries = self.assignments
        return Conditions(tuple(entry.condition for entry in entries), tuple(entry.weight for entry in entries))

    @property
    def guidance(self) -> GuidanceWeights:
        """Weights of classifier-free guidance."""
        return self.job.guidance

    @property
    def energies(self) -> list[tuple[EnergyCondition, float]]:
        """Conditions that are met by the gradient of their energy, with weights."""
        acting = [entry for entry in self.assignments if entry.mechanism == "energy"]
        return [(entry.condition, entry.weight) for entry in acting if isinstance(entry.condition, EnergyCondition)]

    @property
    def known(self) -> list[Condition]:
        """What the network is given: conditions it has learned, asked for or drawn."""
        given = [entry.condition for entry in self.assignments if entry.mechanism in ("learned", "construction")]
        names = self.job.model.conditions.names
        return [condition for condition in (*given, *self.drawn) if condition.learned_name in names]

    @property
    def motif(self) -> FixedResidues | None:
        """The residues that are to be held, in their place."""
        return find(self.asked, FixedResidues)

    @property
    def projected(self) -> FixedResidues | None:
        """The same, where the predicted structure is made to hold them."""
        projected = any(entry.mechanism == "projection" for entry in self.assignments)
        return self.motif if projected else None

    @property
    def start(self) -> StartingStructure | None:
        """The structure it starts from, None if it starts from noise alone."""
        return find(self.asked, StartingStructure)

    @property
    def noise(self) -> float | None:
        """Noise of the structure it starts from, None if it starts from noise alone."""
        return None if self.start is None else self.start.noise

    @property
    def ring(self) -> bool:
        """Whether its last residue is to be bonded to the first."""
        return find(self.asked, Ring) is not None

    @property
    def assembly(self) -> Assembly | None:
        """What makes copies of the chain."""
        return find(self.asked, Assembly)

    @property
    def operations(self) -> np.ndarray:
        """(n, 3, 3) rotations that place the chains the network makes at once: of all copies, or of one chain."""
        together = any(entry.mechanism == TOGETHER for entry in self.assignments)
        return self.assembly.operations() if together and self.assembly is not None else np.eye(3)[None]

    @property
    def positions(self) -> int:
        """Of these chains, with the gaps between them."""
        return len(self.operations) * (self.length + CHAIN_GAP) - CHAIN_GAP

    def anchor(self) -> Anchor | None:
        """What ties the design to the frame of a file: a motif first."""
        anchored = self.motif or find(self.asked, Anchored)
        return None if anchored is None else anchored.anchor()


def plan_design(job: Job, seed: int, index: int, candidate: int = 0) -> Plan:
    """Draw the length, the places of a motif and the blueprint of one design, where they are open.

    Args:
        job: the request.
        seed: of the run.
        index: of the design.
        candidate: number of the candidate.
    """
    rng = sample_generator(seed, index, candidate)
    length = draw_length(job, rng)
    assignments, motif = job.assignments, find(job.conditions, FixedResidues)
    if motif is not None:
        placed = motif.place(length, rng, fixed_codes(job.conditions))
        assert isinstance(placed, Condition)
        assignments = tuple(
            replace(entry, condition=placed) if entry.condition is motif else entry for entry in assignments
        )
        motif = placed
    if job.topologies is not None:
        drawn = draw_topology(job.conditions, job.topologies, length, rng)
    else:
        pairs = StrandPairing.name in job.model.conditions.names
        drawn = draw_open(job.conditions, job.blueprints, length, motif, rng, pairs=pairs)
    return Plan(job, index, candidate, length, assignments, drawn, rng)


def draw_length(job: Job, rng: Generator) -> int:
    """A length of those that are possible, uniformly; that of the secondary structure where one is asked for."""
    structure = find(job.conditions, SecondaryStructure)
    if structure is not None:
        return structure.length
    return job.lengths[int(torch.randint(0, len(job.lengths), (), generator=rng))]  # drawn even of one: streams stay


def sample_generator(seed: int, index: int, candidate: int = 0) -> Generator:
    """The random stream of sample `index` of a run: a function of (seed, index, candidate) alone.

    NumPy's SeedSequence mixes them into one well-mixed seed; neighbouring seeds give unrelated streams.

    Args:
        seed: of the run.
        index: of the design.
        candidate: number of the candidate.
    """
    entropy = [seed, index] if candidate == 0 else [seed, index, candidate]
    mixed = np.random.SeedSequence(entropy).generate_state(2, np.uint32)
    return Generator().manual_seed(int(mixed[0]) << 31 ^ int(mixed[1]))
