"""Networks and parts that the command line puts in the place of those of an experiment.

An experiment sets keywords of its own parts. `experiment=flow_small encoder=egnn` asks for another encoder, which takes
other keywords: those of the experiment go with what they were for, and the defaults of the new part stand, but for what
is typed (`encoder.dim=64`). A network that a family has beside its encoder is chosen in the same way, `critic=gvp`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from protgen.cli.train_plugins import network_roles, part_of
from protgen.errors import ConfigError
from protgen.registry import REFERENCE, names, nearest
from protgen.types import JSON

PARTS = ("space", "encoder", "family")  # whose keywords are those of a constructor
Compose = Callable[[Sequence[str]], dict[str, Any]]


def role_choices(overrides: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Overrides without those that choose a network of a family, as `critic=gvp`, and these choices by role.

    Raises:
        ConfigError: if there is no such network.
    """
    roles, rest, chosen = network_roles(), [], {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if key.lstrip("+") not in roles or not equals:
            rest.append(override)
            continue
        if value not in names("encoders") and not REFERENCE.fullmatch(value):
            raise ConfigError(f"no encoder named {value!r} for {key}: {nearest(value, names('encoders'))}")
        chosen[key.lstrip("+")] = value
    return rest, chosen


def with_choices(raw: dict[str, Any], overrides: Sequence[str], chosen: dict[str, str], compose: Compose) -> JSON:
    """A composed configuration in which the parts that were chosen have no keywords of those they replace.

    Args:
        raw: composed of the overrides.
        overrides: as Hydra takes them.
        chosen: networks by role.
        compose: composes others.
    """
    given = dict(override.lstrip("+").split("=", 1) for override in overrides)
    own = compose([f"experiment={given['experiment']}"]) if "experiment" in given else {}
    others = [part for part in PARTS if own and own[part].get("name") != raw[part].get("name")]
    if others:  # a family may bring a space that it needs
        fresh = compose([override for override in overrides if part_of(override) in PARTS])
        raw |= {part: fresh[part] for part in others}
    for role, name in chosen.items():
        before = raw.get(role) or {}
        typed = {key.removeprefix(f"{role}.").partition(".")[0] for key in given if key.startswith(f"{role}.")}
        same = before.get("name") == name
        raw[role] = {key: value for key, value in before.items() if same or key in typed} | {"name": name}
    return raw
