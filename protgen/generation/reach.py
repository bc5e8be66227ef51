"""What of a request the model's own blueprints cannot give, said before anything is made."""

from collections.abc import Sequence

from torch import Generator

from protgen.conditions.base import Condition
from protgen.conditions.fractions import Fractions
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.generation.conflicts import find
from protgen.generation.drawing import draw_open, draw_topology
from protgen.models.blueprints import BlueprintPrior
from protgen.models.topologies import TopologyPrior

TRIES = 2  # blueprints looked at for each length, each the nearest of a hundred


def fractions_out_of_reach(
    conditions: Sequence[Condition],
    lengths: Sequence[int],
    blueprints: BlueprintPrior | None,
    topologies: TopologyPrior | None,
) -> tuple[str, ...]:
    """A line if blueprints drawn for the shortest and the longest chain are all off by more than the tolerance.

    Args:
        conditions: the request.
        lengths: at which it can hold, ascending.
        blueprints, topologies: what secondary structure is drawn from; None where it is not drawn.
    """
    asked = find(conditions, Fractions)
    if asked is None or (blueprints is None and topologies is None) or find(conditions, SecondaryStructure):
        return ()
    wanted = {"helix": ("H", asked.helix), "strand": ("E", asked.strand)}
    known = {name: (code, value) for name, (code, value) in wanted.items() if value is not None}
    nearest: tuple[float, int, str] | None = None
    for length in dict.fromkeys((lengths[0], lengths[-1])):
        for seed in range(TRIES):
            codes = _drawn(conditions, length, blueprints, topologies, Generator().manual_seed(seed))
            off = max((abs(codes.count(code) / length - value) for code, value in known.values()), default=0.0)
            if off <= asked.tolerance:
                return ()
            nearest = min(nearest or (off, length, codes), (off, length, codes))
    assert nearest is not None
    _, length, codes = nearest
    words = ", ".join(
        f"{name} {codes.count(code) / length:.2f} (asked {value:.2f})" for name, (code, value) in known.items()
    )
    return (
        f"fractions: the nearest that the model's blueprints of {length} residues come is {words}, and "
        f"{asked.tolerance:g} off will do; ask for what is within reach, or write the secondary structure out (--ss)",
    )


def _drawn(
    conditions: Sequence[Condition],
    length: int,
    blueprints: BlueprintPrior | None,
    topologies: TopologyPrior | None,
    rng: Generator,
) -> str:
    if topologies is not None:
        drawn = draw_topology(conditions, topologies, length, rng)
    else:
        drawn = draw_open(conditions, blueprints, length, None, rng)
    found = find(drawn, SecondaryStructure)
    return "" if found is None else found.codes
