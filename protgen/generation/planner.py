"""How each condition of a request acts: chosen from what the model has learned and what the condition offers.

    construction   it is so by the way a design is made: length, the structure it starts from, copies about an axis
    learned        features the network was trained on, with classifier-free guidance
    blueprint         secondary structure drawn so that it holds, and given to the network
    projection     the predicted structure is made to meet it (`samplers/projection.py`)
    energy         gradient of its energy: on the predicted structure (`samplers/energy.py`), or on the latents of a
                   family that makes a structure of these in one go (`families/latent_descent.py`)
    rank           several candidates for each design, of which the one that meets it best is kept

The first that is possible is taken, in that order; `--enforce NAME=HOW` takes another. Projections and a structure to
start from need a family that samples frames step by step, and energies such a one or latents; with others, what they
would act on is met by ranking, or refused. A weight multiplies an energy, the part of guidance above 1, or the share in
the ranking; what holds by construction or projection has no use for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from protgen.conditions.base import Condition, Conditions, EnergyCondition, LearnedCondition
from protgen.conditions.class_label import ClassLabel
from protgen.conditions.fold_class import FoldClass
from protgen.conditions.fractions import Fractions
from protgen.conditions.length import Length
from protgen.conditions.motif import Motif
from protgen.conditions.partial import Partial
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.symmetry import Symmetry
from protgen.errors import UsageError
from protgen.families.base import IterativeFamily, LatentFamily
from protgen.generation.energies import is_local
from protgen.models.model import Model
from protgen.registry import nearest
from protgen.spaces.atoms import BackboneAtoms, ResidueFrames
from protgen.types import JSON

Pushes = tuple[tuple[tuple[str, ...] | None, float], ...]
HOWS = ("construction", "learned", "blueprint", "projection", "energy", "rank")
CANDIDATES = 4  # for each design, where a condition is met by ranking alone
# Where a learned condition and energies of few residues pull on the same residues, which one gives way is chance.
# With strings, radii and contacts of forty natives, 14 % of the strings were unmet by first candidates, 11 % by the
# better of two, and 10 % without contacts and radii.
TOGETHER = 2


@dataclass(frozen=True)
class Action:
    """How one condition acts.

    Attributes:
        condition: the request.
        weight: of the request.
        how: one of `HOWS`.
        possible: all that would be possible with this model.
    """

    condition: Condition
    weight: float
    how: str
    possible: tuple[str, ...]

    def to_json(self) -> JSON:
        """As `run.json` has it."""
        return {"condition": self.condition.name, "how": self.how, "weight": self.weight, "possible": self.possible}


def ways(condition: Condition, model: Model, blueprints: bool) -> tuple[str, ...]:
    """What is possible for a condition with a model, best first.

    Args:
        condition: the request.
        model: what it has learned decides.
        blueprints: whether blueprints of secondary structure are drawn.
    """
    guided = isinstance(model.family, IterativeFamily) and isinstance(model.family.space, BackboneAtoms)
    if isinstance(condition, Partial) and not guided:
        return ()
    if isinstance(condition, Length | Partial | Symmetry):
        return ("construction",)
    found = []
    if isinstance(condition, LearnedCondition) and condition.name in model.conditions.names:
        found.append("learned")
    if blueprints and isinstance(condition, FoldClass | Fractions):
        found.append("blueprint")
    if guided and isinstance(model.family.space, ResidueFrames) and isinstance(condition, Motif):
        found.append("projection")
    latent = isinstance(model.family, LatentFamily) and isinstance(model.family.space, BackboneAtoms)
    if (guided or latent) and isinstance(condition, EnergyCondition):
        found.append("energy")
    if isinstance(condition, ClassLabel):
        return tuple(found)  # no structure shows it, so candidates cannot be ranked by it
    return (*found, "rank")


def plan_actions(
    conditions: Sequence[Condition], model: Model, enforce: Mapping[str, str] | None = None, blueprints: bool = True
) -> tuple[Action, ...]:
    """Choose for each condition how it acts.

    Args:
        conditions: the requests, with weights where they are `Conditions`.
        model: the model.
        enforce: condition -> how, in place of the choice made here.
        blueprints: whether blueprints of secondary structure may be drawn.

    Raises:
        UsageError: if a way is not possible, or names a condition that is not asked for, or a condition has no way.
    """
    held = Conditions.of(conditions)
    enforce = dict(enforce or {})
    asked = [condition.name for condition in held]
    for name, how in enforce.items():
        if name not in asked:
            raise UsageError(f"enforce {name}={how}: {nearest(name, asked)}")
    drawn = blueprints and model.blueprints is not None and SecondaryStructure.name in model.conditions.names
    drawn = drawn and not any(isinstance(condition, SecondaryStructure) for condition in held)
    actions = []
    for condition, weight in zip(held.items, held.weights, strict=True):
        possible = ways(condition, model, drawn)
        if not possible:
            raise UsageError(
                f"{condition.name} cannot be met by this model ({type(model.family).__name__} in "
                f"{type(model.family.space).__name__}); choose one that has learned it, or that samples frames by steps"
            )
        how = enforce.get(condition.name, possible[0])
        if how not in possible:
            raise UsageError(f"enforce {condition.name}={how}: with this model it can be {', '.join(possible)}")
        actions.append(Action(condition, weight, how, possible))
    return tuple(actions)


def pushes_of(actions: Sequence[Action], guidance: float) -> Pushes:
    """What classifier-free guidance is to press on, and how hard: 1 + weight (guidance - 1) for each weight asked for.

    Where all learned conditions have one weight, y is pressed as a whole, drawn blueprints with it: one estimate
    without it is all that takes. With several weights, conditions of each are left out together.

    Returns:
        Pairs of the conditions' names, None for all that is known, and w of x_free + w (x_asked - x_free); without
        those whose w is 1, which is plain conditioning.
    """
    groups: dict[float, list[str]] = {}
    for action in actions:
        if action.how == "learned":
            groups.setdefault(action.weight, []).append(action.condition.name)
    if len(groups) < 2:
        return tuple((None, w) for w in [1 + next(iter(groups), 1.0) * (guidance - 1)] if w != 1)
    found = [(tuple(names), 1 + weight * (guidance - 1)) for weight, names in groups.items()]
    return tuple(sorted((part for part in found if part[1] != 1), key=lambda part: part[1]))


def candidates_of(actions: Sequence[Action], asked: int | None) -> int:
    """Candidates for each design: as asked, or several only where choosing among them is how conditions are met."""
    if asked is not None:
        return asked
    if any(action.how == "rank" for action in actions):
        return CANDIDATES
    learned = any(action.how == "learned" for action in actions)
    local = any(action.how == "energy" and is_local(action.condition) for action in actions)
    return TOGETHER if learned and local else 1


def requested(actions: Sequence[Action], how: str) -> list[tuple[Condition, float]]:
    """Conditions, with weights, that act in one way."""
    return [(action.condition, action.weight) for action in actions if action.how == how]
