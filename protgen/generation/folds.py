"""What a request for a fold (`protgen.conditions.cath`) takes from the natives that a model knows of it."""

from collections.abc import Sequence

import numpy as np

from protgen.conditions.base import Conditions
from protgen.conditions.cath import Cath, Folds
from protgen.conditions.length import Length
from protgen.generation.conflicts import find
from protgen.models.model import Model
from protgen.models.topologies import REACH, TopologyPrior

LOOKED_AT = 50  # lengths of a range, at the most, at which members are counted
USUAL = (10, 90)  # percentiles of the lengths of members that designs have where no length is asked for


def leaves_length_open(conditions: Conditions) -> bool:
    """Whether a fold is asked for and nothing says of what length."""
    return find(conditions, Cath) is not None and all(condition.lengths() is None for condition in conditions)


def with_length(conditions: Conditions, model: Model) -> Conditions:
    """A request for a fold with the usual lengths of its members, where the model has some.

    Raises:
        UsageError: if the model knows CATH codes, but no native of this one.
    """
    fold = find(conditions, Cath)
    if fold is not None:
        fold.require_known(model.folds)
    if fold is None or model.topologies is None or fold.code not in model.topologies.folds:
        return conditions
    sizes = [len(item.codes) for item in model.topologies.of_fold(fold.code).items]
    low, high = np.percentile(sizes, USUAL)
    return conditions & Length(round(low), round(high))


def fold_notes(
    conditions: Conditions, model: Model, lengths: Sequence[int], topologies: TopologyPrior | None
) -> tuple[str, ...]:
    """A line where a fold has few members of a length, and one where it is learned by a level above alone.

    Args:
        conditions: the request.
        model: that makes it.
        lengths: at which it can hold, ascending.
        topologies: what secondary structure and pairing are drawn from; None where they are not.
    """
    fold = find(conditions, Cath)
    if fold is None:
        return ()
    notes = []
    if topologies is not None and fold.code in topologies.folds:
        members = topologies.of_fold(fold.code)
        reach = max(members.reach(length) for length in lengths[:: 1 + len(lengths) // LOOKED_AT])
        if reach > REACH:
            n, asked = len(members.items), lengths[0] if len(lengths) == 1 else f"{lengths[0]}-{lengths[-1]}"
            notes.append(
                f"cath {fold.code}: few of its {n} natives have about {asked} residues; those up to {reach} residues "
                "longer or shorter are fitted to it"
            )
    learned = next((part for part in model.conditions.parts if isinstance(part, Folds)), None)
    if learned is not None and fold.code not in learned.values:
        known = [node for node in fold.nodes if node in learned.values]
        notes.append(
            f"cath {fold.code}: too rare to be learned; the network is told {known[-1] if known else 'nothing'}"
        )
    return tuple(notes)
