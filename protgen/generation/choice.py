"""The released model that a request is made by where none is named.

`flow-pairing` makes designs that fold more often where it draws secondary structure with its pairing, or pairs are
asked. `flow-small` keeps closer to strings and shares of secondary structure, and to what is enforced: contacts, radii,
motifs, copies. `flow-small-quick` is its student, which takes 10 steps without guidance
(`protgen.training.distillation`), for strings that nothing else goes with and where steps are left to the model.
`benchmarks/ablation.md` and the cards have the figures.
"""

from protgen.conditions.base import Conditions
from protgen.generation.design import Settings
from protgen.models.released import DEFAULT

PAIRING = "flow-pairing"
STUDENT = "flow-small-quick"  # of DEFAULT
LEAVE_OPEN = frozenset({"length", "fold_class", "cath"})  # conditions that leave open which residues are strands
STRINGS = frozenset({"length", "secondary_structure"})
# Settings that a student has learned to do without, or at one value.
OF_TEACHERS = ("steps", "temperature", "guidance", "guidance_interval", "autoguidance", "sampler")


def model_for(conditions: Conditions, settings: Settings | None = None) -> str:
    """The name of the released model for a request.

    Args:
        conditions: the request.
        settings: how to sample; a model whose steps or guidance are set is no student.
    """
    names = {condition.name for condition in conditions}
    if "strand_pairing" in names or names <= LEAVE_OPEN:
        return PAIRING
    given = settings is not None and any(getattr(settings, key) is not None for key in OF_TEACHERS)
    weighted = any(conditions.weight(condition) != 1 for condition in conditions)  # weights act through guidance
    enforced = settings is not None and bool(settings.enforce)
    return STUDENT if names <= STRINGS and not (given or weighted or enforced) else DEFAULT
