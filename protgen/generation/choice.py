"""The released model that a request is made by where none is named.

`flow-pairing` makes designs that fold more often, in a quarter of the steps, where it draws secondary structure with
its pairing, or pairs are asked. `flow-small` keeps closer to strings and shares of secondary structure, and to what is
enforced: contacts, radii, motifs, copies. `benchmarks/ablation.md` and the cards of both have the figures.
"""

from collections.abc import Iterable

from protgen.conditions.base import Condition
from protgen.models.released import DEFAULT

PAIRING = "flow-pairing"
LEAVE_OPEN = frozenset({"length", "fold_class", "cath"})  # conditions that leave open which residues are strands


def model_for(conditions: Iterable[Condition]) -> str:
    """The name of the released model for a request.

    Args:
        conditions: the request.
    """
    names = {condition.name for condition in conditions}
    return PAIRING if "strand_pairing" in names or names <= LEAVE_OPEN else DEFAULT
