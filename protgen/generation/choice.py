"""The released model that a request is made by where none is named.

`flow-pairing` makes designs that fold more often, in a quarter of the steps, where it draws secondary structure with
its pairing, or pairs are asked. `flow-small` keeps closer to strings and shares of secondary structure, and to what is
enforced: contacts, radii, motifs, copies. `flow-small-quick` is its student for strings alone, in half of the time, by
the settings that it has learned. `benchmarks/ablation.md` and the cards have the figures.
"""

from protgen.conditions.base import Conditions
from protgen.generation.design import SampleSettings, Settings
from protgen.models.released import DEFAULT

PAIRING, QUICK = "flow-pairing", "flow-small-quick"
LEAVE_OPEN = frozenset({"length", "fold_class", "cath"})  # conditions that leave open which residues are strands
STRING = frozenset({"length", "secondary_structure"})
# What a student has learned to do without, or at one value alone.
TUNED = ("steps", "temperature", "guidance", "guidance_interval", "autoguidance", "sampler", "particles")


def model_for(conditions: Conditions, settings: Settings | None = None) -> str:
    """The name of the released model for a request.

    Args:
        conditions: the request.
        settings: how it is to be sampled, as far as that is said.
    """
    names = {condition.name for condition in conditions}
    if "strand_pairing" in names or names <= LEAVE_OPEN:
        return PAIRING
    plain = names <= STRING and set(conditions.weights) == {1.0}
    return QUICK if plain and takes_defaults(settings) else DEFAULT


def takes_defaults(settings: Settings | None) -> bool:
    """Whether settings leave to the model how it is sampled."""
    if settings is None:
        return True
    tuned = any(getattr(settings, name) is not None for name in TUNED)
    return isinstance(settings, SampleSettings) and not tuned and not settings.enforce
