"""The released model that a request is made by where none is named.

`flow-pairing` makes designs that fold more often where it draws secondary structure with its pairing, and of strings
and pairs that are asked; its symmetric copies have fewer faults, too. `flow-small` keeps closer to shares of secondary
structure, and to what is enforced: contacts, radii, motifs. `flow-base` is for what may be longer than the others have
seen, all copies together. `benchmarks/ablation.md`, `docs/conditions.md` and the cards have the figures.
"""

from protgen.conditions.base import Conditions
from protgen.conditions.roles import Assembly, FixedPairs
from protgen.generation.design import SampleSettings, Settings
from protgen.models.released import DEFAULT

PAIRING = "flow-pairing"
BASE, LONGEST = "flow-base", 128  # residues that the others have seen
LEAVE_OPEN = frozenset({"length", "fold_class", "cath"})  # conditions that leave open which residues are strands
STRING = frozenset({"length", "secondary_structure"})
# What a string is made with by `flow-small`: the other was measured at its own settings alone.
TUNED = ("steps", "temperature", "guidance", "guidance_interval", "autoguidance", "sampler", "particles")


def model_for(conditions: Conditions, settings: Settings | None = None) -> str:
    """The name of the released model for a request.

    Args:
        conditions: the request.
        settings: how it is to be sampled, as far as that is said.
    """
    if longest(conditions) > LONGEST:
        return BASE
    names = {condition.name for condition in conditions if not isinstance(condition, Assembly)}
    plain = names <= STRING and set(conditions.weights) == {1.0}
    enforced = isinstance(settings, SampleSettings) and bool(settings.enforce)
    paired = any(isinstance(condition, FixedPairs) and condition.ladders() for condition in conditions)
    told = "strand_pairing" in names or (paired and "secondary_structure" not in names and not enforced)
    if told or names <= LEAVE_OPEN or (plain and takes_defaults(settings)):
        return BASE if copies(conditions) * longest(conditions) > LONGEST else PAIRING
    return DEFAULT


def copies(conditions: Conditions) -> int:
    """How many chains a design has, copies of one."""
    return max((len(one.operations()) for one in conditions if isinstance(one, Assembly)), default=1)


def longest(conditions: Conditions) -> int:
    """Most residues of a design that meets all conditions, by what they say themselves; 0 where none says so."""
    return min((bounds[1] for condition in conditions if (bounds := condition.lengths()) is not None), default=0)


def takes_defaults(settings: Settings | None) -> bool:
    """Whether settings leave to the model how it is sampled."""
    if settings is None:
        return True
    tuned = any(getattr(settings, name) is not None for name in TUNED)
    return isinstance(settings, SampleSettings) and not tuned and not settings.enforce
