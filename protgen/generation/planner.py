"""Assigns to each condition of a request the mechanism by which it is met: what the condition offers and the model can.

The mechanisms and their order are those of `protgen.conditions.mechanisms`; the first that is possible is taken, and
`--enforce NAME=MECHANISM` takes another. Projections and a structure to start from need a family that samples frames
step by step, and energies such a one or latents; with others, what they would act on is met by ranking, or refused. A
weight multiplies an energy, the part of guidance above 1, or the part in the ranking; what holds by construction or
projection has no use for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from protgen.conditions.base import Condition, Conditions
from protgen.conditions.mechanisms import MECHANISMS, Capabilities
from protgen.conditions.roles import StartingStructure
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.strand_pairing import StrandPairing
from protgen.errors import UsageError
from protgen.families.base import IterativeFamily
from protgen.generation.energies import is_local
from protgen.models.model import Model
from protgen.registry import nearest
from protgen.spaces.atoms import BackboneAtoms, ResidueFrames
from protgen.types import JSON

CANDIDATES = 4  # for each design, where a condition is met by ranking alone
# Where a learned condition and energies of few residues pull on the same residues, which one gives way is chance.
# With strings, radii and contacts of forty natives, 14 % of the strings were unmet by first candidates, 11 % by the
# better of two, and 10 % without contacts and radii.
TOGETHER = 2


class GuidancePart(NamedTuple):
    """A part of y that designs are guided to, x_free + w (x_asked - x_free).

    Attributes:
        names: of the conditions that x_free is predicted without; None for all that is known.
        weight: w.
        instead: what it is predicted with in their place.
    """

    names: tuple[str, ...] | None
    weight: float
    instead: tuple[Condition, ...] = ()


GuidanceWeights = tuple[GuidancePart, ...]


@dataclass(frozen=True)
class Assignment:
    """A condition and the mechanism by which it is met.

    Attributes:
        condition: the request.
        weight: of the request.
        mechanism: one of `MECHANISMS`.
        options: all mechanisms that are possible with this model, best first.
    """

    condition: Condition
    weight: float
    mechanism: str
    options: tuple[str, ...]

    def to_json(self) -> JSON:
        """As `run.json` has it."""
        return {
            "condition": self.condition.name,
            "mechanism": self.mechanism,
            "weight": self.weight,
            "options": self.options,
        }


def capabilities_of(model: Model, blueprints: bool, topologies: bool = False) -> Capabilities:
    """What a model can do for conditions.

    Args:
        model: its family, its space and what it has learned decide.
        blueprints: whether blueprints are drawn for the request at hand.
        topologies: whether topologies of natives are.
    """
    family, space = model.family, model.family.space
    iterative, backbones = isinstance(family, IterativeFamily), isinstance(space, BackboneAtoms)
    return Capabilities(
        learned=frozenset(model.conditions.names),
        blueprints=blueprints,
        starts=iterative and backbones,
        projections=iterative and isinstance(space, ResidueFrames),
        assemblies=iterative and isinstance(space, ResidueFrames) and family.encoder.tells_chains_apart,
        energies=(iterative or family.takes_energy) and backbones,
        folds=model.folds,
        drawn_folds=model.topologies.folds if topologies and model.topologies is not None else frozenset(),
    )


def draws_blueprints(conditions: Sequence[Condition], model: Model, allowed: bool = True) -> bool:
    """Whether blueprints are drawn for a request: its secondary structure is open, and the model has a prior of it.

    Args:
        conditions: the request.
        model: its prior and what it has learned decide.
        allowed: whether the settings allow it.
    """
    learned = SecondaryStructure.name in model.conditions.names
    asked = any(isinstance(condition, SecondaryStructure) for condition in conditions)
    return allowed and learned and model.blueprints is not None and not asked


def draws_topologies(conditions: Sequence[Condition], model: Model, allowed: bool = True) -> bool:
    """Whether strand pairing is drawn for a request: the model has learned it and has a prior of it.

    Not where something is asked of single residues, such as contacts or a motif, which the pairing might contradict.
    """
    learned = {SecondaryStructure.name, StrandPairing.name} <= set(model.conditions.names)
    told = any(
        isinstance(condition, StrandPairing | StartingStructure) or is_local(condition) for condition in conditions
    )
    return allowed and learned and model.topologies is not None and not told


def assign(
    conditions: Sequence[Condition], model: Model, enforce: Mapping[str, str] | None = None, blueprints: bool = True
) -> tuple[Assignment, ...]:
    """Choose for each condition the mechanism by which it is met.

    Args:
        conditions: the requests, with weights where they are `Conditions`.
        model: the model.
        enforce: condition -> mechanism, in place of the choice made here.
        blueprints: whether blueprints of secondary structure may be drawn.

    Raises:
        UsageError: if a mechanism is not possible, or names a condition that is not asked for, or none is possible.
    """
    held = Conditions.of(conditions)
    enforce = dict(enforce or {})
    asked = [condition.name for condition in held]
    for name, mechanism in enforce.items():
        if name not in asked:
            raise UsageError(f"enforce {name}={mechanism}: {nearest(name, asked)}")
    drawn = draws_blueprints(held, model, blueprints)
    able = capabilities_of(model, drawn, drawn and draws_topologies(held, model, blueprints))
    return tuple(
        assign_one(condition, weight, able, model, enforce.get(condition.name))
        for condition, weight in zip(held.items, held.weights, strict=True)
    )


def assign_one(
    condition: Condition, weight: float, able: Capabilities, model: Model, enforced: str | None
) -> Assignment:
    """The assignment of one condition.

    Args:
        condition: the request.
        weight: of the request.
        able: what the model can do.
        model: for the message.
        enforced: the mechanism that is asked for, None for the first possible.

    Raises:
        UsageError: if there is no mechanism, not the enforced one, or the model has not learned the value asked.
    """
    offered = condition.mechanisms(able)
    options = tuple(mechanism for mechanism in MECHANISMS if mechanism in offered)
    if not options:
        raise UsageError(
            f"{condition.learned_name} cannot be met by this model ({type(model.family).__name__} in "
            f"{type(model.family.space).__name__}); choose one that has learned it, or that samples frames by steps"
        )
    mechanism = options[0] if enforced is None else enforced
    if mechanism not in options:
        raise UsageError(f"enforce {condition.name}={mechanism}: with this model it can be {', '.join(options)}")
    if mechanism == "learned":
        model.conditions.require_learned([condition])  # the value as well, such as a category of a label
    return Assignment(condition, weight, mechanism, options)


def guidance_weights(assignments: Sequence[Assignment], guidance: float) -> GuidanceWeights:
    """Weights of classifier-free guidance: 1 + weight (guidance - 1) for each weight that was asked for.

    Where all learned conditions have one weight, y is left out as a whole, drawn blueprints with it: that takes one
    unconditional prediction. With several weights, conditions of each are left out together. A condition may be guided
    away from less of the same besides (`Condition.coarser`).

    Returns:
        The parts, without those whose w is 1, which is plain conditioning.
    """
    learned = [entry for entry in assignments if entry.mechanism == "learned"]
    groups: dict[float, list[str]] = {}
    for entry in learned:
        groups.setdefault(entry.weight * entry.condition.guided, []).append(entry.condition.learned_name)
    if len(groups) < 2:
        found = [GuidancePart(None, 1 + next(iter(groups), 1.0) * (guidance - 1))]
    else:
        found = [GuidancePart(tuple(names), 1 + weight * (guidance - 1)) for weight, names in groups.items()]
    for entry in learned:
        for less, weight in entry.condition.coarser():
            own = 1 + entry.weight * weight * (guidance - 1)
            found.append(GuidancePart((entry.condition.learned_name,), own, (less,)))
    return tuple(sorted((part for part in found if part.weight != 1), key=lambda part: part.weight))


def idle_weights(assignments: Sequence[Assignment], guidance: float) -> tuple[str, ...]:
    """A line for each condition whose weight does nothing, as there is no guidance for it to multiply."""
    idle = []
    for entry in assignments:
        name, learned = entry.condition.name, entry.mechanism == "learned"
        at_levels = entry.condition.guided != 1 or len(entry.condition.coarser()) > 0
        if at_levels and not learned:
            idle.append(f"{name}: its level weights act on what is learned; here it is met by {entry.mechanism}")
        if guidance == 1 and learned and (at_levels or entry.weight != 1):
            words = "level weights act" if at_levels else f"weight {entry.weight:g} acts"
            idle.append(f"{name}: its {words} through guidance, which is 1; add --guidance 2")
    return tuple(idle)


def candidates_of(assignments: Sequence[Assignment], asked: int | None) -> int:
    """Candidates for each design: as asked, or several only where choosing among them is how conditions are met."""
    if asked is not None:
        return asked
    if any(entry.mechanism == "rank" for entry in assignments):
        return CANDIDATES
    learned = any(entry.mechanism == "learned" for entry in assignments)
    local = any(entry.mechanism == "energy" and is_local(entry.condition) for entry in assignments)
    return TOGETHER if learned and local else 1
