"""Whether the parts of a model fit together, asked before the model is built."""

from collections.abc import Mapping

import torch

from protgen import registry
from protgen.conditions.embedding import ConditionEmbedding
from protgen.encoders.base import Encoder
from protgen.errors import ConfigError
from protgen.families.base import ClosedFormFamily, Family, IterativeFamily
from protgen.spaces.atoms import ResidueFrames
from protgen.spaces.base import Space
from protgen.spaces.capabilities import context_before, lacking


def require_fit(space: Space, networks: Mapping[str, Encoder], family: str) -> None:
    """Refuse networks that cannot read the space, and families that need a capability it has not.

    Args:
        space: of the model.
        networks: that read points of it, each under its part of the configuration: encoder, decoder, critic.
        family: registry name.

    Raises:
        ConfigError: with the reason, and what to use instead.
    """
    cls = registry.find("families", family)
    for capability in cls.needs:
        if not isinstance(space, capability):
            raise ConfigError(f"{lacking(space, capability, family)}; use another space, or family=classical")
    if issubclass(cls, ClosedFormFamily):
        return  # it has no network
    readable = fields_of(space, context=cls.reads_context)
    for part, network in networks.items():
        missing = [name for name in network.reads if name not in readable]
        if missing:
            raise ConfigError(
                f"the {part} reads {' and '.join(network.reads)}, and points of {type(space).__name__} have "
                f"{' and '.join(readable)}; use {' or '.join(able(readable))}"
            )


def require_several_chains(family: Family, conditions: ConditionEmbedding, where: str) -> None:
    """Refuse to train what would take two chains for bonded on examples of several chains or segments.

    Args:
        family: with its encoder and its space.
        conditions: that it learns.
        where: what has such examples.

    Raises:
        ConfigError: with the reason, and what to use instead.
    """
    space, of_one = family.space, conditions.of_one_chain()
    if not isinstance(family, IterativeFamily) or not isinstance(space, ResidueFrames):
        reason = f"{type(family).__name__} over {type(space).__name__} knows one chain; use flow_matching or diffusion "
        reason += "over backbone"
    elif not family.encoder.tells_chains_apart:
        reason = f"the encoder {type(family.encoder).__name__} does not tell chains apart; use frame_attention or "
        reason += "frame_transformer"
    elif of_one:
        reason = f"the condition {of_one[0]} counts along one chain; leave it out of `conditions.names`"
    else:
        return
    raise ConfigError(f"{where} has items of several chains or segments, and {reason}; or build it without such items")


def fields_of(space: Space, context: bool) -> list[str]:
    """Fields an encoder finds: those of a point and, for families that read it, of what is before each position."""
    if not context:
        return list(space.manifolds)
    mask = torch.ones(1, 2, dtype=torch.bool)
    point = space.noise(mask, torch.zeros(1, 2, space.normals_per_position))
    return list(dict.fromkeys([*space.manifolds, *context_before(space, point).fields]))


def able(readable: list[str]) -> list[str]:
    """Names of encoders that read no more than these fields; the transformer takes them as `fields`."""
    fit = [name for name, cls in registry.classes("encoders").items() if cls.reads and set(cls.reads) <= set(readable)]
    return [*fit, f"transformer with fields {', '.join(readable)} and their widths"]
