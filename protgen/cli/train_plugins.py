"""Parts of other packages in the configuration of `protgen train`: `encoder=NAME` and `encoder=module:Class`.

A group of the configuration has a file for each of protgen's own parts. A part of another package has none: its
configuration is its name alone, the defaults of its constructor stand for the rest, and `encoder.KEY=VALUE` sets them.
"""

import re
from collections.abc import Sequence
from typing import Any

from protgen import registry
from protgen.errors import ConfigError

KINDS = {"space": "spaces", "encoder": "encoders", "family": "families", "conditions": "conditions"}


def network_roles() -> list[str]:
    """Names of the networks that families take in addition to their encoder."""
    found = dict.fromkeys(role for family in registry.classes("families").values() for role in family.roles)
    return sorted(found)


def part_of(override: str) -> str:
    """What an override is of: encoder, in `encoder=egnn` and in `encoder.dim=64`."""
    return override.lstrip("+").partition("=")[0].partition(".")[0]


def require_roles(family: Any, typed: Sequence[str]) -> None:
    """Check that the networks of the command line are some that the family has.

    Args:
        family: its name.
        typed: overrides of parts.

    Raises:
        ConfigError: naming the override of another.
    """
    from protgen.models.model import family_class

    roles = network_roles()
    for override in typed:
        role = part_of(override)
        if role in roles and role not in (own := family_class(str(family)).roles):
            raise ConfigError(f"{override}: {family} has no {role}; its networks: {', '.join(('encoder', *own))}")


def offered(group: str) -> list[str]:
    """Names of the plug-ins of other packages for a group of the configuration."""
    if group not in KINDS:
        return []
    return [name for name, plugin in registry.plugins(KINDS[group]).items() if plugin.package]


def other_choice(group: str, value: str) -> str | None:
    """Make a configuration of a plug-in of another package, and return the name under which Hydra finds it.

    Args:
        group: of the configuration, such as "encoder".
        value: a name, or `module:Class`.

    Returns:
        None if there is no such plug-in and the value is no `module:Class`.

    Raises:
        ConfigError: if it cannot be loaded.
    """
    if group not in KINDS or (value not in offered(group) and not registry.REFERENCE.fullmatch(value)):
        return None
    from hydra.core.config_store import ConfigStore

    registry.find(KINDS[group], value)
    name = "plugin_" + re.sub(r"\W", "_", value)
    node = {"names": [value]} if group == "conditions" else {"name": value}
    ConfigStore.instance().store(group=group, name=name, node=node)
    return name
